//! Verification: reads a ledger strictly, live or copied, and says whether it is whole or which event is the first that
//! is not. It never creates or changes a database.

mod open;
mod tree;
mod walk;

use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::error::LedgerError;
use crate::files::{PUBLIC_KEY_FILE, read_public_key};
use crate::note::{NoteError, VerifierKey, open_checkpoint};
use crate::violation::Violation;

/// What to verify against.
#[derive(Default)]
#[non_exhaustive]
pub struct VerifyOptions<'a> {
    /// A signed checkpoint that is believed, from outside the ledger's machine. Events that it covers are not read again,
    /// unless `full` is set; the tree above them must still have its root.
    pub trusted: Option<&'a str>,
    /// The key that checkpoints must be signed with. Left out: the public key beside the database. Whoever can rewrite the
    /// ledger can replace that one too.
    pub public_key: Option<VerifierKey>,
    /// Read every event, also those that `trusted` covers.
    pub full: bool,
    /// Believe that nobody writes the database, and make not even an index beside its log.
    pub nobody_writes: bool,
    /// Called now and then with how far the verification is.
    pub progress: Option<&'a mut dyn FnMut(Progress)>,
}

impl<'a> VerifyOptions<'a> {
    /// Believes the checkpoint `note`.
    pub fn trusting(mut self, note: &'a str) -> Self {
        self.trusted = Some(note);
        self
    }

    /// Expects checkpoints signed with `key`.
    pub fn signed_by(mut self, key: VerifierKey) -> Self {
        self.public_key = Some(key);
        self
    }

    /// Reads every event.
    pub fn reading_all(mut self) -> Self {
        self.full = true;
        self
    }

    /// Believes that nobody writes the database meanwhile, so that nothing has to be made beside it.
    pub fn that_nobody_writes(mut self) -> Self {
        self.nobody_writes = true;
        self
    }

    /// Calls `progress` about every 16,384 events.
    pub fn reporting_to(mut self, progress: &'a mut dyn FnMut(Progress)) -> Self {
        self.progress = Some(progress);
        self
    }
}

impl std::fmt::Debug for VerifyOptions<'_> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("VerifyOptions")
            .field("trusted", &self.trusted)
            .field("public_key", &self.public_key)
            .field("full", &self.full)
            .field("nobody_writes", &self.nobody_writes)
            .finish_non_exhaustive()
    }
}

/// How far a verification is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// The last event that was verified.
    pub done: u64,
    /// The last event that there is.
    pub total: u64,
}

/// What a whole ledger was found to be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Report {
    /// How many events it has.
    pub size: u64,
    /// How many of them were read; those before are vouched for by the trusted checkpoint.
    pub read: u64,
    /// The tree's root, in base64.
    pub root: String,
    /// The hash of the last event; 64 zeros for an empty ledger.
    pub head_hash: String,
    /// How many stored checkpoints were found to be signed and to hold.
    pub checkpoints: u64,
    /// How many events at the end no stored or trusted checkpoint covers: root could have rewritten these unseen.
    pub unsigned: u64,
    /// The size of the trusted checkpoint, where one was given.
    pub trusted: Option<u64>,
    /// The key that the checkpoints are signed with; nothing when no key was given and none lies beside the database, so
    /// that signatures were not checked.
    pub public_key: Option<String>,
    /// How often the clock was set back between two events.
    pub clock_set_back: u64,
}

/// Why a ledger is not found whole.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum VerifyError {
    /// The ledger was tampered with or damaged.
    #[error("{0}")]
    Violation(Violation),
    /// There is no database.
    #[error("there is no ledger at {path:?}; if there was one, it was deleted")]
    Missing {
        /// Where it was looked for.
        path: PathBuf,
    },
    /// The file is not one that can be verified: a link, a directory, a FIFO.
    #[error("{path:?} is not a regular file")]
    NotAFile {
        /// Which.
        path: PathBuf,
    },
    /// The trusted checkpoint is not one of the key's.
    #[error("the trusted checkpoint cannot be used")]
    Trusted(#[source] NoteError),
    /// The database cannot be opened for reading as it is.
    #[error(
        "{path:?} cannot be opened without writing: its log `-wal` needs an index `-shm`; copy both into a directory that \
         can be written and verify the copy"
    )]
    NeedsIndex {
        /// Which.
        path: PathBuf,
    },
    /// It was written to or replaced during the verification.
    #[error("{path:?} changed while it was read; verify again")]
    Changed {
        /// Which.
        path: PathBuf,
    },
    /// The database could not be read.
    #[error("cannot read {path:?}")]
    Database {
        /// Which.
        path: PathBuf,
        /// SQLite's answer.
        #[source]
        source: rusqlite::Error,
    },
    /// A file beside the ledger could not be used.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// The thread that checks the tree could not be started or ended early.
    #[error("the tree could not be checked")]
    Thread,
}

impl VerifyError {
    /// The violation, if it is one.
    pub fn violation(&self) -> Option<&Violation> {
        if let Self::Violation(violation) = self { Some(violation) } else { None }
    }
}

/// Verifies the ledger whose database is at `path`.
///
/// Memory does not grow with the ledger. With a trusted checkpoint only what is new is read; should the ledger not
/// continue from it, everything is, to say where it departs.
///
/// # Errors
/// [`VerifyError::Violation`] names the first event and the kind of damage, [`VerifyError::Missing`] says that there is
/// no ledger; the others, why it could not be verified.
pub fn verify(path: &Path, options: VerifyOptions<'_>) -> Result<Report, VerifyError> {
    let VerifyOptions { trusted, public_key, full, nobody_writes, progress } = options;
    let key = match public_key {
        Some(key) => Some(key),
        None => key_beside(path)?,
    };
    let trusted = match (trusted, &key) {
        (None, _) => None,
        (Some(note), Some(key)) => Some(open_checkpoint(note, key).map_err(VerifyError::Trusted)?),
        (Some(_), None) => {
            return Err(VerifyError::Trusted(NoteError::MalformedKey(
                "no public key is given to check it with",
            )));
        }
    };
    let mut ignore = |_: Progress| {};
    let progress: &mut dyn FnMut(Progress) = match progress {
        Some(progress) => progress,
        None => &mut ignore,
    };
    let task = walk::Task { key: key.as_ref(), trusted: trusted.as_ref(), full };
    // A ledger that nobody had open may be opened while it is read: then it is read again, beside its writer.
    let mut attempts = 3;
    loop {
        attempts -= 1;
        match attempt(path, nobody_writes, &task, progress) {
            Err(VerifyError::Changed { .. }) if attempts > 0 => {}
            result => return result,
        }
    }
}

fn attempt(
    path: &Path,
    nobody_writes: bool,
    task: &walk::Task<'_>,
    progress: &mut dyn FnMut(Progress),
) -> Result<Report, VerifyError> {
    let database = open::Database::open(path, nobody_writes)?;
    let result = task.run(&database, progress);
    database.unchanged()?;
    result.map_err(|stop| match stop {
        walk::Stop::Violation(violation) => VerifyError::Violation(violation),
        walk::Stop::Thread => VerifyError::Thread,
        walk::Stop::Database(source) => database.failed(source),
    })
}

fn key_beside(path: &Path) -> Result<Option<VerifierKey>, VerifyError> {
    let Some(directory) = path.parent() else { return Ok(None) };
    let file = directory.join(PUBLIC_KEY_FILE);
    if file.symlink_metadata().is_err() {
        return Ok(None);
    }
    Ok(Some(read_public_key(&file)?))
}
