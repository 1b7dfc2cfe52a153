//! The lock under which the account files are changed: `.pwd.lock` beside them (lckpwdf(3)). The tools of shadow-utils, PAM and
//! systemd take the same.

use std::os::fd::AsRawFd;
use std::time::{Duration, Instant};

use rustix::fd::OwnedFd;
use rustix::fs::{Mode, OFlags, openat};
use rustix::io::Errno;

use crate::change::error::ChangeError;

/// How long somebody else may have it. lckpwdf(3) waits as long.
pub(super) const TIME: Duration = Duration::from_secs(15);
const PAUSE: Duration = Duration::from_millis(20);

/// The lock, held until this is dropped.
#[derive(Debug)]
pub(super) struct Lock {
    _file: OwnedFd,
}

impl Lock {
    /// Takes it in the folder of the account files.
    ///
    /// # Errors
    /// [`ChangeError::Failed`] where somebody else has it for longer than `time`.
    pub(super) fn take(folder: &OwnedFd, time: Duration) -> Result<Self, ChangeError> {
        let failed =
            |error: Errno| ChangeError::failed("locking the account files", std::io::Error::from(error));
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = openat(folder, c".pwd.lock", flags, Mode::RUSR | Mode::WUSR).map_err(failed)?;
        let deadline = Instant::now() + time;
        loop {
            match lock(&file) {
                Ok(()) => return Ok(Self { _file: file }),
                Err(Errno::AGAIN | Errno::ACCESS) if Instant::now() < deadline => std::thread::sleep(PAUSE),
                Err(Errno::AGAIN | Errno::ACCESS) => {
                    return Err(ChangeError::failed(
                        "locking the account files",
                        format!(
                            "another program has had the lock (.pwd.lock) for {} s; try again",
                            time.as_secs()
                        ),
                    ));
                }
                Err(error) => return Err(failed(error)),
            }
        }
    }
}

/// Locks all of the file. An open file's lock (`F_OFD_SETLK`, fcntl(2)) keeps the locks of other processes off, and other
/// threads of this one too.
fn lock(file: &OwnedFd) -> Result<(), Errno> {
    let whole = libc::flock {
        l_type: i16::try_from(libc::F_WRLCK).map_err(|_| Errno::INVAL)?,
        l_whence: i16::try_from(libc::SEEK_SET).map_err(|_| Errno::INVAL)?,
        l_start: 0,
        l_len: 0,
        l_pid: 0,
    };
    // SAFETY: the descriptor is open as long as `file` is borrowed, and the kernel only reads the structure.
    let result = unsafe { libc::fcntl(file.as_raw_fd(), libc::F_OFD_SETLK, &raw const whole) };
    if result == 0 {
        return Ok(());
    }
    Err(Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::IO))
}

#[cfg(test)]
mod tests {
    use rustix::fs::{CWD, FlockOperation, fcntl_lock};

    use super::*;

    #[test]
    fn the_lock_of_another_program_is_waited_for_and_respected() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(".pwd.lock");
        // The lock that lckpwdf(3) takes is one of the process, not of the open file.
        let other = std::fs::File::create(&path).unwrap();
        fcntl_lock(&other, FlockOperation::NonBlockingLockExclusive).unwrap();
        let descriptor = openat(CWD, folder.path(), OFlags::PATH | OFlags::DIRECTORY, Mode::empty()).unwrap();
        let error = Lock::take(&descriptor, Duration::from_millis(60)).unwrap_err();
        assert!(error.to_string().contains(".pwd.lock"), "{error}");
        fcntl_lock(&other, FlockOperation::Unlock).unwrap();
        let held = Lock::take(&descriptor, Duration::ZERO).unwrap();
        assert!(fcntl_lock(&other, FlockOperation::NonBlockingLockExclusive).is_err());
        assert!(Lock::take(&descriptor, Duration::ZERO).is_err(), "a second one in this process");
        drop(held);
        Lock::take(&descriptor, Duration::ZERO).unwrap();
    }
}
