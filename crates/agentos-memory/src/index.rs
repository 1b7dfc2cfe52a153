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
use ring::digest::{SHA256, digest};
use rusqlite::{Connection, ErrorCode, OpenFlags, OptionalExtension, Transaction, params};

use crate::chunk::{Chunk, chunks};
use crate::directory::Stamp;
use crate::error::MemoryError;
use crate::timeframe::Span;
use crate::words;

/// Raised with every change of the tables or of how files are cut and indexed.
const VERSION: i64 = 1;
/// "AOSm": tells this file from any other SQLite file.
const APPLICATION: i64 = 0x414f_536d;
/// Bits of a row's number that say which passage of its file it is.
const ORDINAL_BITS: u32 = 20;
/// Weight of a word in what surrounds a passage (its day, headings, the passage before), beside 1 in the passage.
pub(crate) const CONTEXT_WEIGHT: f64 = 0.3;
/// How much of the passage before is part of a passage's surroundings, in bytes.
const CONTEXT_BYTES: usize = 600;

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

/// A file to take into the index.
#[derive(Debug)]
pub(crate) struct FileToIndex<'f> {
    pub(crate) path: &'f str,
    pub(crate) text: &'f str,
    /// The day the file is about, with its first second and the first second after it.
    pub(crate) day: Option<(Date, i64, i64)>,
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
        let sound: String = connection.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))?;
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
        let mut change = Change { transaction, files: self.files.clone() };
        let result = work(&mut change)?;
        let Change { transaction, files } = change;
        transaction.execute(
            "INSERT OR REPLACE INTO facts VALUES ('last_indexed', ?1)",
            [Timestamp::now().as_second()],
        )?;
        transaction.commit()?;
        self.files = files;
        Ok(result)
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
        ["", "-wal"]
            .iter()
            .filter_map(|suffix| {
                let mut name = self.path.as_os_str().to_owned();
                name.push(suffix);
                std::fs::metadata(name).ok()
            })
            .map(|file| file.len())
            .sum()
    }
}

/// Changes of the index that happen together or not at all.
pub(crate) struct Change<'i> {
    transaction: Transaction<'i>,
    files: BTreeMap<String, IndexedFile>,
}

