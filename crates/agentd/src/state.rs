//! The state directory: one owner, one agentd at a time, and nobody else who could put another in its place.

use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, Mode, OFlags, StatVfsMountFlags, flock};

/// The state directory, locked for as long as this value lives.
#[derive(Debug)]
pub(crate) struct StateDirectory {
    path: PathBuf,
    // flock(2) on the directory itself makes no file in it, which may be evidence. The kernel releases it with the
    // descriptor, also when the process is killed.
    _lock: File,
}

/// Why the state directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StateError {
    #[error("cannot make or open the state directory {path}; it must be a directory that agentd's user owns")]
    Open { path: PathBuf, source: io::Error },
    #[error("{path} is {found}, and must be a directory; move it away with: mv {path} {path}.old")]
    NotADirectory { path: PathBuf, found: &'static str },
    #[error("{path} belongs to uid {owner}, agentd runs as uid {ours}; run: chown -R {ours} {path}")]
    Owner { path: PathBuf, owner: u32, ours: u32 },
    #[error("{path} has mode {mode:04o}: others could read or replace the ledger; run: chmod 0700 {path}")]
    Mode { path: PathBuf, mode: u32 },
    #[error(
        "{parent}, above the state directory {path}, has mode {mode:04o}: anybody could put another directory in its \
         place; run: chmod o-w {parent}"
    )]
    Parent { path: PathBuf, parent: PathBuf, mode: u32 },
    #[error("another agentd uses {path}; stop it first, or give this one its own state_directory")]
    Busy { path: PathBuf },
}

/// Whether the state directory's file system can take what is to be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Room {
    /// It can.
    Enough,
    /// It has no room, or next to none.
    Full,
    /// It is mounted read-only.
    ReadOnly,
}

/// With less than this left, in bytes, a file system is full: a ledger's log and index need more to begin with.
const NEXT_TO_NOTHING: u64 = 1 << 20;

impl StateDirectory {
    /// Makes the directory if it is not there, checks owner and mode, and takes the lock.
    ///
    /// # Errors
    /// [`StateError`] says which of these failed and what helps.
    pub(crate) fn open(path: &Path) -> Result<Self, StateError> {
        let failed = |source: io::Error| StateError::Open { path: path.to_owned(), source };
        make_directory(path).map_err(failed)?;
        let kind = path.symlink_metadata().map_err(failed)?.file_type();
        if !kind.is_dir() {
            let found = if kind.is_symlink() { "a symbolic link" } else { "no directory" };
            return Err(StateError::NotADirectory { path: path.to_owned(), found });
        }
        check_parents(path)?;
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
        match flock(&directory, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Self { path: path.to_owned(), _lock: directory }),
            Err(rustix::io::Errno::WOULDBLOCK) => Err(StateError::Busy { path: path.to_owned() }),
            Err(errno) => Err(failed(errno.into())),
        }
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Whether there is room in it.
    pub(crate) fn room(&self) -> Room {
        match rustix::fs::statvfs(&self.path) {
            Ok(system) if system.f_flag.contains(StatVfsMountFlags::RDONLY) => Room::ReadOnly,
            Ok(system) if system.f_bfree.saturating_mul(system.f_frsize) < NEXT_TO_NOTHING => Room::Full,
            Ok(system) if system.f_files > 0 && system.f_ffree == 0 => Room::Full,
            _ => Room::Enough,
        }
    }
}

/// Refuses a path of which anybody could exchange a part: by the name it is called, and by where that leads.
fn check_parents(path: &Path) -> Result<(), StateError> {
    let failed = |source: io::Error| StateError::Open { path: path.to_owned(), source };
    let real = path.canonicalize().map_err(failed)?;
    for parent in path.ancestors().skip(1).chain(real.ancestors().skip(1)) {
        let mode = parent.metadata().map_err(failed)?.mode() & 0o7777;
        // With the sticky bit, only its owner renames what is in it.
        if mode & 0o002 != 0 && mode & 0o1000 == 0 {
            return Err(StateError::Parent { path: path.to_owned(), parent: parent.to_owned(), mode });
        }
    }
    Ok(())
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
        assert!(matches!(StateDirectory::open(&file), Err(StateError::NotADirectory { .. })));
        let link = parent.path().join("link");
        std::os::unix::fs::symlink(parent.path(), &link).unwrap();
        let error = StateDirectory::open(&link).unwrap_err().to_string();
        assert!(error.contains("a symbolic link") && error.contains("mv "), "{error}");
    }

    #[test]
    fn a_parent_that_anybody_can_write_is_refused_unless_it_is_sticky() {
        let directory = tempfile::tempdir().unwrap();
        let parent = directory.path().join("parent");
        std::fs::create_dir(&parent).unwrap();
        let path = parent.join("between/state");
        for (mode, refused) in [(0o755, false), (0o1777, false), (0o777, true)] {
            std::fs::set_permissions(&parent, std::fs::Permissions::from_mode(mode)).unwrap();
            match StateDirectory::open(&path) {
                Ok(_) => assert!(!refused, "{mode:o}"),
                Err(error) => {
                    let said = error.to_string();
                    assert!(
                        refused && said.contains("0777") && said.contains("chmod o-w"),
                        "{mode:o}: {said}"
                    );
                }
            }
        }
        // Also where the name leads through a link to it.
        let link = directory.path().join("link");
        std::os::unix::fs::symlink(parent.join("between"), &link).unwrap();
        assert!(matches!(StateDirectory::open(&link.join("state")), Err(StateError::Parent { .. })));
    }

    #[test]
    fn a_directory_of_somebody_else_is_refused_with_the_command_that_mends_it() {
        if !rustix::process::geteuid().is_root() {
            eprintln!("a directory of another owner: NOT TESTED, only root can give a directory away");
            return;
        }
        let parent = tempfile::tempdir().unwrap();
        let path = parent.path().join("state");
        drop(StateDirectory::open(&path).unwrap());
        std::os::unix::fs::chown(&path, Some(65_534), None).unwrap();
        let error = StateDirectory::open(&path).unwrap_err().to_string();
        assert!(error.contains("uid 65534") && error.contains("chown -R 0 "), "{error}");
    }

    #[test]
    fn taking_the_lock_makes_no_file() {
        let parent = tempfile::tempdir().unwrap();
        let state = StateDirectory::open(&parent.path().join("state")).unwrap();
        assert_eq!(std::fs::read_dir(state.path()).unwrap().count(), 0);
        assert_eq!(state.room(), Room::Enough);
    }
}
