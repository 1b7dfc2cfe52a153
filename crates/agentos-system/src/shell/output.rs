//! What a command writes: all of it is read, so that it does not wait, and the beginning is kept.

use std::io::Read;
use std::os::fd::AsFd;
use std::process::{Child, ChildStderr, ChildStdout};
use std::time::Instant;

use crate::run::wait_for_output;

/// Read at a time, in bytes.
const PIECE: usize = 64 << 10;

/// One output.
#[derive(Debug, Default)]
pub(crate) struct Captured {
    /// The beginning.
    pub(crate) kept: Vec<u8>,
    /// Bytes altogether.
    pub(crate) bytes: u64,
}

impl Captured {
    fn take(&mut self, piece: &[u8], keep: usize) {
        self.bytes = self.bytes.saturating_add(piece.len() as u64);
        let room = keep.saturating_sub(self.kept.len()).min(piece.len());
        self.kept.extend_from_slice(piece.get(..room).unwrap_or_default());
    }
}

/// Both outputs of a process.
#[derive(Debug)]
pub(crate) struct Outputs {
    stdout: (ChildStdout, bool, Captured),
    stderr: (ChildStderr, bool, Captured),
    keep: usize,
}

impl Outputs {
    /// Takes them from a process that was started with pipes.
    pub(crate) fn of(child: &mut Child, keep: usize) -> Option<Self> {
        let (stdout, stderr) = (child.stdout.take()?, child.stderr.take()?);
        Some(Self {
            stdout: (stdout, true, Captured::default()),
            stderr: (stderr, true, Captured::default()),
            keep,
        })
    }

    /// Reads until both are closed. Says false where `deadline` came before.
    ///
    /// # Errors
    /// The kernel's.
    pub(crate) fn drain(&mut self, deadline: Instant) -> std::io::Result<bool> {
        let mut piece = vec![0; PIECE];
        while self.stdout.1 || self.stderr.1 {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(false);
            }
            let (out, err) = wait_for_output(
                (self.stdout.1, self.stdout.0.as_fd()),
                (self.stderr.1, self.stderr.0.as_fd()),
                left,
            )?;
            if out {
                self.stdout.1 = read(&mut self.stdout.0, &mut piece, &mut self.stdout.2, self.keep)?;
            }
            if err {
                self.stderr.1 = read(&mut self.stderr.0, &mut piece, &mut self.stderr.2, self.keep)?;
            }
        }
        Ok(true)
    }

    /// What was written, standard output first.
    pub(crate) fn into_captured(self) -> (Captured, Captured) {
        (self.stdout.2, self.stderr.2)
    }
}

/// Whether the pipe is still open.
fn read(pipe: &mut impl Read, piece: &mut [u8], into: &mut Captured, keep: usize) -> std::io::Result<bool> {
    match pipe.read(piece) {
        Ok(0) => Ok(false),
        Ok(length) => {
            into.take(piece.get(..length).unwrap_or_default(), keep);
            Ok(true)
        }
        Err(error) if error.kind() == std::io::ErrorKind::Interrupted => Ok(true),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_beginning_is_kept_and_all_is_counted() {
        let mut captured = Captured::default();
        for _ in 0..10 {
            captured.take(b"abc", 7);
        }
        assert_eq!((captured.kept.as_slice(), captured.bytes), (&b"abcabca"[..], 30));
    }
}
