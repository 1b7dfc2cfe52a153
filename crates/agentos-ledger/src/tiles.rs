//! The stored tree, read back: any root and any proof from a bounded number of reads.
//!
//! Full tiles are rows of `tiles`; what is right of the last full one comes from the rows it is made of: events for the
//! lowest level, the roots of the tiles below for the others. So a read costs at most 255 rows a level.

use std::collections::HashMap;

use rusqlite::{Connection, OptionalExtension as _};

use crate::digest::{Digest, from_hex};
use crate::merkle::{
    Frontier, FullTile, TILE_HEIGHT, TILE_LEVELS, TILE_WIDTH, complete_root, empty_root, node,
};
use crate::record::leaf_hash;

/// Why the stored tree could not be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TreeError {
    /// The database did not answer.
    #[error("reading the stored tree failed")]
    Database(#[from] rusqlite::Error),
    /// A tile, or an event that an unfinished tile is made of, is missing or malformed. Leaves `first..=last` (as ids)
    /// lie under it.
    #[error("the stored tree is damaged over events {first} to {last}")]
    Damaged { first: u64, last: u64 },
}

/// Reads hashes of the tree through one connection, inside whatever transaction it is in.
pub(crate) struct TreeReader<'c> {
    connection: &'c Connection,
    kept: HashMap<(usize, u64), Vec<Digest>>,
}

/// Most tiles kept while one proof is made: each level is read at a few places.
const KEPT_TILES: usize = 64;

/// Splits a stored blob into digests; nothing when it is not a whole number of them.
pub(crate) fn split(blob: &[u8]) -> Option<Vec<Digest>> {
    if !blob.len().is_multiple_of(32) {
        return None;
    }
    blob.chunks_exact(32).map(|chunk| chunk.try_into().ok()).collect()
}

/// Writes a full tile.
pub(crate) fn insert(connection: &Connection, tile: &FullTile) -> rusqlite::Result<()> {
    let mut statement = connection
        .prepare_cached("INSERT INTO tiles (level, tile_index, root, hashes) VALUES (?1, ?2, ?3, ?4)")?;
    statement.execute((
        i64::try_from(tile.level).unwrap_or(i64::MAX),
        i64::try_from(tile.index).unwrap_or(i64::MAX),
        &tile.root[..],
        tile.hashes.concat(),
    ))?;
    Ok(())
}

/// How many leaves lie under one hash of a tile at `level`.
fn leaves_under(level: usize) -> u64 {
    u32::try_from(level).ok().and_then(|level| 1_u64.checked_shl(TILE_HEIGHT * level)).unwrap_or(u64::MAX)
}

fn damaged(level: usize, hash_index: u64, count: u64) -> TreeError {
    let width = leaves_under(level);
    TreeError::Damaged {
        first: hash_index.saturating_mul(width).saturating_add(1),
        last: hash_index.saturating_add(count).saturating_mul(width),
    }
}

