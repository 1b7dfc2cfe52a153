//! The walk over the rows: each checked and handed on to the tree, once, in order, without keeping any.

use std::sync::mpsc::{SyncSender, sync_channel};

use rusqlite::{Connection, OptionalExtension as _, Statement};

use super::open::Database;
use super::tree::{Grown, StoredTile, Stretch, grow};
use super::{Progress, Report};
use crate::chain::{COLUMNS, Chain};
use crate::digest::{Digest, GENESIS, to_base64, to_hex};
use crate::merkle::{Frontier, TILE_WIDTH, verify_inclusion};
use crate::note::{TreeHead, VerifierKey};
use crate::record::leaf_hash;
use crate::schema;
use crate::tiles::{TreeError, TreeReader, split};
use crate::violation::{Violation, ViolationKind};

/// Stretches that wait for the tree's thread.
const WAITING: usize = 8;
/// How often progress is told, in events.
const PROGRESS_EVERY: u64 = 16_384;

/// Why a walk ended early.
#[derive(Debug)]
pub(super) enum Stop {
    Violation(Violation),
    Database(rusqlite::Error),
    Thread,
}

impl From<Violation> for Stop {
    fn from(violation: Violation) -> Self {
        Self::Violation(violation)
    }
}

impl From<rusqlite::Error> for Stop {
    fn from(error: rusqlite::Error) -> Self {
        Self::Database(error)
    }
}

impl From<TreeError> for Stop {
    fn from(error: TreeError) -> Self {
        match Violation::of_tree(error) {
            Ok(violation) => Self::Violation(violation),
            Err(error) => Self::Database(error),
        }
    }
}

/// What is verified, and against what.
#[derive(Debug)]
pub(super) struct Task<'a> {
    pub(super) key: Option<&'a VerifierKey>,
    pub(super) trusted: Option<&'a TreeHead>,
    pub(super) full: bool,
}

/// Where a walk begins: after how many events, with the tree's edge there.
struct Beginning {
    size: u64,
    frontier: Frontier,
}

