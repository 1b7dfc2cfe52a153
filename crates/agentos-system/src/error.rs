//! Why a question could not be answered: what happened, on which object, and what to do next.

use std::borrow::Cow;
use std::io;
use std::time::Duration;

/// The reason a query has no answer. agentd maps each kind to one problem code and HTTP status.
#[derive(Debug, thiserror::Error)]
pub enum QueryError {
    /// There is no query of that name.
    #[error("there is no query named {name:?}")]
    UnknownQuery {
        /// The name asked for.
        name: String,
        /// Names it was probably meant to be, best first.
        near: Vec<String>,
    },
    /// The query exists; the process, file, unit … it was asked about does not.
    #[error("{what} does not exist")]
    NotFound {
        /// The object, as it was asked for: `process 4711`, `the file /etc/nope`.
        what: String,
        /// Names it was probably meant to be, best first.
        near: Vec<String>,
    },
    /// An argument has the wrong type, is out of range, is missing or is unknown.
    #[error("{field}: {reason}")]
    InvalidArgument {
        /// The argument at fault as a path below `args`: `limit`; `args` itself where no single one is at fault.
        field: String,
        /// What is wrong with it, and what would be right.
        reason: String,
    },
    /// This machine lacks what the answer needs.
    #[error("{reason}")]
    Unavailable {
        /// The problem code, such as `systemd_unavailable`.
        code: &'static str,
        /// What is missing.
        reason: String,
        /// What to do about it.
        hint: Option<Cow<'static, str>>,
    },
    /// The caller may not have this answer.
    #[error("{reason}")]
    Forbidden {
        /// What is kept from the caller, and from whom it may be had.
        reason: String,
    },
    /// The rules of the machine's owner keep this from the caller.
    #[error("{reason}")]
    Denied {
        /// Which rule, and why.
        reason: String,
    },
    /// The answer, or something read for it, is larger than what is read.
    #[error("{what} is larger than {limit_bytes} bytes")]
    TooLarge {
        /// The thing that is too large.
        what: String,
        /// The limit, in bytes.
        limit_bytes: u64,
    },
    /// The machine did not answer in time: a hung mount, a service that does not reply.
    #[error("{what} did not answer within {} ms", .after.as_millis())]
    TimedOut {
        /// Who did not answer.
        what: String,
        /// How long it was waited for.
        after: Duration,
    },
    /// The kernel refused.
    #[error("cannot read {what}")]
    Io {
        /// What was read.
        what: String,
        /// The kernel's reason.
        #[source]
        source: io::Error,
    },
}

impl QueryError {
    /// The object `what` does not exist, and nothing is known that is close to it.
    pub fn not_found(what: impl Into<String>) -> Self {
        Self::NotFound { what: what.into(), near: Vec::new() }
    }

    /// The argument `field` is wrong because of `reason`.
    pub fn invalid(field: impl Into<String>, reason: impl Into<String>) -> Self {
        Self::InvalidArgument { field: field.into(), reason: reason.into() }
    }

    /// The machine lacks something. `code` is the problem code that is sent.
    pub fn unavailable(code: &'static str, reason: impl Into<String>, hint: &'static str) -> Self {
        Self::Unavailable { code, reason: reason.into(), hint: Some(Cow::Borrowed(hint)) }
    }

    /// What the kernel answered while `what` was read: a missing object becomes [`QueryError::NotFound`], a refusal
    /// for lack of rights [`QueryError::Forbidden`], anything else [`QueryError::Io`].
    pub fn io(what: impl Into<String>, source: impl Into<io::Error>) -> Self {
        let (what, source) = (what.into(), source.into());
        match source.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => Self::not_found(what),
            io::ErrorKind::PermissionDenied => Self::Forbidden {
                reason: format!("the kernel does not let this agentd read {what}: {source}"),
            },
            _ => Self::Io { what, source },
        }
    }
}
