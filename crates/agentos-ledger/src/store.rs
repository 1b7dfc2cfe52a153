//! The database, open for writing: made once, checked each time it is opened, never silently made again.
//!
//! Opening reads the last events (255 at most), the unfinished tiles' roots and the last checkpoint, whatever the
//! ledger's length: enough to continue it, and to refuse a ledger whose end was cut or altered.

use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags, OptionalExtension as _};

use crate::alone;
use crate::chain::{COLUMNS, Chain};
use crate::digest::{Digest, GENESIS, from_hex, to_base64};
use crate::error::LedgerError;
use crate::files::{Files, KEY_FILE, file_error, identity, no_follow, with_suffix};
use crate::merkle::{Frontier, TILE_WIDTH};
use crate::note::{NoteError, TreeHead, VerifierKey, open_checkpoint};
use crate::schema;
use crate::tiles::TreeReader;
use crate::violation::{Violation, ViolationKind};

/// The last event that is durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// Its id, and so the ledger's size; 0 for an empty ledger.
    pub id: u64,
    /// Its hash; zeros for an empty ledger.
    pub hash: Digest,
}

/// An open ledger as the writer holds it.
#[derive(Debug)]
pub(crate) struct Store {
    pub(crate) connection: Connection,
    pub(crate) head: Head,
    pub(crate) frontier: Frontier,
    /// The size of the last stored checkpoint.
    pub(crate) checkpointed: u64,
    data_version: i64,
    /// Which files these were when they were opened: main database, write-ahead log.
    identity: [Option<(u64, u64)>; 2],
}

/// A failure on the way of opening: the database's, or damage that was found.
enum Failure {
    Database(rusqlite::Error),
    Violation(Violation),
    Key(NoteError),
}

impl Failure {
    fn of_opening(self, path: PathBuf) -> LedgerError {
        match self {
            Self::Violation(violation) => LedgerError::Corrupt { path, violation },
            Self::Key(source) => LedgerError::Key { path: path.with_file_name(KEY_FILE), source },
            Self::Database(source) if is_not_a_database(&source) => {
                let violation = Violation::of_ledger(ViolationKind::SchemaChanged, source.to_string());
                LedgerError::Corrupt { path, violation }
            }
            Self::Database(source) => LedgerError::Database { action: "open", path, source },
        }
    }
}

impl From<rusqlite::Error> for Failure {
    fn from(error: rusqlite::Error) -> Self {
        Self::Database(error)
    }
}

impl From<Violation> for Failure {
    fn from(violation: Violation) -> Self {
        Self::Violation(violation)
    }
}

impl From<crate::tiles::TreeError> for Failure {
    fn from(error: crate::tiles::TreeError) -> Self {
        match Violation::of_tree(error) {
            Ok(violation) => Self::Violation(violation),
            Err(error) => Self::Database(error),
        }
    }
}

/// Makes the database of a new ledger. It has its name only once it is whole.
pub(crate) fn create(files: &Files, origin: &str) -> Result<(), LedgerError> {
    let path = files.unfinished();
    for suffix in ["-wal", "-shm", "-journal"] {
        match std::fs::remove_file(with_suffix(&path, suffix)) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(file_error("remove the unfinished database", &path)(error));
            }
            _ => {}
        }
    }
    // SQLite gives the log and the index beside it the rights of the database. The name stays while it is emptied: it says
    // that a beginning is under way.
    OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .custom_flags(no_follow())
        .open(&path)
        .map_err(file_error("create the database", &path))?;
    let make = || {
        let connection = Connection::open_with_flags(&path, write_flags())?;
        connection.pragma_update(None, "synchronous", "FULL")?;
        connection.pragma_update(None, "journal_mode", "WAL")?;
        let transaction = connection.unchecked_transaction()?;
        schema::create(&transaction, origin)?;
        transaction.commit()?;
        // Closing the last connection writes the log into the database and removes it.
        connection.close().map_err(|(_, error)| error)
    };
    make().map_err(|source| LedgerError::Database { action: "create", path: path.clone(), source })?;
    let database = files.database();
    std::fs::rename(&path, &database).map_err(file_error("name the database", &database))?;
    files.sync_directory()
}

fn write_flags() -> OpenFlags {
    OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX | OpenFlags::SQLITE_OPEN_NOFOLLOW
}

/// How a ledger is opened for writing.
#[derive(Clone, Debug)]
pub(crate) struct OpenOptionsForStore<'a> {
    pub(crate) key: &'a VerifierKey,
    pub(crate) busy_timeout: Duration,
    /// A checkpoint from outside that the ledger must still hold.
    pub(crate) witnessed: Option<&'a TreeHead>,
    /// An event that this process acknowledged and that must still be there.
    pub(crate) acknowledged: Option<Head>,
    /// Whether the log must be written back first: after a failed sync nobody knows what of it is on the disk.
    pub(crate) rewrite_log: bool,
}

