//! The content of a file: a range of it, or its first or last lines.

use std::time::Duration;

use agentos_api::query::File;
use agentos_api::query::file::{Args, ContentEncoding, Encoding, Output};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rustix::fd::OwnedFd;

use crate::QueryError;
use crate::accounts::Accounts;
use crate::dispatch::Read;
use crate::files::{Located, Protected, group, octal_mode, owner, read_range};
use crate::machine::{Machine, Viewer};
use crate::procfs::ticks::rfc3339_unix;
use crate::text::lossy;

/// Time for one answer. A hung mount does not hold it up for longer.
const TIME_LIMIT: Duration = Duration::from_secs(10);
/// How much of a file without a size (the kernel's own) is read to find its end.
const LARGEST_WITHOUT_SIZE: usize = 4 << 20;
/// How much before and behind a part is looked at for a secret that the part cuts: more than the longest private key.
const MARGIN: usize = 16 << 10;

impl Read for File {
    fn check(args: &Args) -> Result<(), QueryError> {
        if args.tail_lines.is_some() && args.head_lines.is_some() {
            return Err(QueryError::invalid("tail_lines", "not together with head_lines"));
        }
        if args.tail_lines.is_some() && args.offset.get() > 0 {
            return Err(QueryError::invalid("tail_lines", "not together with offset"));
        }
        Ok(())
    }

    fn read(machine: &Machine, viewer: Viewer, args: Args) -> Result<Output, QueryError> {
        let (protected, accounts) = (machine.protected.clone(), machine.accounts.clone());
        machine
            .guard
            .call(&args.path.to_string(), TIME_LIMIT, move || answer(&args, &viewer, &protected, &accounts))
    }
}

/// Bytes of a file, and where they stand in it.
struct Part {
    offset: u64,
    bytes: Vec<u8>,
    end_of_file: bool,
}

fn answer(
    args: &Args,
    viewer: &Viewer,
    protected: &Protected,
    accounts: &Accounts,
) -> Result<Output, QueryError> {
    let located = Located::find(&args.path)?;
    let descriptor = located.content(protected, viewer)?;
    let size = located.attributes.stx_size;
    let length = args.length.as_usize();
    let part = match args.tail_lines {
        Some(lines) => tail(&descriptor, size, length, lines.as_usize()),
        None => range(&descriptor, args.offset.get(), length),
    };
    let mut part = part.map_err(|error| QueryError::Unavailable {
        code: "unavailable",
        reason: format!("the kernel does not let {} be read: {error}", located.text()),
        hint: None,
    })?;
    if let Some(lines) = args.head_lines {
        cut_after_lines(&mut part, lines.as_usize());
    }
    leave_cut_character(&mut part, args.encoding);
    let shown = without_secrets(&descriptor, &part, viewer);
    let (encoding, content, lossy) = encode(shown.as_deref().unwrap_or(&part.bytes), args.encoding);
    let length = part.bytes.len() as u64;
    Ok(Output {
        path: located.text(),
        size_bytes: size,
        offset: part.offset,
        length,
        end_of_file: part.end_of_file,
        next_offset: (!part.end_of_file).then(|| part.offset.saturating_add(length)),
        encoding,
        lossy,
        content,
        modified: rfc3339_unix(located.attributes.stx_mtime.tv_sec),
        mode: octal_mode(&located.attributes),
        owner: owner(accounts, &located.attributes),
        group: group(accounts, &located.attributes),
    })
}

/// Up to `length` bytes from `offset`. One more is asked for, which tells whether the file ends there.
fn range(descriptor: &OwnedFd, offset: u64, length: usize) -> std::io::Result<Part> {
    // The kernel takes no offset beyond its signed 64 bits; there is no file there either.
    if i64::try_from(offset.saturating_add(length as u64 + 1)).is_err() {
        return Ok(Part { offset, bytes: Vec::new(), end_of_file: true });
    }
    let mut bytes = vec![0; length + 1];
    let read = read_range(descriptor, offset, &mut bytes)?;
    bytes.truncate(read.min(length));
    Ok(Part { offset, bytes, end_of_file: read <= length })
}

