//! Where a path leads for somebody else's thread, walked one name at a time.
//!
//! The kernel would walk it for this process: `/proc/self` would be agentd. And it would follow the links of `/proc/PID` that
//! lead out of every confinement (`root`, `cwd`, `fd`: proc(5)). Here the first is the thread's own, and of the others only
//! those of the command's own processes are followed.

use std::collections::VecDeque;
use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{FileType, Mode, OFlags, fstat, fstatfs, openat, readlinkat};
use rustix::io::Errno;

use super::view::attributes;
use crate::files::link_to;

/// Symbolic links on the way, at most, as in the kernel.
const MOST_LINKS: usize = 40;
/// Names on the way, at most: a path has 4,096 bytes, and each link may bring as many again.
const MOST_NAMES: usize = 16_384;
const PROC_SUPER_MAGIC: u64 = 0x9fa0;
/// The inode of the root of a proc file system.
const PROC_ROOT_INO: u64 = 1;

/// A thread whose path it is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Task {
    /// The number of the thread.
    pub(super) thread: u32,
    /// That of its process.
    pub(super) process: u32,
}

/// Where a path leads.
#[derive(Debug)]
pub(super) enum Found {
    /// To this, as a descriptor that only points (`O_PATH`).
    There(OwnedFd),
    /// To something that the command holds open itself: a pipe, say. It is opened again through this path.
    Own(OwnedFd),
    /// To a name that is not there, in a folder that is.
    Missing(OwnedFd, Vec<u8>),
}

