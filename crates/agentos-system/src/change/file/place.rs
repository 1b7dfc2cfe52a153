//! A name in a folder whose path has no symbolic link in it.

use std::ffi::CString;
use std::os::fd::AsRawFd;

use agentos_api::query::path::{AbsolutePath, decode, encode};
use rustix::fd::OwnedFd;
use rustix::fs::{CWD, FileType, Mode, OFlags, ResolveFlags, fstatfs, openat2, readlinkat};
use rustix::io::Errno;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::change::error::ChangeError;

const PROC_SUPER_MAGIC: u64 = 0x9fa0;
const SYSFS_MAGIC: u64 = 0x6265_6572;
const CGROUP2_MAGIC: u64 = 0x6367_7270;
const CGROUP_MAGIC: u64 = 0x0027_e0eb;
const TRACEFS_MAGIC: u64 = 0x7472_6163;
const DEBUGFS_MAGIC: u64 = 0x6462_6720;
const SECURITYFS_MAGIC: u64 = 0x7363_6673;
const EFIVARFS_MAGIC: u64 = 0xde5e_81e4;
const BPF_MAGIC: u64 = 0xcafe_4a11;
/// File systems whose files are the kernel's own switches.
const KERNELS_OWN: [u64; 9] = [
    PROC_SUPER_MAGIC,
    SYSFS_MAGIC,
    CGROUP2_MAGIC,
    CGROUP_MAGIC,
    TRACEFS_MAGIC,
    DEBUGFS_MAGIC,
    SECURITYFS_MAGIC,
    EFIVARFS_MAGIC,
    BPF_MAGIC,
];
/// Longest name of one file, in bytes (`NAME_MAX`).
const NAME_MAX: usize = 255;

/// Where something is, or would be.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Place {
    /// The whole path: absolute, without `.`, `..`, double slashes, and without links in its folders.
    path: Vec<u8>,
}

impl Place {
    /// The place of `path` itself: links in its folders are followed, a link at its end is not.
    ///
    /// `is_folder` says of a path whether an earlier step makes it a folder; folders that are neither there nor made so
    /// are an error.
    ///
    /// # Errors
    /// The kernel's; [`ChangeError::Reading`] for `path`, as an argument, where it has no name at its end.
    pub(crate) fn of(path: &AbsolutePath, is_folder: impl Fn(&[u8]) -> bool) -> Result<Self, ChangeError> {
        let names: Vec<&[u8]> =
            path.as_bytes().split(|&byte| byte == b'/').filter(|name| !matches!(*name, b"" | b".")).collect();
        let Some((&last, folders)) = names.split_last() else {
            return Err(ChangeError::invalid("path", "/ itself cannot be changed"));
        };
        if last == b".." {
            return Err(ChangeError::invalid("path", "must end with a name, not with .."));
        }
        if names.iter().any(|name| name.len() > NAME_MAX) {
            return Err(ChangeError::invalid(
                "path",
                format!("a name in it is longer than {NAME_MAX} bytes"),
            ));
        }
        let mut folder = folders.iter().fold(Vec::new(), |mut path, name| {
            path.push(b'/');
            path.extend_from_slice(name);
            path
        });
        if folder.is_empty() {
            folder.push(b'/');
        }
        let mut resolved = match resolve(&folder) {
            Ok(resolved) => resolved,
            // What an earlier step makes has no links in it; what is above that is there.
            Err(Errno::NOENT) => planned(&folder, &is_folder)?,
            Err(error) => return Err(ChangeError::io(format!("the folder {}", encode(&folder)), error)),
        };
        if resolved != b"/" {
            resolved.push(b'/');
        }
        resolved.extend_from_slice(last);
        Ok(Self { path: resolved })
    }

    /// A name in the folder that this place is.
    pub(crate) fn child(&self, name: &[u8]) -> Self {
        Self { path: [self.path.as_slice(), b"/", name].concat() }
    }

    /// The place of the folder that it is in; nothing where that is `/`.
    pub(crate) fn parent(&self) -> Option<Self> {
        let (folder, _) = self.split();
        (folder != b"/").then(|| Self { path: folder.to_vec() })
    }