impl Store {
    /// Checks the end of a ledger that nobody writes, without changing a byte of it or beside it. A ledger that is not
    /// whole is evidence: opening it for writing would already write its log back.
    pub(crate) fn inspect(files: &Files, options: &OpenOptionsForStore<'_>) -> Result<(), LedgerError> {
        let path = files.database();
        let inspect = || -> Result<(), Failure> {
            refuse_emptied(&path)?;
            let connection = alone::connect(&path)?;
            let snapshot = connection.unchecked_transaction()?;
            refuse_changed_schema(&snapshot)?;
            check(&snapshot, options).map(|_| ())
        };
        let mut attempts = 3;
        loop {
            let before = alone::state(&path);
            let result = inspect();
            attempts -= 1;
            // What somebody wrote to meanwhile was not read in one state: that is no damage yet.
            if attempts == 0 || before == alone::state(&path) {
                return result.map_err(|failure| failure.of_opening(path));
            }
        }
    }

    /// Opens an existing ledger and checks its end.
    pub(crate) fn open(files: &Files, options: &OpenOptionsForStore<'_>) -> Result<Self, LedgerError> {
        let path = files.database();
        Self::try_open(&path, options).map_err(|failure| failure.of_opening(path))
    }

    fn try_open(path: &Path, options: &OpenOptionsForStore<'_>) -> Result<Self, Failure> {
        refuse_emptied(path)?;
        let connection = Connection::open_with_flags(path, write_flags())?;
        // Closed before it was found whole, it writes no log back: then that is evidence.
        connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
        connection.busy_timeout(options.busy_timeout)?;
        connection.pragma_update(None, "trusted_schema", "OFF")?;
        refuse_changed_schema(&connection)?;
        connection.pragma_update(None, "journal_mode", "WAL")?;
        connection.pragma_update(None, "synchronous", "FULL")?;
        // The writer writes the log back itself, after it has answered; this only bounds the log should it not get to it.
        connection.pragma_update(None, "wal_autocheckpoint", 32_768)?;
        if options.rewrite_log {
            let busy: i64 = connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get(0))?;
            if busy != 0 {
                let code = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_BUSY);
                let text = "readers keep the log from being written back".to_owned();
                return Err(rusqlite::Error::SqliteFailure(code, Some(text)).into());
            }
        }

        let snapshot = connection.unchecked_transaction()?;
        let Checked { head, frontier, checkpointed } = check(&snapshot, options)?;
        snapshot.commit()?;
        connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, false)?;

        let mut store = Self {
            connection,
            head,
            frontier,
            checkpointed,
            data_version: 0,
            identity: [identity(path), identity(&with_suffix(path, "-wal"))],
        };
        store.data_version = store.current_data_version()?;
        Ok(store)
    }

    fn current_data_version(&self) -> rusqlite::Result<i64> {
        self.connection.prepare_cached("PRAGMA data_version")?.query_row([], |row| row.get(0))
    }

    /// Whether another connection has written since this one was opened. To be asked inside a write transaction.
    pub(crate) fn written_by_others(&self) -> rusqlite::Result<bool> {
        Ok(self.current_data_version()? != self.data_version)
    }

    /// Whether the names still lead to the files that are open: what is written to a deleted file is lost.
    pub(crate) fn moved_away(&self, files: &Files) -> bool {
        let path = files.database();
        self.identity != [identity(&path), identity(&with_suffix(&path, "-wal"))]
    }
}

/// What is known of a ledger whose end was checked.
struct Checked {
    head: Head,
    frontier: Frontier,
    checkpointed: u64,
}

/// Checks the end of the ledger in one state of it.
fn check(snapshot: &Connection, options: &OpenOptionsForStore<'_>) -> Result<Checked, Failure> {
    let origin: String = snapshot.query_row("SELECT origin FROM ledger", [], |row| row.get(0))?;
    if origin != options.key.name() {
        let expected = options.key.name().to_owned();
        return Err(Failure::Key(NoteError::OtherOrigin { found: origin, expected }));
    }
    let head = check_end(snapshot)?;
    let mut tree = TreeReader::new(snapshot);
    let frontier = tree.frontier(head.id)?;
    let checkpointed = check_last_checkpoint(snapshot, &mut tree, head.id, options.key)?;
    if let Some(witnessed) = options.witnessed {
        check_tree_head(&mut tree, head.id, witnessed, "a checkpoint kept outside")?;
    }
    if let Some(acknowledged) = options.acknowledged {
        check_acknowledged(snapshot, head, acknowledged)?;
    }
    Ok(Checked { head, frontier, checkpointed })
}

/// To SQLite an empty file is a new database, and a log beside it left over: it would delete the log.
fn refuse_emptied(path: &Path) -> Result<(), Violation> {
    if path.symlink_metadata().is_ok_and(|metadata| metadata.len() == 0) {
        let detail = "the database is an empty file: it was emptied";
        return Err(Violation::of_ledger(ViolationKind::SchemaChanged, detail));
    }
    Ok(())
}

fn refuse_changed_schema(connection: &Connection) -> Result<(), Failure> {
    match schema::difference(connection)? {
        Some(difference) => Err(Violation::of_ledger(ViolationKind::SchemaChanged, difference).into()),
        None => Ok(()),
    }
}