/// Walks `path` from `from` (a folder, where it is relative). `ground` is what the thread sees as `/`, where that is not what
/// this process sees.
///
/// # Errors
/// As open(2): `ENOENT`, `ENOTDIR`, `ELOOP`, `ENAMETOOLONG`; `EACCES` for a link into another process.
pub(super) fn walk(
    ground: Option<&OwnedFd>,
    task: Task,
    from: Option<OwnedFd>,
    path: &[u8],
    follow_last: bool,
    is_own: &dyn Fn(&[u8]) -> bool,
) -> Result<Found, Errno> {
    if path.is_empty() {
        return Err(Errno::NOENT);
    }
    let root = || match ground {
        Some(ground) => rustix::io::dup(ground),
        None => openat(rustix::fs::CWD, c"/", OFlags::PATH | OFlags::CLOEXEC, Mode::empty()),
    };
    let mut here = match from {
        Some(from) if path.first() != Some(&b'/') => from,
        _ => root()?,
    };
    let mut names = names(path);
    let (mut links, mut seen) = (0, 0);
    let mut own = false;
    while let Some(name) = names.pop_front() {
        seen += 1;
        if seen > MOST_NAMES {
            return Err(Errno::NAMETOOLONG);
        }
        let last = names.is_empty();
        // The kernel knows only of this process's own root that there is nothing above it.
        if name == b".." && ground.is_some_and(|ground| is_same(ground, &here)) {
            continue;
        }
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let next = match openat(&here, name.as_slice(), flags, Mode::empty()) {
            Ok(next) => next,
            Err(Errno::NOENT) if last => return Ok(Found::Missing(here, name)),
            Err(error) => return Err(error),
        };
        own = false;
        if file_type(&next)? != FileType::Symlink || (last && !follow_last) {
            here = next;
            continue;
        }
        links += 1;
        if links > MOST_LINKS {
            return Err(Errno::LOOP);
        }
        let target = if is_proc(&here)? {
            match proc_link(&here, &name, task)? {
                Some(target) => target,
                // A link of a process, that leads to no path but to the thing itself.
                None if is_own(&name_of(&here)?) => {
                    here = openat(&here, name.as_slice(), OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?;
                    own = true;
                    continue;
                }
                None => return Err(Errno::ACCESS),
            }
        } else {
            readlinkat(&here, name.as_slice(), Vec::new())?.into_bytes()
        };
        if target.first() == Some(&b'/') {
            here = root()?;
        }
        for name in self::names(&target).into_iter().rev() {
            names.push_front(name);
        }
    }
    Ok(if own { Found::Own(here) } else { Found::There(here) })
}

/// The names of a path, in order. A slash at its end asks for a folder, and is one more name: the folder itself.
fn names(path: &[u8]) -> VecDeque<Vec<u8>> {
    let mut names: VecDeque<Vec<u8>> =
        path.split(|&byte| byte == b'/').filter(|name| !name.is_empty()).map(<[u8]>::to_vec).collect();
    if path.last() == Some(&b'/') {
        names.push_back(b".".to_vec());
    }
    names
}

/// Where a link of a proc file system leads in words; nothing where it is one of those that lead to a thing itself.
fn proc_link(folder: &OwnedFd, name: &[u8], task: Task) -> Result<Option<Vec<u8>>, Errno> {
    if fstat(folder)?.st_ino != PROC_ROOT_INO {
        return Ok(None);
    }
    Ok(Some(match name {
        b"self" => task.process.to_string().into_bytes(),
        b"thread-self" => format!("{}/task/{}", task.process, task.thread).into_bytes(),
        _ => readlinkat(folder, name, Vec::new())?.into_bytes(),
    }))
}

/// Two descriptors of the same folder of the same mount.
fn is_same(left: &OwnedFd, right: &OwnedFd) -> bool {
    attributes(left)
        .ok()
        .zip(attributes(right).ok())
        .is_some_and(|(left, right)| (left.stx_mnt_id, left.stx_ino) == (right.stx_mnt_id, right.stx_ino))
}

/// The path of an open folder.
fn name_of(folder: &OwnedFd) -> Result<Vec<u8>, Errno> {
    Ok(readlinkat(rustix::fs::CWD, link_to(folder), Vec::new())?.into_bytes())
}

/// What a descriptor points at.
pub(super) fn file_type(descriptor: impl AsFd) -> Result<FileType, Errno> {
    Ok(FileType::from_raw_mode(fstat(descriptor)?.st_mode))
}

fn is_proc(folder: &OwnedFd) -> Result<bool, Errno> {
    #[expect(clippy::cast_sign_loss, reason = "a magic number, not a quantity")]
    Ok(fstatfs(folder)?.f_type as u64 == PROC_SUPER_MAGIC)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn me() -> Task {
        Task { thread: std::process::id(), process: std::process::id() }
    }

    fn found(path: &[u8]) -> Result<Found, Errno> {
        walk(None, me(), None, path, true, &|_| false)
    }

    #[test]
    fn it_leads_where_the_kernel_would_lead() {
        for path in [
            "/",
            "/etc",
            "/etc/passwd",
            "/bin/sh",
            "/proc/mounts",
            "/usr/../etc/passwd",
            "/etc/",
            "//etc///passwd",
        ] {
            let Found::There(there) = found(path.as_bytes()).unwrap() else { panic!("{path}") };
            let (walked, known) = (fstat(&there).unwrap(), rustix::fs::stat(path).unwrap());
            assert_eq!((walked.st_dev, walked.st_ino), (known.st_dev, known.st_ino), "{path}");
        }
        for (path, error) in [("/etc/passwd/", Errno::NOTDIR), ("/nope/x", Errno::NOENT), ("", Errno::NOENT)]
        {
            assert_eq!(found(path.as_bytes()).unwrap_err(), error, "{path}");
        }
        assert!(matches!(found(b"/etc/nope").unwrap(), Found::Missing(_, name) if name == b"nope"));
    }

    #[test]
    fn links_into_other_processes_are_not_followed() {
        for path in
            ["/proc/1/root/etc/passwd", "/proc/1/cwd", "/proc/self/fd/0", "/dev/stdin", "/proc/self/root/etc"]
        {
            assert_eq!(found(path.as_bytes()).unwrap_err(), Errno::ACCESS, "{path}");
        }
        let own = walk(None, me(), None, b"/proc/self/exe", true, &|_| true).unwrap();
        assert!(matches!(own, Found::Own(_)));
    }

    #[test]
    fn proc_self_is_the_thread_that_asks() {
        let one = Task { thread: 1, process: 1 };
        let Found::There(there) = walk(None, one, None, b"/proc/self", true, &|_| false).unwrap() else {
            panic!()
        };
        assert_eq!(fstat(&there).unwrap().st_ino, rustix::fs::stat("/proc/1").unwrap().st_ino);
    }

    #[test]
    fn a_circle_ends() {
        let folder = tempfile::tempdir().unwrap();
        let link = folder.path().join("a");
        std::os::unix::fs::symlink(&link, &link).unwrap();
        assert_eq!(found(std::os::unix::ffi::OsStrExt::as_bytes(link.as_os_str())).unwrap_err(), Errno::LOOP);
    }

    proptest! {
        #[test]
        fn any_path_ends_somewhere(path in proptest::collection::vec(prop_oneof![Just(b'/'), Just(b'.'), any::<u8>()], 0..200)) {
            let path: Vec<u8> = path.into_iter().filter(|&byte| byte != 0).collect();
            let _ = found(&path);
        }
    }
}
