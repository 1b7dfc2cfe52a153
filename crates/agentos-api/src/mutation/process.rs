//! Signals to processes.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

mutation! {
    /// A signal.
    Signal(SignalArgs) = "process.signal", "Sends a signal to one process; for a service, service.stop and service.restart are better"
}

/// Arguments of `process.signal`.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SignalArgs {
    /// The number of the process, as the query `processes` gives it.
    #[schemars(range(min = 2, max = 4_194_304))]
    pub pid: u32,
    /// Which signal.
    #[serde(default)]
    pub signal: SignalName,
    /// Only if the process started then, as the query `process` gives it: a number may be another process's by now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started: Option<String>,
}

/// The signals that can be sent (signal(7)).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "UPPERCASE")]
pub enum SignalName {
    /// Ends it, after what it does to end well.
    #[default]
    Term,
    /// Ends it at once; it cannot save anything.
    Kill,
    /// By convention: read the configuration again. Ends a program that does not know it.
    Hup,
    /// Ends it as Ctrl-C does.
    Int,
    /// Ends it with a core dump.
    Quit,
    /// For the program's own use. Ends a program that does not know it.
    Usr1,
    /// For the program's own use. Ends a program that does not know it.
    Usr2,
    /// Halts it until CONT.
    Stop,
    /// Lets a halted one go on.
    Cont,
}