fn is_not_a_database(error: &rusqlite::Error) -> bool {
    matches!(
        error.sqlite_error_code(),
        Some(rusqlite::ErrorCode::NotADatabase | rusqlite::ErrorCode::DatabaseCorrupt)
    )
}

/// Checks the events since the last full tile, and that nothing says there were more.
fn check_end(connection: &Connection) -> Result<Head, Failure> {
    let head = schema::head(connection)?;
    let sequence = schema::sequence(connection)?;
    let tiled: i64 = connection.query_row(
        "SELECT coalesce(max(tile_index) + 1, 0) FROM tiles WHERE level = 0",
        [],
        |row| row.get(0),
    )?;
    let tiled = u64::try_from(tiled).unwrap_or(0).saturating_mul(TILE_WIDTH as u64);
    let known = sequence.max(tiled);
    if known > head {
        let detail = "not in the ledger, though they were given ids: the end was deleted";
        return Err(Violation::between(ViolationKind::TailMissing, head + 1, known, detail).into());
    }
    if sequence < head {
        let detail = format!("`sqlite_sequence` says {sequence}");
        return Err(Violation::at(ViolationKind::SequenceMismatch, head, detail).into());
    }
    if head == 0 {
        return Ok(Head { id: 0, hash: [0; 32] });
    }
    // One before the unfinished tile, so that its first event's link is checked too.
    let start = (head - head % TILE_WIDTH as u64).max(1);
    let mut chain = Chain::starting_at(start);
    let mut statement =
        connection.prepare(&format!("SELECT {COLUMNS} FROM events WHERE id >= ?1 ORDER BY id"))?;
    let mut rows = statement.query([i64::try_from(start).unwrap_or(i64::MAX)])?;
    let mut last = [0; 32];
    while let Some(row) = rows.next()? {
        last = chain.row(row)?;
    }
    Ok(Head { id: chain.next() - 1, hash: last })
}

fn check_last_checkpoint(
    connection: &Connection,
    tree: &mut TreeReader<'_>,
    head: u64,
    key: &VerifierKey,
) -> Result<u64, Failure> {
    let last: Option<(i64, String)> = connection
        .query_row("SELECT size, note FROM checkpoints ORDER BY size DESC LIMIT 1", [], |row| {
            Ok((row.get(0)?, row.get(1)?))
        })
        .optional()?;
    let Some((size, note)) = last else { return Ok(0) };
    let signed = open_checkpoint(&note, key).map_err(|error| {
        Violation::of_ledger(ViolationKind::CheckpointKey, format!("the checkpoint of size {size}: {error}"))
    })?;
    if u64::try_from(size) != Ok(signed.size) {
        let detail = format!("the checkpoint stored under size {size} is of size {}", signed.size);
        return Err(Violation::of_ledger(ViolationKind::CheckpointMalformed, detail).into());
    }
    check_tree_head(tree, head, &signed, "the last checkpoint")?;
    Ok(signed.size)
}

/// Whether the tree still has the size and root that a checkpoint names.
fn check_tree_head(
    tree: &mut TreeReader<'_>,
    head: u64,
    signed: &TreeHead,
    which: &str,
) -> Result<(), Failure> {
    if signed.size > head {
        let detail = format!("not in the ledger, though {which} covers them: the end was deleted");
        return Err(Violation::between(ViolationKind::TailMissing, head + 1, signed.size, detail).into());
    }
    let root = tree.root(signed.size)?;
    if root == signed.root {
        return Ok(());
    }
    let detail = format!(
        "one of them was altered: the root of the first {} events is {}, {which} has {}",
        signed.size,
        to_base64(&root),
        to_base64(&signed.root)
    );
    Err(Violation::between(ViolationKind::CheckpointMismatch, 1, signed.size, detail).into())
}

/// Whether what this process has acknowledged is still there.
fn check_acknowledged(connection: &Connection, head: Head, acknowledged: Head) -> Result<(), Failure> {
    if acknowledged.id == 0 {
        return Ok(());
    }
    if head.id < acknowledged.id {
        let detail = "not in the ledger, though they were acknowledged: the end was deleted";
        return Err(
            Violation::between(ViolationKind::TailMissing, head.id + 1, acknowledged.id, detail).into()
        );
    }
    let hash: String = connection.query_row(
        "SELECT hash FROM events WHERE id = ?1",
        [i64::try_from(acknowledged.id).unwrap_or(i64::MAX)],
        |row| row.get(0),
    )?;
    if from_hex(hash.as_bytes()) == Some(acknowledged.hash) {
        return Ok(());
    }
    let detail = "is not the event that was acknowledged: it was replaced";
    Err(Violation::at(ViolationKind::HashMismatch, acknowledged.id, detail).into())
}

/// The text that the next event's `prev_hash` is.
pub(crate) fn previous_hash(head: &Head) -> String {
    if head.id == 0 { GENESIS.to_owned() } else { crate::digest::to_hex(&head.hash) }
}