impl Change<'_> {
    /// Takes the passages of a file in, in place of those it had.
    pub(crate) fn put(&mut self, file: &FileToIndex<'_>, mut record: IndexedFile) -> rusqlite::Result<()> {
        record.id = match self.files.get(file.path) {
            Some(known) => known.id,
            None => self.free_id(file.path),
        };
        self.remove_passages(record.id)?;
        let all = chunks(file.text);
        for (ordinal, chunk) in all.iter().enumerate() {
            let before = ordinal.checked_sub(1).and_then(|before| all.get(before));
            self.put_passage(file, record.id, ordinal, chunk, before)?;
        }
        self.write_record(file.path, record)
    }

    /// Notes that a file was found to hold what it held.
    pub(crate) fn touch(&mut self, path: &str, record: IndexedFile) -> rusqlite::Result<()> {
        self.write_record(path, record)
    }

    /// Forgets a file and its passages.
    pub(crate) fn remove(&mut self, path: &str) -> rusqlite::Result<()> {
        if let Some(known) = self.files.remove(path) {
            self.remove_passages(known.id)?;
            self.transaction.prepare_cached("DELETE FROM files WHERE id = ?1")?.execute([known.id])?;
        }
        Ok(())
    }

    fn remove_passages(&self, file: i64) -> rusqlite::Result<()> {
        let rows = [file << ORDINAL_BITS, (file + 1) << ORDINAL_BITS];
        self.transaction
            .prepare_cached("DELETE FROM words WHERE rowid >= ?1 AND rowid < ?2")?
            .execute(rows)?;
        self.transaction.prepare_cached("DELETE FROM passages WHERE id >= ?1 AND id < ?2")?.execute(rows)?;
        Ok(())
    }

    /// A number for a file not seen before: from its path, so that it is the same in an index made afresh.
    fn free_id(&self, path: &str) -> i64 {
        let mut id = preferred_id(path);
        while self.files.values().any(|file| file.id == id) {
            id += 1;
        }
        id
    }

    fn write_record(&mut self, path: &str, record: IndexedFile) -> rusqlite::Result<()> {
        let stamp = record.stamp;
        self.transaction
            .prepare_cached("INSERT OR REPLACE INTO files VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)")?
            .execute(params![
                record.id,
                path,
                stamp.device,
                stamp.inode,
                stamp.size,
                stamp.modified_ns,
                stamp.changed_ns,
                record.read_ns,
                record.hash,
                record.invalid_utf8
            ])?;
        self.files.insert(path.to_owned(), record);
        Ok(())
    }

    fn put_passage(
        &self,
        file: &FileToIndex<'_>,
        file_id: i64,
        ordinal: usize,
        chunk: &Chunk,
        before: Option<&Chunk>,
    ) -> rusqlite::Result<()> {
        let ordinal = i64::try_from(ordinal).unwrap_or(i64::MAX);
        let id = (file_id << ORDINAL_BITS) + ordinal;
        let text = file.text.get(chunk.bytes.clone()).unwrap_or_default();
        let particulars = chunk.particulars.as_ref();
        let stored_at = particulars.and_then(|entry| entry.time).map(Timestamp::as_second);
        let day = file.day.map(|(day, ..)| day);
        let (begins, ends) = match (stored_at, file.day) {
            (Some(second), _) => (Some(second), Some(second.saturating_add(1))),
            (None, Some((_, begins, ends))) => (Some(begins), Some(ends)),
            (None, None) => (None, None),
        };
        let tags = particulars.map(|entry| entry.tags.join("\n")).unwrap_or_default();
        let (category, entry) =
            (particulars.and_then(|entry| entry.category.as_deref()), particulars.map(|entry| &entry.id));
        self.transaction
            .prepare_cached(
                "INSERT INTO passages VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14)",
            )?
            .execute(params![
                id,
                file_id,
                passage_name(file.path, ordinal, text),
                i64::try_from(chunk.lines.0).unwrap_or(i64::MAX),
                i64::try_from(chunk.lines.1).unwrap_or(i64::MAX),
                chunk.heading,
                day.map(|day| day.to_string()),
                stored_at,
                entry,
                category,
                tags,
                begins,
                ends,
                text
            ])?;
        self.transaction
            .prepare_cached("INSERT INTO words (rowid, passage, context) VALUES (?1, ?2, ?3)")?
            .execute(params![
            id,
            passage_words(file.text, chunk, &tags, category),
            context_words(file, chunk, before)
        ])?;
        Ok(())
    }
}

/// The passage's own words; an entry's line of particulars gives its category and tags and nothing else.
fn passage_words(text: &str, chunk: &Chunk, tags: &str, category: Option<&str>) -> String {
    let part = |range: std::ops::Range<usize>| text.get(range).unwrap_or_default();
    let own = match &chunk.particulars_bytes {
        None => part(chunk.bytes.clone()).to_owned(),
        Some(line) => format!(
            "{}{}\n{tags}\n{}",
            part(chunk.bytes.start..line.start),
            part(line.end..chunk.bytes.end),
            category.unwrap_or_default(),
        ),
    };
    words::indexed(&own)
}

/// What surrounds a passage: its day in words, its headings, the end of the passage before it.
fn context_words(file: &FileToIndex<'_>, chunk: &Chunk, before: Option<&Chunk>) -> String {
    let day = file.day.map(|(day, ..)| day.strftime("%Y-%m-%d %A %-d %B %Y").to_string()).unwrap_or_default();
    let before = before
        .map(|before| before.bytes.start..before.bytes.end.min(chunk.bytes.start))
        .and_then(|range| file.text.get(range))
        .unwrap_or_default();
    let tail = before.get(before.ceil_char_boundary(before.len().saturating_sub(CONTEXT_BYTES))..);
    words::indexed(&format!("{day}\n{}\n{}", chunk.heading, tail.unwrap_or_default()))
}

/// Names a passage of a file by what it says.
fn passage_name(path: &str, ordinal: i64, text: &str) -> String {
    let hash = digest(&SHA256, format!("{path}\0{ordinal}\0{text}").as_bytes());
    let number = hash.as_ref().iter().take(8).fold(0_u64, |number, &byte| number << 8 | u64::from(byte));
    format!("{number:016x}")
}

/// The number a file gets unless another has it. Taken in by this order, files fill the words table from its end.
pub(crate) fn preferred_id(path: &str) -> i64 {
    let hash = digest(&SHA256, path.as_bytes());
    hash.as_ref().iter().take(5).fold(0, |id, &byte| id << 8 | i64::from(byte))
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
