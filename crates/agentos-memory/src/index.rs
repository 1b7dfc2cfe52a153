//! The index: one SQLite file with the passages and their words (FTS5), derived from the markdown files.
//!
//! It may be deleted at any time. An index of another version, of another time zone, or a damaged one is replaced by an
//! empty one and filled again. Rows are numbered by what the files are called and where a passage stands in them, so an
//! index that followed many changes answers as one made afresh.

use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::io::ErrorKind;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use jiff::civil::Date;
use rusqlite::{Connection, ErrorCode, OpenFlags, OptionalExtension, params};

use crate::change::Change;
use crate::directory::Stamp;
use crate::error::MemoryError;
use crate::timeframe::Span;

/// Raised with every change of the tables or of how files are cut and indexed.
const VERSION: i64 = 1;
/// "AOSm": tells this file from any other SQLite file.
const APPLICATION: i64 = 0x414f_536d;
/// Size above which the write-ahead log is put into the index at once: some more than SQLite lets it grow by itself.
const MAX_LOG_BYTES: u64 = 8 << 20;
/// Weight of a word in what surrounds a passage (its day, headings, the passage before), beside 1 in the passage.
pub(crate) const CONTEXT_WEIGHT: f64 = 0.3;

const SCHEMA: &str = "
CREATE TABLE facts (name TEXT PRIMARY KEY, value) WITHOUT ROWID;
CREATE TABLE files (
  id INTEGER PRIMARY KEY, path TEXT NOT NULL UNIQUE,
  device INTEGER NOT NULL, inode INTEGER NOT NULL, size INTEGER NOT NULL,
  modified_ns INTEGER NOT NULL, changed_ns INTEGER NOT NULL,
  read_ns INTEGER NOT NULL, hash BLOB NOT NULL, invalid_utf8 INTEGER NOT NULL);
CREATE TABLE passages (
  id INTEGER PRIMARY KEY, file INTEGER NOT NULL, name TEXT NOT NULL,
  line_start INTEGER NOT NULL, line_end INTEGER NOT NULL,
  heading TEXT NOT NULL, day TEXT, stored_at INTEGER, entry TEXT, category TEXT, tags TEXT NOT NULL,
  begins INTEGER, ends INTEGER, text TEXT NOT NULL);
CREATE VIRTUAL TABLE words USING fts5(
  passage, context, tokenize = 'porter unicode61 remove_diacritics 2');
";

/// What the index knows about a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct IndexedFile {
    pub(crate) id: i64,
    pub(crate) stamp: Stamp,
    /// When it was read, in nanoseconds since 1970; 0 when it was changing at that time.
    pub(crate) read_ns: i64,
    pub(crate) hash: Vec<u8>,
    pub(crate) invalid_utf8: bool,
}

/// A passage as it is stored.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Passage {
    pub(crate) id: i64,
    pub(crate) name: String,
    pub(crate) file: String,
    pub(crate) line_start: i64,
    pub(crate) line_end: i64,
    pub(crate) heading: String,
    pub(crate) day: Option<Date>,
    pub(crate) stored_at: Option<Timestamp>,
    pub(crate) entry: Option<String>,
    pub(crate) category: Option<String>,
    pub(crate) tags: Vec<String>,
    pub(crate) text: String,
}

/// An open index; no other process can open it meanwhile.
#[derive(Debug)]
pub(crate) struct Index {
    connection: Connection,
    path: PathBuf,
    /// The `files` table.
    files: BTreeMap<String, IndexedFile>,
}

impl Index {
    /// Opens the index at `path`, replacing one that cannot be used by an empty one.
    pub(crate) fn open(path: &Path, time_zone: &str) -> Result<Self, MemoryError> {
        match Self::try_open(path, time_zone) {
            Ok(Some(index)) => Ok(index),
            Ok(None) => Self::create(path, time_zone),
            Err(error) if is_damage(&error) => Self::create(path, time_zone),
            Err(error) => Err(failure(path, error)),
        }
    }

