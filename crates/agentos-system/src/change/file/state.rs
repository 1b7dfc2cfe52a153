//! What has a path.

use std::fs::File;

use agentos_api::query::path::{decode, encode};
use agentos_objects::{Batch, Hash, ObjectError};
use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{AtFlags, FileType, Mode, OFlags, Statx, StatxFlags, openat, readlinkat, statx};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use super::attributes::Attributes;
use super::place::{Place, file_type};
use crate::accounts::Accounts;
use crate::change::error::ChangeError;

/// What has a path, or that nothing has.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "snake_case")]
pub(crate) enum FileState {
    /// Nothing.
    Absent,
    /// A regular file.
    File {
        #[serde(flatten)]
        attributes: Attributes,
        #[serde(flatten)]
        content: Content,
    },
    /// A folder. What is in it has paths of its own.
    Folder {
        #[serde(flatten)]
        attributes: Attributes,
    },
    /// A symbolic link.
    Link {
        /// Where it points, as [`encode`] writes it.
        target: String,
        uid: u32,
        gid: u32,
    },
    /// Another name of a regular file (a hard link), which has a path of its own that is deleted after this one and put
    /// back before it.
    SameAs { of: Place },
    /// A named pipe.
    Pipe {
        #[serde(flatten)]
        attributes: Attributes,
    },
}

/// The content of a regular file.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Content {
    /// Its name in the store.
    pub(crate) sha256: Hash,
    /// Its size in bytes.
    pub(crate) size: u64,
    /// It is too large to be kept, so it cannot be put back.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) not_kept: bool,
    /// When it was last written: seconds and nanoseconds since 1970. Put back, and not compared.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) modified: Option<(i64, u32)>,
}

impl PartialEq for Content {
    fn eq(&self, other: &Self) -> bool {
        self.sha256 == other.sha256
    }
}

impl Eq for Content {}

impl FileState {
    /// What is at `place` now. Contents of regular files go into `batch`; one that is too large is only named.
    ///
    /// # Errors
    /// The kernel's; [`ChangeError::Refused`] for devices and sockets, which are not changed as files.
    pub(crate) fn read(place: &Place, batch: &mut Batch<'_>) -> Result<Self, ChangeError> {
        Self::at(place, |file| put(&place.text(), &file, batch))
    }

    /// What has that name in an open folder. Contents go into `batch`, as with [`FileState::read`]; `what` names it in errors.
    ///
    /// # Errors
    /// As [`FileState::read`].
    pub(crate) fn read_name(
        folder: &OwnedFd,
        name: &std::ffi::CStr,
        what: &str,
        batch: &mut Batch<'_>,
    ) -> Result<Self, ChangeError> {
        Self::of_name(folder, name, what, |file| put(what, &file, batch))
    }

    /// What is at `place` now, with contents only named.
    ///
    /// # Errors
    /// As [`FileState::read`].
    pub(crate) fn look(place: &Place) -> Result<Self, ChangeError> {
        Self::at(place, |file| named(place, file))
    }

    fn at(
        place: &Place,
        take: impl FnOnce(File) -> Result<(Hash, u64, bool), ChangeError>,
    ) -> Result<Self, ChangeError> {
        let folder = match place.open_folder() {
            Ok(folder) => folder,
            Err(Errno::NOENT | Errno::NOTDIR) => return Ok(Self::Absent),
            Err(error) => return Err(ChangeError::io(place.text(), error)),
        };
        Self::of_name(&folder, &place.name()?, &place.text(), take)
    }

    /// What has that name in an open folder, with contents only named. `what` names it in errors.
    ///
    /// # Errors
    /// As [`FileState::read`].
    pub(super) fn look_at_name(
        folder: &OwnedFd,
        name: &std::ffi::CStr,
        place: &Place,
    ) -> Result<Self, ChangeError> {
        Self::of_name(folder, name, &place.text(), |file| named(place, file))
    }

