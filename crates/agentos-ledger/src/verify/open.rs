//! Opening a database without changing anything: the live one beside its writer, or a copy wherever it lies.

use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, ErrorCode, OpenFlags};

use super::VerifyError;
use crate::alone::{self, State, log_is_empty, percent_encoded, state};
use crate::files::with_suffix;
use crate::violation::{Violation, ViolationKind};

/// The page cache while verifying, in KiB (negative for SQLite): pages are read once, in order.
const CACHE_KIB: i64 = -4096;

/// A database that is only read.
#[derive(Debug)]
pub(super) struct Database {
    path: PathBuf,
    pub(super) connection: Connection,
    /// What the file was, where SQLite was told that nobody writes to it.
    alone: Option<State>,
}

impl Database {
    /// Opens the database at `path`. Where `nobody_writes`, that is believed, and nothing at all is made beside it.
    pub(super) fn open(path: &Path, nobody_writes: bool) -> Result<Self, VerifyError> {
        let missing = || VerifyError::Missing { path: path.to_owned() };
        let metadata = path.metadata().map_err(|error| match error.kind() {
            std::io::ErrorKind::NotFound => missing(),
            _ => VerifyError::Ledger(crate::files::file_error("inspect", path)(error)),
        })?;
        if !metadata.is_file() {
            return Err(VerifyError::NotAFile { path: path.to_owned() });
        }
        let path = path.canonicalize().map_err(|_| missing())?;
        if metadata.len() == 0 {
            let detail = "the database is an empty file: it was emptied";
            return Err(VerifyError::Violation(Violation::of_ledger(ViolationKind::SchemaChanged, detail)));
        }

        if nobody_writes {
            let before = state(&path);
            let open = || {
                let connection = alone::connect(&path)?;
                connection.pragma_update(None, "cache_size", CACHE_KIB)?;
                connection.execute_batch("BEGIN")?;
                connection.query_row("SELECT count(*) FROM sqlite_schema", [], |_| Ok(()))?;
                Ok(connection)
            };
            return match open() {
                Ok(connection) => Ok(Self { path, connection, alone: before }),
                Err(source) => Err(failed(&path, source)),
            };
        }
        // Nobody has the database open, or it is a copy: as an immutable file it needs neither log nor index, and none
        // is made. With an index there is a writer, or there was one; then the log is part of the ledger.
        let index = with_suffix(&path, "-shm");
        let alone =
            if log_is_empty(&path) && index.symlink_metadata().is_err() { state(&path) } else { None };
        let suffix = if alone.is_some() { "&immutable=1" } else { "" };
        let uri = format!("file:{}?mode=ro{suffix}", percent_encoded(&path));
        let flags =
            OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX | OpenFlags::SQLITE_OPEN_URI;
        let open = || {
            let connection = Connection::open_with_flags(&uri, flags)?;
            connection.busy_timeout(Duration::from_secs(5))?;
            connection.pragma_update(None, "query_only", true)?;
            connection.pragma_update(None, "trusted_schema", "OFF")?;
            connection.pragma_update(None, "cache_size", CACHE_KIB)?;
            // One state of the ledger for all that is read.
            connection.execute_batch("BEGIN")?;
            connection.query_row("SELECT count(*) FROM sqlite_schema", [], |_| Ok(()))?;
            Ok(connection)
        };
        match open() {
            Ok(connection) => Ok(Self { path, connection, alone }),
            Err(source) => Err(failed(&path, source)),
        }
    }

    /// Whether a file that was read as if nobody wrote to it was indeed left alone.
    pub(super) fn unchanged(&self) -> Result<(), VerifyError> {
        if self.alone.is_some() && self.alone != state(&self.path) {
            return Err(VerifyError::Changed { path: self.path.clone() });
        }
        Ok(())
    }

    pub(super) fn failed(&self, source: rusqlite::Error) -> VerifyError {
        failed(&self.path, source)
    }
}

fn failed(path: &Path, source: rusqlite::Error) -> VerifyError {
    match source.sqlite_error_code() {
        Some(ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt) => {
            let detail = format!("the database file is damaged: {source}");
            VerifyError::Violation(Violation::of_ledger(ViolationKind::SchemaChanged, detail))
        }
        Some(ErrorCode::CannotOpen | ErrorCode::ReadOnly) if !log_is_empty(path) => {
            VerifyError::NeedsIndex { path: path.to_owned() }
        }
        _ => VerifyError::Database { path: path.to_owned(), source },
    }
}
