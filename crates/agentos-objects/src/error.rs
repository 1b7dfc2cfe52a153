//! Why a content cannot be kept or given back.

use std::io;
use std::path::PathBuf;

use crate::Hash;

/// The reason.
#[derive(Debug, thiserror::Error)]
pub enum ObjectError {
    /// What is to be kept is larger than the whole store may be.
    #[error("{bytes} bytes are more than the {quota} that are kept for taking changes back")]
    OverQuota {
        /// Bytes that were to be kept, as far as they were counted.
        bytes: u64,
        /// Bytes the store may hold.
        quota: u64,
    },
    /// The content is not there: it was never kept, or made room for others.
    #[error("the content {0} is not kept any more")]
    Missing(Hash),
    /// The content is not what its name says: the disk or somebody changed it.
    #[error("the kept content {0} was damaged")]
    Damaged(Hash),
    /// The content is larger than the caller takes.
    #[error("the content {hash} is {bytes} bytes long, more than {limit}")]
    TooLarge {
        /// Which.
        hash: Hash,
        /// Its size.
        bytes: u64,
        /// What the caller takes.
        limit: u64,
    },
    /// The content that is to be kept cannot be read.
    #[error("cannot read what is to be kept")]
    Source(#[source] io::Error),
    /// The store's files cannot be used.
    #[error("cannot use {path:?}, where what changes replace is kept")]
    Io {
        /// Which file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The store's database cannot be used.
    #[error("cannot use the database of what changes replace")]
    Database(#[from] rusqlite::Error),
}

impl ObjectError {
    /// There is no room on the disk.
    pub fn is_full(&self) -> bool {
        match self {
            Self::Io { source, .. } => {
                matches!(source.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
            }
            Self::Database(error) => error.sqlite_error_code() == Some(rusqlite::ErrorCode::DiskFull),
            _ => false,
        }
    }
}
