//! The store: who holds which content, and how much there is.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use ring::digest::{self, SHA256};
use rusqlite::{Connection, OptionalExtension, params};

use crate::batch::Batch;
use crate::files::Files;
use crate::{Hash, ObjectError};

/// Raised with every change of the tables.
const VERSION: i64 = 2;
const SCHEMA: &str = "
CREATE TABLE objects (hash BLOB PRIMARY KEY, size INTEGER NOT NULL, content BLOB) WITHOUT ROWID;
CREATE TABLE holds (
  holder INTEGER NOT NULL, hash BLOB NOT NULL REFERENCES objects(hash), PRIMARY KEY (holder, hash)) WITHOUT ROWID;
CREATE INDEX held ON holds (hash);
";
const PIECE: usize = 64 << 10;

/// Where the store is, and how large it may be.
#[derive(Clone, Debug)]
pub struct Options {
    /// Its folder; made where it is missing, for its owner alone.
    pub directory: PathBuf,
    /// Bytes of content at most. The oldest holders make room for new ones, unless they are pinned.
    pub quota_bytes: u64,
}

impl Options {
    /// A store in that folder, with a gigabyte of room.
    pub fn new(directory: impl Into<PathBuf>) -> Self {
        Self { directory: directory.into(), quota_bytes: 1 << 30 }
    }
}

/// How full the store is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Usage {
    /// Contents.
    pub objects: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Bytes there is room for.
    pub quota_bytes: u64,
}

/// A content-addressed store. One value is shared by all threads of one process; a second process waits for the first.
#[derive(Debug)]
pub struct Objects {
    inner: Mutex<Inner>,
    pub(crate) files: Files,
    pub(crate) quota: u64,
}

/// What one thread at a time works with.
#[derive(Debug)]
pub(crate) struct Inner {
    pub(crate) connection: Connection,
    /// Bytes of content that are kept.
    pub(crate) bytes: u64,
    /// Who makes no room for others. Whoever pins knows why, and does it anew after a start: so it costs no sync.
    pub(crate) pins: BTreeSet<u64>,
}

impl Objects {
    /// Opens the store, and makes it where it is missing.
    ///
    /// # Errors
    /// [`ObjectError::Io`], [`ObjectError::Database`].
    pub fn open(options: &Options) -> Result<Self, ObjectError> {
        let files = Files::open(options.directory.join("large")).or_else(|_| {
            make(&options.directory).and_then(|()| Files::open(options.directory.join("large")))
        })?;
        let connection = Connection::open(options.directory.join("objects.db"))?;
        connection.busy_timeout(std::time::Duration::from_secs(5))?;
        connection.pragma_update(None, "trusted_schema", "OFF")?;
        connection.pragma_update(None, "journal_mode", "WAL")?;
        connection.pragma_update(None, "synchronous", "FULL")?;
        connection.pragma_update(None, "foreign_keys", "ON")?;
        let version: i64 = connection.query_row("PRAGMA user_version", [], |row| row.get(0))?;
        if version != VERSION {
            let transaction = connection.unchecked_transaction()?;
            // Pins were kept here before.
            transaction.execute_batch(if version == 0 { SCHEMA } else { "DROP TABLE IF EXISTS pins" })?;
            transaction.pragma_update(None, "user_version", VERSION)?;
            transaction.commit()?;
        }
        let bytes = usage(&connection)?.1;
        let inner = Inner { connection, bytes, pins: BTreeSet::new() };
        let store = Self { inner: Mutex::new(inner), files, quota: options.quota_bytes };
        store.remove_strays()?;
        Ok(store)
    }

