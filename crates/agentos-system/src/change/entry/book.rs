//! One file of entries: reading it, and putting another in its place.

use std::fs::File;
use std::io::Write;

use agentos_api::query::path::AbsolutePath;
use rustix::fd::OwnedFd;
use rustix::fs::{
    AtFlags, Gid, Mode, OFlags, RenameFlags, Uid, fchmod, fchown, fsync, mkdirat, openat, renameat_with,
    unlinkat,
};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use super::format::Format;
use super::lock::{self, Lock};
use super::{Lines, join, split};
use crate::change::error::ChangeError;
use crate::change::file::{Attributes, Place};
use crate::procfs::read_open;

/// Largest file that is read.
const LARGEST: usize = 16 << 20;
/// How often a file is changed by somebody else while it is being changed here, before that is given up.
const TRIES: usize = 5;

/// A file of entries.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Book {
    pub(crate) format: Format,
    pub(crate) place: Place,
    /// How it is made where it is missing. It goes with its last entry then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) new: Option<New>,
    /// Whose the folder is, where that is not root's: others may not have it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) owner: Option<u32>,
}

/// A file that is made with its first entry and goes with its last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct New {
    pub(crate) mode: u32,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    /// Its folder is made too, with this mode.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) folder_mode: Option<u32>,
}

impl Book {
    /// The file at `path`, which is there.
    ///
    /// # Errors
    /// The kernel's.
    pub(crate) fn at(format: Format, path: &AbsolutePath) -> Result<Self, ChangeError> {
        Ok(Self { format, place: Place::of(path, |_| false)?, new: None, owner: None })
    }

    /// The lines; nothing where there is no such file.
    ///
    /// # Errors
    /// The kernel's.
    pub(crate) fn read(&self) -> Result<Option<Lines>, ChangeError> {
        let folder = match self.open_folder() {
            Ok(folder) => folder,
            Err(Errno::NOENT) => return Ok(None),
            Err(error) => return Err(self.unreadable(error)),
        };
        Ok(self.read_in(&folder)?.map(|(_, content)| split(&content)))
    }

    /// Puts what `edit` makes of the lines in the file's place, durably, under the lock of the accounts where it is one
    /// of theirs.
    ///
    /// # Errors
    /// Those of `edit`, and [`ChangeError::Failed`].
    pub(crate) fn rewrite(
        &self,
        edit: impl Fn(&mut Lines) -> Result<(), ChangeError>,
    ) -> Result<(), ChangeError> {
        let folder = match self.open_folder() {
            Err(Errno::NOENT) if self.new.is_some_and(|new| new.folder_mode.is_some()) => {
                self.make_folder().and_then(|()| self.open_folder())
            }
            other => other,
        };
        let folder = folder.map_err(|error| self.failed(error))?;
        let _lock = if self.format.is_of_accounts() { Some(Lock::take(&folder, lock::TIME)?) } else { None };
        for _ in 0..TRIES {
            let found = self.read_in(&folder)?;
            let mut lines = found.as_ref().map_or_else(Lines::new, |(_, content)| split(content));
            edit(&mut lines)?;
            let done = match &found {
                _ if lines.is_empty() && self.new.is_some() => self.remove(&folder),
                Some((file, content)) => self.replace(&folder, file, content, &join(&lines)),
                None => self.create(&folder, &join(&lines)),
            };
            match done {
                Ok(true) => return fsync(&folder).map_err(|error| self.failed(error)),
                Ok(false) => {}
                Err(error) => return Err(self.failed(error)),
            }
        }
        Err(ChangeError::failed(self.place.on(), "somebody else is changing it again and again; try later"))
    }

    /// Removes what a cut left half made beside it.
    pub(crate) fn clean(&self) {
        if let (Ok(folder), Ok(aside)) = (self.open_folder(), self.place.aside()) {
            let _ = unlinkat(&folder, &aside, AtFlags::empty());
        }
    }

    fn open_folder(&self) -> Result<OwnedFd, Errno> {
        let folder = self.place.open_folder()?;
        if let Some(owner) = self.owner {
            let found = rustix::fs::fstat(&folder)?;
            // A folder that others may write to, or that is somebody else's, is none to write keys into (sshd refuses it too).
            if (found.st_uid != owner && found.st_uid != 0) || found.st_mode & 0o022 != 0 {
                return Err(Errno::PERM);
            }
        }
        Ok(folder)
    }

