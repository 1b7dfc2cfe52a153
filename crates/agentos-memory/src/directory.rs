//! The memory directory, which another user may write to while it is read: nothing in it is trusted.
//!
//! Every path is resolved by the kernel below the directory's descriptor, without symbolic links
//! (`openat2(2)`, `RESOLVE_BENEATH`, `RESOLVE_NO_SYMLINKS`). Only regular files are read, only up to a size, and opening
//! never waits (a FIFO would make it). What is left out is said, with the reason.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, ResolveFlags, Statx, StatxFlags, openat2, statx};
use rustix::io::Errno;

use crate::error::MemoryError;

/// The long-term memory at the top of the directory.
pub(crate) const LONG_TERM: &str = "MEMORY.md";
/// The directory of the daily files.
pub(crate) const DAILY: &str = "memory";
/// How deep below `memory/` files are looked for.
const MAX_DEPTH: usize = 3;
/// How often a read is repeated when the file changed under it.
const READ_ATTEMPTS: usize = 3;
/// Directory entries looked at for each file that may be indexed.
const ENTRIES_PER_FILE: usize = 4;

/// How much is read at most.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    pub(crate) file_bytes: u64,
    pub(crate) files: usize,
    pub(crate) total_bytes: u64,
}

/// What tells one state of a file from another without reading it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stamp {
    pub(crate) device: i64,
    pub(crate) inode: i64,
    pub(crate) size: i64,
    pub(crate) modified_ns: i64,
    pub(crate) changed_ns: i64,
}

impl Stamp {
    fn of(status: &Statx) -> Self {
        let nanoseconds = |time: rustix::fs::StatxTimestamp| {
            time.tv_sec.saturating_mul(1_000_000_000).saturating_add(i64::from(time.tv_nsec))
        };
        Self {
            device: i64::from(status.stx_dev_major) << 32 | i64::from(status.stx_dev_minor),
            inode: status.stx_ino.cast_signed(),
            size: status.stx_size.cast_signed(),
            modified_ns: nanoseconds(status.stx_mtime),
            changed_ns: nanoseconds(status.stx_ctime),
        }
    }
}

/// The files to index and those left out, by path relative to the directory.
#[derive(Debug, Default)]
pub(crate) struct Listing {
    pub(crate) files: BTreeMap<String, Stamp>,
    pub(crate) skipped: BTreeMap<String, String>,
}

/// A file's bytes and the state of the file they are of.
#[derive(Debug)]
pub(crate) struct Content {
    pub(crate) bytes: Vec<u8>,
    pub(crate) stamp: Stamp,
    /// Whether the file stood still while it was read.
    pub(crate) settled: bool,
}

/// An open memory directory.
#[derive(Debug)]
pub(crate) struct Directory {
    pub(crate) descriptor: OwnedFd,
    owner: u32,
}

impl Directory {
    /// Opens the directory at `path`, which may not lead through a symbolic link.
    pub(crate) fn open(path: &Path) -> Result<Self, MemoryError> {
        let fail = |problem, errno: Errno| MemoryError::Directory {
            path: PathBuf::from(path),
            problem,
            source: errno.into(),
        };
        if !path.is_absolute() {
            return Err(fail("the path must be absolute", Errno::INVAL));
        }
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let resolve = ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
        let descriptor = openat2(rustix::fs::CWD, path, flags, Mode::empty(), resolve).map_err(|errno| {
            let problem = match errno {
                Errno::LOOP => "a symbolic link is on its path; configure the path it leads to",
                Errno::NOENT => "it does not exist; create it, owned by whoever writes memories",
                Errno::NOTDIR => "it is not a directory",
                Errno::NOSYS => "this kernel or container has no openat2(2), which came with Linux 5.6",
                _ => "see the cause",
            };
            fail(problem, errno)
        })?;
        let status = status(&descriptor).map_err(|errno| fail("its owner cannot be read", errno))?;
        Ok(Self { descriptor, owner: status.stx_uid })
    }

