//! Makes the index follow the files: what changed is read again, what is gone is forgotten.
//!
//! A file is taken for unchanged when device, inode, size, modification and change time are what they were and it was
//! last written well before it was read. A file written in the same moment it was read could have changed again without
//! any of that showing (git calls it "racily clean"), so it is read again until that moment has passed, and compared by
//! its SHA-256.

use std::collections::BTreeMap;

use jiff::tz::TimeZone;
use ring::digest::{SHA256, digest};
use rustix::time::{ClockId, clock_gettime};

use crate::change::{FileToIndex, preferred_id};
use crate::directory::{Directory, Limits, Listing};
use crate::index::{Index, IndexedFile};
use crate::timeframe::{day_bounds, iso_day};

/// The coarsest step of a file's times, in nanoseconds: FAT counts in two seconds.
const TIME_STEP_NS: i64 = 2_000_000_000;
/// About how much text is read before it is written to the index, so that a first pass needs little memory.
const BATCH_BYTES: usize = 8 << 20;

/// What one pass over the directory found.
#[derive(Debug, Default)]
pub(crate) struct Synced {
    /// Files taken in, new or changed.
    pub(crate) indexed: usize,
    /// Files forgotten.
    pub(crate) removed: usize,
    /// Files of the directory that are not in the index, with the reason.
    pub(crate) skipped: BTreeMap<String, String>,
}

/// Brings `index` to the state of `directory`.
///
/// # Errors
/// SQLite failed; the index is then as it was.
pub(crate) fn sync(
    directory: &Directory,
    index: &mut Index,
    limits: Limits,
    time_zone: &TimeZone,
) -> rusqlite::Result<Synced> {
    let Listing { files: present, skipped } = directory.list(limits);
    let mut suspects: Vec<&String> = present
        .iter()
        .filter(|(path, stamp)| {
            index.files().get(*path).is_none_or(|known| known.stamp != **stamp || is_racy(known))
        })
        .map(|(path, _)| path)
        .collect();
    let has_gone = index.files().keys().any(|path| !present.contains_key(path));
    if suspects.is_empty() && !has_gone {
        return Ok(Synced { skipped, ..Synced::default() });
    }
    suspects.sort_by_key(|path| preferred_id(path));

    let known = index.files().clone();
    let gone: Vec<&String> = known.keys().filter(|path| !present.contains_key(*path)).collect();
    let mut synced = Synced { indexed: 0, removed: gone.len(), skipped };
    if !gone.is_empty() {
        index.change(|change| gone.iter().try_for_each(|path| change.remove(path)))?;
    }
    let mut suspects = suspects.into_iter().peekable();
    while suspects.peek().is_some() {
        let mut batch = Vec::new();
        let mut bytes = 0;
        while bytes < BATCH_BYTES
            && let Some(path) = suspects.next()
        {
            match look(directory, path, known.get(path), limits.file_bytes) {
                Ok(Looked::Same) => {}
                Ok(looked) => {
                    bytes += looked.bytes();
                    batch.push((path.as_str(), looked));
                }
                Err(reason) => {
                    synced.skipped.insert(path.clone(), reason);
                    if known.contains_key(path) {
                        batch.push((path, Looked::Unreadable));
                    }
                }
            }
        }
        take_in(index, batch, time_zone, &mut synced)?;
    }
    Ok(synced)
}

/// Writes what was read in one transaction; nothing read is no change.
fn take_in(
    index: &mut Index,
    batch: Vec<(&str, Looked)>,
    time_zone: &TimeZone,
    synced: &mut Synced,
) -> rusqlite::Result<()> {
    if batch.is_empty() {
        return Ok(());
    }
    let (mut indexed, mut removed) = (0, 0);
    index.change(|change| {
        for (path, looked) in batch {
            match looked {
                Looked::Same => {}
                Looked::Touched(record) => change.touch(path, record)?,
                Looked::Changed { record, text } => {
                    let file = FileToIndex { path, text: &text, day: day_of(path, time_zone) };
                    change.put(&file, record)?;
                    indexed += 1;
                }
                Looked::Unreadable => {
                    change.remove(path)?;
                    removed += 1;
                }
            }
        }
        Ok(())
    })?;
    synced.indexed += indexed;
    synced.removed += removed;
    Ok(())
}

/// Whether a file could have changed after it was read without its times showing it.
fn is_racy(known: &IndexedFile) -> bool {
    known.stamp.modified_ns.max(known.stamp.changed_ns) >= known.read_ns.saturating_sub(TIME_STEP_NS)
}

/// What reading a suspect showed.
enum Looked {
    /// Nothing new: not even its record changes.
    Same,
    /// The same text with other times, or now known to be settled.
    Touched(IndexedFile),
    Changed {
        record: IndexedFile,
        text: String,
    },
    Unreadable,
}

impl Looked {
    fn bytes(&self) -> usize {
        match self {
            Self::Changed { text, .. } => text.len(),
            Self::Same | Self::Touched(_) | Self::Unreadable => 0,
        }
    }
}

/// Reads a suspect and compares it with what is known of it; the error is why it cannot be read.
fn look(
    directory: &Directory,
    path: &str,
    known: Option<&IndexedFile>,
    limit: u64,
) -> Result<Looked, String> {
    let started = clock_gettime(ClockId::Realtime);
    let content = directory.read(path, limit)?;
    let read_ns = if content.settled {
        started.tv_sec.saturating_mul(1_000_000_000).saturating_add(started.tv_nsec)
    } else {
        0
    };
    let hash = digest(&SHA256, &content.bytes).as_ref().to_vec();
    let decoded = String::from_utf8(content.bytes);
    let record = IndexedFile {
        id: known.map_or(0, |known| known.id),
        stamp: content.stamp,
        read_ns,
        hash,
        invalid_utf8: decoded.is_err(),
    };
    match known {
        Some(known) if known.hash == record.hash => {
            let is_news = known.stamp != record.stamp || !is_racy(&record);
            Ok(if is_news { Looked::Touched(record) } else { Looked::Same })
        }
        _ => {
            let text = decoded.unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned());
            Ok(Looked::Changed { record, text })
        }
    }
}

/// The day a file is about, from its name: `2026-11-22.md`, `2026-11-22-topic.md`.
fn day_of(path: &str, time_zone: &TimeZone) -> Option<(jiff::civil::Date, i64, i64)> {
    let name = path.rsplit('/').next()?;
    let (day, rest) = name.split_at_checked(10)?;
    if rest.starts_with(|c: char| c.is_alphanumeric()) {
        return None;
    }
    let day = iso_day(day)?;
    let (begins, ends) = day_bounds(day, time_zone)?;
    Some((day, begins, ends))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_day_of_a_file_is_in_its_name() {
        let day = |path| day_of(path, &TimeZone::UTC).map(|(day, ..)| day.to_string());
        assert_eq!(day("memory/2026-11-22.md").as_deref(), Some("2026-11-22"));
        assert_eq!(day("memory/2026-11-22-disk-trouble.md").as_deref(), Some("2026-11-22"));
        assert_eq!(day("memory/2026-13-22.md"), None);
        assert_eq!(day("memory/2026-11-223.md"), None);
        assert_eq!(day("MEMORY.md"), None);
    }
}
