//! Files that a caller names, opened so that nothing waits, nothing is altered, and what was checked is what is read.
//!
//! A path is resolved once, to a descriptor that only points (`O_PATH`, open(2)). Everything is decided on that
//! descriptor, and the content is opened through it: a path that is exchanged in between changes nothing.

pub(crate) mod glob;
mod places;
mod protected;
mod rules;

use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use agentos_api::query::directory::Kind;
use agentos_api::query::path::{AbsolutePath, encode};
use rustix::fs::{
    AtFlags, CWD, FileType, Mode, OFlags, ResolveFlags, Statx, StatxFlags, fstatfs, openat, openat2,
    readlinkat, statx,
};
use rustix::io::Errno;

use crate::accounts::Accounts;
use crate::{QueryError, Viewer};
pub(crate) use places::Known;
pub(crate) use protected::Protected;
use protected::device;
pub use rules::{Kept, Rules};

const PROC_SUPER_MAGIC: u64 = 0x9fa0;
const SYSFS_MAGIC: u64 = 0x6265_6572;
const TRACEFS_MAGIC: u64 = 0x7472_6163;
const DEBUGFS_MAGIC: u64 = 0x6462_6720;

/// A path that was found, and not yet opened for reading.
#[derive(Debug)]
pub(crate) struct Located {
    descriptor: OwnedFd,
    /// Its attributes at that moment.
    pub(crate) attributes: Statx,
    /// Where it is, with symbolic links followed. ` (deleted)` follows where it was removed since.
    pub(crate) path: Vec<u8>,
}

impl Located {
    /// Finds `path`, following symbolic links.
    ///
    /// The magic links of `/proc/PID` (`fd`, `cwd`, `root`, `exe`: proc(5)) are not followed: they lead to files without
    /// regard to their path, out of sandboxes and into deleted files.
    ///
    /// # Errors
    /// [`QueryError::NotFound`], [`QueryError::Forbidden`] for a magic link, [`QueryError::InvalidArgument`] for a loop of
    /// symbolic links or a name too long, [`QueryError::Io`].
    pub(crate) fn find(path: &AbsolutePath) -> Result<Self, QueryError> {
        let flags = OFlags::PATH | OFlags::CLOEXEC;
        let descriptor = openat2(CWD, path.as_bytes(), flags, Mode::empty(), ResolveFlags::NO_MAGICLINKS)
            .map_err(|error| refusal(path, error))?;
        Self::of(descriptor).map_err(|error| QueryError::io(path.to_string(), error))
    }

    /// What an `O_PATH` descriptor points at.
    ///
    /// # Errors
    /// The kernel's.
    pub(crate) fn of(descriptor: OwnedFd) -> Result<Self, Errno> {
        let attributes = attributes_at(&descriptor, c"", AtFlags::EMPTY_PATH)?;
        let path = readlinkat(CWD, link_to(&descriptor), Vec::new())?.into_bytes();
        Ok(Self { descriptor, attributes, path })
    }

    /// What it is.
    pub(crate) fn kind(&self) -> Kind {
        kind(FileType::from_raw_mode(self.attributes.stx_mode.into()))
    }

    /// Its path as text.
    pub(crate) fn text(&self) -> String {
        encode(&self.path)
    }

    /// Opens it as a directory to list.
    ///
    /// # Errors
    /// [`QueryError::InvalidArgument`] where it is none, and what the kernel answers.
    pub(crate) fn directory(&self) -> Result<OwnedFd, QueryError> {
        if self.kind() != Kind::Directory {
            return Err(QueryError::invalid(
                "path",
                format!("{} is not a directory; the query file reads files", self.text()),
            ));
        }
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        openat(&self.descriptor, c".", flags, Mode::empty())
            .map_err(|error| QueryError::io(self.text(), error))
    }

    /// Opens its content, where it is a regular file that `viewer` may read.
    ///
    /// Devices, pipes and sockets are refused: reading one may wait for ever, or do something. So are the files of the
    /// kernel's own file systems that have no end, are the memory of a process, or act when they are read.
    ///
    /// # Errors
    /// [`QueryError::InvalidArgument`] for what is not a regular file, [`QueryError::Forbidden`] for what is kept from this
    /// viewer or from all, [`QueryError::Denied`] for what its rules keep, and what the kernel answers.
    pub(crate) fn content(&self, protected: &Protected, viewer: &Viewer) -> Result<OwnedFd, QueryError> {
        self.content_by(protected, viewer, &mut Known::default())
    }

    /// The same, by what was found out a moment ago for another file of this viewer's.
    ///
    /// # Errors
    /// As [`Located::content`].
    pub(crate) fn content_by(
        &self,
        protected: &Protected,
        viewer: &Viewer,
        known: &mut Known,
    ) -> Result<OwnedFd, QueryError> {
        let what = match self.kind() {
            Kind::File => None,
            Kind::Directory => Some("a directory; the query directory lists it"),
            Kind::Symlink => Some("a symbolic link"),
            Kind::Fifo => Some("a named pipe, and reading it would take what others wait for"),
            Kind::Socket => Some("a socket"),
            Kind::BlockDevice | Kind::CharacterDevice => Some("a device, and reading it may act on it"),
            Kind::Unknown => Some("not a regular file"),
        };
        if let Some(what) = what {
            return Err(QueryError::invalid("path", format!("{} is {what}", self.text())));
        }
        self.check_file_system(viewer)?;
        if !viewer.operator {
            protected.check(self, known)?;
        }
        self.permit(viewer, known)?;
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
        openat(CWD, link_to(&self.descriptor), flags, Mode::empty())
            .map_err(|error| QueryError::io(self.text(), error))
    }

