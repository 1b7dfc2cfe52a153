//! Folders by descriptor. Where another user owns a folder, root works in it by names of one component that are never
//! followed, and puts a file in place only by renaming one that it made itself: a link that was put there is replaced or
//! refused, not obeyed.

use std::fs::{self, File, TryLockError};
use std::io::{self, Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::{
    AtFlags, Gid, Mode, OFlags, Uid, fchmod, fchown, fsync, mkdirat, openat, renameat, unlinkat,
};

use crate::error::SetupError;
use crate::progress::{Event, Observer};

/// Largest file that is read, in bytes.
const LONGEST: u64 = 4 << 20;

/// To whom a file or folder belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Owner {
    /// The user's number.
    pub uid: u32,
    /// The group's number.
    pub gid: u32,
}

impl Owner {
    /// Whoever runs this.
    pub fn caller() -> Self {
        Self { uid: rustix::process::geteuid().as_raw(), gid: rustix::process::getegid().as_raw() }
    }
}

/// An open folder.
#[derive(Debug)]
pub struct Folder {
    descriptor: OwnedFd,
    path: PathBuf,
}

const OPEN: OFlags = OFlags::DIRECTORY.union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

impl Folder {
    /// Makes `path` and what is missing above it, open to be entered by everybody, and opens it. Every folder of `path` must
    /// be in the hands of whom the caller trusts.
    ///
    /// # Errors
    /// When it cannot be made or opened.
    pub fn make(path: &Path) -> Result<Self, SetupError> {
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o755)
            .create(path)
            .map_err(SetupError::io("make the folder", path))?;
        Self::open(path)
    }

    /// Opens `path`, of which the same must hold.
    ///
    /// # Errors
    /// When it is not there or cannot be opened.
    pub fn open(path: &Path) -> Result<Self, SetupError> {
        let flags = OFlags::DIRECTORY | OFlags::CLOEXEC;
        let descriptor = rustix::fs::open(path, flags, Mode::empty())
            .map_err(|error| SetupError::io("open the folder", path)(error.into()))?;
        Ok(Self { descriptor, path: path.to_owned() })
    }

    /// Makes the folder `name` in it if there is none, with that owner and mode in any case, and opens it.
    ///
    /// # Errors
    /// When something that is not a folder has the name, or it cannot be made.
    pub fn make_folder(&self, name: &str, owner: Owner, mode: u32) -> Result<Self, SetupError> {
        let path = self.path.join(name);
        let failed = |error: rustix::io::Errno| {
            if matches!(error, rustix::io::Errno::NOTDIR | rustix::io::Errno::LOOP) {
                return SetupError::Refused {
                    message: format!("{} is not a folder", path.display()),
                    hint: "see what it is, and remove it".to_owned(),
                };
            }
            SetupError::io("make the folder", &path)(error.into())
        };
        match mkdirat(&self.descriptor, name, Mode::from_raw_mode(0o700)) {
            Ok(()) | Err(rustix::io::Errno::EXIST) => {}
            Err(error) => return Err(failed(error)),
        }
        let descriptor = openat(&self.descriptor, name, OPEN, Mode::empty()).map_err(failed)?;
        let present = rustix::fs::fstat(&descriptor).map_err(failed)?;
        if (present.st_uid, present.st_gid) != (owner.uid, owner.gid) {
            give(&descriptor, owner).map_err(failed)?;
        }
        if present.st_mode & 0o7777 != mode {
            fchmod(&descriptor, Mode::from_raw_mode(mode)).map_err(failed)?;
        }
        Ok(Self { descriptor, path: path.clone() })
    }

    /// Whether anything has the name `name`.
    pub fn holds(&self, name: &str) -> bool {
        rustix::fs::statat(&self.descriptor, name, AtFlags::SYMLINK_NOFOLLOW).is_ok()
    }

    /// The content of the file `name`; none when there is no such thing.
    ///
    /// # Errors
    /// When it is no file, too long or cannot be read.
    pub fn read(&self, name: &str) -> Result<Option<Vec<u8>>, SetupError> {
        Ok(self.read_with_metadata(name)?.map(|(content, _)| content))
    }

    fn read_with_metadata(&self, name: &str) -> Result<Option<(Vec<u8>, fs::Metadata)>, SetupError> {
        let path = self.path.join(name);
        // Not blocking: what stands there may be a pipe without a writer.
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let descriptor = match openat(&self.descriptor, name, flags, Mode::empty()) {
            Ok(descriptor) => descriptor,
            Err(rustix::io::Errno::NOENT) => return Ok(None),
            Err(error) => return Err(SetupError::io("read", &path)(error.into())),
        };
        let read = || -> io::Result<(Vec<u8>, fs::Metadata)> {
            let file = File::from(descriptor);
            let metadata = file.metadata()?;
            if !metadata.is_file() || metadata.len() > LONGEST {
                return Err(io::Error::other("it is no file, or too long"));
            }
            let mut content = Vec::new();
            file.take(LONGEST).read_to_end(&mut content)?;
            Ok((content, metadata))
        };
        read().map(Some).map_err(SetupError::io("read", &path))
    }

    /// Whether the file `name` is just that: content, owner and mode.
    pub fn is(&self, name: &str, content: &[u8], owner: Owner, mode: u32) -> bool {
        // What cannot be read is not what it should be; writing it will tell why.
        self.read_with_metadata(name).ok().flatten().is_some_and(|(present, metadata)| {
            present == content
                && (metadata.uid(), metadata.gid()) == (owner.uid, owner.gid)
                && metadata.mode() & 0o7777 == mode
        })
    }

    /// Makes the file `name` just that, whole or not at all, unless it is. Answers whether it had to.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write(&self, name: &str, content: &[u8], owner: Owner, mode: u32) -> Result<bool, SetupError> {
        if self.is(name, content, owner, mode) {
            return Ok(false);
        }
        let path = self.path.join(name);
        let next = format!(".{name}.next");
        let write = || -> io::Result<()> {
            self.unlink(&next)?;
            let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let descriptor = openat(&self.descriptor, next.as_str(), flags, Mode::from_raw_mode(0o600))?;
            let mut file = File::from(descriptor);
            file.write_all(content)?;
            let metadata = file.metadata()?;
            if (metadata.uid(), metadata.gid()) != (owner.uid, owner.gid) {
                give(&file, owner)?;
            }
            fchmod(&file, Mode::from_raw_mode(mode))?;
            file.sync_all()?;
            renameat(&self.descriptor, next.as_str(), &self.descriptor, name)?;
            Ok(fsync(&self.descriptor)?)
        };
        write().map_err(SetupError::io("write", &path))?;
        Ok(true)
    }

    /// Removes the file `name`, if it is there. Answers whether it was.
    ///
    /// # Errors
    /// When it cannot be removed.
    pub fn remove(&self, name: &str) -> Result<bool, SetupError> {
        self.unlink(name).map_err(SetupError::io("remove", &self.path.join(name)))
    }

    fn unlink(&self, name: &str) -> io::Result<bool> {
        match unlinkat(&self.descriptor, name, AtFlags::empty()) {
            Ok(()) => Ok(true),
            Err(rustix::io::Errno::NOENT) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }
}

