//! The state directory: one owner, one agentd at a time.

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, Mode, OFlags, flock, openat};

/// The state directory, locked for as long as this value lives.
#[derive(Debug)]
pub(crate) struct StateDirectory {
    path: PathBuf,
    // flock(2) is released by the kernel with the descriptor, also when the process is killed.
    _lock: File,
}

/// Why the state directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StateError {
    #[error("cannot make or open the state directory {path}; it must be a directory that agentd's user owns")]
    Open { path: PathBuf, source: io::Error },
    #[error("{path} belongs to uid {owner}, agentd runs as uid {ours}; run: chown -R {ours} {path}")]
    Owner { path: PathBuf, owner: u32, ours: u32 },
    #[error("{path} has mode {mode:04o}: others could read or replace the ledger; run: chmod 0700 {path}")]
    Mode { path: PathBuf, mode: u32 },
    #[error("another agentd uses {path}; stop it first, or give this one its own state_directory")]
    Busy { path: PathBuf },
}

impl StateDirectory {
    /// Makes the directory if it is not there, checks owner and mode, and takes the lock.
    ///
    /// # Errors
    /// [`StateError`] says which of these failed and what helps.
    pub(crate) fn open(path: &Path) -> Result<Self, StateError> {
        let failed = |source: io::Error| StateError::Open { path: path.to_owned(), source };
        make_directory(path).map_err(failed)?;
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let directory = rustix::fs::open(path, flags, Mode::empty()).map_err(|errno| failed(errno.into()))?;
        let directory = File::from(directory);
        let metadata = directory.metadata().map_err(failed)?;
        let ours = rustix::process::geteuid().as_raw();
        if metadata.uid() != ours {
            return Err(StateError::Owner { path: path.to_owned(), owner: metadata.uid(), ours });
        }
        let mode = metadata.mode() & 0o7777;
        if mode & 0o077 != 0 {
            return Err(StateError::Mode { path: path.to_owned(), mode });
        }
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let lock: OwnedFd = openat(&directory, "agentd.lock", flags, Mode::from_raw_mode(0o600))
            .map_err(|errno| failed(errno.into()))?;
        match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Self { path: path.to_owned(), _lock: File::from(lock) }),
            Err(rustix::io::Errno::WOULDBLOCK) => Err(StateError::Busy { path: path.to_owned() }),
            Err(errno) => Err(failed(errno.into())),
        }
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

fn make_directory(path: &Path) -> io::Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    if let Some(parent) = path.parent() {
        std::fs::create_dir_all(parent)?;
    }
    match std::fs::DirBuilder::new().mode(0o700).create(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        made => made,
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_second_agentd_is_refused_until_the_first_is_gone() {
        let parent = tempfile::tempdir().unwrap();
        let path = parent.path().join("state");
        let first = StateDirectory::open(&path).unwrap();
        assert!(matches!(StateDirectory::open(&path), Err(StateError::Busy { .. })));
        drop(first);
        StateDirectory::open(&path).unwrap();
    }

    #[test]
    fn a_directory_that_others_can_enter_is_refused() {
        let parent = tempfile::tempdir().unwrap();
        std::fs::set_permissions(parent.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
        let error = StateDirectory::open(parent.path()).unwrap_err().to_string();
        assert!(error.contains("0755") && error.contains("chmod 0700"), "{error}");
    }

    #[test]
    fn a_file_and_a_symlink_in_its_place_are_refused() {
        let parent = tempfile::tempdir().unwrap();
        let file = parent.path().join("file");
        std::fs::write(&file, "").unwrap();
        assert!(matches!(StateDirectory::open(&file), Err(StateError::Open { .. })));
        let link = parent.path().join("link");
        std::os::unix::fs::symlink(parent.path(), &link).unwrap();
        assert!(matches!(StateDirectory::open(&link), Err(StateError::Open { .. })));
    }
}
