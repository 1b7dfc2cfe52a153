//! A command that acts on the machine itself.

use crate::Bounded;
use crate::query::shell::command_arguments;

mutation! {
    /// A command is run.
    Apply(ApplyArgs) = "shell.apply", "Runs a command on the machine itself, as root; what it does is not foreseen and cannot be undone, so a typed mutation is better wherever there is one"
}

command_arguments! {
    /// Arguments of `shell.apply`.
    ApplyArgs {
        /// Seconds after which it is ended, with all that it started.
        #[serde(default)]
        time_limit_seconds: Bounded<1, 1800, 60>,
    }
}
