//! What can go wrong, on which object, and what to do about it.

use std::io;
use std::path::PathBuf;

/// Why the memory could not do what was asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MemoryError {
    /// A field of the request does not hold what it must.
    #[error("{field}: {problem}")]
    Invalid {
        /// The field of the request, such as `query` or `timeframe.since`.
        field: &'static str,
        /// What is wrong with it and what it may be.
        problem: String,
    },
    /// The memory directory cannot be opened.
    #[error("memory directory {} cannot be opened: {problem}", path.display())]
    Directory {
        /// The directory.
        path: PathBuf,
        /// Why, and what helps.
        problem: &'static str,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
    /// A memory file is not something that may be written.
    #[error("memory file {file} is left alone: {reason}")]
    Refused {
        /// The file, relative to the memory directory.
        file: String,
        /// What it is instead.
        reason: &'static str,
    },
    /// A memory file could not be read or written.
    #[error(
        "memory file {file}: {action} failed; what was to be remembered may be missing or incomplete in it"
    )]
    File {
        /// The file, relative to the memory directory.
        file: String,
        /// The step that failed.
        action: &'static str,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
    /// Every file of the day has reached its size limit.
    #[error("the memory files of {day} are full: move some of memory/{day}*.md elsewhere")]
    DayFull {
        /// The day, `YYYY-MM-DD`.
        day: String,
    },
    /// No random number could be had for an entry's id.
    #[error("the kernel gave no random bytes for the entry's id; nothing was written")]
    Random,
    /// The index file cannot be created or replaced.
    #[error("memory index {} cannot be created", path.display())]
    IndexFile {
        /// The index file.
        path: PathBuf,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
    /// Another process has the index open.
    #[error("memory index {} is in use by another process: stop it, or give each its own index", path.display())]
    IndexLocked {
        /// The index file.
        path: PathBuf,
    },
    /// SQLite failed on the index. The markdown files are not affected.
    #[error("memory index {} failed; it may be deleted, it is made again from the files", path.display())]
    Index {
        /// The index file.
        path: PathBuf,
        /// What SQLite said.
        #[source]
        source: rusqlite::Error,
    },
}

impl MemoryError {
    /// The field of the request at fault, if the request is at fault.
    pub fn field(&self) -> Option<&'static str> {
        match self {
            Self::Invalid { field, .. } => Some(field),
            _ => None,
        }
    }

    pub(crate) fn invalid(field: &'static str, problem: impl Into<String>) -> Self {
        Self::Invalid { field, problem: problem.into() }
    }
}