impl Task<'_> {
    pub(super) fn run(
        &self,
        database: &Database,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<Report, Stop> {
        let connection = &database.connection;
        let changed = schema::difference(connection)?;
        if let Some(difference) = changed {
            return Err(self.walk_changed(connection, &difference));
        }
        let from_start = Beginning { size: 0, frontier: Frontier::default() };
        let Some(trusted) = self.trusted.filter(|trusted| !self.full && trusted.size > 0) else {
            return self.walk(connection, from_start, progress);
        };
        let head = schema::head(connection)?;
        if trusted.size > head {
            // The walk finds whether more than the end is gone.
            return self.walk(connection, from_start, progress);
        }
        match continues_from(connection, trusted) {
            Ok(beginning) => self.walk(connection, beginning, progress),
            Err(Stop::Violation(violation)) => {
                // The ledger does not continue from what is trusted. Where does it depart?
                self.walk(connection, from_start, progress)?;
                Err(violation.into())
            }
            Err(stop) => Err(stop),
        }
    }

    /// Walks from `beginning` to the end, then asks whether that is the end that there was.
    fn walk(
        &self,
        connection: &Connection,
        beginning: Beginning,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<Report, Stop> {
        let start = beginning.size;
        let (sender, receiver) = sync_channel(WAITING);
        let (walked, grown) = std::thread::scope(|scope| {
            let thread = std::thread::Builder::new()
                .name("ledger-verify".to_owned())
                .spawn_scoped(scope, move || grow(beginning.frontier, &receiver, self.key));
            let Ok(thread) = thread else { return (Err(Stop::Thread), Err(Stop::Thread)) };
            let walked = Rows { connection, sender }.walk(start, self.trusted, progress);
            let grown = thread.join().map_err(|_| Stop::Thread);
            (walked, grown)
        });
        // The tree's thread is behind the rows, so what it finds comes before what they stopped at.
        let grown: Grown = grown??;
        let chain = walked?;
        let size = chain.next() - 1;
        self.check_end(connection, size)?;
        Ok(Report {
            size,
            read: size - start,
            root: to_base64(&grown.root),
            head_hash: chain.last_hash().map_or_else(|| GENESIS.to_owned(), |hash| to_hex(&hash)),
            checkpoints: grown.checkpoints,
            unsigned: size - grown.signed,
            trusted: self.trusted.map(|trusted| trusted.size),
            public_key: self.key.map(ToString::to_string),
            clock_set_back: chain.clock_set_back,
        })
    }

    /// Whether anything says that there were more events than there are.
    fn check_end(&self, connection: &Connection, head: u64) -> Result<(), Stop> {
        let number = |sql: &str| -> rusqlite::Result<u64> {
            let number: i64 = connection.query_row(sql, [], |row| row.get(0))?;
            Ok(u64::try_from(number).unwrap_or(0))
        };
        let sequence = schema::sequence(connection)?;
        let tiled = number("SELECT coalesce(max(tile_index) + 1, 0) * 256 FROM tiles WHERE level = 0")?;
        let signed = number("SELECT coalesce(max(size), 0) FROM checkpoints")?;
        let trusted = self.trusted.map_or(0, |trusted| trusted.size);
        let known = [
            (trusted, "the trusted checkpoint covers them"),
            (signed, "a stored checkpoint covers them"),
            (sequence, "`sqlite_sequence` says that they were there"),
            (tiled, "the stored tree covers them"),
        ];
        let most = known.iter().map(|(size, _)| *size).max().unwrap_or(0);
        if most > head {
            let why = known.iter().find(|(size, _)| *size > head).map_or("", |(_, why)| why);
            let detail = format!("not in the ledger, though {why}: the end was deleted");
            return Err(Violation::between(ViolationKind::TailMissing, head + 1, most, detail).into());
        }
        if sequence < head {
            let detail =
                format!("`sqlite_sequence` says that {sequence} events were added, there are {head}");
            return Err(
                Violation::between(ViolationKind::SequenceMismatch, sequence + 1, head, detail).into()
            );
        }
        Ok(())
    }

    /// Looks for the first event out of place in tables that are not the ledger's own.
    fn walk_changed(&self, connection: &Connection, difference: &str) -> Stop {
        let look = || -> rusqlite::Result<Option<Violation>> {
            let mut chain = Chain::starting_at(1);
            chain.ids_are_ordered = false;
            let sql = format!("SELECT {COLUMNS} FROM events ORDER BY rowid");
            let mut statement = connection.prepare(&sql)?;
            let mut rows = statement.query([])?;
            while let Some(row) = rows.next()? {
                if let Err(violation) = chain.row(row) {
                    return Ok(Some(violation));
                }
            }
            let head = chain.next() - 1;
            let most = schema::sequence(connection)?.max(self.trusted.map_or(0, |trusted| trusted.size));
            let detail = "not in the ledger: the end was deleted";
            Ok((most > head).then(|| Violation::between(ViolationKind::TailMissing, head + 1, most, detail)))
        };
        match look() {
            Ok(Some(mut violation)) => {
                violation.detail = format!("{} ({difference})", violation.detail);
                violation.into()
            }
            // A table that cannot be read as events at all.
            Ok(None) | Err(_) => Violation::of_ledger(ViolationKind::SchemaChanged, difference).into(),
        }
    }
}

/// Whether the ledger holds what `trusted` says: the stored tree has its root, and the last event it covers is in it.
fn continues_from(connection: &Connection, trusted: &TreeHead) -> Result<Beginning, Stop> {
    let size = trusted.size;
    let departs = |detail: &str| Violation::between(ViolationKind::CheckpointMismatch, 1, size, detail);
    let mut tree = TreeReader::new(connection);
    let frontier = tree.frontier(size)?;
    if frontier.root() != trusted.root {
        return Err(departs("the stored tree does not have the trusted checkpoint's root").into());
    }
    let mut chain = Chain::starting_at(size);
    let sql = format!("SELECT {COLUMNS} FROM events WHERE id = ?1");
    let hash = connection
        .query_row(&sql, [i64::try_from(size).unwrap_or(i64::MAX)], |row| Ok(chain.row(row)))
        .optional()?
        .unwrap_or_else(|| Err(departs("the last event that the trusted checkpoint covers is not there")))?;
    let proof = tree.inclusion(size - 1, size)?;
    if !verify_inclusion(&leaf_hash(size, &hash), size - 1, size, &proof, &trusted.root) {
        return Err(departs("the last event that the trusted checkpoint covers is not in its tree").into());
    }
    Ok(Beginning { size, frontier })
}

/// The rows, and where their hashes go.
struct Rows<'a> {
    connection: &'a Connection,
    sender: SyncSender<Stretch>,
}

