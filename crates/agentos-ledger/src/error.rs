//! What can go wrong with a ledger, and what to do about it.

use std::path::PathBuf;

use serde::Serialize;

use crate::files::KEY_FILE;
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
    /// The private key is gone, though there is a database that it signed.
    #[error("the ledger's key {path:?} is missing, but {database:?} is there; put the key back from a copy")]
    KeyMissing {
        /// The key's file.
        path: PathBuf,
        /// The database.
        database: PathBuf,
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
    /// The public key is not the private one's.
    #[error("the ledger's public key {path:?} is not that of {KEY_FILE} beside it: one of them was replaced")]
    KeysDiffer {
        /// The public key's file.
        path: PathBuf,
    },
    /// The signing key can be read by others.
    #[error(
        "the ledger's key {path:?} has mode {mode:04o}: others could sign in its name; run: chmod 0600 {path:?}"
    )]
    KeyMode {
        /// The key's file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// A file of the ledger belongs to somebody else, who could write it.
    #[error(
        "{path:?} belongs to uid {owner}, but the ledger is kept by uid {ours}; run: chown {ours} {path:?}"
    )]
    Owner {
        /// Which.
        path: PathBuf,
        /// Whose it is.
        owner: u32,
        /// Whose it must be.
        ours: u32,
    },
    /// In the place of a file of the ledger there is something else.
    #[error(
        "{path:?} is {found}, and must be a regular file; look at it with: ls -l {path:?}; then move it away, and put the \
         ledger's own file there"
    )]
    NotAFile {
        /// Which.
        path: PathBuf,
        /// What it is.
        found: &'static str,
    },
    /// A database that is kept as evidence is not what it was.
    #[error("{path:?} changed since it was examined; restart agentd to have it examined again")]
    Altered {
        /// Which.
        path: PathBuf,
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

impl LedgerError {
    /// What kind of damage this is, where it says that the ledger is not what was recorded: then it is evidence, and
    /// nothing may be written to it. Nothing where something else kept it from being opened: rights, the disk, another
    /// process.
    pub fn damage(&self) -> Option<Damage> {
        let kind = |kind: &str| Damage { kind: kind.to_owned(), first: None, last: None };
        match self {
            Self::Missing { .. } => Some(kind("database_missing")),
            Self::KeyMissing { .. } => Some(kind("key_missing")),
            Self::Key { .. } | Self::KeysDiffer { .. } => Some(kind("key_foreign")),
            Self::Corrupt { violation, .. } => Some(violation.into()),
            _ => None,
        }
    }
}

/// What a ledger that is not whole suffered, in the words that are answered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Damage {
    /// A [`crate::ViolationKind`], or `database_missing`, `key_missing`, `key_foreign`.
    pub kind: String,
    /// The first event that is concerned.
    pub first: Option<u64>,
    /// The last event that may be.
    pub last: Option<u64>,
}

impl From<&Violation> for Damage {
    fn from(violation: &Violation) -> Self {
        let kind = serde_json::to_value(violation.kind).ok();
        let kind = kind.as_ref().and_then(serde_json::Value::as_str).unwrap_or("damaged").to_owned();
        Self { kind, first: violation.first, last: violation.last }
    }
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