    /// Begins to collect contents. Nothing of it is kept before [`Batch::commit`].
    pub fn batch(&self) -> Batch<'_> {
        Batch::new(self)
    }

    /// A content of at most `limit` bytes.
    ///
    /// # Errors
    /// [`ObjectError::Missing`], [`ObjectError::TooLarge`], [`ObjectError::Damaged`] where it is not what its name says.
    pub fn get(&self, hash: &Hash, limit: u64) -> Result<Vec<u8>, ObjectError> {
        let (bytes, content) = self.row(hash)?;
        if bytes > limit {
            return Err(ObjectError::TooLarge { hash: *hash, bytes, limit });
        }
        let content = if let Some(content) = content {
            content
        } else {
            let mut content = Vec::new();
            let file = self.files.open_content(hash)?;
            // One more than there should be shows a file that grew.
            file.take(bytes + 1).read_to_end(&mut content).map_err(ObjectError::Source)?;
            content
        };
        if Hash::of(&content) == *hash { Ok(content) } else { Err(ObjectError::Damaged(*hash)) }
    }

    /// Writes a content to a file, from where that stands.
    ///
    /// # Errors
    /// [`ObjectError::Missing`]; [`ObjectError::Damaged`] after all was written and found to be something else;
    /// [`ObjectError::Source`] when `to` cannot be written.
    pub fn copy_to(&self, hash: &Hash, to: &mut File) -> Result<u64, ObjectError> {
        let (bytes, content) = self.row(hash)?;
        if let Some(content) = content {
            if Hash::of(&content) != *hash {
                return Err(ObjectError::Damaged(*hash));
            }
            to.write_all(&content).map_err(ObjectError::Source)?;
            return Ok(bytes);
        }
        let mut from = self.files.open_content(hash)?;
        let mut digest = digest::Context::new(&SHA256);
        let (mut piece, mut written) = (vec![0; PIECE], 0);
        loop {
            let length = match from.read(&mut piece) {
                Ok(length) => length,
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(ObjectError::Source(error)),
            };
            let read = piece.get(..length).unwrap_or_default();
            if read.is_empty() {
                break;
            }
            digest.update(read);
            to.write_all(read).map_err(ObjectError::Source)?;
            written += read.len() as u64;
        }
        if Hash::from_digest(digest.finish().as_ref()) == *hash {
            Ok(written)
        } else {
            Err(ObjectError::Damaged(*hash))
        }
    }

    /// Whether a content is kept.
    ///
    /// # Errors
    /// [`ObjectError::Database`].
    pub fn has(&self, hash: &Hash) -> Result<bool, ObjectError> {
        match self.row(hash) {
            Ok(_) => Ok(true),
            Err(ObjectError::Missing(_)) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Lets go of what these holders hold, and of contents that nobody holds then.
    ///
    /// # Errors
    /// [`ObjectError::Database`], [`ObjectError::Io`].
    pub fn release(&self, holders: &[u64]) -> Result<(), ObjectError> {
        let mut inner = self.lock();
        let transaction = inner.connection.transaction()?;
        for holder in holders {
            transaction.execute("DELETE FROM holds WHERE holder = ?1", [signed(*holder)])?;
        }
        let gone = remove_unheld(&transaction)?;
        transaction.commit()?;
        inner.bytes = inner.bytes.saturating_sub(gone.bytes);
        for holder in holders {
            inner.pins.remove(holder);
        }
        gone.files.iter().try_for_each(|hash| self.files.remove(hash))
    }

    /// Keeps what these holders hold from making room for others, until they are let go of or this store is closed: after a
    /// start whoever needs them pins them anew.
    pub fn pin(&self, holders: &[u64]) {
        self.lock().pins.extend(holders);
    }

    /// Lets what these holders hold make room again.
    pub fn unpin(&self, holders: &[u64]) {
        let mut inner = self.lock();
        for holder in holders {
            inner.pins.remove(holder);
        }
    }

    /// How full it is.
    ///
    /// # Errors
    /// [`ObjectError::Database`].
    pub fn usage(&self) -> Result<Usage, ObjectError> {
        let (objects, bytes) = usage(&self.lock().connection)?;
        Ok(Usage { objects, bytes, quota_bytes: self.quota })
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, Inner> {
        // A thread that panicked left its transaction to be rolled back.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn row(&self, hash: &Hash) -> Result<(u64, Option<Vec<u8>>), ObjectError> {
        let row = self
            .lock()
            .connection
            .prepare_cached("SELECT size, content FROM objects WHERE hash = ?1")?
            .query_row([hash.as_bytes().as_slice()], |row| {
                Ok((row.get::<_, i64>(0)?.unsigned_abs(), row.get(1)?))
            })
            .optional()?;
        row.ok_or(ObjectError::Missing(*hash))
    }

    /// Large contents that were named, and whose commit an end cut off; or whose removal it did.
    fn remove_strays(&self) -> Result<(), ObjectError> {
        for hash in self.files.all()? {
            if !self.has(&hash)? {
                self.files.remove(&hash)?;
            }
        }
        Ok(())
    }
}

/// What nobody held any more.
#[derive(Debug, Default)]
pub(crate) struct Gone {
    /// Bytes that there are less.
    pub(crate) bytes: u64,
    /// The names of those whose content is a file, which goes once the rows are gone for good.
    pub(crate) files: Vec<Hash>,
}

/// Removes rows that nobody holds.
pub(crate) fn remove_unheld(connection: &Connection) -> rusqlite::Result<Gone> {
    let mut statement = connection.prepare_cached(
        "DELETE FROM objects WHERE NOT EXISTS (SELECT 1 FROM holds WHERE holds.hash = objects.hash)
         RETURNING hash, size, content IS NULL",
    )?;
    let rows = statement.query_map(params![], |row| {
        Ok((row.get::<_, Vec<u8>>(0)?, row.get::<_, i64>(1)?, row.get::<_, bool>(2)?))
    })?;
    let mut gone = Gone::default();
    for row in rows {
        let (hash, size, is_file) = row?;
        gone.bytes += size.unsigned_abs();
        if is_file {
            gone.files.push(Hash::from_digest(&hash));
        }
    }
    Ok(gone)
}

/// How many contents there are, and their bytes.
fn usage(connection: &Connection) -> rusqlite::Result<(u64, u64)> {
    connection.query_row("SELECT count(*), coalesce(sum(size), 0) FROM objects", [], |row| {
        Ok((row.get::<_, i64>(0)?.unsigned_abs(), row.get::<_, i64>(1)?.unsigned_abs()))
    })
}

/// SQLite's integers are signed; holders count up from 1 and never reach that far.
pub(crate) fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn make(directory: &Path) -> Result<(), ObjectError> {
    use std::os::unix::fs::DirBuilderExt;
    let mut builder = std::fs::DirBuilder::new();
    builder.mode(0o700).recursive(true);
    builder.create(directory).map_err(|source| ObjectError::Io { path: directory.to_owned(), source })
}