impl Rows<'_> {
    fn walk(
        self,
        start: u64,
        trusted: Option<&TreeHead>,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<Chain, Stop> {
        let total = schema::head(self.connection)?;
        // From the very beginning, also ids that no event may have come up.
        let start_id = if start == 0 { i64::MIN } else { i64::try_from(start).unwrap_or(i64::MAX) };
        // The event before is read again, for the first link.
        let mut chain = Chain::starting_at(start.max(1));
        let mut statement =
            self.connection.prepare(&format!("SELECT {COLUMNS} FROM events WHERE id >= ?1 ORDER BY id"))?;
        let mut rows = statement.query([start_id])?;
        if start > 0
            && let Some(row) = rows.next()?
        {
            chain.row(row)?;
        }
        let mut marks = Marks::new(self.connection, start, trusted)?;
        let mut hashes: Vec<Digest> = Vec::with_capacity(TILE_WIDTH);
        let mut size = start;
        if size == 0 {
            self.checkpoints_of_nothing(&mut marks)?;
        }
        while let Some(row) = rows.next()? {
            hashes.push(chain.row(row)?);
            size += 1;
            if size.is_multiple_of(TILE_WIDTH as u64) || marks.next == Some(size) {
                let stretch =
                    marks.stretch(size, std::mem::replace(&mut hashes, Vec::with_capacity(TILE_WIDTH)))?;
                if self.sender.send(stretch).is_err() {
                    // The tree's thread has found a violation, and says which.
                    break;
                }
            }
            if size.is_multiple_of(PROGRESS_EVERY) {
                progress(Progress { done: size, total });
            }
        }
        let _ = self.sender.send(Stretch { hashes, ..Stretch::default() });
        progress(Progress { done: size, total });
        Ok(chain)
    }

    /// A checkpoint of the empty ledger is checked like any other.
    fn checkpoints_of_nothing(&self, marks: &mut Marks<'_>) -> Result<(), Stop> {
        if marks.next == Some(0) {
            let stretch = marks.stretch(0, Vec::new())?;
            let _ = self.sender.send(stretch);
        }
        Ok(())
    }
}

/// The stored tiles and checkpoints, read beside the rows.
struct Marks<'a> {
    tile: Statement<'a>,
    checkpoint: Statement<'a>,
    following: Statement<'a>,
    /// The size of the next checkpoint.
    next: Option<u64>,
    trusted: Option<&'a TreeHead>,
}

impl<'a> Marks<'a> {
    fn new(connection: &'a Connection, start: u64, trusted: Option<&'a TreeHead>) -> rusqlite::Result<Self> {
        let mut marks = Self {
            tile: connection
                .prepare("SELECT root, hashes FROM tiles WHERE level = ?1 AND tile_index = ?2")?,
            checkpoint: connection.prepare("SELECT note FROM checkpoints WHERE size = ?1")?,
            following: connection
                .prepare("SELECT size FROM checkpoints WHERE size >= ?1 ORDER BY size LIMIT 1")?,
            next: None,
            trusted,
        };
        marks.next = marks.first_at(start)?;
        Ok(marks)
    }

    fn first_at(&mut self, size: u64) -> rusqlite::Result<Option<u64>> {
        let bound = i64::try_from(size).unwrap_or(i64::MAX);
        let stored: Option<i64> = self.following.query_row([bound], |row| row.get(0)).optional()?;
        let stored = stored.and_then(|stored| u64::try_from(stored).ok());
        let trusted = self.trusted.map(|trusted| trusted.size).filter(|trusted| *trusted >= size);
        Ok(stored.into_iter().chain(trusted).min())
    }

    /// The stretch that ends at `size`, with what is stored for that size.
    fn stretch(&mut self, size: u64, hashes: Vec<Digest>) -> rusqlite::Result<Stretch> {
        let mut stretch = Stretch { hashes, ..Stretch::default() };
        let mut width = TILE_WIDTH as u64;
        let mut level = 0;
        while size > 0 && size.is_multiple_of(width) {
            stretch.tiles.push(self.stored_tile(level, size / width - 1)?);
            level += 1;
            width = match width.checked_mul(TILE_WIDTH as u64) {
                Some(width) => width,
                None => break,
            };
        }
        if self.next == Some(size) {
            let bound = i64::try_from(size).unwrap_or(i64::MAX);
            let note: Option<String> = self
                .checkpoint
                .query_row([bound], |row| Ok(row.get_ref(0)?.as_str().unwrap_or("").to_owned()))
                .optional()?;
            stretch.checkpoint = note;
            stretch.trusted_root =
                self.trusted.filter(|trusted| trusted.size == size).map(|trusted| trusted.root);
            self.next = self.first_at(size + 1)?;
        }
        Ok(stretch)
    }

    fn stored_tile(&mut self, level: usize, index: u64) -> rusqlite::Result<StoredTile> {
        let key = (i64::try_from(level).unwrap_or(i64::MAX), i64::try_from(index).unwrap_or(i64::MAX));
        let stored = self
            .tile
            .query_row(key, |row| {
                let root = row.get_ref(0)?.as_blob().ok().and_then(|root| root.try_into().ok());
                let hashes = row
                    .get_ref(1)?
                    .as_blob()
                    .ok()
                    .and_then(split)
                    .filter(|hashes| hashes.len() == TILE_WIDTH);
                Ok(StoredTile { level, root, hashes })
            })
            .optional()?;
        Ok(stored.unwrap_or(StoredTile { level, root: None, hashes: None }))
    }
}
