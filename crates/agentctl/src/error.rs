//! Why a command has no result, and which exit code says so.

use std::fmt;
use std::io;

use agentos_api::Code;
use agentos_client::ClientError;
use agentos_client::gateway::GatewayError;
use serde::Serialize;

use crate::membership;

/// What the exit code says. `agentctl help` and the manual page list them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    /// Done, and what was asked about is well.
    Well = 0,
    /// Done, and what was asked about is not well.
    NotWell = 1,
    /// The command line is wrong. clap uses the same code.
    Usage = 2,
    /// agentd, or the agent's gateway, cannot be reached.
    Unreachable = 3,
    /// agentd, or the agent's gateway, refused or could not do it.
    Refused = 4,
    /// It could not be done or checked here.
    Failed = 5,
    /// It was asked for, and waits for a person's yes.
    Waits = 6,
    /// A witness refused a checkpoint.
    CheckpointRefused = 7,
    /// Ctrl-C ended it (128 + SIGINT).
    Interrupted = 130,
    /// The reader of standard output went away (128 + SIGPIPE).
    OutputClosed = 141,
}

/// The table of exit codes as people read it.
pub(crate) const EXIT_CODES: &str = "\
Exit status:
  0    done, and what was asked about is well
  1    done, and it is not well: a tampered ledger, a proof that fails; a change that was not made
  2    the command line is wrong
  3    agentd cannot be reached or stopped answering; with chat, also the agent's gateway
  4    agentd, or the gateway, refused the request or could not carry it out
  5    it could not be done or checked here, on this side of the socket
  6    a change or a question was asked for, and waits for a person's yes
  7    a witness refused a checkpoint: the ledger was rolled back, rewritten or signed with another key
  130  Ctrl-C ended a chat
  141  the reader of the output went away";

/// Why there is no result, in the parts that are shown.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Failure {
    /// What happened, on which object.
    pub(crate) message: String,
    /// Why, outermost first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) causes: Vec<String>,
    /// agentd's stable name of the error.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) code: Option<String>,
    /// The argument at fault.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) field: Option<String>,
    /// Names close to the one that was not found.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) near: Vec<String>,
    /// What to do next.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) hint: Option<String>,
}

/// An error of a command.
#[derive(Debug)]
pub(crate) enum CliError {
    /// The reader of standard output went away: nothing more to say.
    OutputClosed,
    /// Ctrl-C: whoever pressed it knows.
    Interrupted,
    /// Something to say, and the exit code that goes with it.
    Failed(Box<Failure>, Exit),
}

impl CliError {
    /// It could not be done here.
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self::with_exit(message, Exit::Failed)
    }

    /// Something that is reported with an exit code of its own.
    pub(crate) fn with_exit(message: impl Into<String>, exit: Exit) -> Self {
        Self::Failed(Box::new(Failure { message: message.into(), ..Failure::default() }), exit)
    }

    /// Adds why.
    pub(crate) fn because(mut self, cause: &(dyn std::error::Error + 'static)) -> Self {
        if let Self::Failed(failure, _) = &mut self {
            let mut next = Some(cause);
            while let Some(cause) = next {
                let text = cause.to_string();
                // Some libraries repeat their source in their own text.
                if !failure.causes.last().is_some_and(|before| before.ends_with(&text)) {
                    failure.causes.push(text);
                }
                next = cause.source();
            }
        }
        self
    }

    /// Adds what to do next.
    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        if let Self::Failed(failure, _) = &mut self {
            failure.hint = Some(hint.into());
        }
        self
    }

    /// Adds names close to the one that was not found.
    pub(crate) fn near(mut self, near: Vec<String>) -> Self {
        if let Self::Failed(failure, _) = &mut self {
            failure.near = near;
        }
        self
    }

    pub(crate) fn output(error: &io::Error) -> Self {
        if error.kind() == io::ErrorKind::BrokenPipe {
            return Self::OutputClosed;
        }
        Self::new("cannot write to standard output").because(error)
    }

    pub(crate) fn json(error: &serde_json::Error) -> Self {
        Self::new("cannot write the result as JSON").because(error)
    }
}

impl From<ClientError> for CliError {
    fn from(error: ClientError) -> Self {
        let exit = match &error {
            ClientError::Problem(problem) if problem.code == Code::APPROVAL_REQUIRED => Exit::Waits,
            ClientError::Problem(_) => Exit::Refused,
            error if error.is_transport() => Exit::Unreachable,
            _ => Exit::Failed,
        };
        let hint = match &error {
            ClientError::Connect { socket, source } if source.kind() == io::ErrorKind::PermissionDenied => {
                membership::hint(socket)
            }
            _ => None,
        };
        let hint = hint.or_else(|| error.hint());
        let mut failure = Failure { message: error.to_string(), hint, ..Failure::default() };
        if let Some(problem) = error.problem() {
            failure.code = Some(problem.code.to_string());
            failure.field.clone_from(&problem.field);
            failure.near.clone_from(&problem.near);
        }
        let result = Self::Failed(Box::new(failure), exit);
        match std::error::Error::source(&error) {
            Some(source) => result.because(source),
            None => result,
        }
    }
}

impl From<GatewayError> for CliError {
    fn from(error: GatewayError) -> Self {
        let exit = match &error {
            GatewayError::Refused { .. } | GatewayError::Failed { .. } => Exit::Refused,
            error if error.is_transport() => Exit::Unreachable,
            _ => Exit::Failed,
        };
        let result = Self::with_exit(error.to_string(), exit).hint(error.hint());
        match std::error::Error::source(&error) {
            Some(source) => result.because(source),
            None => result,
        }
    }
}

impl fmt::Display for CliError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Interrupted => formatter.write_str("interrupted"),
            Self::OutputClosed => formatter.write_str("the reader of the output went away"),
            Self::Failed(failure, _) => formatter.write_str(&failure.message),
        }
    }
}