fn give(descriptor: impl std::os::fd::AsFd, owner: Owner) -> rustix::io::Result<()> {
    fchown(descriptor, Some(Uid::from_raw(owner.uid)), Some(Gid::from_raw(owner.gid)))
}

/// Takes the lock of `folder`, waiting for whoever has it. The folder is made if it is not there.
pub(crate) fn lock(folder: &Path, observer: &mut dyn Observer) -> Result<File, SetupError> {
    Folder::make(folder)?;
    let path = folder.join(".lock");
    let file = fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(&path)
        .map_err(SetupError::io("write", &path))?;
    match file.try_lock() {
        Ok(()) => return Ok(file),
        Err(TryLockError::WouldBlock) => observer.tell(Event::Waiting),
        Err(TryLockError::Error(error)) => return Err(SetupError::io("lock", &path)(error)),
    }
    file.lock().map_err(SetupError::io("lock", &path))?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use super::*;

    #[test]
    fn a_link_is_replaced_and_its_target_left_alone() {
        let outside = tempfile::NamedTempFile::new().unwrap();
        fs::write(outside.path(), "precious").unwrap();
        let place = tempfile::tempdir().unwrap();
        symlink(outside.path(), place.path().join("file")).unwrap();
        symlink(outside.path(), place.path().join(".file.next")).unwrap();
        let folder = Folder::open(place.path()).unwrap();
        assert!(folder.read("file").is_err());
        assert!(folder.write("file", b"new", Owner::caller(), 0o640).unwrap());
        assert_eq!(fs::read_to_string(outside.path()).unwrap(), "precious");
        let metadata = fs::symlink_metadata(place.path().join("file")).unwrap();
        assert!(metadata.is_file() && metadata.permissions().mode() & 0o7777 == 0o640);
        assert!(!folder.write("file", b"new", Owner::caller(), 0o640).unwrap());
    }

    #[test]
    fn a_link_in_place_of_a_folder_is_refused() {
        let outside = tempfile::tempdir().unwrap();
        let place = tempfile::tempdir().unwrap();
        symlink(outside.path(), place.path().join("inner")).unwrap();
        let folder = Folder::open(place.path()).unwrap();
        let error = folder.make_folder("inner", Owner::caller(), 0o755).unwrap_err();
        assert!(error.to_string().contains("is not a folder"), "{error}");
        assert_eq!(fs::read_dir(outside.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_pipe_in_place_of_a_file_blocks_nobody() {
        let place = tempfile::tempdir().unwrap();
        let pipe = rustix::fs::CWD;
        rustix::fs::mknodat(pipe, place.path().join("file"), rustix::fs::FileType::Fifo, Mode::RUSR, 0)
            .unwrap();
        let folder = Folder::open(place.path()).unwrap();
        assert!(folder.read("file").is_err());
        assert!(folder.write("file", b"x", Owner::caller(), 0o600).unwrap());
        assert_eq!(folder.read("file").unwrap().unwrap(), b"x");
    }
}
