//! Why a change cannot be planned, made or taken back.

use std::io;

use agentos_objects::ObjectError;

use crate::QueryError;

/// The reason. agentd maps each kind to one problem code and HTTP status.
#[derive(Debug, thiserror::Error)]
pub enum ChangeError {
    /// There is no mutation of that name.
    #[error("there is no mutation named {name:?}")]
    UnknownMutation {
        /// The name asked for.
        name: String,
        /// Names it was probably meant to be, best first.
        near: Vec<String>,
    },
    /// What is there is not what the plan was made for: somebody else changed it meanwhile.
    #[error("{what} was changed by somebody else: it is {found}, and was {planned} when this was planned")]
    Moved {
        /// The thing, as in [`agentos_api::change::Effect::on`].
        what: String,
        /// What the plan was made for.
        planned: String,
        /// What is there.
        found: String,
    },
    /// It cannot be done to this thing, whoever asks.
    #[error("{reason}")]
    Refused {
        /// Why, and what can be done instead.
        reason: String,
    },
    /// It was tried, and the machine said no. What had been done of this transition was taken back.
    #[error("{what}: {reason}")]
    Failed {
        /// What was tried.
        what: String,
        /// What the machine said.
        reason: String,
    },
    /// What is to be put back is not kept any more.
    #[error(transparent)]
    Objects(#[from] ObjectError),
    /// Reading what is there failed, or an argument is wrong.
    #[error(transparent)]
    Reading(#[from] QueryError),
}

impl ChangeError {
    /// The argument `field` is wrong because of `reason`.
    pub fn invalid(field: impl Into<String>, reason: impl Into<String>) -> Self {
        Self::Reading(QueryError::invalid(field, reason))
    }

    /// It cannot be done to this thing.
    pub fn refused(reason: impl Into<String>) -> Self {
        Self::Refused { reason: reason.into() }
    }

    /// What the machine answered when `what` was tried.
    pub fn failed(what: impl Into<String>, reason: impl std::fmt::Display) -> Self {
        Self::Failed { what: what.into(), reason: format!("{reason}") }
    }

    /// What the kernel answered while `what` was read.
    pub fn io(what: impl Into<String>, source: impl Into<io::Error>) -> Self {
        Self::Reading(QueryError::io(what, source))
    }
}