/// The last `lines` lines, as far as they fit into `length` bytes.
fn tail(descriptor: &OwnedFd, size: u64, length: usize, lines: usize) -> std::io::Result<Part> {
    let mut part = if size == 0 {
        // The kernel's files have no size: their end is found by reading.
        let mut part = range(descriptor, 0, LARGEST_WITHOUT_SIZE)?;
        if !part.end_of_file {
            return Err(std::io::Error::other("it has no size and no end within 4 MiB; read it by offset"));
        }
        let before = part.bytes.len().saturating_sub(length);
        skip_front(&mut part, before);
        part
    } else {
        range(descriptor, size.saturating_sub(length as u64), length)?
    };
    let start = start_of_last_lines(&part.bytes, lines, part.offset == 0);
    skip_front(&mut part, start);
    Ok(part)
}

fn skip_front(part: &mut Part, count: usize) {
    part.bytes.drain(..count.min(part.bytes.len()));
    part.offset += count as u64;
}

/// Where the last `lines` lines begin. The first line of a part that does not begin the file is taken for cut, and left
/// out, unless it is the only one.
fn start_of_last_lines(bytes: &[u8], lines: usize, whole: bool) -> usize {
    let body = bytes.strip_suffix(b"\n").unwrap_or(bytes);
    let mut starts = body.iter().enumerate().rev().filter(|(_, byte)| **byte == b'\n').map(|(at, _)| at + 1);
    match starts.nth(lines.saturating_sub(1)) {
        Some(start) => start,
        None if whole => 0,
        None => body.iter().position(|&byte| byte == b'\n').map_or(0, |at| at + 1),
    }
}

fn cut_after_lines(part: &mut Part, lines: usize) {
    let end = part.bytes.iter().enumerate().filter(|(_, byte)| **byte == b'\n').nth(lines.saturating_sub(1));
    if let Some((at, _)) = end
        && at + 1 < part.bytes.len()
    {
        part.bytes.truncate(at + 1);
        part.end_of_file = false;
    }
}

/// The part without the secrets in it, where it has some. What surrounds it is read as well: a secret that is cut by the
/// part's edges would not be known for one, and could be read piece by piece.
fn without_secrets(descriptor: &OwnedFd, part: &Part, viewer: &Viewer) -> Option<Vec<u8>> {
    let rules = viewer.rules.as_ref().filter(|_| !part.bytes.is_empty())?;
    let (mut content, mut after) = (vec![0; MARGIN], vec![0; MARGIN]);
    let from = part.offset.saturating_sub(MARGIN as u64);
    content.truncate(usize::try_from(part.offset - from).unwrap_or(MARGIN));
    // What cannot be read there is not there; a file that shrinks meanwhile has no secret to cut.
    let before = read_range(descriptor, from, &mut content).unwrap_or(0);
    content.truncate(before);
    content.extend_from_slice(&part.bytes);
    let end = part.offset.saturating_add(part.bytes.len() as u64);
    let read = if part.end_of_file { 0 } else { read_range(descriptor, end, &mut after).unwrap_or(0) };
    content.extend_from_slice(after.get(..read).unwrap_or_default());
    rules.mask(&content, before..before + part.bytes.len())
}

/// A character that the end of the part cuts in two is left to the next part.
fn leave_cut_character(part: &mut Part, wanted: Encoding) {
    if wanted != Encoding::Base64
        && !part.end_of_file
        && let Err(error) = std::str::from_utf8(&part.bytes)
        && error.error_len().is_none()
        && error.valid_up_to() > 0
    {
        part.bytes.truncate(error.valid_up_to());
    }
}

/// The bytes as text or base64.
pub(crate) fn encode(bytes: &[u8], wanted: Encoding) -> (ContentEncoding, String, bool) {
    let text = match std::str::from_utf8(bytes) {
        Ok(text) if wanted == Encoding::Text || (wanted == Encoding::Auto && !text.contains('\0')) => {
            Some((text.to_owned(), false))
        }
        Err(_) if wanted == Encoding::Text => Some((lossy(bytes), true)),
        _ => None,
    };
    match text {
        Some((text, lossy)) => (ContentEncoding::Text, text, lossy),
        None => (ContentEncoding::Base64, STANDARD.encode(bytes), false),
    }
}

#[cfg(test)]
mod tests;