    fn of_name(
        folder: &OwnedFd,
        name: &std::ffi::CStr,
        what: &str,
        take: impl FnOnce(File) -> Result<(Hash, u64, bool), ChangeError>,
    ) -> Result<Self, ChangeError> {
        let failed = |error: Errno| ChangeError::io(what, error);
        let found = match attributes_of(folder, name) {
            Ok(found) => found,
            Err(Errno::NOENT) => return Ok(Self::Absent),
            Err(error) => return Err(failed(error)),
        };
        match file_type(found.stx_mode) {
            FileType::RegularFile => {
                let file = open_file(folder, name).map_err(failed)?;
                // The attributes are those of what was opened: the name may lead elsewhere by now.
                let found = own_attributes(&file).map_err(failed)?;
                if file_type(found.stx_mode) != FileType::RegularFile {
                    return Err(ChangeError::refused(format!(
                        "{what} is being changed by somebody else; try again"
                    )));
                }
                let attributes = Attributes::read(Some(&file), &found).map_err(failed)?;
                let (sha256, size, not_kept) = take(file.into())?;
                let modified = Some((found.stx_mtime.tv_sec, found.stx_mtime.tv_nsec));
                Ok(Self::File { attributes, content: Content { sha256, size, not_kept, modified } })
            }
            FileType::Directory => {
                let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                let descriptor = openat(folder, name, flags, Mode::empty()).map_err(failed)?;
                let found = own_attributes(&descriptor).map_err(failed)?;
                Ok(Self::Folder { attributes: Attributes::read(Some(&descriptor), &found).map_err(failed)? })
            }
            FileType::Symlink => {
                let target = readlinkat(folder, name, Vec::new()).map_err(failed)?;
                let target = encode(target.as_bytes());
                Ok(Self::Link { target, uid: found.stx_uid, gid: found.stx_gid })
            }
            FileType::Fifo => {
                Ok(Self::Pipe { attributes: Attributes::read(None::<&OwnedFd>, &found).map_err(failed)? })
            }
            other => {
                let kind = match other {
                    FileType::Socket => "a socket, which belongs to the program that listens on it",
                    _ => "a device, which belongs to the kernel",
                };
                Err(ChangeError::refused(format!("{what} is {kind}")))
            }
        }
    }

    /// Whether what has that name in an open folder is in this state. `place` names it in errors.
    ///
    /// # Errors
    /// As [`FileState::read`].
    pub(super) fn is_of_name(
        &self,
        folder: &OwnedFd,
        name: &std::ffi::CStr,
        place: &Place,
    ) -> Result<bool, ChangeError> {
        let Self::SameAs { of } = self else {
            return Ok(Self::look_at_name(folder, name, place)? == *self);
        };
        let identity = |folder: &OwnedFd, name: &std::ffi::CStr| match attributes_of(folder, name) {
            Ok(found) => Ok(Some((found.stx_dev_major, found.stx_dev_minor, found.stx_ino))),
            Err(Errno::NOENT) => Ok(None),
            Err(error) => Err(ChangeError::io(place.text(), error)),
        };
        let Ok(other) = of.open_folder() else { return Ok(false) };
        let here = identity(folder, name)?;
        Ok(here.is_some() && here == identity(&other, &of.name()?)?)
    }

    /// Whether what is at `place` is in this state.
    ///
    /// # Errors
    /// As [`FileState::read`].
    pub(super) fn is_at(&self, place: &Place) -> Result<bool, ChangeError> {
        match place.open_folder() {
            Ok(folder) => self.is_of_name(&folder, &place.name()?, place),
            Err(Errno::NOENT | Errno::NOTDIR) => Ok(*self == Self::Absent),
            Err(error) => Err(ChangeError::io(place.text(), error)),
        }
    }

    /// Bytes of its content.
    pub(super) const fn bytes(&self) -> u64 {
        match self {
            Self::File { content, .. } => content.size,
            _ => 0,
        }
    }

