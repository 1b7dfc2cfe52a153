//! What is kept of a command that was run: that it was begun, the beginning of what it wrote, and how it ended.
//!
//! One folder for each in [`Making::outputs`]: `CHANGE-NUMBER`, with `stdout`, `stderr`, and, once it has ended, `ended.json`.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{Read, Write};
use std::ops::Range;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use agentos_api::change::{OutputPart, Ran};
use agentos_api::query::file::Encoding;

use crate::change::context::Making;
use crate::queries::file::encode;
use crate::shell::apply::KEPT_BYTES;

/// Commands whose output is kept: 100 MiB at most.
const MOST_KEPT: usize = 200;
/// Longest that is said of an end, in bytes.
const LONGEST_END: u64 = 256 << 10;
const ENDED: &str = "ended.json";

/// What is kept of a command.
#[derive(Debug)]
pub struct Output {
    /// Its standard output.
    pub stdout: Piece,
    /// Its standard error.
    pub stderr: Piece,
    /// How it ended; nothing while it runs, or where nobody saw it.
    pub ended: Option<Ran>,
}

/// What is kept of one output by now: all of it, because what is masked in a part depends on what is around.
#[derive(Debug)]
pub struct Piece {
    /// The beginning of what was written.
    pub kept: Vec<u8>,
}

/// Masks secrets in a part of a text; nothing where there are none in it.
pub type Mask<'m> = &'m dyn Fn(&[u8], Range<usize>) -> Option<Vec<u8>>;

impl Piece {
    /// What there is from a byte on. With a mask, what is still being written is given out to the end of its last line: half of a
    /// secret is not known to be one.
    pub fn part(&self, from: u64, running: bool, mask: Option<Mask<'_>>) -> OutputPart {
        let whole_lines = self.kept.iter().rposition(|&byte| byte == b'\n').map_or(0, |last| last + 1);
        let end = if running && mask.is_some() { whole_lines } else { self.kept.len() };
        let start = usize::try_from(from).unwrap_or(usize::MAX).min(end);
        let kept = self.kept.get(start..end).unwrap_or_default();
        let masked = mask.and_then(|mask| mask(&self.kept, start..end));
        let (encoding, content, _) = encode(masked.as_deref().unwrap_or(kept), Encoding::Auto);
        OutputPart { content, encoding, from: start as u64, next: end as u64 }
    }
}

fn folder(outputs: &Path, change: u64, number: u32) -> PathBuf {
    outputs.join(format!("{change}-{number}"))
}

/// Notes durably that a command is begun, and gives the files for what it writes.
///
/// # Errors
/// `AlreadyExists` where it was begun before; the kernel's.
pub(super) fn begin(making: &Making, number: u32) -> std::io::Result<[File; 2]> {
    DirBuilder::new().mode(0o700).recursive(true).create(&making.outputs)?;
    make_room(&making.outputs);
    let folder = folder(&making.outputs, making.change, number);
    DirBuilder::new().mode(0o700).create(&folder)?;
    let file =
        |name: &str| OpenOptions::new().write(true).create_new(true).mode(0o600).open(folder.join(name));
    let files = [file("stdout")?, file("stderr")?];
    File::open(&folder)?.sync_all()?;
    File::open(&making.outputs)?.sync_all()?;
    Ok(files)
}

/// Nothing of it was begun after all.
pub(super) fn forget(making: &Making, number: u32) {
    let _ = std::fs::remove_dir_all(folder(&making.outputs, making.change, number));
}

/// Notes durably how it ended.
pub(super) fn end(making: &Making, number: u32, ran: &Ran) -> std::io::Result<()> {
    let folder = folder(&making.outputs, making.change, number);
    let unfinished = folder.join("ending");
    let mut file =
        OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&unfinished)?;
    file.write_all(&serde_json::to_vec(ran)?)?;
    file.sync_all()?;
    std::fs::rename(&unfinished, folder.join(ENDED))?;
    File::open(&folder)?.sync_all()
}

/// Whether it was begun.
pub(super) fn is_begun(making: &Making, number: u32) -> bool {
    folder(&making.outputs, making.change, number).exists()
}

