//! Memory over markdown files, indexed for recall.
//!
//! The files are the truth, in `OpenClaw`'s layout: `MEMORY.md`, and `memory/YYYY-MM-DD.md` for each day. People and
//! agents may edit them by any means; every recall first makes the index follow. The index is one SQLite file that can
//! be deleted at any time.
//!
//! The directory may be writable by a user that is not trusted, while this library runs as root: paths are resolved by
//! descriptor and never through a symbolic link, only regular files are read and written, and everything is bounded.
//!
//! Calls block on files and SQLite; an asynchronous caller makes them on a blocking thread.

mod change;
mod chunk;
mod directory;
mod entry;
mod error;
mod index;
mod markdown;
pub mod merge;
mod recall;
mod store;
mod sync;
mod timeframe;
pub mod vectors;
mod words;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};

use agentos_api::memory::{
    IngestRequest, MemoryHealth, RecallRequest, RecallResponse, SkippedFile, StoreRequest, StoreResponse,
};
use jiff::Timestamp;
use jiff::tz::TimeZone;

pub use crate::error::MemoryError;

use crate::directory::{Directory, Limits};
use crate::entry::Entry;
use crate::index::Index;

/// What `/memory/health` says of the model while there is none.
const MODEL_STATUS: &str = "none: keyword recall only";
/// Skipped files named in a health report.
const SKIPPED_SHOWN: usize = 20;

/// Where the memory is and how large it may be.
#[derive(Clone, Debug)]
pub struct MemoryOptions {
    /// The memory directory: absolute, no symbolic link on the way. It must exist.
    pub directory: PathBuf,
    /// The index file. It is made when it is missing; its directory must exist and be writable by this process's user
    /// alone, so it is never inside `directory`.
    pub index_path: PathBuf,
    /// Whose days the daily files are named by.
    pub time_zone: TimeZone,
    /// Largest memory file, in bytes. A larger one is skipped, and a day goes on in a second file.
    pub max_file_bytes: u64,
    /// Most files.
    pub max_files: usize,
    /// Most bytes in all files together.
    pub max_total_bytes: u64,
}

impl MemoryOptions {
    /// The usual limits (4 MiB a file, 4096 files, 256 MiB in all), with days in UTC.
    pub fn new(directory: impl Into<PathBuf>, index_path: impl Into<PathBuf>) -> Self {
        Self {
            directory: directory.into(),
            index_path: index_path.into(),
            time_zone: TimeZone::UTC,
            max_file_bytes: 4 << 20,
            max_files: 4096,
            max_total_bytes: 256 << 20,
        }
    }
}

/// What a pass over the files changed in the index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SyncReport {
    /// Files taken in, new or changed.
    pub indexed: usize,
    /// Files forgotten.
    pub removed: usize,
    /// Files of the directory that could not be taken in.
    pub skipped: usize,
}

/// The memory. It can be shared between threads; the index answers one at a time.
#[derive(Debug)]
pub struct Memory {
    options: MemoryOptions,
    index: Mutex<Index>,
    /// One entry is written at a time, so that two never claim the same space.
    writer: Mutex<()>,
}

impl Memory {
    /// Opens the memory without reading its files yet: the first recall does.
    ///
    /// An index that is missing, damaged, or of another version or time zone is replaced by an empty one.
    ///
    /// # Errors
    /// The directory cannot be opened, or the index cannot be made or is in use by another process.
    pub fn open(options: MemoryOptions) -> Result<Self, MemoryError> {
        Directory::open(&options.directory)?;
        if options.index_path.starts_with(&options.directory) {
            let reason = "it is inside the memory directory, which others may write to; put it elsewhere";
            let source = std::io::Error::new(std::io::ErrorKind::InvalidInput, reason);
            return Err(MemoryError::IndexFile { path: options.index_path, source });
        }
        let index = Index::open(&options.index_path, &zone_name(&options.time_zone))?;
        Ok(Self { options, index: Mutex::new(index), writer: Mutex::new(()) })
    }

    /// Remembers something: appends an entry to today's file. When this returns, the entry is on the disk.
    ///
    /// # Errors
    /// [`MemoryError::Invalid`] names the field at fault; otherwise the file could not be written, and the error says
    /// which and why.
    pub fn store(&self, request: &StoreRequest) -> Result<StoreResponse, MemoryError> {
        self.append(&Entry::from_store(request)?)
    }

    /// Remembers an event: appends it to today's file as an entry of the category `event`.
    ///
    /// # Errors
    /// As [`Memory::store`].
    pub fn ingest(&self, request: &IngestRequest) -> Result<StoreResponse, MemoryError> {
        self.append(&Entry::from_ingest(request)?)
    }

    /// Finds what was remembered, as the files hold it now.
    ///
    /// # Errors
    /// [`MemoryError::Invalid`] names the field at fault; otherwise the directory or the index cannot be used.
    pub fn recall(&self, request: &RecallRequest) -> Result<RecallResponse, MemoryError> {
        let now = Timestamp::now().to_zoned(self.options.time_zone.clone());
        let search = recall::Search::new(request, &now)?;
        self.with_index(|directory, index| {
            let synced = self.sync_index(directory, index)?;
            Ok(RecallResponse { chunks: search.run(index)?, skipped_files: synced.skipped.len() as u64 })
        })
    }