    /// Finds the files to index without opening any.
    pub(crate) fn list(&self, limits: Limits) -> Listing {
        let mut walk = Walk { directory: self, limits, listing: Listing::default(), visited: 0 };
        match stat_at(&self.descriptor, LONG_TERM) {
            Ok(status) => walk.file(LONG_TERM.to_owned(), &status),
            Err(Errno::NOENT) => {}
            Err(errno) => walk.skip(LONG_TERM.to_owned(), reason(errno)),
        }
        walk.descend(&self.descriptor, DAILY, DAILY.to_owned(), 0);
        let mut listing = walk.listing;
        enforce_totals(&mut listing, limits);
        listing
    }

    /// Reads the file at `relative`, at most `limit` bytes of it.
    ///
    /// # Errors
    /// Why it is left out.
    pub(crate) fn read(&self, relative: &str, limit: u64) -> Result<Content, String> {
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOFOLLOW | OFlags::NOCTTY | OFlags::CLOEXEC;
        let mut attempt = 0;
        loop {
            attempt += 1;
            let descriptor = open_below(&self.descriptor, relative, flags).map_err(reason)?;
            let before = status(&descriptor).map_err(reason)?;
            self.check(&before, limit)?;
            let mut file = File::from(descriptor);
            let mut bytes = Vec::new();
            (&mut file)
                .take(limit.saturating_add(1))
                .read_to_end(&mut bytes)
                .map_err(|error| format!("cannot be read: {error}"))?;
            let after = status(&file).map_err(reason)?;
            let stamp = Stamp::of(&after);
            let settled = stamp == Stamp::of(&before) && after.stx_size == bytes.len() as u64;
            if settled || attempt == READ_ATTEMPTS {
                self.check(&after, limit)?;
                bytes.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
                return Ok(Content { bytes, stamp, settled });
            }
        }
    }

    /// Whether a file may be read; the reason when it may not.
    fn check(&self, status: &Statx, limit: u64) -> Result<(), String> {
        match FileType::from_raw_mode(status.stx_mode.into()) {
            FileType::RegularFile => {}
            FileType::Symlink => return Err("is a symbolic link".to_owned()),
            FileType::Directory => return Err("is a directory".to_owned()),
            FileType::Fifo => return Err("is a FIFO, not a regular file".to_owned()),
            FileType::Socket => return Err("is a socket, not a regular file".to_owned()),
            _ => return Err("is not a regular file".to_owned()),
        }
        // Whoever may write to the directory can link another user's file into it.
        if status.stx_nlink > 1 && status.stx_uid != self.owner {
            return Err("is a hard link to a file of another user".to_owned());
        }
        if status.stx_size > limit {
            return Err(format!("has {} bytes, more than {limit}", status.stx_size));
        }
        Ok(())
    }
}

/// One walk over the directory.
struct Walk<'d> {
    directory: &'d Directory,
    limits: Limits,
    listing: Listing,
    visited: usize,
}

