//! Writes an entry to the day's file so that it survives whatever comes next.
//!
//! - The entry is appended in one write (`O_APPEND`) after the space for it is reserved, and an answer means it was
//!   synced, and that the file of that name still is the file that was written.
//! - What an interrupted write left behind is closed first: a line without an end, a code block left open.
//! - Only a regular file with one name is written. A file that is created belongs to whoever owns the directory.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::fd::OwnedFd;

use jiff::Zoned;
use rustix::fs::{
    Dir, FallocateFlags, FileType, Gid, Mode, OFlags, Statx, Uid, fallocate, fchmod, fchown, fsync, mkdirat,
};
use rustix::io::Errno;

use crate::directory::{DAILY, Directory, create_below, open_below, stat_at, status};
use crate::error::MemoryError;
use crate::markdown::unclosed_fence;

/// How many files a day may fill.
const FILES_PER_DAY: u32 = 16;
/// How often an append is repeated when the file is replaced under it.
const ATTEMPTS: usize = 4;

/// What became of one attempt to append.
enum Outcome {
    Durable,
    /// The file would pass its limit: the next one is to be used.
    Full,
    /// The file was created, removed or replaced meanwhile: try again.
    Moved,
}

/// Appends `entry` to the file of `now`'s day and returns that file's path, relative to the directory.
pub(crate) fn append(
    directory: &Directory,
    entry: &str,
    now: &Zoned,
    file_bytes: u64,
) -> Result<String, MemoryError> {
    let day = now.strftime("%Y-%m-%d").to_string();
    let daily = daily_directory(directory)?;
    for number in 1..=FILES_PER_DAY {
        let name = if number == 1 { format!("{day}.md") } else { format!("{day}-{number}.md") };
        let day_file = DayFile { daily: &daily, path: format!("{DAILY}/{name}"), name, day: &day };
        let mut attempt = 0;
        loop {
            match day_file.append(entry, file_bytes)? {
                Outcome::Durable => return Ok(day_file.path),
                Outcome::Full => break,
                Outcome::Moved if attempt < ATTEMPTS => attempt += 1,
                Outcome::Moved => {
                    let reason = "it was replaced again and again while it was written; store it again";
                    return Err(MemoryError::Refused { file: day_file.path, reason });
                }
            }
        }
    }
    Err(MemoryError::DayFull { day })
}

/// A step on `file` that failed.
fn failed(file: &str, action: &'static str) -> impl FnOnce(Errno) -> MemoryError {
    let file = file.to_owned();
    move |errno| match errno {
        Errno::LOOP => MemoryError::Refused { file, reason: "it is a symbolic link" },
        Errno::NOTDIR => MemoryError::Refused { file, reason: "it is not a directory" },
        _ => MemoryError::File { file, action, source: errno.into() },
    }
}

/// Opens `memory/`, making it where it is missing.
fn daily_directory(directory: &Directory) -> Result<OwnedFd, MemoryError> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    match open_below(&directory.descriptor, DAILY, flags) {
        Err(Errno::NOENT) => {}
        other => return other.map_err(failed(DAILY, "open")),
    }
    match mkdirat(&directory.descriptor, DAILY, Mode::RWXU) {
        Ok(()) | Err(Errno::EXIST) => {}
        Err(errno) => return Err(failed(DAILY, "mkdir")(errno)),
    }
    let created = open_below(&directory.descriptor, DAILY, flags).map_err(failed(DAILY, "open"))?;
    // Only a directory just made is given away; one that was put in its place has something in it.
    let entries = Dir::read_from(&created).map_err(failed(DAILY, "list"))?;
    let is_empty = entries.flatten().all(|entry| matches!(entry.file_name().to_bytes(), b"." | b".."));
    if is_empty {
        let parent = status(&directory.descriptor).map_err(failed(DAILY, "stat"))?;
        let mode =
            Mode::from_bits_truncate(u32::from(parent.stx_mode)) & (Mode::RWXU | Mode::RWXG | Mode::RWXO);
        give_to_owner_of(&parent, &created, mode | Mode::RWXU).map_err(failed(DAILY, "chown"))?;
    }
    fsync(&directory.descriptor).map_err(failed(DAILY, "fsync"))?;
    Ok(created)
}

/// Makes what was just created belong to the owner of the directory it is in, with `mode`.
fn give_to_owner_of(parent: &Statx, created: &OwnedFd, mode: Mode) -> rustix::io::Result<()> {
    let status = status(created)?;
    if (status.stx_uid, status.stx_gid) != (parent.stx_uid, parent.stx_gid) {
        let owner = (Uid::from_raw(parent.stx_uid), Gid::from_raw(parent.stx_gid));
        match fchown(created, Some(owner.0), Some(owner.1)) {
            // An ordinary user cannot give files away; the file then stays theirs.
            Ok(()) | Err(Errno::PERM) => {}
            Err(errno) => return Err(errno),
        }
    }
    fchmod(created, mode)
}

