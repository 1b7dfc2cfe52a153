//! What a command says that may read the machine, and that the kernel keeps from changing anything.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Query;
use super::file::ContentEncoding;
use super::path::AbsolutePath;
use crate::Bounded;

/// What a command says.
pub struct Shell;

/// Most words of a command.
pub const MAX_WORDS: usize = 10_000;
/// Most bytes of a command, as it is written in JSON: it is recorded whole, and an event has room for little more.
pub const MAX_COMMAND_BYTES: usize = 60_000;

/// Declares arguments that begin with a command: the same for each way in which one is run.
macro_rules! command_arguments {
    ($(#[$doc:meta])* $arguments:ident { $($(#[$field_doc:meta])* $field:ident: $type:ty,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Debug, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
        #[serde(deny_unknown_fields)]
        pub struct $arguments {
            /// A command line for `shell`. Not together with `words`.
            #[serde(default, skip_serializing_if = "Option::is_none")]
            pub command: Option<String>,
            /// The program and its arguments, each as it is: no shell looks at them.
            #[serde(default, skip_serializing_if = "Vec::is_empty")]
            pub words: Vec<String>,
            /// The shell that is given `command` with `-c`.
            #[serde(default = "crate::query::shell::default_shell")]
            pub shell: String,
            /// The folder in which it runs.
            #[serde(default, skip_serializing_if = "Option::is_none")]
            pub folder: Option<crate::query::path::AbsolutePath>,
            $($(#[$field_doc])* pub $field: $type,)*
        }

        impl $arguments {
            /// The command in them.
            pub fn line(&self) -> crate::query::shell::Line<'_> {
                crate::query::shell::Line {
                    command: self.command.as_deref(),
                    words: &self.words,
                    shell: &self.shell,
                    folder: self.folder.as_ref(),
                }
            }
        }
    };
}
pub(crate) use command_arguments;

command_arguments! {
    /// Which command, and how long it may take.
    Args {
        /// Seconds after which it is ended, with all that it started.
        #[serde(default)]
        time_limit_seconds: Bounded<1, 25, 10>,
        /// Bytes that are kept of each of its outputs, from the beginning.
        #[serde(default)]
        output_bytes: Bounded<1, 524_288, 32_768>,
    }
}

pub(crate) fn default_shell() -> String {
    "sh".to_owned()
}

/// A command, as it was asked for.
#[derive(Clone, Copy, Debug)]
pub struct Line<'a> {
    /// A command line, for `shell`.
    pub command: Option<&'a str>,
    /// Or a program with its arguments.
    pub words: &'a [String],
    /// The shell.
    pub shell: &'a str,
    /// The folder in which it runs, if not `/`.
    pub folder: Option<&'a AbsolutePath>,
}

/// What it said.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Output {
    /// What it exited with; of one that a signal ended 128 and the signal's number, as in sh(1). Missing where it did not end
    /// by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit_status: Option<u8>,
    /// It was ended, with all that it started, because its time was over.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub timed_out: bool,
    /// Its standard output.
    pub stdout: Said,
    /// Its standard error.
    pub stderr: Said,
    /// What it wanted to do and was kept from, the first of each once. What changes something is asked for as a change.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub refused: Vec<Refused>,
    /// Which mode will do, where that can be said: by what was refused, and by what is remembered of the programs. It allows
    /// nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub advice: Option<String>,
    /// How much of the machine it could have, all its processes together.
    pub limits: Limits,
    /// How long it took, in milliseconds.
    pub milliseconds: u64,
}

/// One of the outputs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Said {
    /// What is kept of it.
    pub content: String,
    /// `text` or `base64`.
    pub encoding: ContentEncoding,
    /// Bytes that it wrote altogether.
    pub bytes: u64,
    /// More was written than is kept.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub cut: bool,
}

/// How much of the machine a command can have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Limits {
    /// Processes at once, with threads counted as such.
    pub processes: u32,
    /// Bytes of memory.
    pub memory_bytes: u64,
    /// Who keeps it within them.
    pub kept_by: KeptBy,
}

/// Who keeps a command within its limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum KeptBy {
    /// The kernel, by a control group: it never has more.
    Kernel,
    /// agentd, which has no control group to divide here: it looks a hundred times a second, and ends a command that has more.
    Agentd,
}

/// Something that it was kept from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Refused {
    /// What it wanted: `write`, `read`, `connect`, `call`, `exceed`.
    pub what: String,
    /// Of what: a path; of `exceed` the limit.
    pub on: String,
    /// Why not.
    pub because: String,
}

impl Query for Shell {
    const NAME: &'static str = "shell";
    const SUMMARY: &'static str =
        "What a command says (ps, ss, ip, journalctl, lsof, df, grep …), run so that the kernel lets it change nothing";
    type Args = Args;
    type Output = Output;
}