/// How it ended, where that was noted.
pub(super) fn ended(making: &Making, number: u32) -> Option<Ran> {
    read_end(&folder(&making.outputs, making.change, number))
}

fn read_end(folder: &Path) -> Option<Ran> {
    serde_json::from_slice(&beginning(&folder.join(ENDED), LONGEST_END).ok()?).ok()
}

/// What is kept of one of a change's commands; nothing where none was begun, or it made room for later ones.
///
/// # Errors
/// The kernel's.
pub fn output(outputs: &Path, change: u64, number: u32) -> std::io::Result<Option<Output>> {
    let folder = folder(outputs, change, number);
    // The end first: what was written until then is in the files.
    let ended = read_end(&folder);
    let piece = |name: &str| beginning(&folder.join(name), KEPT_BYTES).map(|kept| Piece { kept });
    match (piece("stdout"), piece("stderr")) {
        (Ok(stdout), Ok(stderr)) => Ok(Some(Output { stdout, stderr, ended })),
        (Err(error), _) | (_, Err(error)) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        (Err(error), _) | (_, Err(error)) => Err(error),
    }
}

fn beginning(path: &Path, most: u64) -> std::io::Result<Vec<u8>> {
    let mut content = Vec::new();
    File::open(path)?.take(most).read_to_end(&mut content)?;
    Ok(content)
}

/// The oldest make room, by the numbers of their changes.
fn make_room(outputs: &Path) {
    let mut kept: Vec<(u64, u32, PathBuf)> = std::fs::read_dir(outputs)
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| {
            let name = entry.file_name();
            let (change, number) = name.to_str()?.split_once('-')?;
            Some((change.parse().ok()?, number.parse().ok()?, entry.path()))
        })
        .collect();
    kept.sort();
    let over = (kept.len() + 1).saturating_sub(MOST_KEPT);
    for (_, _, folder) in kept.iter().take(over) {
        let _ = std::fs::remove_dir_all(folder);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_that_is_being_written_is_not_given_out_masked() {
        let piece = Piece { kept: b"one\ntwo\nhalf a sec".to_vec() };
        let mask = |text: &[u8], part: Range<usize>| text.get(part).map(<[u8]>::to_ascii_uppercase);
        let mask: Mask<'_> = &mask;
        let part = |from, running, mask| {
            let part = piece.part(from, running, mask);
            (part.content, part.from, part.next)
        };
        assert_eq!(part(0, true, Some(mask)), ("ONE\nTWO\n".to_owned(), 0, 8));
        assert_eq!(part(8, true, Some(mask)), (String::new(), 8, 8));
        assert_eq!(part(8, false, Some(mask)), ("HALF A SEC".to_owned(), 8, 18));
        assert_eq!(part(4, true, None), ("two\nhalf a sec".to_owned(), 4, 18));
        assert_eq!(part(99, false, None), (String::new(), 18, 18));
    }

    #[test]
    fn a_command_is_begun_once_and_the_oldest_make_room() {
        let folder = tempfile::tempdir().unwrap();
        let making = |change| Making::new(change, folder.path().join("outputs"));
        let [mut stdout, _] = begin(&making(1), 1).unwrap();
        stdout.write_all(b"said").unwrap();
        assert_eq!(begin(&making(1), 1).unwrap_err().kind(), std::io::ErrorKind::AlreadyExists);
        assert!(is_begun(&making(1), 1) && !is_begun(&making(1), 2) && ended(&making(1), 1).is_none());
        let kept = output(&making(1).outputs, 1, 1).unwrap().unwrap();
        assert_eq!((kept.stdout.kept.as_slice(), kept.ended), (&b"said"[..], None));
        for change in 2..=201 {
            begin(&making(change), 1).unwrap();
        }
        assert!(output(&making(1).outputs, 1, 1).unwrap().is_none());
        assert!(output(&making(1).outputs, 2, 1).unwrap().is_some());
        forget(&making(2), 1);
        assert!(!is_begun(&making(2), 1));
    }
}
