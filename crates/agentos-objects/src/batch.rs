//! Contents that are kept together: durable with one commit, or not at all.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::io::{Read, Write};

use ring::digest::{self, SHA256};
use rusqlite::{Transaction, params};

use crate::files::Draft;
use crate::store::{Gone, Inner, Objects, remove_unheld, signed};
use crate::{Hash, INLINE_BYTES, ObjectError};

const PIECE: usize = 64 << 10;

/// Contents on their way into the store. Dropping it keeps nothing.
#[derive(Debug)]
pub struct Batch<'s> {
    store: &'s Objects,
    contents: BTreeMap<Hash, (u64, Content)>,
    bytes: u64,
    pins: bool,
}

#[derive(Debug)]
enum Content {
    Inline(Vec<u8>),
    File(Draft),
}

/// Who made room: the holders, oldest first, whose contents were let go.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Evicted {
    /// Their numbers.
    pub holders: Vec<u64>,
}

impl<'s> Batch<'s> {
    pub(crate) fn new(store: &'s Objects) -> Self {
        Self { store, contents: BTreeMap::new(), bytes: 0, pins: false }
    }

    /// The store it goes into.
    pub fn store(&self) -> &'s Objects {
        self.store
    }

    /// What it holds makes no room for others, from the moment it is kept: see [`Objects::pin`].
    pub const fn pinned(&mut self) {
        self.pins = true;
    }

    /// Takes a content in.
    ///
    /// # Errors
    /// As [`Batch::put_reader`].
    pub fn put(&mut self, content: &[u8]) -> Result<Hash, ObjectError> {
        self.put_reader(content).map(|(hash, _)| hash)
    }

    /// Takes in all that `source` has, and answers its name and size.
    ///
    /// # Errors
    /// [`ObjectError::Source`] when it cannot be read, [`ObjectError::OverQuota`] when all of this batch together is more
    /// than the store may hold, [`ObjectError::Io`]. The batch stays as it was.
    pub fn put_reader(&mut self, mut source: impl Read) -> Result<(Hash, u64), ObjectError> {
        let mut digest = digest::Context::new(&SHA256);
        let mut start = Vec::new();
        let mut draft: Option<Draft> = None;
        let mut size = 0_u64;
        let mut piece = vec![0; PIECE];
        loop {
            let length = match source.read(&mut piece) {
                Ok(length) => length,
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(ObjectError::Source(error)),
            };
            let read = piece.get(..length).unwrap_or_default();
            if read.is_empty() {
                break;
            }
            digest.update(read);
            size += read.len() as u64;
            if self.bytes + size > self.store.quota {
                return Err(ObjectError::OverQuota { bytes: self.bytes + size, quota: self.store.quota });
            }
            let failed = |source| ObjectError::Io { path: "large".into(), source };
            match &mut draft {
                Some(draft) => draft.file.write_all(read).map_err(failed)?,
                None if start.len() + read.len() <= INLINE_BYTES => start.extend_from_slice(read),
                None => {
                    let mut new = self.store.files.draft()?;
                    new.file.write_all(&start).and_then(|()| new.file.write_all(read)).map_err(failed)?;
                    start = Vec::new();
                    draft = Some(new);
                }
            }
        }
        let hash = Hash::from_digest(digest.finish().as_ref());
        if let Entry::Vacant(place) = self.contents.entry(hash) {
            place.insert((size, draft.map_or(Content::Inline(start), Content::File)));
            self.bytes += size;
        }
        Ok((hash, size))
    }

    /// A content of this batch, before it is in the store; nothing where it has none of that name.
    pub fn get(&self, hash: &Hash) -> Option<Vec<u8>> {
        match self.contents.get(hash) {
            Some((_, Content::Inline(content))) => Some(content.clone()),
            Some((size, Content::File(draft))) => {
                let mut content = vec![0; usize::try_from(*size).ok()?];
                std::os::unix::fs::FileExt::read_exact_at(&draft.file, &mut content, 0).ok()?;
                Some(content)
            }
            None => None,
        }
    }

    /// Bytes it holds.
    pub const fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Keeps all of it for `holder`. Where the store is full the oldest holders that are not pinned make room, and are
    /// answered; where that is not enough, it grows past its quota rather than lose what somebody waits for.
    ///
    /// # Errors
    /// [`ObjectError::Io`], [`ObjectError::Database`]; then nothing of it is kept.
    pub fn commit(self, holder: u64) -> Result<Evicted, ObjectError> {
        if self.contents.is_empty() {
            return Ok(Evicted::default());
        }
        let store = self.store;
        let mut large = false;
        let mut inner = store.lock();
        let Inner { connection, bytes, pins } = &mut *inner;
        for (hash, (_, content)) in &self.contents {
            if let Content::File(draft) = content {
                store.files.keep(draft, hash)?;
                large = true;
            }
        }
        if large {
            store.files.sync()?;
        }
        let transaction = connection.transaction()?;
        let mut new_bytes = *bytes;
        for (hash, (size, content)) in &self.contents {
            let content = match content {
                Content::Inline(content) => Some(content.as_slice()),
                Content::File(_) => None,
            };
            let new = transaction
                .prepare_cached("INSERT OR IGNORE INTO objects (hash, size, content) VALUES (?1, ?2, ?3)")?
                .execute(params![hash.as_bytes().as_slice(), signed(*size), content])?;
            if new > 0 {
                new_bytes += size;
            }
            transaction
                .prepare_cached("INSERT OR IGNORE INTO holds (holder, hash) VALUES (?1, ?2)")?
                .execute(params![signed(holder), hash.as_bytes().as_slice()])?;
        }
        let keeps = |other: u64| other == holder || pins.contains(&other);
        let (evicted, gone) = make_room(&transaction, new_bytes, store.quota, keeps)?;
        transaction.commit()?;
        *bytes = new_bytes.saturating_sub(gone.bytes);
        if self.pins {
            pins.insert(holder);
        }
        // A file whose removal fails is removed when the store is next opened.
        for hash in &gone.files {
            let _ = store.files.remove(hash);
        }
        Ok(evicted)
    }
}

/// Lets the oldest holders go that are not to be kept, until what is left has room.
fn make_room(
    transaction: &Transaction<'_>,
    bytes: u64,
    quota: u64,
    keeps: impl Fn(u64) -> bool,
) -> rusqlite::Result<(Evicted, Gone)> {
    let (mut evicted, mut gone) = (Evicted::default(), Gone::default());
    let mut after = 0_i64;
    while bytes.saturating_sub(gone.bytes) > quota {
        let oldest: Option<i64> = transaction
            .prepare_cached("SELECT min(holder) FROM holds WHERE holder > ?1")?
            .query_row([after], |row| row.get(0))?;
        let Some(oldest) = oldest else { break };
        after = oldest;
        if keeps(oldest.unsigned_abs()) {
            continue;
        }
        transaction.prepare_cached("DELETE FROM holds WHERE holder = ?1")?.execute([oldest])?;
        let more = remove_unheld(transaction)?;
        gone.bytes += more.bytes;
        gone.files.extend(more.files);
        evicted.holders.push(oldest.unsigned_abs());
    }
    Ok((evicted, gone))
}