    /// Whether [`Memory::store`] would take this request. Touches no file.
    ///
    /// # Errors
    /// [`MemoryError::Invalid`] names the field at fault.
    pub fn check_store(request: &StoreRequest) -> Result<(), MemoryError> {
        Entry::from_store(request).map(|_| ())
    }

    /// Whether [`Memory::ingest`] would take this request. Touches no file.
    ///
    /// # Errors
    /// [`MemoryError::Invalid`] names the field at fault.
    pub fn check_ingest(request: &IngestRequest) -> Result<(), MemoryError> {
        Entry::from_ingest(request).map(|_| ())
    }

    /// Whether [`Memory::recall`] would take this request. Reads no file.
    ///
    /// # Errors
    /// [`MemoryError::Invalid`] names the field at fault.
    pub fn check_recall(&self, request: &RecallRequest) -> Result<(), MemoryError> {
        let now = Timestamp::now().to_zoned(self.options.time_zone.clone());
        recall::Search::new(request, &now).map(|_| ())
    }

    /// Makes the index follow the files, as every recall does first.
    ///
    /// # Errors
    /// The directory or the index cannot be used.
    pub fn sync(&self) -> Result<SyncReport, MemoryError> {
        self.with_index(|directory, index| self.sync_index(directory, index)).map(report)
    }

    /// Throws the index away and makes it again from the files.
    ///
    /// # Errors
    /// The directory or the index cannot be used.
    pub fn reindex(&self) -> Result<SyncReport, MemoryError> {
        let directory = Directory::open(&self.options.directory)?;
        let mut index = lock(&self.index);
        *index = self.fresh_index()?;
        self.sync_index(&directory, &mut index).map(report).map_err(|error| self.index_failure(error))
    }

    /// What is remembered and what is wrong. Never an error: what cannot be found out is in `problem`.
    pub fn health(&self) -> MemoryHealth {
        let mut health = MemoryHealth {
            model_status: MODEL_STATUS.to_owned(),
            collection_size: 0,
            files: 0,
            index_bytes: 0,
            last_indexed: None,
            directory: self.options.directory.display().to_string(),
            skipped_files: 0,
            skipped: Vec::new(),
            invalid_utf8_files: 0,
            problem: None,
        };
        let found = self.with_index(|directory, index| {
            let synced = self.sync_index(directory, index)?;
            Ok((synced, index.size()?, index.last_indexed()?))
        });
        match found {
            Ok((synced, size, last_indexed)) => {
                health.collection_size = size;
                health.last_indexed = last_indexed;
                health.skipped_files = synced.skipped.len() as u64;
                health.skipped = shown(synced.skipped);
            }
            Err(error) => health.problem = Some(with_causes(&error)),
        }
        let index = lock(&self.index);
        health.files = index.files().len() as u64;
        health.invalid_utf8_files = index.files().values().filter(|file| file.invalid_utf8).count() as u64;
        health.index_bytes = index.bytes();
        health
    }

    fn append(&self, entry: &Entry) -> Result<StoreResponse, MemoryError> {
        let id = entry::new_id()?;
        let _writing = lock(&self.writer);
        let directory = Directory::open(&self.options.directory)?;
        let now = Timestamp::now().to_zoned(self.options.time_zone.clone());
        let markdown = entry.to_markdown(&id, &now);
        let file = store::append(&directory, &markdown, &now, self.options.max_file_bytes)?;
        Ok(StoreResponse { id, file })
    }

    fn sync_index(&self, directory: &Directory, index: &mut Index) -> rusqlite::Result<sync::Synced> {
        let limits = Limits {
            file_bytes: self.options.max_file_bytes,
            files: self.options.max_files,
            total_bytes: self.options.max_total_bytes,
        };
        sync::sync(directory, index, limits, &self.options.time_zone)
    }

    /// Does `work` on the index; if the index turns out to be damaged, once more on one made afresh.
    fn with_index<T>(
        &self,
        work: impl Fn(&Directory, &mut Index) -> rusqlite::Result<T>,
    ) -> Result<T, MemoryError> {
        let directory = Directory::open(&self.options.directory)?;
        let mut index = lock(&self.index);
        match work(&directory, &mut index) {
            Err(error) if index::is_damage(&error) => {
                *index = self.fresh_index()?;
                work(&directory, &mut index).map_err(|error| self.index_failure(error))
            }
            other => other.map_err(|error| self.index_failure(error)),
        }
    }

    fn fresh_index(&self) -> Result<Index, MemoryError> {
        Index::create(&self.options.index_path, &zone_name(&self.options.time_zone))
    }

    fn index_failure(&self, error: rusqlite::Error) -> MemoryError {
        index::failure(&self.options.index_path, error)
    }
}

/// A panic of another thread leaves nothing half done: the index changes in transactions.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn zone_name(time_zone: &TimeZone) -> String {
    time_zone.iana_name().map_or_else(|| format!("{time_zone:?}"), str::to_owned)
}

#[expect(clippy::needless_pass_by_value, reason = "it is the end of what it describes")]
fn report(synced: sync::Synced) -> SyncReport {
    SyncReport { indexed: synced.indexed, removed: synced.removed, skipped: synced.skipped.len() }
}

fn shown(skipped: BTreeMap<String, String>) -> Vec<SkippedFile> {
    skipped.into_iter().take(SKIPPED_SHOWN).map(|(file, reason)| SkippedFile { file, reason }).collect()
}

/// An error and all its causes in one line.
fn with_causes(error: &MemoryError) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}