    /// Replaces the index at `path` by an empty one.
    pub(crate) fn create(path: &Path, time_zone: &str) -> Result<Self, MemoryError> {
        for suffix in ["", "-wal", "-shm", "-journal"] {
            let mut name = path.as_os_str().to_owned();
            name.push(suffix);
            match std::fs::remove_file(&name) {
                Err(source) if source.kind() != ErrorKind::NotFound => {
                    return Err(MemoryError::IndexFile { path: path.to_owned(), source });
                }
                _ => {}
            }
        }
        // Made here, so that what people remember is not readable for everybody.
        OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(path)
            .map_err(|source| MemoryError::IndexFile { path: path.to_owned(), source })?;
        let make = || -> rusqlite::Result<Connection> {
            let mut connection = connect(path)?;
            let transaction = connection.transaction()?;
            transaction.execute_batch(SCHEMA)?;
            transaction.pragma_update(None, "application_id", APPLICATION)?;
            transaction.pragma_update(None, "user_version", VERSION)?;
            transaction.execute(
                "INSERT INTO words (words, rank) VALUES ('rank', ?1)",
                [format!("bm25(1.0, {CONTEXT_WEIGHT})")],
            )?;
            transaction.execute("INSERT INTO facts VALUES ('time_zone', ?1)", [time_zone])?;
            transaction.commit()?;
            Ok(connection)
        };
        let connection = make().map_err(|error| failure(path, error))?;
        Ok(Self { connection, path: path.to_owned(), files: BTreeMap::new() })
    }

    /// `None` when the file is missing, or is an index that does not fit.
    fn try_open(path: &Path, time_zone: &str) -> rusqlite::Result<Option<Self>> {
        if !path.exists() {
            return Ok(None);
        }
        let connection = connect(path)?;
        let number = |name| connection.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
        if number("application_id")? != APPLICATION || number("user_version")? != VERSION {
            return Ok(None);
        }
        // Without a name this would also read every word of the FTS5 table, which checks what it reads by itself.
        let sound: String = connection.query_row("PRAGMA quick_check(passages)", [], |row| row.get(0))?;
        let zone: Option<String> = connection
            .query_row("SELECT value FROM facts WHERE name = 'time_zone'", [], |row| row.get(0))
            .optional()?;
        if sound != "ok" || zone.as_deref() != Some(time_zone) {
            return Ok(None);
        }
        let files = load_files(&connection)?;
        Ok(Some(Self { connection, path: path.to_owned(), files }))
    }

    /// The files in the index, by path.
    pub(crate) fn files(&self) -> &BTreeMap<String, IndexedFile> {
        &self.files
    }

    /// Makes all changes that `work` asks for, or none.
    pub(crate) fn change<T>(
        &mut self,
        work: impl FnOnce(&mut Change<'_>) -> rusqlite::Result<T>,
    ) -> rusqlite::Result<T> {
        let transaction = self.connection.transaction()?;
        let mut change = Change::new(transaction, self.files.clone());
        let result = work(&mut change)?;
        let (transaction, files) = change.into_parts();
        transaction.execute(
            "INSERT OR REPLACE INTO facts VALUES ('last_indexed', ?1)",
            [Timestamp::now().as_second()],
        )?;
        transaction.commit()?;
        self.files = files;
        self.shorten_log()?;
        Ok(result)
    }

    /// Puts a write-ahead log that a large change left behind into the index, so that it does not stay on the disk.
    fn shorten_log(&self) -> rusqlite::Result<()> {
        if file_bytes(&self.path, "-wal") > MAX_LOG_BYTES {
            self.connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))?;
        }
        Ok(())
    }

    /// The passages that match best, best first, each with its BM25 (higher is better).
    pub(crate) fn search(
        &self,
        expression: &str,
        span: Option<Span>,
        limit: usize,
    ) -> rusqlite::Result<Vec<(i64, f64)>> {
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let hit = |row: &rusqlite::Row<'_>| Ok((row.get(0)?, -row.get::<_, f64>(1)?));
        match span {
            None => self
                .connection
                .prepare_cached(
                    "SELECT rowid, rank FROM words WHERE words MATCH ?1 ORDER BY rank, rowid LIMIT ?2",
                )?
                .query_map(params![expression, limit], hit)?
                .collect(),
            Some(Span { since, until }) => self
                .connection
                .prepare_cached(
                    "SELECT words.rowid, words.rank FROM words JOIN passages ON passages.id = words.rowid
                     WHERE words MATCH ?1 AND passages.ends > ?3 AND passages.begins < ?4
                     ORDER BY words.rank, words.rowid LIMIT ?2",
                )?
                .query_map(
                    params![expression, limit, since.unwrap_or(i64::MIN), until.unwrap_or(i64::MAX)],
                    hit,
                )?
                .collect(),
        }
    }

    /// The passage numbered `id`.
    pub(crate) fn passage(&self, id: i64) -> rusqlite::Result<Option<Passage>> {
        self.connection
            .prepare_cached(
                "SELECT passages.id, name, path, line_start, line_end, heading, day, stored_at, entry, category,
                        tags, text
                 FROM passages JOIN files ON files.id = passages.file WHERE passages.id = ?1",
            )?
            .query_row([id], |row| {
                let day: Option<String> = row.get(6)?;
                let stored_at: Option<i64> = row.get(7)?;
                let tags: String = row.get(10)?;
                Ok(Passage {
                    id: row.get(0)?,
                    name: row.get(1)?,
                    file: row.get(2)?,
                    line_start: row.get(3)?,
                    line_end: row.get(4)?,
                    heading: row.get(5)?,
                    day: day.and_then(|day| day.parse().ok()),
                    stored_at: stored_at.and_then(|second| Timestamp::from_second(second).ok()),
                    entry: row.get(8)?,
                    category: row.get(9)?,
                    tags: tags.split('\n').filter(|tag| !tag.is_empty()).map(str::to_owned).collect(),
                    text: row.get(11)?,
                })
            })
            .optional()
    }

    /// How many passages there are.
    pub(crate) fn size(&self) -> rusqlite::Result<u64> {
        self.connection
            .query_row("SELECT count(*) FROM passages", [], |row| row.get::<_, i64>(0))
            .map(i64::cast_unsigned)
    }

    /// When something was last taken in.
    pub(crate) fn last_indexed(&self) -> rusqlite::Result<Option<Timestamp>> {
        let second: Option<i64> = self
            .connection
            .query_row("SELECT value FROM facts WHERE name = 'last_indexed'", [], |row| row.get(0))
            .optional()?;
        Ok(second.and_then(|second| Timestamp::from_second(second).ok()))
    }

    /// Size of the index on disk, in bytes.
    pub(crate) fn bytes(&self) -> u64 {
        file_bytes(&self.path, "") + file_bytes(&self.path, "-wal")
    }
}

