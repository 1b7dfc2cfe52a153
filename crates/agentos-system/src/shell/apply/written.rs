//! What a command writes: all of it is counted and hashed, and the beginning goes to a file, from where it is read meanwhile.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, BorrowedFd};

use agentos_api::change::Written;
use agentos_objects::Hashing;

/// Read at a time, in bytes.
const PIECE: usize = 64 << 10;

/// One of its outputs.
pub(super) struct Output<R> {
    pipe: R,
    open: bool,
    file: File,
    kept: u64,
    bytes: u64,
    digest: Hashing,
}

impl<R: Read + AsFd> Output<R> {
    /// Of a pipe, into that file.
    ///
    /// # Errors
    /// The kernel's.
    pub(super) fn new(pipe: R, file: File) -> std::io::Result<Self> {
        rustix::io::ioctl_fionbio(&pipe, true)?;
        Ok(Self { pipe, open: true, file, kept: 0, bytes: 0, digest: Hashing::default() })
    }

    /// The pipe, while there may come more.
    pub(super) fn waits(&self) -> Option<BorrowedFd<'_>> {
        self.open.then(|| self.pipe.as_fd())
    }

    /// Takes what is there: some pieces at most, so that the other output and the clock get their turn. Says whether there was
    /// something.
    ///
    /// # Errors
    /// The kernel's. What cannot be kept for want of room is counted all the same.
    pub(super) fn take(&mut self) -> std::io::Result<bool> {
        let mut piece = vec![0; PIECE];
        let mut some = false;
        for _ in 0..16 {
            match self.pipe.read(&mut piece) {
                Ok(0) => {
                    self.open = false;
                    break;
                }
                Ok(length) => {
                    some = true;
                    self.count(piece.get(..length).unwrap_or_default());
                }
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            }
        }
        Ok(some)
    }

    fn count(&mut self, piece: &[u8]) {
        self.digest.update(piece);
        self.bytes = self.bytes.saturating_add(piece.len() as u64);
        let room = super::KEPT_BYTES.saturating_sub(self.kept);
        let beginning =
            piece.get(..usize::try_from(room).unwrap_or(usize::MAX).min(piece.len())).unwrap_or_default();
        if !beginning.is_empty() && self.file.write_all(beginning).is_ok() {
            self.kept = self.kept.saturating_add(beginning.len() as u64);
        }
    }

    /// What there was, in numbers. What is kept is durable then, as far as there was room.
    pub(super) fn end(self) -> Written {
        let _ = self.file.sync_all();
        Written { bytes: self.bytes, sha256: self.digest.finish().to_string(), kept: self.kept }
    }
}
