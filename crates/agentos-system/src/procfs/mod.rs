//! The kernel's `/proc`, read by descriptor and without an allocation per file.

pub(crate) mod cgroup;
pub(crate) mod keyed;
pub(crate) mod mountinfo;
pub(crate) mod stat;
pub(crate) mod ticks;

use std::ffi::CStr;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{AtFlags, CWD, Dir, Mode, OFlags, RawDir, Stat, openat, readlinkat, statat};

use crate::QueryError;

/// A process identifier as the kernel prints it: from 1 to 4,194,304 (`PID_MAX_LIMIT`).
pub(crate) type Pid = u32;

/// The directory `/proc`, open.
#[derive(Debug)]
pub(crate) struct Proc {
    directory: OwnedFd,
}

impl Proc {
    /// Opens `/proc`.
    ///
    /// # Errors
    /// [`QueryError::Io`] and its kin where no procfs is mounted.
    pub(crate) fn open() -> Result<Self, QueryError> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let directory =
            openat(CWD, c"/proc", flags, Mode::empty()).map_err(|error| QueryError::io("/proc", error))?;
        Ok(Self { directory })
    }

    /// Calls `visit` with each process that exists, in the kernel's order. Threads are not processes: they are listed
    /// below their process, not here.
    ///
    /// # Errors
    /// What reading the directory answers.
    pub(crate) fn each(&self, mut visit: impl FnMut(Pid)) -> Result<(), QueryError> {
        let mut buffer = [MaybeUninit::uninit(); 16 << 10];
        // A descriptor of its own: the position in a directory belongs to the open file, and Proc is shared.
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let listing = openat(&self.directory, c".", flags, Mode::empty())
            .map_err(|error| QueryError::io("/proc", error))?;
        let mut entries = RawDir::new(listing, &mut buffer);
        while let Some(entry) = entries.next() {
            let entry = entry.map_err(|error| QueryError::io("/proc", error))?;
            if let Some(pid) = decimal(entry.file_name().to_bytes()).and_then(|pid| Pid::try_from(pid).ok()) {
                visit(pid);
            }
        }
        Ok(())
    }

    /// Reads the start of `/proc/PID/FILE` into `buffer`, by one read(2): procfs gives a small file whole.
    ///
    /// # Errors
    /// The kernel's; `ENOENT` and `ESRCH` mean that the process has ended.
    pub(crate) fn read<'b>(&self, pid: Pid, file: &str, buffer: &'b mut [u8]) -> io::Result<&'b [u8]> {
        let mut path = [0; PATH_LENGTH];
        let descriptor = openat(
            &self.directory,
            process_path(&mut path, pid, file)?,
            OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW,
            Mode::empty(),
        )?;
        let length = rustix::io::read(&descriptor, &mut *buffer)?;
        Ok(&buffer[..length])
    }

    /// The attributes of the directory `/proc/PID`: its owner is the process's effective user, also where the process
    /// is not dumpable (its files then belong to root).
    ///
    /// # Errors
    /// The kernel's.
    pub(crate) fn attributes(&self, pid: Pid) -> io::Result<Stat> {
        let mut path = [0; PATH_LENGTH];
        Ok(statat(&self.directory, process_path(&mut path, pid, "")?, AtFlags::SYMLINK_NOFOLLOW)?)
    }

    /// Opens the directory `/proc/PID`. As long as the descriptor is held, what is read through it is of this process
    /// and no other: after its end reading answers `ESRCH`, even when the number is in use again.
    ///
    /// # Errors
    /// The kernel's.
    pub(crate) fn process(&self, pid: Pid) -> io::Result<OwnedFd> {
        let mut path = [0; PATH_LENGTH];
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        Ok(openat(&self.directory, process_path(&mut path, pid, "")?, flags, Mode::empty())?)
    }
}

impl AsFd for Proc {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.directory.as_fd()
    }
}

/// Ten digits, a slash, the longest file name used, and the terminating NUL.
const PATH_LENGTH: usize = 48;

/// Writes `PID` or `PID/FILE` and a NUL into `buffer`.
fn process_path<'b>(buffer: &'b mut [u8; PATH_LENGTH], pid: Pid, file: &str) -> io::Result<&'b CStr> {
    let too_long = || io::Error::from(io::ErrorKind::InvalidInput);
    let mut digits = [0; 10];
    let mut start = digits.len();
    let mut rest = pid;
    loop {
        start -= 1;
        digits[start] = b'0' + u8::try_from(rest % 10).unwrap_or(0);
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    let number = &digits[start..];
    let mut length = number.len();
    buffer[..length].copy_from_slice(number);
    if !file.is_empty() {
        let end = length + 1 + file.len();
        buffer[length] = b'/';
        buffer.get_mut(length + 1..end).ok_or_else(too_long)?.copy_from_slice(file.as_bytes());
        length = end;
    }
    *buffer.get_mut(length).ok_or_else(too_long)? = 0;
    CStr::from_bytes_until_nul(buffer).map_err(|_| too_long())
}

/// The value of a string of decimal digits; `None` where there is anything else, nothing, or more than 64 bits of it.
pub(crate) fn decimal(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() {
        return None;
    }
    digits.iter().try_fold(0u64, |value, digit| {
        let digit = digit.wrapping_sub(b'0');
        if digit > 9 { None } else { value.checked_mul(10)?.checked_add(u64::from(digit)) }
    })
}