    /// It is a file of the kernel's about processes (proc(5)).
    fn is_on_proc(&self) -> bool {
        #[expect(clippy::cast_sign_loss, reason = "a magic number, not a quantity")]
        fstatfs(&self.descriptor).is_ok_and(|found| found.f_type as u64 == PROC_SUPER_MAGIC)
    }

    /// Refuses the special files of the kernel's own file systems.
    fn check_file_system(&self, viewer: &Viewer) -> Result<(), QueryError> {
        let file_system = fstatfs(&self.descriptor).map_err(|error| QueryError::io(self.text(), error))?;
        let name = self.path.rsplit(|&byte| byte == b'/').next().unwrap_or_default();
        #[expect(clippy::cast_sign_loss, reason = "a magic number, not a quantity")]
        let reason = match file_system.f_type as u64 {
            PROC_SUPER_MAGIC => match name {
                b"kcore" | b"vmcore" | b"mem" | b"pagemap" | b"kpagecount" | b"kpageflags"
                | b"kpagecgroup" => "it is memory, which holds every secret of the machine",
                b"kmsg" => "it waits for new messages and takes them from others; the query journal has them",
                b"environ" if !viewer.operator => {
                    "an environment often holds secrets, so only the operator may read it; the query process has its names"
                }
                _ => return Ok(()),
            },
            SYSFS_MAGIC if is_device_memory(name) => "reading it reaches into a device",
            TRACEFS_MAGIC | DEBUGFS_MAGIC => {
                "files of the kernel's debugging act when they are read, or have no end"
            }
            _ => return Ok(()),
        };
        Err(QueryError::Forbidden { reason: format!("{} is not read: {reason}", self.text()) })
    }
}

/// `resource0`, `resource2_wc`, `rom`: the memory and ports of a PCI device (the kernel's sysfs-pci.rst).
fn is_device_memory(name: &[u8]) -> bool {
    name == b"rom"
        || name.strip_prefix(b"resource").is_some_and(|rest| rest.first().is_some_and(u8::is_ascii_digit))
}

/// Why a path did not lead anywhere. The kernel answers `ELOOP` both for a loop and for a magic link.
fn refusal(path: &AbsolutePath, error: Errno) -> QueryError {
    match error {
        Errno::LOOP if path.as_bytes().starts_with(b"/proc/") || path.as_bytes().starts_with(b"/dev/") => {
            QueryError::Forbidden {
                reason: format!(
                    "{path} leads through a link of /proc/PID (fd, cwd, root, exe), which is not followed; name the file itself"
                ),
            }
        }
        Errno::LOOP => QueryError::invalid(
            "path",
            format!(
                "{path} leads through too many symbolic links, or through a link of /proc/PID, which is not followed"
            ),
        ),
        Errno::NAMETOOLONG => {
            QueryError::invalid("path", "a name in it is longer than the file system allows")
        }
        error => QueryError::io(path.to_string(), error),
    }
}

/// The path through which an open descriptor can be opened again.
pub(crate) fn link_to(descriptor: &OwnedFd) -> String {
    format!("/proc/self/fd/{}", descriptor.as_raw_fd())
}

/// Attributes of `name` in an open directory: not following it, not mounting anything, not asking a server for what is
/// known already.
pub(crate) fn attributes_at(at: impl AsFd, name: &std::ffi::CStr, flags: AtFlags) -> Result<Statx, Errno> {
    statx(
        at,
        name,
        flags | AtFlags::SYMLINK_NOFOLLOW | AtFlags::NO_AUTOMOUNT | AtFlags::STATX_DONT_SYNC,
        StatxFlags::BASIC_STATS | StatxFlags::MNT_ID,
    )
}

/// The type of a name in a directory.
pub(crate) fn kind(file_type: FileType) -> Kind {
    match file_type {
        FileType::RegularFile => Kind::File,
        FileType::Directory => Kind::Directory,
        FileType::Symlink => Kind::Symlink,
        FileType::Fifo => Kind::Fifo,
        FileType::Socket => Kind::Socket,
        FileType::BlockDevice => Kind::BlockDevice,
        FileType::CharacterDevice => Kind::CharacterDevice,
        FileType::Unknown => Kind::Unknown,
    }
}

/// Permissions in octal, as chmod(1) takes them.
pub(crate) fn octal_mode(attributes: &Statx) -> String {
    format!("{:04o}", attributes.stx_mode & 0o7777)
}

/// The owner's name, or the number where there is no name.
pub(crate) fn owner(accounts: &Accounts, attributes: &Statx) -> String {
    accounts.user(attributes.stx_uid).unwrap_or_else(|| attributes.stx_uid.to_string())
}

/// The group's name, or the number where there is no name.
pub(crate) fn group(accounts: &Accounts, attributes: &Statx) -> String {
    accounts.group(attributes.stx_gid).unwrap_or_else(|| attributes.stx_gid.to_string())
}

/// Reads from `offset` until `buffer` is full or the file ends. Files of the kernel's may give a part at a time.
///
/// # Errors
/// The kernel's.
pub(crate) fn read_range(descriptor: &OwnedFd, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
    let mut length = 0;
    while let Some(rest) = buffer.get_mut(length..).filter(|rest| !rest.is_empty()) {
        let at = offset.saturating_add(length as u64);
        match rustix::io::retry_on_intr(|| rustix::io::pread(descriptor, &mut *rest, at))? {
            0 => break,
            read => length += read,
        }
    }
    Ok(length)
}
