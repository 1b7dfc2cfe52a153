//! A memory in a directory of its own.

#![allow(dead_code, reason = "each test file uses its own part")]

use std::fs;
use std::path::PathBuf;

use agentos_api::memory::{MemoryChunk, RecallRequest, StoreRequest, StoreResponse};
use agentos_memory::{Memory, MemoryOptions};
use tempfile::TempDir;

pub(crate) struct Home {
    pub(crate) root: TempDir,
}

impl Home {
    pub(crate) fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir(root.path().join("workspace")).unwrap();
        Self { root }
    }

    pub(crate) fn directory(&self) -> PathBuf {
        self.root.path().canonicalize().unwrap().join("workspace")
    }

    pub(crate) fn index(&self) -> PathBuf {
        self.root.path().join("memory.sqlite")
    }

    pub(crate) fn options(&self) -> MemoryOptions {
        MemoryOptions::new(self.directory(), self.index())
    }

    pub(crate) fn open(&self) -> Memory {
        Memory::open(self.options()).unwrap()
    }

    pub(crate) fn path(&self, file: &str) -> PathBuf {
        self.directory().join(file)
    }

    pub(crate) fn write(&self, file: &str, text: impl AsRef<[u8]>) {
        let path = self.path(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    pub(crate) fn read(&self, file: &str) -> String {
        fs::read_to_string(self.path(file)).unwrap()
    }
}

pub(crate) fn entry(summary: &str, detail: &str) -> StoreRequest {
    StoreRequest { summary: summary.into(), detail: detail.into(), category: "note".into(), tags: Vec::new() }
}

pub(crate) fn store(memory: &Memory, summary: &str) -> StoreResponse {
    memory.store(&entry(summary, "")).unwrap()
}

pub(crate) fn recall(memory: &Memory, query: &str) -> Vec<MemoryChunk> {
    memory.recall(&RecallRequest::new(query)).unwrap().chunks
}

/// The files that a recall finds something in, best first.
pub(crate) fn files(memory: &Memory, query: &str) -> Vec<String> {
    recall(memory, query).into_iter().map(|chunk| chunk.file).collect()
}