/// Size of the index file or, by its suffix, of a file beside it; 0 when there is none.
fn file_bytes(path: &Path, suffix: &str) -> u64 {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    std::fs::metadata(name).map_or(0, |file| file.len())
}

fn load_files(connection: &Connection) -> rusqlite::Result<BTreeMap<String, IndexedFile>> {
    let mut statement = connection.prepare(
        "SELECT path, id, device, inode, size, modified_ns, changed_ns, read_ns, hash, invalid_utf8 FROM files",
    )?;
    let files = statement.query_map([], |row| {
        let stamp = Stamp {
            device: row.get(2)?,
            inode: row.get(3)?,
            size: row.get(4)?,
            modified_ns: row.get(5)?,
            changed_ns: row.get(6)?,
        };
        let (id, read_ns, hash, invalid_utf8) = (row.get(1)?, row.get(7)?, row.get(8)?, row.get(9)?);
        Ok((row.get(0)?, IndexedFile { id, stamp, read_ns, hash, invalid_utf8 }))
    })?;
    files.collect()
}

fn connect(path: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.pragma_update(None, "locking_mode", "EXCLUSIVE")?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    // What a crash loses here is made again from the files.
    connection.pragma_update(None, "synchronous", "NORMAL")?;
    connection.pragma_update(None, "temp_store", "MEMORY")?;
    connection.pragma_update(None, "trusted_schema", "OFF")?;
    Ok(connection)
}

/// Whether the index itself is broken, so that making it again helps.
pub(crate) fn is_damage(error: &rusqlite::Error) -> bool {
    match error {
        rusqlite::Error::SqliteFailure(failure, _) => matches!(
            failure.code,
            // A statement that does not fit the tables (`Unknown`: SQLITE_ERROR) is damage too: ours all fit.
            ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase | ErrorCode::Unknown
        ),
        rusqlite::Error::InvalidColumnType(..)
        | rusqlite::Error::FromSqlConversionFailure(..)
        | rusqlite::Error::IntegralValueOutOfRange(..)
        | rusqlite::Error::Utf8Error(..) => true,
        _ => false,
    }
}

pub(crate) fn failure(path: &Path, source: rusqlite::Error) -> MemoryError {
    let path = path.to_owned();
    match source.sqlite_error_code() {
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => MemoryError::IndexLocked { path },
        _ => MemoryError::Index { path, source },
    }
}
