//! Why a change does not go on.

use agentos_ledger::{AppendError, DataError, LedgerError};
use agentos_objects::ObjectError;
use agentos_system::change::ChangeError;

/// The reason. agentd maps each kind to one problem code and HTTP status.
#[derive(Debug, thiserror::Error)]
pub enum ChangesError {
    /// The request is wrong.
    #[error("{field}: {reason}")]
    Invalid {
        /// The field of the request.
        field: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A step cannot be planned.
    #[error(transparent)]
    Planning(#[from] ChangeError),
    /// There is no change, or grant, of that number.
    #[error("there is no {0}")]
    NotFound(String),
    /// The policy says no.
    #[error("{0}")]
    Denied(String),
    /// Who asks has used up what they may use.
    #[error("{0}")]
    Quota(String),
    /// Where the change stands, this cannot be done with it.
    #[error("{0}")]
    Conflict(Conflict),
    /// It was tried, and the machine refused.
    #[error("change {change} was not made: {reason}")]
    Failed {
        /// Its number.
        change: u64,
        /// What the machine said, and what became of what had been made.
        reason: String,
    },
    /// Too much waits, or another change is being made for long.
    #[error("{0}")]
    Busy(String),
    /// It could not be recorded, so it was not done.
    #[error(transparent)]
    Ledger(#[from] AppendError),
    /// The ledger cannot be read.
    #[error(transparent)]
    Reading(#[from] LedgerError),
    /// It is too large to be recorded.
    #[error(transparent)]
    Data(#[from] DataError),
    /// What changes replace cannot be kept, or is not kept any more.
    #[error(transparent)]
    Objects(#[from] ObjectError),
    /// The database of changes cannot be used.
    #[error("the database of changes cannot be used; it may be deleted, and is made anew from the ledger")]
    Book(#[from] rusqlite::Error),
    /// What is kept of a change is not what this version writes.
    #[error("what is kept of change {change} cannot be read: {reason}")]
    Kept {
        /// Its number.
        change: u64,
        /// Why.
        reason: String,
    },
}

/// Why something cannot be done with a change as it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Conflict {
    /// It is not what it would have to be: approved twice, undone twice.
    Stands {
        /// Its number.
        change: u64,
        /// What it would have to be.
        wanted: &'static str,
        /// How it stands, and who did that when.
        stands: String,
    },
    /// A question does not wait any more.
    QuestionStands {
        /// Its number.
        question: u64,
        /// How it stands, and who did that when.
        stands: String,
    },
    /// The plan, or the question, has another hash than the one that was looked at.
    PlanChanged {
        /// The hash of the plan that holds.
        now: String,
    },
    /// The machine is not as it was when this was planned; it was planned anew.
    PlanMoved {
        /// Its number.
        change: u64,
        /// What moved.
        what: String,
        /// The hash of the plan that holds now.
        now: String,
    },
    /// Later changes build on it.
    Dependents {
        /// Its number.
        change: u64,
        /// Theirs, the oldest first.
        dependents: Vec<u64>,
    },
    /// The confirmation came over a connection, or from a login, from before the change.
    NotFresh {
        /// Its number.
        change: u64,
        /// What is wrong with the login; nothing where it is the connection.
        login: Option<String>,
    },
}

impl std::fmt::Display for Conflict {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Stands { change, wanted, stands } => {
                write!(formatter, "change {change} is {stands}, not {wanted}")
            }
            Self::QuestionStands { question, stands } => {
                write!(formatter, "question {question} is {stands}, not waiting for a yes")
            }
            Self::PlanChanged { now } => {
                write!(formatter, "it is not the one that was looked at; what holds has the hash {now}")
            }
            Self::PlanMoved { change, what, now } => write!(
                formatter,
                "{what}; change {change} was planned anew and waits again, with a plan of the hash {now}"
            ),
            Self::Dependents { change, dependents } => {
                let list = dependents.iter().map(u64::to_string).collect::<Vec<_>>().join(", ");
                write!(formatter, "later changes build on change {change}: {list}")
            }
            Self::NotFresh { change, login: Some(why) } => write!(
                formatter,
                "change {change} may have locked this machine's people out, so it is confirmed from a new login, and this does \
                 not come from one: {why}"
            ),
            Self::NotFresh { change, login: None } => write!(
                formatter,
                "change {change} may have cut this machine off, so it is confirmed over a connection made after it"
            ),
        }
    }
}

impl From<Conflict> for ChangesError {
    fn from(conflict: Conflict) -> Self {
        Self::Conflict(conflict)
    }
}