impl Walk<'_> {
    fn skip(&mut self, path: String, reason: String) {
        if self.listing.skipped.len() < self.limits.files {
            self.listing.skipped.insert(path, reason);
        }
    }

    fn file(&mut self, path: String, status: &Statx) {
        match self.directory.check(status, self.limits.file_bytes) {
            Ok(()) => {
                self.listing.files.insert(path, Stamp::of(status));
            }
            Err(reason) => self.skip(path, reason),
        }
    }

    fn descend(&mut self, parent: &OwnedFd, name: &str, path: String, depth: usize) {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let descriptor = match open_below(parent, name, flags) {
            Ok(descriptor) => descriptor,
            Err(Errno::NOENT) => return,
            Err(errno) => return self.skip(path, reason(errno)),
        };
        let entries = match Dir::read_from(&descriptor) {
            Ok(entries) => entries,
            Err(errno) => return self.skip(path, reason(errno)),
        };
        for entry in entries {
            let Ok(entry) = entry else {
                return self.skip(path, "cannot be listed to its end".to_owned());
            };
            self.visited += 1;
            if self.visited > self.limits.files.saturating_mul(ENTRIES_PER_FILE) {
                return self.skip(path, "has too many entries: the rest is not indexed".to_owned());
            }
            self.entry(&descriptor, entry.file_name().to_bytes(), &path, depth);
        }
    }

    fn entry(&mut self, parent: &OwnedFd, name: &[u8], path: &str, depth: usize) {
        if name.starts_with(b".") {
            return;
        }
        let is_markdown = name.ends_with(b".md");
        let Ok(name) = std::str::from_utf8(name) else {
            if is_markdown {
                let shown = format!("{path}/{}", String::from_utf8_lossy(name));
                self.skip(shown, "its name is not UTF-8".to_owned());
            }
            return;
        };
        if name.chars().any(char::is_control) {
            if is_markdown {
                self.skip(
                    format!("{path}/{}", name.escape_default()),
                    "its name has control characters".to_owned(),
                );
            }
            return;
        }
        // Gone since it was listed is the same as not there.
        let Ok(status) = stat_at(parent, name) else { return };
        let path = format!("{path}/{name}");
        if FileType::from_raw_mode(status.stx_mode.into()) == FileType::Directory {
            if depth + 1 < MAX_DEPTH {
                self.descend(parent, name, path, depth + 1);
            } else {
                self.skip(path, "is too deep: its files are not indexed".to_owned());
            }
        } else if is_markdown {
            self.file(path, &status);
        }
    }
}

/// Leaves out what is over the limits in all; the long-term memory comes first, then the latest days.
fn enforce_totals(listing: &mut Listing, limits: Limits) {
    let (mut count, mut bytes) = (0_usize, 0_u64);
    let mut names: Vec<String> = listing.files.keys().cloned().collect();
    names.sort_by(|a, b| (a != LONG_TERM).cmp(&(b != LONG_TERM)).then_with(|| b.cmp(a)));
    for name in names {
        let size = listing.files.get(&name).map_or(0, |stamp| stamp.size.cast_unsigned());
        count += 1;
        bytes = bytes.saturating_add(size);
        if count > limits.files || bytes > limits.total_bytes {
            listing.files.remove(&name);
            listing.skipped.insert(name, "is over the memory's limit of files or bytes in all".to_owned());
        }
    }
}

/// Opens `relative` below `parent`, through no symbolic link.
pub(crate) fn open_below(parent: &OwnedFd, relative: &str, flags: OFlags) -> rustix::io::Result<OwnedFd> {
    create_below(parent, relative, flags, Mode::empty())
}

/// Opens or creates `relative` below `parent`, through no symbolic link.
pub(crate) fn create_below(
    parent: &OwnedFd,
    relative: &str,
    flags: OFlags,
    mode: Mode,
) -> rustix::io::Result<OwnedFd> {
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    openat2(parent, relative, flags, mode, resolve)
}

/// The state of an open file.
pub(crate) fn status(descriptor: impl AsFd) -> rustix::io::Result<Statx> {
    statx(descriptor, "", AtFlags::EMPTY_PATH, StatxFlags::BASIC_STATS)
}

/// The state of `name` in `parent`, of the link itself if it is one.
pub(crate) fn stat_at(parent: &OwnedFd, name: &str) -> rustix::io::Result<Statx> {
    statx(parent, name, AtFlags::SYMLINK_NOFOLLOW, StatxFlags::BASIC_STATS)
}

/// Why a file could not be opened or looked at, in words.
fn reason(errno: Errno) -> String {
    match errno {
        Errno::LOOP => "is a symbolic link".to_owned(),
        Errno::NOTDIR => "is not a directory, or leads through something that is none".to_owned(),
        Errno::XDEV => "leads out of the memory directory".to_owned(),
        _ => format!("cannot be opened: {}", io::Error::from(errno)),
    }
}
