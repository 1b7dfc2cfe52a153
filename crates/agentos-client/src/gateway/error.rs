//! What can go wrong in a turn, each with what to do about it.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

/// Why a turn has no answer, or only the beginning of one.
///
/// `Display` says what happened; [`GatewayError::hint`] says what to do; the cause, where there is one, is the `source`.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum GatewayError {
    /// No connection.
    #[error("cannot reach the gateway at {address}")]
    Connect {
        /// Where it should listen.
        address: SocketAddr,
        /// What the kernel said.
        source: io::Error,
    },
    /// The connection ended before the answer did.
    #[error("the gateway at {address} broke off before the end of the answer")]
    Interrupted {
        /// Where it listens.
        address: SocketAddr,
        /// What the connection reported; none when it was ended in good order, too early.
        source: Option<hyper::Error>,
    },
    /// Nothing came for too long, or the turn took too long as a whole.
    #[error("the gateway at {address} did not end the turn: {what} {} s", after.as_secs_f64())]
    TimedOut {
        /// Where it listens.
        address: SocketAddr,
        /// Which time passed, to be read before its length.
        what: &'static str,
        /// The limit that passed.
        after: Duration,
    },
    /// What was to be said is too long.
    #[error("what is said may have {limit} bytes, not {length}")]
    SaidTooMuch {
        /// Its length, in bytes.
        length: usize,
        /// The limit, in bytes.
        limit: usize,
    },
    /// The answer is larger than is read.
    #[error("the answer is too large: {what} {limit} bytes")]
    TooLarge {
        /// Which size was passed, to be read before the limit.
        what: &'static str,
        /// The limit, in bytes.
        limit: usize,
    },
    /// The gateway did not take the turn.
    #[error("the gateway at {address} refused the turn with status {status}: {reason}")]
    Refused {
        /// Where it listens.
        address: SocketAddr,
        /// The HTTP status.
        status: u16,
        /// Why, in its words, in one line.
        reason: String,
    },
    /// The turn began and failed: in the model, or in the gateway.
    #[error("the turn failed: {reason}")]
    Failed {
        /// Why, in the gateway's words, in one line.
        reason: String,
    },
    /// What came back is not what the gateway's endpoint sends.
    #[error("the answer of {address} is not of the gateway's endpoint: {reason}")]
    Protocol {
        /// Where it was asked.
        address: SocketAddr,
        /// What was found instead, in one line.
        reason: String,
    },
}

impl GatewayError {
    /// What to do next, in one or two sentences.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Connect { .. } => {
                "See whether the gateway runs (`systemctl status openclaw-gateway`); it takes up to a minute to start."
            }
            Self::Interrupted { .. } => {
                "The gateway may have stopped: look at `systemctl status openclaw-gateway` and `journalctl -u \
                 openclaw-gateway`. `agentctl events` shows what the turn did until then."
            }
            Self::TimedOut { .. } => {
                "The model may be slow or out of reach: look at `journalctl -u openclaw-gateway`. `agentctl events` \
                 shows what the turn did until then."
            }
            Self::SaidTooMuch { .. } => "Say less, or name a file that the agent can read.",
            Self::TooLarge { .. } => "Ask for less.",
            Self::Refused { status: 401 | 403, .. } => {
                "The gateway has another token by now: `sudo systemctl restart openclaw-gateway`, or run \
                 `sudo agentos-setup` again."
            }
            Self::Refused { .. } | Self::Failed { .. } => {
                "`journalctl -u openclaw-gateway` may say more: whether the model's key is right, and its provider in \
                 reach."
            }
            Self::Protocol { .. } => {
                "Another program may listen there: look at `systemctl status openclaw-gateway`, or run \
                 `sudo agentos-setup` again."
            }
        }
    }

    /// Whether the gateway could not be reached at all or stopped answering, as opposed to answering with something.
    pub fn is_transport(&self) -> bool {
        matches!(self, Self::Connect { .. } | Self::Interrupted { .. } | Self::TimedOut { .. })
    }
}