fn to_sql(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

impl<'c> TreeReader<'c> {
    pub(crate) fn new(connection: &'c Connection) -> Self {
        Self { connection, kept: HashMap::new() }
    }

    /// The first `count` hashes of a tile.
    fn entries(&mut self, level: usize, tile: u64, count: usize) -> Result<&[Digest], TreeError> {
        let enough = self.kept.get(&(level, tile)).is_some_and(|hashes| hashes.len() >= count);
        if !enough {
            let hashes = match self.stored(level, tile)? {
                Some(hashes) => hashes,
                None => self.unfinished(level, tile, count)?,
            };
            if self.kept.len() >= KEPT_TILES {
                self.kept.clear();
            }
            self.kept.insert((level, tile), hashes);
        }
        let start = tile.saturating_mul(TILE_WIDTH as u64);
        self.kept
            .get(&(level, tile))
            .and_then(|hashes| hashes.get(..count))
            .ok_or_else(|| damaged(level, start, count as u64))
    }

    fn stored(&self, level: usize, tile: u64) -> Result<Option<Vec<Digest>>, TreeError> {
        let mut statement = self
            .connection
            .prepare_cached("SELECT hashes FROM tiles WHERE level = ?1 AND tile_index = ?2")?;
        let level_number = i64::try_from(level).unwrap_or(i64::MAX);
        let hashes = statement
            .query_row((level_number, to_sql(tile)), |row| {
                Ok(row.get_ref(0)?.as_blob().ok().and_then(split).filter(|hashes| hashes.len() == TILE_WIDTH))
            })
            .optional()?;
        match hashes {
            None => Ok(None),
            Some(Some(hashes)) => Ok(Some(hashes)),
            Some(None) => {
                let width = TILE_WIDTH as u64;
                Err(damaged(level, tile.saturating_mul(width), width))
            }
        }
    }

    /// The first `count` hashes of a tile that is not full yet, from what it is made of.
    fn unfinished(&self, level: usize, tile: u64, count: usize) -> Result<Vec<Digest>, TreeError> {
        let start = tile.saturating_mul(TILE_WIDTH as u64);
        let end = start.saturating_add(count as u64);
        let sql = if level == 0 {
            "SELECT id - 1, hash FROM events WHERE id > ?1 AND id <= ?2 ORDER BY id"
        } else {
            "SELECT tile_index, root FROM tiles WHERE level = ?3 AND tile_index >= ?1 AND tile_index < ?2 \
             ORDER BY tile_index"
        };
        let mut statement = self.connection.prepare_cached(sql)?;
        statement.raw_bind_parameter(1, to_sql(start))?;
        statement.raw_bind_parameter(2, to_sql(end))?;
        if level > 0 {
            statement.raw_bind_parameter(3, i64::try_from(level - 1).unwrap_or(i64::MAX))?;
        }
        let mut rows = statement.raw_query();
        let mut hashes = Vec::with_capacity(count);
        while let Some(row) = rows.next()? {
            let expected = start.saturating_add(hashes.len() as u64);
            let index: Option<u64> = row.get_ref(0)?.as_i64().ok().and_then(|index| index.try_into().ok());
            let value = row.get_ref(1)?;
            let hash = if level == 0 {
                value
                    .as_bytes()
                    .ok()
                    .and_then(from_hex)
                    .map(|hash| leaf_hash(expected.saturating_add(1), &hash))
            } else {
                value.as_blob().ok().and_then(|root| root.try_into().ok())
            };
            match hash {
                Some(hash) if index == Some(expected) => hashes.push(hash),
                _ => return Err(damaged(level, expected, 1)),
            }
        }
        if hashes.len() < count {
            return Err(damaged(level, start.saturating_add(hashes.len() as u64), 1));
        }
        Ok(hashes)
    }

    /// The right edge of the tree of `size` leaves.
    pub(crate) fn frontier(&mut self, size: u64) -> Result<Frontier, TreeError> {
        let mut levels: [Vec<Digest>; TILE_LEVELS] = Default::default();
        let mut hashes_at_level = size;
        for (level, hashes) in levels.iter_mut().enumerate() {
            let width = TILE_WIDTH as u64;
            let count = usize::try_from(hashes_at_level % width).unwrap_or(0);
            if count > 0 {
                *hashes = self.entries(level, hashes_at_level / width, count)?.to_vec();
            }
            hashes_at_level /= width;
        }
        Ok(Frontier::from_parts(size, levels))
    }

    /// The root of the tree of `size` leaves.
    pub(crate) fn root(&mut self, size: u64) -> Result<Digest, TreeError> {
        if size == 0 { Ok(empty_root()) } else { self.range(0, size) }
    }

    /// The hash over the leaves `start..end` as RFC 6962 splits them; `start` is where such a range may begin.
    fn range(&mut self, start: u64, end: u64) -> Result<Digest, TreeError> {
        let count = end - start;
        if count.is_power_of_two() {
            return self.complete(start, count.trailing_zeros());
        }
        let split = largest_power_below(count);
        let left = self.range(start, start + split)?;
        let right = self.range(start + split, end)?;
        Ok(node(&left, &right))
    }

    /// The root of the complete subtree of `2^height` leaves that begins at leaf `start`.
    fn complete(&mut self, start: u64, height: u32) -> Result<Digest, TreeError> {
        let level = height / TILE_HEIGHT;
        let width = 1_usize << (height % TILE_HEIGHT);
        let first = start >> (TILE_HEIGHT * level);
        let tile = first / TILE_WIDTH as u64;
        let offset = usize::try_from(first % TILE_WIDTH as u64).unwrap_or(0);
        let level = level as usize;
        let hashes = self.entries(level, tile, offset + width)?;
        complete_root(&hashes[offset..]).ok_or_else(|| damaged(level, first, width as u64))
    }

    /// The inclusion proof of leaf `index` in the tree of `size` leaves (RFC 6962, section 2.1.1).
    pub(crate) fn inclusion(&mut self, index: u64, size: u64) -> Result<Vec<Digest>, TreeError> {
        let (mut start, mut end) = (0, size);
        let mut hashes = Vec::new();
        while end - start > 1 {
            let split = start + largest_power_below(end - start);
            if index < split {
                hashes.push(self.range(split, end)?);
                end = split;
            } else {
                hashes.push(self.range(start, split)?);
                start = split;
            }
        }
        hashes.reverse();
        Ok(hashes)
    }

    /// The consistency proof between `old` and `new` leaves (RFC 6962, section 2.1.2), for `0 < old <= new`.
    pub(crate) fn consistency(&mut self, old: u64, new: u64) -> Result<Vec<Digest>, TreeError> {
        let (mut start, mut end) = (0, new);
        let mut hashes = Vec::new();
        let mut old_is_whole = true;
        while end != old {
            let split = start + largest_power_below(end - start);
            if old <= split {
                hashes.push(self.range(split, end)?);
                end = split;
            } else {
                hashes.push(self.range(start, split)?);
                start = split;
                old_is_whole = false;
            }
        }
        // The verifier knows the root of the whole old tree; of a part of it, it does not.
        if !old_is_whole {
            hashes.push(self.range(start, end)?);
        }
        hashes.reverse();
        Ok(hashes)
    }
}

/// The largest power of two smaller than `count`, which is at least two.
fn largest_power_below(count: u64) -> u64 {
    1 << (count - 1).ilog2()
}
