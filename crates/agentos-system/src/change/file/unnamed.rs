//! A regular file that is whole and has no name yet (`O_TMPFILE`, open(2)): nobody sees it, and the kernel takes it away
//! where it gets none.

use std::fs::File;
use std::os::fd::AsRawFd;

use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{AtFlags, CWD, Mode, OFlags, fsync, linkat, openat};
use rustix::io::Errno;

/// A regular file without a name.
#[derive(Debug)]
pub(crate) struct Unnamed(File);

impl Unnamed {
    /// An empty one on the file system of an open folder, for its owner alone.
    ///
    /// # Errors
    /// The kernel's: `EOPNOTSUPP`, `EISDIR` where the file system has none such.
    pub(super) fn new(folder: &OwnedFd) -> Result<Self, Errno> {
        let flags = OFlags::WRONLY | OFlags::TMPFILE | OFlags::CLOEXEC;
        openat(folder, c".", flags, Mode::RUSR | Mode::WUSR).map(|descriptor| Self(File::from(descriptor)))
    }

    pub(super) fn file(&mut self) -> &mut File {
        &mut self.0
    }

    /// Makes it durable. It is still gone after a cut, but its content is there once it has a name.
    pub(super) fn sync(&self) -> Result<(), Errno> {
        fsync(&self.0)
    }

    /// Gives it a name that nothing has.
    ///
    /// # Errors
    /// The kernel's: `EEXIST` where something has that name.
    pub(super) fn link(&self, folder: &OwnedFd, name: &std::ffi::CStr) -> Result<(), Errno> {
        match linkat(self.0.as_fd(), c"", folder, name, AtFlags::EMPTY_PATH) {
            // A kernel that asks for a capability for this; the path of the descriptor is as good (open(2)).
            Err(Errno::NOENT) => {
                let path = format!("/proc/self/fd/{}", self.0.as_raw_fd());
                linkat(CWD, path, folder, name, AtFlags::SYMLINK_FOLLOW)
            }
            result => result,
        }
    }
}
