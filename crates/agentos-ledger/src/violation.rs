//! What a damaged ledger is found to have suffered: which event first, and what kind.

use std::fmt;

use serde::Serialize;

use crate::record::FieldError;
use crate::tiles::TreeError;

/// What kind of damage.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ViolationKind {
    /// The tables are not the ones the ledger made: rebuilt, extended, or gone.
    SchemaChanged,
    /// An event in the middle is not there.
    EventMissing,
    /// Events at the end are not there, though a sequence number, a tile or a checkpoint says they were.
    TailMissing,
    /// Two events have the same id.
    DuplicateId,
    /// Events do not stand in the order of their ids.
    OutOfOrder,
    /// A field is outside its charset, length or form.
    MalformedField,
    /// The payload does not repeat the event's own fields.
    FieldsDiffer,
    /// The stored hash is not the hash of the stored fields.
    HashMismatch,
    /// An event does not continue from the one before it.
    BrokenLink,
    /// The stored tree does not agree with the events.
    TreeMismatch,
    /// The events do not have the root that a signed checkpoint names.
    CheckpointMismatch,
    /// A checkpoint is not signed by the ledger's key.
    CheckpointKey,
    /// A stored checkpoint cannot be read.
    CheckpointMalformed,
    /// `sqlite_sequence` does not agree with the events.
    SequenceMismatch,
}

/// Damage found, with the events it may be in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Violation {
    /// What kind.
    pub kind: ViolationKind,
    /// The first event that is concerned; nothing when no event in particular is.
    pub first: Option<u64>,
    /// The last event that may be concerned; the same as `first` when that one is known to be it.
    pub last: Option<u64>,
    /// What was found, in a sentence.
    pub detail: String,
}

impl Violation {
    pub(crate) fn at(kind: ViolationKind, event: u64, detail: impl Into<String>) -> Self {
        Self { kind, first: Some(event), last: Some(event), detail: detail.into() }
    }

    pub(crate) fn between(kind: ViolationKind, first: u64, last: u64, detail: impl Into<String>) -> Self {
        Self { kind, first: Some(first), last: Some(last.max(first)), detail: detail.into() }
    }

    pub(crate) fn of_ledger(kind: ViolationKind, detail: impl Into<String>) -> Self {
        Self { kind, first: None, last: None, detail: detail.into() }
    }

    pub(crate) fn of_field(event: u64, error: FieldError) -> Self {
        let kind = match error {
            FieldError::Malformed(_) => ViolationKind::MalformedField,
            FieldError::NotRepeated => ViolationKind::FieldsDiffer,
        };
        Self::at(kind, event, error.to_string())
    }

    /// Damage in the stored tree as a violation; a failure of the database is handed back.
    pub(crate) fn of_tree(error: TreeError) -> Result<Self, rusqlite::Error> {
        match error {
            TreeError::Database(error) => Err(error),
            TreeError::Damaged { first, last } => Ok(Self::between(
                ViolationKind::TreeMismatch,
                first,
                last,
                "the stored tree over these events is missing or malformed",
            )),
        }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.first, self.last) {
            (Some(first), Some(last)) if first != last => {
                write!(formatter, "events {first} to {last}: {}", self.detail)
            }
            (Some(first), _) => write!(formatter, "event {first}: {}", self.detail),
            _ => formatter.write_str(&self.detail),
        }
    }
}
