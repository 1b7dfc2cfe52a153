//! A file with one JSON line for each request: what was asked, word by word, and what was played.

use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use jiff::Timestamp;
use serde::Serialize;
use serde_json::Value;

/// Largest log, in bytes. When it is reached, nothing more is written.
pub const MAX_LOG_BYTES: u64 = 256 << 20;

/// An open log. Only its owner can read the file: conversations stand in it.
#[derive(Debug)]
pub struct RequestLog {
    file: Mutex<File>,
}

/// One request.
#[derive(Debug, Serialize)]
pub(crate) struct Entry {
    method: String,
    path: String,
    /// The scenario that was played.
    pub(crate) scenario: Option<String>,
    /// The tools that were called.
    pub(crate) calls: Vec<String>,
    /// The whole request.
    pub(crate) request: Option<Value>,
}

#[derive(Serialize)]
struct LogLine<'a> {
    time: String,
    status: u16,
    #[serde(flatten)]
    entry: &'a Entry,
}

impl Entry {
    pub(crate) fn new(method: &str, path: &str) -> Self {
        let short = |text: &str| text.chars().take(200).collect();
        Self { method: short(method), path: short(path), scenario: None, calls: Vec::new(), request: None }
    }
}

impl RequestLog {
    /// Opens the log at `path`, behind what is there already.
    ///
    /// # Errors
    /// Where the file cannot be opened for writing.
    pub fn open(path: &Path) -> std::io::Result<Self> {
        let file = OpenOptions::new().create(true).append(true).mode(0o600).open(path)?;
        Ok(Self { file: Mutex::new(file) })
    }

    /// Notes a request. A log that cannot be written does not keep the model from answering.
    pub(crate) fn write(&self, entry: &Entry, status: u16) {
        let line = LogLine { time: Timestamp::now().to_string(), status, entry };
        let Ok(mut text) = serde_json::to_string(&line) else { return };
        text.push('\n');
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        let room = file.metadata().map_or(0, |metadata| MAX_LOG_BYTES.saturating_sub(metadata.len()));
        if text.len() as u64 <= room {
            let _ = file.write_all(text.as_bytes());
        }
    }
}
