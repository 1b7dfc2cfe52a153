//! What is remembered of programs that ran: how often each was let do its work while observing, and what previews with it showed.
//!
//! It is told, and nothing else: no rule, approval or check looks at it.

mod file;

use std::collections::HashMap;
use std::fs::File;
use std::io::Read;
use std::path::PathBuf;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use agentos_api::query::path::encode;
use agentos_objects::Hash;
use serde::{Deserialize, Serialize};

use super::Ended;
use super::advice::{after_no_change, after_observing};
use super::programs::{Key, Ran};
use crate::machine::lock;

/// Programs that are remembered; the one that did not run for the longest time makes room.
const MOST_PROGRAMS: usize = 2000;
/// Hashes that are kept, so that files are not read again.
const MOST_HASHES: usize = 4000;
/// Bytes that are read of all programs of one command together.
const MOST_READ: u64 = 64 << 20;
/// Longest path that is remembered, in bytes of its text.
const LONGEST_PATH: usize = 512;
/// Longest name in a sentence, in characters.
const LONGEST_NAME: usize = 64;
/// It is written no more often than that, but for the end.
const BETWEEN_WRITES: Duration = Duration::from_secs(5);

/// How often a program's commands ended how.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Counts {
    /// Observed with exit status 0, and nothing was refused.
    pub(super) observed: u32,
    /// It was refused something while observing.
    pub(super) refused: u32,
    /// Changed no file in a preview.
    pub(super) unchanged: u32,
    /// Changed files in a preview.
    pub(super) changed: u32,
}

/// One of the [`Counts`].
#[derive(Clone, Copy)]
enum Outcome {
    Observed,
    Refused,
    Unchanged,
    Changed,
}

impl Counts {
    fn add(&mut self, outcome: Outcome) {
        let count = match outcome {
            Outcome::Observed => &mut self.observed,
            Outcome::Refused => &mut self.refused,
            Outcome::Unchanged => &mut self.unchanged,
            Outcome::Changed => &mut self.changed,
        };
        *count = count.saturating_add(1);
    }
}

/// A program of the command that just ran, with what is remembered of it, this time included.
pub(crate) struct Told {
    /// The last part of its path.
    pub(super) name: String,
    /// It was refused something just now.
    pub(super) refused: bool,
    pub(super) counts: Counts,
}

#[derive(Debug, PartialEq)]
struct Program {
    /// Where it was last.
    path: String,
    counts: Counts,
    /// Its place in the order of use.
    used: u64,
}

#[derive(Debug, Default, PartialEq)]
struct Programs {
    by_hash: HashMap<Hash, Program>,
    /// The last place in the order of use.
    used: u64,
}

impl Programs {
    /// Notes an outcome, if there is one, and says what is known now.
    fn note(&mut self, hash: Hash, path: &str, outcome: Option<Outcome>) -> Counts {
        let Some(outcome) = outcome else {
            return self.by_hash.get(&hash).map(|program| program.counts).unwrap_or_default();
        };
        if !self.by_hash.contains_key(&hash) && self.by_hash.len() >= MOST_PROGRAMS {
            let oldest = self.by_hash.iter().min_by_key(|(_, program)| program.used).map(|(hash, _)| *hash);
            oldest.and_then(|oldest| self.by_hash.remove(&oldest));
        }
        self.used += 1;
        let used = self.used;
        let program = self.by_hash.entry(hash).or_insert_with(|| Program {
            path: String::new(),
            counts: Counts::default(),
            used,
        });
        program.used = used;
        path.clone_into(&mut program.path);
        program.counts.add(outcome);
        program.counts
    }
}

#[derive(Debug, Default)]
struct Kept {
    programs: Programs,
    hashes: HashMap<Key, Hash>,
    /// There is something that is not written yet.
    is_newer: bool,
}

/// What is remembered, in a file where there is one for it.
#[derive(Debug, Default)]
pub(crate) struct Remembered {
    file: Option<PathBuf>,
    kept: Mutex<Kept>,
    /// When it was written last. Held while it is written.
    written: Mutex<Option<Instant>>,
}

