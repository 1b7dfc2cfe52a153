//! Checkpoints kept outside the state directory: a file that another machine, another user or another disk keeps, against
//! which a ledger that was rewritten or cut cannot stand.
//!
//! The file is signed notes, one after another, an empty line between them.

use std::fs::{File, OpenOptions};
use std::io::{Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use crate::error::LedgerError;
use crate::files::{file_error, no_follow};
use crate::note::{NoteError, TreeHead, VerifierKey, open_checkpoint};

/// How much of the end of a witness file is read: some hundred checkpoints.
const MAX_TAIL_BYTES: u64 = 65_536;

/// Adds a note, durably. A note that a crash cut short before is left behind and does no harm.
pub(crate) fn append(path: &Path, note: &str) -> Result<(), LedgerError> {
    let write = || {
        let mut file = OpenOptions::new()
            .create(true)
            .read(true)
            .append(true)
            .mode(0o644)
            .custom_flags(no_follow())
            .open(path)?;
        if !file.metadata()?.is_file() {
            return Err(std::io::Error::other("not a regular file"));
        }
        // A line that was cut short must not run into the first line of this note.
        let mut last = [b'\n'];
        if file.metadata()?.len() > 0 {
            file.seek(SeekFrom::End(-1))?;
            file.read_exact(&mut last)?;
        }
        let ended = if last == *b"\n" { "" } else { "\n" };
        file.write_all(format!("{ended}{note}\n").as_bytes())?;
        file.sync_data()
    };
    write().map_err(file_error("append a checkpoint to", path))
}

/// The end of a witness file, or all of a file with a single checkpoint; nothing when there is no such file.
///
/// # Errors
/// [`LedgerError::File`] when it is there and cannot be read.
pub fn read_checkpoints(path: &Path) -> Result<Option<String>, LedgerError> {
    read_tail(path, MAX_TAIL_BYTES)
}

/// The last `most` bytes of a file; nothing when there is no such file.
pub(crate) fn read_tail(path: &Path, most: u64) -> Result<Option<String>, LedgerError> {
    let read = |mut file: File| {
        let metadata = file.metadata()?;
        if !metadata.is_file() {
            return Err(std::io::Error::other("not a regular file"));
        }
        if metadata.len() > most {
            file.seek(SeekFrom::Start(metadata.len() - most))?;
        }
        let mut tail = Vec::new();
        file.take(most).read_to_end(&mut tail)?;
        Ok(String::from_utf8_lossy(&tail).into_owned())
    };
    match OpenOptions::new().read(true).custom_flags(no_follow()).open(path) {
        Ok(file) => read(file).map(Some).map_err(file_error("read the checkpoints in", path)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(file_error("open the checkpoints in", path)(error)),
    }
}

/// The notes in `text`, behind what was cut short. None of them was checked.
pub(crate) fn notes(text: &str) -> Vec<String> {
    let parts: Vec<&str> = text.split("\n\n").collect();
    let note = |pair: &[&str]| {
        let [body, signatures] = pair else { return None };
        if !signatures.starts_with('\u{2014}') {
            return None;
        }
        // A note begins on its third line from the end; what stands before is a note that was cut short.
        let lines: Vec<&str> = body.trim_matches('\n').split('\n').collect();
        let body = lines.get(lines.len().saturating_sub(3)..).unwrap_or_default().join("\n");
        Some(format!("{body}\n\n{}\n", signatures.trim_end_matches('\n')))
    };
    parts.windows(2).filter_map(note).collect()
}

/// The largest checkpoint in `text` that `key` signed, with its note.
///
/// # Errors
/// The last [`NoteError`] when no note in it is signed by `key`.
pub fn latest_checkpoint(text: &str, key: &VerifierKey) -> Result<(TreeHead, String), NoteError> {
    let mut latest: Option<(TreeHead, String)> = None;
    let mut refused = NoteError::Malformed("there is no signed note in it");
    for note in notes(text) {
        match open_checkpoint(&note, key) {
            Ok(head) if latest.as_ref().is_none_or(|(largest, _)| head.size > largest.size) => {
                latest = Some((head, note));
            }
            Ok(_) => {}
            Err(error) => refused = error,
        }
    }
    latest.ok_or(refused)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::note::SigningKey;

    #[test]
    fn the_largest_signed_checkpoint_is_found_behind_one_that_was_cut_short() {
        let (key, _) = SigningKey::generate("ledger.test/a").unwrap();
        let (other, _) = SigningKey::generate("ledger.test/a").unwrap();
        let [first, second, third] = [1, 2, 3].map(|size| key.sign(size, &[7; 32]).note);
        let forged = other.sign(9, &[7; 32]).note;
        let cut = &third[..third.len() / 4];
        for text in [
            format!("{first}\n{second}\n"),
            format!("{first}\n{second}\n{cut}"),
            format!("{first}\n{cut}\n{second}\n"),
            format!("{first}\n{second}\n{forged}\n"),
            second.clone(),
        ] {
            assert_eq!(latest_checkpoint(&text, key.verifier()).unwrap().0.size, 2, "{text}");
        }
        assert!(matches!(latest_checkpoint(&forged, key.verifier()), Err(NoteError::OtherKey { .. })));
        assert!(latest_checkpoint("", key.verifier()).is_err());
    }
}
