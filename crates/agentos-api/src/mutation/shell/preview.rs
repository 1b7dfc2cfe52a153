//! What a command would do to files.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::Bounded;
use crate::query::path::AbsolutePath;
use crate::query::shell::default_shell;

mutation! {
    /// What a command does to files is the change.
    Preview(PreviewArgs) = "shell.preview", "Runs a command on a view of the file systems that keeps apart what it writes; what differs then is the change: shown exactly, made exactly so once it is allowed, and taken back exactly"
}

/// Arguments of `shell.preview`.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PreviewArgs {
    /// A command line for `shell`. Not together with `words`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub command: Option<String>,
    /// The program and its arguments, each as it is: no shell looks at them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub words: Vec<String>,
    /// The shell that is given `command` with `-c`.
    #[serde(default = "default_shell")]
    pub shell: String,
    /// The folder in which it runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub folder: Option<AbsolutePath>,
    /// Seconds after which it is ended, with all that it started; then nothing is planned.
    #[serde(default)]
    pub time_limit_seconds: Bounded<1, 600, 60>,
    /// Bytes that are kept of each of its outputs, from the beginning.
    #[serde(default)]
    pub output_bytes: Bounded<1, 65_536, 16_384>,
    /// Mebibytes that it may write, in memory; where that is not enough, nothing is planned.
    #[serde(default)]
    pub write_mebibytes: Bounded<1, 4_096, 256>,
}