    /// The path.
    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.path
    }

    /// The path as text.
    pub(crate) fn text(&self) -> String {
        encode(&self.path)
    }

    /// The thing that a transition at this place is about.
    pub(crate) fn on(&self) -> String {
        format!("file {}", self.text())
    }

    /// The name.
    pub(crate) fn name(&self) -> Result<CString, ChangeError> {
        // A path from an AbsolutePath or a folder's listing has no NUL.
        CString::new(self.split().1)
            .map_err(|_| ChangeError::invalid("path", "must not hold a NUL character"))
    }

    /// A name beside it that is taken while it is changed. The same each time, so that what a cut left is found.
    pub(crate) fn aside(&self) -> Result<CString, ChangeError> {
        let hash = agentos_objects::Hash::of(self.split().1).to_string();
        let short = hash.get(..16).unwrap_or(&hash);
        CString::new(format!(".agentos-{short}"))
            .map_err(|_| ChangeError::invalid("path", "must not hold a NUL character"))
    }

    /// Opens the folder it is in, following no link.
    ///
    /// # Errors
    /// The kernel's: `ENOENT` where it is gone, `ELOOP` where a link is in the way now.
    pub(crate) fn open_folder(&self) -> Result<OwnedFd, Errno> {
        open_without_links(self.split().0, OFlags::RDONLY | OFlags::DIRECTORY)
    }

    /// Refuses places whose files are the kernel's switches.
    ///
    /// # Errors
    /// [`ChangeError::Refused`].
    pub(crate) fn refuse_kernels_own(&self) -> Result<(), ChangeError> {
        let Ok(folder) = self.open_folder() else { return Ok(()) };
        let file_system = fstatfs(&folder).map_err(|error| ChangeError::io(self.text(), error))?;
        #[expect(clippy::cast_sign_loss, reason = "a magic number, not a quantity")]
        let magic = file_system.f_type as u64;
        if KERNELS_OWN.contains(&magic) {
            return Err(ChangeError::refused(format!(
                "{} is not a file on a disk but a switch of the kernel's; sysctl.set changes those below /proc/sys",
                self.text()
            )));
        }
        Ok(())
    }

    fn split(&self) -> (&[u8], &[u8]) {
        let at = self.path.iter().rposition(|&byte| byte == b'/').unwrap_or_default();
        let (folder, name) = self.path.split_at(at);
        let folder = if folder.is_empty() { b"/" } else { folder };
        (folder, name.strip_prefix(b"/").unwrap_or(name))
    }
}

/// Where `path` leads, with all links followed: its own path.
pub(crate) fn resolve(path: &[u8]) -> Result<Vec<u8>, Errno> {
    let descriptor =
        openat2(CWD, path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty(), ResolveFlags::NO_MAGICLINKS)?;
    let found =
        readlinkat(CWD, format!("/proc/self/fd/{}", descriptor.as_raw_fd()), Vec::new())?.into_bytes();
    // A folder that was removed, or is not below this process's root, has no path of its own.
    if found.first() == Some(&b'/') && !found.ends_with(b" (deleted)") {
        Ok(found)
    } else {
        Err(Errno::NOENT)
    }
}

/// Opens an absolute path, following no link.
pub(crate) fn open_without_links(path: &[u8], flags: OFlags) -> Result<OwnedFd, Errno> {
    openat2(
        CWD,
        path,
        flags | OFlags::CLOEXEC | OFlags::NOFOLLOW,
        Mode::empty(),
        ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS,
    )
}

/// What something is, by its attributes.
pub(crate) fn file_type(mode: u16) -> FileType {
    FileType::from_raw_mode(mode.into())
}

/// The path of a folder that earlier steps make, below one that is there.
fn planned(folder: &[u8], is_folder: &impl Fn(&[u8]) -> bool) -> Result<Vec<u8>, ChangeError> {
    let missing = || ChangeError::io(format!("the folder {}", encode(folder)), Errno::NOENT);
    let at = folder.iter().rposition(|&byte| byte == b'/').ok_or_else(missing)?;
    let (above, name) = folder.split_at(at);
    let name = name.strip_prefix(b"/").unwrap_or(name);
    let above = if above.is_empty() { b"/" } else { above };
    if name == b".." {
        return Err(missing());
    }
    let mut path = match resolve(above) {
        Ok(path) => path,
        Err(Errno::NOENT) if above != b"/" => planned(above, is_folder)?,
        Err(error) => return Err(ChangeError::io(format!("the folder {}", encode(above)), error)),
    };
    if path != b"/" {
        path.push(b'/');
    }
    path.extend_from_slice(name);
    if is_folder(&path) { Ok(path) } else { Err(missing()) }
}

impl Serialize for Place {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&encode(&self.path))
    }
}

impl<'de> Deserialize<'de> for Place {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let path = decode(&text).map_err(serde::de::Error::custom)?.into_owned();
        if path.first() == Some(&b'/') && !path.contains(&0) {
            Ok(Self { path })
        } else {
            Err(serde::de::Error::custom("not an absolute path"))
        }
    }
}
