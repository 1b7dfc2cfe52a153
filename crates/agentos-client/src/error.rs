//! What can go wrong between a caller and agentd, each with what to do about it.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use agentos_api::Problem;

/// Why a request has no answer.
///
/// `Display` says what happened and on which object; [`ClientError::hint`] says what to do; the cause, where there is
/// one, is the `source`.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClientError {
    /// No connection to the socket.
    #[error("cannot connect to agentd on {}", socket.display())]
    Connect {
        /// The socket that was tried.
        socket: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// The connection ended before the answer was complete. Whether the request was carried out is not known.
    #[error("the connection to agentd on {} ended before the answer to {route}", socket.display())]
    Interrupted {
        /// The socket.
        socket: PathBuf,
        /// Method and path of the request.
        route: String,
        /// What the connection reported.
        source: hyper::Error,
    },
    /// The answer did not come in time. Whether the request was carried out is not known.
    #[error("agentd on {} did not answer {route} within {} s", socket.display(), after.as_secs_f64())]
    TimedOut {
        /// The socket.
        socket: PathBuf,
        /// Method and path of the request, or `connect`.
        route: String,
        /// The limit that passed.
        after: Duration,
    },
    /// The answer is larger than the caller wanted to read.
    #[error("the answer to {route} is larger than {limit} bytes")]
    TooLarge {
        /// Method and path of the request.
        route: String,
        /// The limit, in bytes.
        limit: usize,
    },
    /// agentd understood the request and refused it or could not do it.
    #[error("{}", .0.detail)]
    Problem(Box<Problem>),
    /// What came back is not what this API sends: another program, or another version, is on the socket.
    #[error("the answer to {route} on {} is not of this API: {reason}", socket.display())]
    Protocol {
        /// The socket.
        socket: PathBuf,
        /// Method and path of the request.
        route: String,
        /// What was found instead, in one line without control characters.
        reason: String,
    },
}

impl ClientError {
    /// What to do next, in one or two sentences.
    pub fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::Connect { socket, source } => return Some(connect_hint(socket, source)),
            Self::Interrupted { .. } => {
                "agentd may have stopped: look at `systemctl status agentd` and `journalctl -u agentd`. The ledger says whether the request was \
                 carried out."
            }
            Self::TimedOut { .. } => {
                "The machine may be busy, or agentd does not start: look at `systemctl status agentd`, or allow more time. The ledger says whether \
                 the request was carried out."
            }
            Self::TooLarge { .. } => "Ask for less: a lower limit, a narrower filter.",
            Self::Problem(problem) => return problem.hint.clone(),
            Self::Protocol { .. } => {
                "Check that the socket is agentd's and that agentd and this program have the same version."
            }
        };
        Some(hint.to_owned())
    }

    /// The problem, when agentd answered with one.
    pub fn problem(&self) -> Option<&Problem> {
        match self {
            Self::Problem(problem) => Some(problem),
            _ => None,
        }
    }

    /// Whether agentd could not be reached at all or stopped answering, as opposed to answering with something.
    pub fn is_transport(&self) -> bool {
        matches!(self, Self::Connect { .. } | Self::Interrupted { .. } | Self::TimedOut { .. })
    }
}

fn connect_hint(socket: &std::path::Path, source: &io::Error) -> String {
    match source.kind() {
        io::ErrorKind::NotFound => {
            "There is no such socket: start agentd (`systemctl start agentd.socket agentd-operator.socket`; `systemctl \
             status agentd` says how it is), or name the socket it listens on."
                .to_owned()
        }
        io::ErrorKind::ConnectionRefused => {
            "The socket is there and nobody listens on it: start agentd (`systemctl start agentd.socket \
             agentd-operator.socket`; `systemctl status agentd` says how it is)."
                .to_owned()
        }
        io::ErrorKind::PermissionDenied => format!(
            "Your user may not use this socket: join the group that owns it (`stat -c %G {}`) and log in again.",
            socket.display()
        ),
        io::ErrorKind::InvalidInput => {
            "The path is not usable as a Unix socket: it is longer than 107 bytes or holds a NUL.".to_owned()
        }
        _ => "Check that agentd runs (`systemctl status agentd`) and that the path is its socket.".to_owned(),
    }
}
