//! What a command would do to files.

use crate::Bounded;
use crate::query::shell::command_arguments;

mutation! {
    /// What a command does to files is the change.
    Preview(PreviewArgs) = "shell.preview", "Runs a command on a view of the file systems that keeps apart what it writes; what differs then is the change: shown exactly, made exactly so once it is allowed, and taken back exactly"
}

command_arguments! {
    /// Arguments of `shell.preview`.
    PreviewArgs {
        /// Seconds after which it is ended, with all that it started; then nothing is planned.
        #[serde(default)]
        time_limit_seconds: Bounded<1, 600, 60>,
        /// Bytes that are kept of each of its outputs, from the beginning.
        #[serde(default)]
        output_bytes: Bounded<1, 65_536, 16_384>,
        /// Mebibytes that it may write, in memory; where that is not enough, nothing is planned.
        #[serde(default)]
        write_mebibytes: Bounded<1, 4_096, 256>,
    }
}
