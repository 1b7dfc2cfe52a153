//! What can go wrong with a ledger, and what to do about it.

use std::path::PathBuf;

use serde::Serialize;

use crate::note::NoteError;
use crate::violation::Violation;

/// Why the ledger could not be opened, read or asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LedgerError {
    /// A file or the directory could not be used.
    #[error("cannot {action} {path:?}")]
    File {
        /// What was tried.
        action: &'static str,
        /// On which path.
        path: PathBuf,
        /// The kernel's answer.
        #[source]
        source: std::io::Error,
    },
    /// Another process writes this ledger.
    #[error("another process holds the ledger in {0:?}; stop it, or use another state directory")]
    InUse(PathBuf),
    /// The database is gone, though something says that there was one.
    #[error(
        "the ledger's database {path:?} is missing, but {evidence:?} says there was one; restore it from a copy, or \
         move what is left of the old ledger away to begin a new one"
    )]
    Missing {
        /// The database.
        path: PathBuf,
        /// What says so.
        evidence: PathBuf,
    },
    /// The ledger is damaged. Nothing is appended to it.
    #[error("the ledger {path:?} is damaged: {violation}; keep it as evidence and restore a copy")]
    Corrupt {
        /// The database.
        path: PathBuf,
        /// What was found.
        violation: Violation,
    },
    /// The signing key cannot be used.
    #[error("the ledger's key {path:?} cannot be used")]
    Key {
        /// The key's file.
        path: PathBuf,
        /// Why.
        #[source]
        source: NoteError,
    },
    /// The signing key can be read by others.
    #[error(
        "the ledger's key {path:?} has mode {mode:o}; it must not be open to group or others (chmod 600)"
    )]
    KeyMode {
        /// The key's file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// The origin cannot name a ledger.
    #[error("the ledger's origin cannot be used")]
    Origin(#[source] NoteError),
    /// The database did not do what was asked.
    #[error("cannot {action} the ledger {path:?}")]
    Database {
        /// What was tried.
        action: &'static str,
        /// The database.
        path: PathBuf,
        /// SQLite's answer.
        #[source]
        source: rusqlite::Error,
    },
    /// The tree has never had that size.
    #[error("the ledger has {head} events, not {asked}")]
    NoSuchSize {
        /// The size that was asked for.
        asked: u64,
        /// The ledger's size.
        head: u64,
    },
    /// A filter's time cannot be compared.
    #[error("`since` and `until` must be within the years 0 to 9999")]
    Time,
    /// The writer refused.
    #[error(transparent)]
    Append(#[from] AppendError),
}

/// Why the ledger cannot be written just now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Cause {
    /// No space is left.
    DiskFull,
    /// The file system or the file is read-only.
    ReadOnly,
    /// Another process has locked the database.
    Locked,
    /// The disk failed to write or to sync.
    InputOutput,
    /// The database is not the one that was opened: moved, deleted, or written by somebody else.
    Replaced,
    /// The ledger was found damaged.
    Damaged,
    /// The system clock cannot be written as a time.
    Clock,
    /// Anything else.
    Other,
}

/// The ledger cannot be written: why, and what was seen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Unavailable {
    /// The kind of trouble.
    pub cause: Cause,
    /// What was seen, in a sentence that says what to do.
    pub reason: String,
}

/// Why an event was not acknowledged. Such an event counts as not recorded, and what it was for must not be done.
///
/// After [`AppendError::Unavailable`] the event may still turn up in the ledger: where the very last step, the sync,
/// failed, nobody can know. It is then whole, in the chain and in the tree.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AppendError {
    /// The queue is full: more is asked for than the disk takes. Try again.
    #[error("the ledger's queue is full; try again")]
    Busy,
    /// The ledger cannot be written just now. It recovers by itself when it can.
    #[error("the ledger cannot be written: {}", .0.reason)]
    Unavailable(Unavailable),
    /// The ledger was closed.
    #[error("the ledger is closed")]
    Closed,
}

impl Unavailable {
    pub(crate) fn new(cause: Cause, reason: impl Into<String>) -> Self {
        Self { cause, reason: reason.into() }
    }

    /// Sorts what SQLite answered into what a person can do about it.
    pub(crate) fn from_sqlite(error: &rusqlite::Error) -> Self {
        use rusqlite::ErrorCode;
        let (cause, advice) = match error.sqlite_error_code() {
            Some(ErrorCode::DiskFull) => (Cause::DiskFull, "make room on its file system"),
            Some(ErrorCode::ReadOnly | ErrorCode::PermissionDenied) => {
                (Cause::ReadOnly, "make its directory and files writable")
            }
            Some(ErrorCode::CannotOpen) => (Cause::ReadOnly, "make its directory and files accessible"),
            Some(
                ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked | ErrorCode::FileLockingProtocolFailed,
            ) => (Cause::Locked, "end the process that has the database locked"),
            Some(ErrorCode::SystemIoFailure) => (Cause::InputOutput, "look at the disk and the kernel's log"),
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase | ErrorCode::ConstraintViolation) => {
                (Cause::Damaged, "verify the ledger, and restore a copy")
            }
            _ => (Cause::Other, "look at the state directory"),
        };
        Self::new(cause, format!("{error}; {advice}"))
    }
}

impl From<LedgerError> for Unavailable {
    fn from(error: LedgerError) -> Self {
        match &error {
            LedgerError::Database { source, .. } => Self::from_sqlite(source),
            LedgerError::Corrupt { .. } => Self::new(Cause::Damaged, error.to_string()),
            LedgerError::Missing { .. } => Self::new(Cause::Replaced, error.to_string()),
            LedgerError::File { source, .. } => {
                let cause = match source.kind() {
                    std::io::ErrorKind::StorageFull => Cause::DiskFull,
                    std::io::ErrorKind::ReadOnlyFilesystem | std::io::ErrorKind::PermissionDenied => {
                        Cause::ReadOnly
                    }
                    std::io::ErrorKind::NotFound => Cause::Replaced,
                    _ => Cause::InputOutput,
                };
                Self::new(cause, format!("{error}: {source}"))
            }
            LedgerError::Append(AppendError::Unavailable(unavailable)) => unavailable.clone(),
            _ => Self::new(Cause::Other, error.to_string()),
        }
    }
}