    fn read_in(&self, folder: &OwnedFd) -> Result<Option<(OwnedFd, Vec<u8>)>, ChangeError> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        let file = match openat(folder, &self.place.name()?, flags, Mode::empty()) {
            Ok(file) => file,
            Err(Errno::NOENT) => return Ok(None),
            Err(error) => return Err(self.unreadable(error)),
        };
        let found = rustix::fs::fstat(&file).map_err(|error| self.unreadable(error))?;
        let regular = rustix::fs::FileType::from_raw_mode(found.st_mode).is_file();
        if !regular || self.owner.is_some_and(|owner| found.st_uid != owner && found.st_uid != 0) {
            return Err(ChangeError::refused(format!(
                "{} is no regular file of its user's; look at it, and delete or move it first",
                self.place.text()
            )));
        }
        let (content, cut) =
            read_open(&file, LARGEST).map_err(|error| ChangeError::io(self.place.text(), error))?;
        if cut {
            return Err(ChangeError::refused(format!(
                "{} is larger than {LARGEST} bytes",
                self.place.text()
            )));
        }
        Ok(Some((file, content)))
    }

    /// Makes the new content aside and exchanges the names. `false` where the file was changed in between; then it is as
    /// it was left.
    fn replace(&self, folder: &OwnedFd, old: &OwnedFd, before: &[u8], after: &[u8]) -> Result<bool, Errno> {
        let (name, aside) = self.names()?;
        let file = make_aside(folder, &aside, after)?;
        let result = (|| {
            let attributes = |descriptor: &OwnedFd| {
                let found = rustix::fs::statx(
                    descriptor,
                    c"",
                    AtFlags::EMPTY_PATH,
                    rustix::fs::StatxFlags::BASIC_STATS,
                )?;
                Attributes::read(Some(descriptor), &found)
            };
            attributes(old)?.write(&file, &attributes(&file)?)?;
            fsync(&file)?;
            match renameat_with(folder, &aside, folder, &name, RenameFlags::EXCHANGE) {
                Ok(()) => {}
                Err(Errno::NOENT) => return Ok(false),
                Err(error) => return Err(error),
            }
            let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
            let replaced = openat(folder, &aside, flags, Mode::empty())
                .and_then(|file| read_open(&file, LARGEST).map_err(|_| Errno::IO));
            if replaced.is_ok_and(|(content, _)| content == before) {
                return Ok(true);
            }
            renameat_with(folder, &aside, folder, &name, RenameFlags::EXCHANGE)?;
            Ok(false)
        })();
        let _ = unlinkat(folder, &aside, AtFlags::empty());
        result
    }

    fn create(&self, folder: &OwnedFd, content: &[u8]) -> Result<bool, Errno> {
        let Some(new) = self.new else { return Err(Errno::NOENT) };
        let (name, aside) = self.names()?;
        let file = make_aside(folder, &aside, content)?;
        let result = fchown(&file, Some(Uid::from_raw(new.uid)), Some(Gid::from_raw(new.gid)))
            .and_then(|()| fchmod(&file, Mode::from_raw_mode(new.mode)))
            .and_then(|()| fsync(&file))
            .and_then(|()| renameat_with(folder, &aside, folder, &name, RenameFlags::NOREPLACE));
        match result {
            Ok(()) => Ok(true),
            Err(error) => {
                let _ = unlinkat(folder, &aside, AtFlags::empty());
                if error == Errno::EXIST { Ok(false) } else { Err(error) }
            }
        }
    }

    /// The last entry is gone, and so is the file that was made for the first. Its folder stays where it holds other things.
    fn remove(&self, folder: &OwnedFd) -> Result<bool, Errno> {
        match unlinkat(folder, &self.names()?.0, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => {}
            Err(error) => return Err(error),
        }
        if self.new.is_some_and(|new| new.folder_mode.is_some())
            && let Some(place) = self.place.parent()
            && let (Ok(above), Ok(name)) = (place.open_folder(), place.name())
        {
            let _ = unlinkat(&above, &name, AtFlags::REMOVEDIR);
        }
        Ok(true)
    }

    fn make_folder(&self) -> Result<(), Errno> {
        let (Some(new), Some(place)) = (self.new, self.place.parent()) else { return Err(Errno::NOENT) };
        let above = place.open_folder()?;
        let name = place.name().map_err(|_| Errno::INVAL)?;
        // The folder above is the user's own, who may exchange what is in it at any time. So nothing there is given to the
        // user afterwards, which could be another folder by then: it is made by the user, as far as the kernel sees.
        let made = as_user(new.uid, new.gid, || {
            mkdirat(&above, &name, Mode::from_raw_mode(new.folder_mode.unwrap_or(0o700)))
        });
        match made {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(error) => return Err(error),
        }
        fsync(&above)
    }

    fn names(&self) -> Result<(std::ffi::CString, std::ffi::CString), Errno> {
        let name = self.place.name().map_err(|_| Errno::INVAL)?;
        let aside = self.place.aside().map_err(|_| Errno::INVAL)?;
        Ok((name, aside))
    }

    fn failed(&self, error: Errno) -> ChangeError {
        match error {
            Errno::LOOP => ChangeError::failed(self.place.on(), "a symbolic link stands in its path now"),
            Errno::PERM if self.owner.is_some() => ChangeError::failed(
                self.place.on(),
                "its folder is not its user's own, or others may write to it",
            ),
            error => ChangeError::failed(self.place.on(), std::io::Error::from(error)),
        }
    }

    fn unreadable(&self, error: Errno) -> ChangeError {
        match error {
            Errno::LOOP => ChangeError::refused(format!(
                "{} is, or is below, a symbolic link; what a user points elsewhere is not followed",
                self.place.text()
            )),
            Errno::PERM if self.owner.is_some() => ChangeError::refused(format!(
                "the folder of {} is not its user's own, or others may write to it",
                self.place.text()
            )),
            error => ChangeError::io(self.place.text(), error),
        }
    }
}

/// A new file of root's with that content, which nobody else may open yet.
fn make_aside(folder: &OwnedFd, aside: &std::ffi::CStr, content: &[u8]) -> Result<OwnedFd, Errno> {
    let _ = unlinkat(folder, aside, AtFlags::empty());
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mut file = File::from(openat(folder, aside, flags, Mode::RUSR | Mode::WUSR)?);
    file.write_all(content).map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))?;
    Ok(file.into())
}

/// Does `work` with the rights of a user on files. They are the calling thread's alone (setfsuid(2)).
fn as_user<T>(uid: u32, gid: u32, work: impl FnOnce() -> T) -> T {
    struct Back(libc::c_int, libc::c_int);
    impl Drop for Back {
        fn drop(&mut self) {
            // SAFETY: both calls take a number and touch no memory.
            unsafe {
                libc::setfsuid(self.0.cast_unsigned());
                libc::setfsgid(self.1.cast_unsigned());
            }
        }
    }
    // SAFETY: as above. The group first: afterwards the right to set it is gone.
    let _back = unsafe {
        let group = libc::setfsgid(gid);
        Back(libc::setfsuid(uid), group)
    };
    work()
}