/// Reads all of an already open file, up to `limit` bytes. The second value says whether there was more.
///
/// # Errors
/// The kernel's.
pub(crate) fn read_open(descriptor: impl AsFd, limit: usize) -> io::Result<(Vec<u8>, bool)> {
    let mut content = Vec::with_capacity(limit.min(4096));
    loop {
        if content.len() > limit {
            content.truncate(limit);
            return Ok((content, true));
        }
        content.reserve(4096.min(limit + 1 - content.len()).max(1));
        let spare = (limit + 1 - content.len()).min(content.capacity() - content.len());
        let start = content.len();
        content.resize(start + spare, 0);
        let length = rustix::io::retry_on_intr(|| rustix::io::read(&descriptor, &mut content[start..]))?;
        content.truncate(start + length);
        if length == 0 {
            return Ok((content, false));
        }
    }
}

/// Reads up to `limit` bytes of `path` below the open directory `at` (an absolute path ignores it). For names that this
/// crate chooses, in the kernel's own file systems; files that a caller names go through [`crate::files`].
///
/// # Errors
/// The kernel's.
pub(crate) fn read_at(at: impl AsFd, path: &str, limit: usize) -> io::Result<Vec<u8>> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
    let descriptor = openat(at, path, flags, Mode::empty())?;
    read_open(descriptor, limit).map(|(content, _)| content)
}

/// [`read_at`] for an absolute path, as text without surrounding white space; `None` where it cannot be read or is
/// empty. For the many attributes of `/sys` and `/proc` that exist on some machines only.
pub(crate) fn text(path: &str) -> Option<String> {
    text_at(CWD, path)
}

/// [`text`] below an open directory.
pub(crate) fn text_at(at: impl AsFd, path: &str) -> Option<String> {
    let content = read_at(at, path, 4096).ok()?;
    let text = String::from_utf8_lossy(&content);
    let text = text.trim_matches(|c: char| c.is_whitespace() || c == '\0');
    (!text.is_empty()).then(|| text.to_owned())
}

/// The names in a directory of the kernel's, sorted, up to `most`; none where there is no such directory.
pub(crate) fn names(path: &str, most: usize) -> Vec<String> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let Ok(mut entries) = openat(CWD, path, flags, Mode::empty()).and_then(Dir::new) else {
        return Vec::new();
    };
    let mut names = Vec::new();
    while let Some(Ok(entry)) = entries.read() {
        let name = entry.file_name().to_string_lossy();
        if names.len() < most && name != "." && name != ".." {
            names.push(name.into_owned());
        }
    }
    names.sort();
    names
}

/// The last part of what a symbolic link of the kernel's points to: a driver's name, a bus's.
pub(crate) fn link_name(path: &str) -> Option<String> {
    let target = readlinkat(CWD, path, Vec::new()).ok()?;
    target.to_string_lossy().rsplit('/').next().map(str::to_owned)
}

/// [`text`] as a number.
pub(crate) fn number(path: &str) -> Option<u64> {
    decimal(text(path)?.as_bytes())
}

/// Reads a kernel file that must be there.
///
/// # Errors
/// [`QueryError::io`] with the path.
pub(crate) fn read(path: &str, limit: usize) -> Result<Vec<u8>, QueryError> {
    read_at(CWD, path, limit).map_err(|error| QueryError::io(path, error))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn this_process_is_listed_and_its_threads_are_not() {
        let proc = Proc::open().unwrap();
        let (sender, receiver) = std::sync::mpsc::channel();
        let (release, held) = std::sync::mpsc::channel::<()>();
        let thread = std::thread::spawn(move || {
            sender.send(rustix::thread::gettid().as_raw_nonzero().get()).unwrap();
            let _ = held.recv();
        });
        let thread_id = Pid::try_from(receiver.recv().unwrap()).unwrap();
        let mut pids = Vec::new();
        proc.each(|pid| pids.push(pid)).unwrap();
        drop(release);
        thread.join().unwrap();
        assert!(pids.contains(&std::process::id()));
        assert!(!pids.contains(&thread_id));
    }

    #[test]
    fn a_read_is_cut_at_its_limit_and_says_so() {
        let file = tempfile::tempfile().unwrap();
        rustix::io::write(&file, &[b'x'; 10_000]).unwrap();
        for (limit, length, more) in [(9_999, 9_999, true), (10_000, 10_000, false), (20_000, 10_000, false)]
        {
            rustix::fs::seek(&file, rustix::fs::SeekFrom::Start(0)).unwrap();
            let (content, cut) = read_open(&file, limit).unwrap();
            assert_eq!((content.len(), cut), (length, more));
        }
    }

    proptest! {
        #[test]
        fn a_process_path_is_the_number_and_the_name(pid: u32, file in "[a-z]{0,60}") {
            let mut buffer = [0xff; PATH_LENGTH];
            let path = process_path(&mut buffer, pid, &file);
            let expected = if file.is_empty() { pid.to_string() } else { format!("{pid}/{file}") };
            if expected.len() < PATH_LENGTH {
                prop_assert_eq!(path.unwrap().to_str().unwrap(), expected);
            } else {
                prop_assert!(path.is_err());
            }
        }

        #[test]
        fn decimal_is_the_inverse_of_printing(value: u64) {
            prop_assert_eq!(decimal(value.to_string().as_bytes()), Some(value));
        }

        #[test]
        fn decimal_takes_digits_only(text in "\\PC{0,24}") {
            let plain = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
            prop_assert_eq!(decimal(text.as_bytes()), if plain { text.parse().ok() } else { None });
        }
    }
}
