//! Opening a database that nobody writes, without changing a byte in its directory: no log is begun, no index is made, no
//! log is written back.
//!
//! The caller knows that nobody writes: it holds the ledger's lock, or it looks at evidence that nobody may touch.

use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags};

use crate::files::with_suffix;

/// By what a change of a database shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct State {
    file: (u64, u64, u64, i64, i64),
    log_bytes: u64,
}

/// What the database at `path` is now; nothing when there is none.
pub(crate) fn state(path: &Path) -> Option<State> {
    let metadata = path.symlink_metadata().ok()?;
    let log_bytes = with_suffix(path, "-wal").symlink_metadata().map_or(0, |log| log.len());
    let file = (metadata.dev(), metadata.ino(), metadata.len(), metadata.mtime(), metadata.mtime_nsec());
    Some(State { file, log_bytes })
}

/// Whether the log beside the database holds nothing.
pub(crate) fn log_is_empty(path: &Path) -> bool {
    with_suffix(path, "-wal").symlink_metadata().map_or(true, |log| log.len() == 0)
}

/// A connection that takes no lock and makes no file. With a log beside it, its index is kept in memory.
pub(crate) fn connect(path: &Path) -> rusqlite::Result<Connection> {
    // Without a log the file is all there is. With one, the VFS without locks lets a reader have the whole database to
    // itself, which is when SQLite needs no index in a file (sqlite.org/wal.html, "without shared-memory").
    let suffix = if log_is_empty(path) { "immutable=1" } else { "vfs=unix-none" };
    let uri = format!("file:{}?mode=ro&{suffix}", percent_encoded(path));
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY
        | OpenFlags::SQLITE_OPEN_NO_MUTEX
        | OpenFlags::SQLITE_OPEN_NOFOLLOW
        | OpenFlags::SQLITE_OPEN_URI;
    let connection = Connection::open_with_flags(&uri, flags)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
    connection.pragma_update(None, "locking_mode", "EXCLUSIVE")?;
    connection.pragma_update(None, "query_only", true)?;
    connection.pragma_update(None, "trusted_schema", "OFF")?;
    Ok(connection)
}

/// A path inside a `file:` URI (sqlite.org/uri.html, section 3.1).
pub(crate) fn percent_encoded(path: &Path) -> String {
    use std::fmt::Write as _;
    use std::os::unix::ffi::OsStrExt as _;
    let mut encoded = String::new();
    for &byte in path.as_os_str().as_bytes() {
        if byte.is_ascii_alphanumeric() || b"/._-".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            let _ = write!(encoded, "%{byte:02X}");
        }
    }
    encoded
}
