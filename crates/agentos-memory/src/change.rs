//! What is written to the index: a file's passages, each with its words and those of what surrounds it.
//!
//! The words of a passage's surroundings (its day, its headings, the passage before) are what finds "the disk we spoke
//! of in November"; they weigh less than its own ([`crate::index::CONTEXT_WEIGHT`]). The text that is shown stays plain.

use std::collections::BTreeMap;

use jiff::Timestamp;
use jiff::civil::Date;
use ring::digest::{SHA256, digest};
use rusqlite::{Transaction, params};

use crate::chunk::{Chunk, chunks};
use crate::index::IndexedFile;
use crate::words;

/// Bits of a row's number that say which passage of its file it is.
const ORDINAL_BITS: u32 = 20;
/// How much of the passage before is part of a passage's surroundings, in bytes.
const CONTEXT_BYTES: usize = 600;

/// A file to take into the index.
#[derive(Debug)]
pub(crate) struct FileToIndex<'f> {
    pub(crate) path: &'f str,
    pub(crate) text: &'f str,
    /// The day the file is about, with its first second and the first second after it.
    pub(crate) day: Option<(Date, i64, i64)>,
}

/// Changes of the index that happen together or not at all.
pub(crate) struct Change<'i> {
    transaction: Transaction<'i>,
    files: BTreeMap<String, IndexedFile>,
}

impl<'i> Change<'i> {
    pub(crate) fn new(transaction: Transaction<'i>, files: BTreeMap<String, IndexedFile>) -> Self {
        Self { transaction, files }
    }

    pub(crate) fn into_parts(self) -> (Transaction<'i>, BTreeMap<String, IndexedFile>) {
        (self.transaction, self.files)
    }

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