/// One of a day's files.
struct DayFile<'d> {
    daily: &'d OwnedFd,
    /// Relative to the memory directory, as it is shown.
    path: String,
    /// Relative to `daily`.
    name: String,
    day: &'d str,
}

impl DayFile<'_> {
    fn append(&self, entry: &str, file_bytes: u64) -> Result<Outcome, MemoryError> {
        let failed = |action| failed(&self.path, action);
        let flags = OFlags::RDWR
            | OFlags::APPEND
            | OFlags::NONBLOCK
            | OFlags::NOFOLLOW
            | OFlags::NOCTTY
            | OFlags::CLOEXEC;
        let descriptor = match open_below(self.daily, &self.name, flags) {
            Err(Errno::NOENT) => match self.create(flags) {
                Err(Errno::EXIST) => return Ok(Outcome::Moved),
                other => other.map_err(failed("create"))?,
            },
            other => other.map_err(failed("open"))?,
        };
        let before = status(&descriptor).map_err(failed("stat"))?;
        match self.check(&before)? {
            Outcome::Durable => {}
            other => return Ok(other),
        }
        let mut file = File::from(descriptor);
        let existing = self.read(&mut file, file_bytes)?;
        let Some(existing) = existing else { return Ok(Outcome::Full) };
        let text = self.with_joint(&existing, entry);
        if before.stx_size.saturating_add(text.len() as u64) > file_bytes && !existing.is_empty() {
            return Ok(Outcome::Full);
        }
        match fallocate(&file, FallocateFlags::KEEP_SIZE, before.stx_size, text.len() as u64) {
            // A file system that cannot reserve space says so when it writes.
            Ok(()) | Err(Errno::OPNOTSUPP | Errno::NOSYS | Errno::INVAL) => {}
            Err(errno) => return Err(failed("reserve space")(errno)),
        }
        file.write_all(text.as_bytes()).map_err(|error| self.io("write", error))?;
        file.sync_all().map_err(|error| self.io("fsync", error))?;
        // An editor that saved meanwhile has put another file in the place of the one just written.
        match stat_at(self.daily, &self.name) {
            Ok(now) if now.stx_ino == before.stx_ino => Ok(Outcome::Durable),
            Ok(_) | Err(Errno::NOENT) => Ok(Outcome::Moved),
            Err(errno) => Err(failed("stat")(errno)),
        }
    }

    fn create(&self, flags: OFlags) -> rustix::io::Result<OwnedFd> {
        let created = create_below(
            self.daily,
            &self.name,
            flags | OFlags::CREATE | OFlags::EXCL,
            Mode::RUSR | Mode::WUSR,
        )?;
        let parent = status(self.daily)?;
        let readable = Mode::from_bits_truncate(u32::from(parent.stx_mode))
            & (Mode::RGRP | Mode::WGRP | Mode::ROTH | Mode::WOTH);
        give_to_owner_of(&parent, &created, readable | Mode::RUSR | Mode::WUSR)?;
        fsync(self.daily)?;
        Ok(created)
    }

    /// Whether an open file may be written.
    fn check(&self, status: &Statx) -> Result<Outcome, MemoryError> {
        let refuse = |reason| Err(MemoryError::Refused { file: self.path.clone(), reason });
        if FileType::from_raw_mode(status.stx_mode.into()) != FileType::RegularFile {
            return refuse("it is not a regular file");
        }
        match status.stx_nlink {
            1 => Ok(Outcome::Durable),
            0 => Ok(Outcome::Moved),
            _ => refuse("it has a second name (hard link), so writing would change a file elsewhere"),
        }
    }

    /// All that is in the file; `None` when it is over its limit.
    fn read(&self, file: &mut File, limit: u64) -> Result<Option<Vec<u8>>, MemoryError> {
        let mut bytes = Vec::new();
        file.seek(SeekFrom::Start(0)).map_err(|error| self.io("seek", error))?;
        file.take(limit.saturating_add(1)).read_to_end(&mut bytes).map_err(|error| self.io("read", error))?;
        Ok((bytes.len() as u64 <= limit).then_some(bytes))
    }

    /// What has to be written for `entry` to stand by itself below `existing`.
    fn with_joint(&self, existing: &[u8], entry: &str) -> String {
        if existing.is_empty() {
            return format!("# {}\n\n{entry}", self.day);
        }
        let mut text = String::new();
        if !existing.ends_with(b"\n") {
            text.push('\n');
        }
        if let Some(closing) = unclosed_fence(&String::from_utf8_lossy(existing)) {
            text.push_str(&closing);
        }
        if !(text.is_empty() && existing.ends_with(b"\n\n")) {
            text.push('\n');
        }
        text.push_str(entry);
        text
    }

    fn io(&self, action: &'static str, source: io::Error) -> MemoryError {
        MemoryError::File { file: self.path.clone(), action, source }
    }
}