impl Remembered {
    /// What the file has. One that cannot be read is set aside.
    pub(crate) fn open(file: Option<PathBuf>) -> Self {
        let programs = file.as_deref().map(file::read).unwrap_or_default();
        let kept = Kept { programs, ..Kept::default() };
        Self { file, kept: Mutex::new(kept), written: Mutex::default() }
    }

    /// Remembers how a command ended that observed, and says what follows from it.
    pub(crate) fn observed(&self, ended: &mut Ended) -> Option<String> {
        let went_well = ended.status == Some(0) && ended.refused.is_empty();
        let programs = self.note(std::mem::take(&mut ended.programs), |refused| {
            if refused { Some(Outcome::Refused) } else { went_well.then_some(Outcome::Observed) }
        });
        after_observing(&ended.refused, &programs)
    }

    /// Remembers whether a preview changed files, and says what follows from it.
    pub(crate) fn previewed(&self, ended: &mut Ended, changed: bool) -> Option<String> {
        let outcome = if changed { Outcome::Changed } else { Outcome::Unchanged };
        let programs = self.note(std::mem::take(&mut ended.programs), |_| Some(outcome));
        let would_do = !changed && ended.status == Some(0) && ended.refused.is_empty();
        would_do.then(|| after_no_change(&programs))
    }

    fn note(&self, programs: Vec<Ran>, outcome: impl Fn(bool) -> Option<Outcome>) -> Vec<Told> {
        let mut left = MOST_READ;
        let mut told = Vec::new();
        for ran in programs {
            let (path, name, refused) = (shortened(&ran.path), name(&ran.path), ran.refused);
            let Some(hash) = self.hash(ran, &mut left) else { continue };
            let outcome = outcome(refused);
            let mut kept = lock(&self.kept);
            kept.is_newer |= outcome.is_some();
            let counts = kept.programs.note(hash, &path, outcome);
            told.push(Told { name, refused, counts });
        }
        self.write_at_times();
        told
    }

    /// The hash of a program's file; nothing where it is too large, or changes while it is read.
    fn hash(&self, ran: Ran, left: &mut u64) -> Option<Hash> {
        if let Some(hash) = lock(&self.kept).hashes.get(&ran.key) {
            return Some(*hash);
        }
        *left = left.checked_sub(ran.key.size)?;
        let mut content = File::from(ran.content);
        let (hash, size) = Hash::of_reader((&mut content).take(ran.key.size + 1)).ok()?;
        let is_as_it_was = size == ran.key.size && Key::of(&content.into()).ok()? == ran.key;
        is_as_it_was.then_some(())?;
        let mut kept = lock(&self.kept);
        if kept.hashes.len() >= MOST_HASHES {
            kept.hashes.clear();
        }
        kept.hashes.insert(ran.key, hash);
        Some(hash)
    }

    /// Writes it, unless that was just done.
    fn write_at_times(&self) {
        // Somebody who writes now does it for others, too: what comes meanwhile is written the next time.
        if let Ok(mut written) = self.written.try_lock()
            && written.is_none_or(|at| at.elapsed() >= BETWEEN_WRITES)
        {
            self.write_now();
            *written = Some(Instant::now());
        }
    }

    /// Writes what is not written yet.
    pub(crate) fn write(&self) {
        let mut written = lock(&self.written);
        self.write_now();
        *written = Some(Instant::now());
    }

    fn write_now(&self) {
        let Some(file) = &self.file else { return };
        let text = {
            let mut kept = lock(&self.kept);
            if !std::mem::take(&mut kept.is_newer) {
                return;
            }
            file::text(&kept.programs)
        };
        if let Err(error) = file::write(file, &text) {
            // It is tried again with what comes next.
            lock(&self.kept).is_newer = true;
            tracing::warn!("what is remembered of programs is not written to {}: {error}", file.display());
        }
    }
}

fn shortened(path: &[u8]) -> String {
    let mut text = encode(path);
    text.truncate(text.floor_char_boundary(LONGEST_PATH));
    text
}

fn name(path: &[u8]) -> String {
    encode(path.rsplit(|&byte| byte == b'/').next().unwrap_or_default()).chars().take(LONGEST_NAME).collect()
}

#[cfg(test)]
mod tests;