    /// Its attributes, where it has some.
    pub(crate) fn attributes(&self) -> Option<&Attributes> {
        match self {
            Self::File { attributes, .. } | Self::Folder { attributes } | Self::Pipe { attributes } => {
                Some(attributes)
            }
            Self::Absent | Self::Link { .. } | Self::SameAs { .. } => None,
        }
    }

    /// Its attributes, to change them.
    pub(crate) fn attributes_mut(&mut self) -> Option<&mut Attributes> {
        match self {
            Self::File { attributes, .. } | Self::Folder { attributes } | Self::Pipe { attributes } => {
                Some(attributes)
            }
            Self::Absent | Self::Link { .. } | Self::SameAs { .. } => None,
        }
    }

    /// In words: `regular file, 120 bytes, 0644 root:root`.
    pub(crate) fn text(&self, accounts: &Accounts) -> String {
        match self {
            Self::Absent => "absent".to_owned(),
            Self::File { attributes, content } => {
                let unit = if content.size == 1 { "byte" } else { "bytes" };
                format!("regular file, {} {unit}, {}", content.size, attributes.text(accounts))
            }
            Self::Folder { attributes } => format!("folder, {}", attributes.text(accounts)),
            Self::Link { target, .. } => format!("symbolic link to {target}"),
            Self::SameAs { of } => format!("another name of {}", of.text()),
            Self::Pipe { attributes } => format!("named pipe, {}", attributes.text(accounts)),
        }
    }

    /// Where a symbolic link points, in the kernel's bytes.
    pub(super) fn target(target: &str) -> Result<Vec<u8>, Errno> {
        decode(target).map(std::borrow::Cow::into_owned).map_err(|_| Errno::INVAL)
    }
}

/// Puts a content into `batch`, or only names it where it is too large to be kept.
fn put(what: &str, file: &File, batch: &mut Batch<'_>) -> Result<(Hash, u64, bool), ChangeError> {
    match batch.put_reader(file) {
        Ok((sha256, size)) => Ok((sha256, size, false)),
        Err(ObjectError::OverQuota { .. }) => {
            let again = reopened(file).map_err(|error| ChangeError::io(what, error))?;
            let (sha256, size) = Hash::of_reader(again).map_err(|error| ChangeError::io(what, error))?;
            Ok((sha256, size, true))
        }
        Err(error) => Err(error.into()),
    }
}

fn named(place: &Place, file: File) -> Result<(Hash, u64, bool), ChangeError> {
    let (sha256, size) = Hash::of_reader(file).map_err(|error| ChangeError::io(place.text(), error))?;
    Ok((sha256, size, false))
}

fn reopened(file: &File) -> std::io::Result<File> {
    use std::io::Seek;
    let mut again = file.try_clone()?;
    again.rewind()?;
    Ok(again)
}

/// Opens what has that name in a folder, for reading its content. Waits for nothing and follows no link.
pub(super) fn open_file(folder: &OwnedFd, name: &std::ffi::CStr) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    // That it was looked at for a plan is no trace that it leaves, where the file system lets that be.
    match openat(folder, name, flags | OFlags::NOATIME, Mode::empty()) {
        Err(Errno::PERM) => openat(folder, name, flags, Mode::empty()),
        opened => opened,
    }
}

pub(super) fn attributes_of(folder: &OwnedFd, name: &std::ffi::CStr) -> Result<Statx, Errno> {
    statx(folder, name, AtFlags::SYMLINK_NOFOLLOW | AtFlags::NO_AUTOMOUNT, StatxFlags::BASIC_STATS)
}

pub(super) fn own_attributes(descriptor: impl AsFd) -> Result<Statx, Errno> {
    statx(descriptor, c"", AtFlags::EMPTY_PATH | AtFlags::NO_AUTOMOUNT, StatxFlags::BASIC_STATS)
}
