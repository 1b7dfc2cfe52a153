//! Control groups for commands (the kernel's cgroup-v2.rst): below agentd's own, where systemd has left that to agentd.
//!
//! A group that has limits for groups below it may have no processes itself, so agentd moves into one of those. That is
//! done only in a group which is marked as agentd's to divide (systemd.resource-control(5), `Delegate=`): in a container, in a
//! session, in a test it belongs to somebody else.

use std::fs::File;
use std::io::{ErrorKind, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rustix::fs::{AtFlags, CWD, Dir, Mode, OFlags, getxattr, mkdirat, openat, unlinkat};
use rustix::io::Errno;

use super::limits::Limits;
use crate::procfs::mountinfo;

/// Where agentd's own processes go.
const OWN: &str = "main";
/// What the names of commands' groups begin with.
const PREFIX: &str = "command-";
/// The mark by which systemd says that a group is its service's to divide (Control Group APIs and Delegation).
const MARK: &str = "trusted.delegate";
/// Most that is read of a file about groups, in bytes.
const LONGEST: u64 = 64 << 10;
/// How often a group that is killed is looked at until it is empty, and how long between.
const LOOKS: u32 = 100;
const BETWEEN: Duration = Duration::from_millis(10);
/// How often processes of the group are moved, where new ones come meanwhile.
const MOVES: usize = 10;

/// A group that is divided into those of commands.
#[derive(Debug)]
pub(super) struct Groups {
    folder: OwnedFd,
    /// The kernel counts processes in the groups below.
    processes: bool,
    /// The kernel counts memory in them.
    memory: bool,
    next: AtomicU64,
}

/// The group of one command. Dropping it ends all that is in it, and removes it.
#[derive(Debug)]
pub(super) struct Group {
    groups: Arc<Groups>,
    name: String,
    folder: OwnedFd,
}

impl Groups {
    /// Divides the group that this process is in, if that is its own.
    pub(super) fn divide() -> Option<Arc<Self>> {
        let folder = own()?;
        let mut mark = [0; 8];
        let length = getxattr(&folder, MARK, &mut mark).ok()?;
        if mark.get(..length) != Some(b"1") {
            return None;
        }
        Self::below(&folder).ok()
    }

    fn below(folder: &Path) -> Result<Arc<Self>, Errno> {
        let folder = openat(CWD, folder, OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
        remove_left(&folder)?;
        let own = group(&folder, OWN)?;
        for _ in 0..MOVES {
            let processes = text(&folder, "cgroup.procs")?;
            if processes.is_empty() {
                break;
            }
            for process in processes.lines() {
                match put(&own, "cgroup.procs", process) {
                    // It has ended meanwhile.
                    Ok(()) | Err(Errno::SRCH) => {}
                    Err(error) => return Err(error),
                }
            }
        }
        // Each by itself: the kernel, or who made this group, may have only one of them.
        let [processes, memory] =
            ["+pids", "+memory"].map(|one| put(&folder, "cgroup.subtree_control", one).is_ok());
        Ok(Arc::new(Self { folder, processes, memory, next: AtomicU64::new(0) }))
    }

    /// The kernel keeps both limits.
    pub(super) fn are_limited(&self) -> bool {
        self.processes && self.memory
    }
}

impl Group {
    /// A group with these limits, with that process in it.
    ///
    /// # Errors
    /// The kernel's. Then there is no group.
    pub(super) fn of(groups: &Arc<Groups>, limits: Limits, process: u32) -> Result<Self, Errno> {
        let name = format!("{PREFIX}{}", groups.next.fetch_add(1, Ordering::Relaxed));
        let folder = group(&groups.folder, &name)?;
        let made = Self { groups: Arc::clone(groups), name, folder };
        if groups.processes {
            put(&made.folder, "pids.max", &limits.processes.to_string())?;
        }
        if groups.memory {
            put(&made.folder, "memory.max", &limits.memory.to_string())?;
            // Where the kernel has no swap space to count there is none to be used.
            let _ = put(&made.folder, "memory.swap.max", "0");
        }
        put(&made.folder, "cgroup.procs", &process.to_string())?;
        Ok(made)
    }

    /// How often the kernel has kept something in it from having more: processes, memory.
    pub(super) fn kept(&self) -> [u64; 2] {
        let count = |file, word: &str| {
            let text = text(&self.folder, file).ok()?;
            text.lines().find_map(|line| line.strip_prefix(word)?.trim().parse().ok())
        };
        [count("pids.events", "max "), count("memory.events", "oom_kill ")].map(Option::unwrap_or_default)
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        let _ = put(&self.folder, "cgroup.kill", "1");
        // One that cannot be removed now is removed when agentd starts again.
        let _ = remove(&self.groups.folder, &self.name);
    }
}

/// The folder of the group that this process is in.
fn own() -> Option<PathBuf> {
    let mut groups = String::new();
    File::open("/proc/self/cgroup").ok()?.take(LONGEST).read_to_string(&mut groups).ok()?;
    let path = groups.lines().find_map(|line| line.strip_prefix("0::/"))?.to_owned();
    let mounts = mountinfo::now().ok()?;
    let mount = mounts.iter().find(|mount| mount.file_system == b"cgroup2")?;
    let root = std::str::from_utf8(&mount.root).ok()?.trim_matches('/');
    let rest = Path::new(&path).strip_prefix(root).ok()?;
    let point = PathBuf::from(std::str::from_utf8(&mount.point).ok()?);
    Some(point.join(rest))
}

/// Makes a group, or takes the one that is there.
fn group(folder: &OwnedFd, name: &str) -> Result<OwnedFd, Errno> {
    match mkdirat(folder, name, Mode::RWXU | Mode::RGRP | Mode::XGRP | Mode::ROTH | Mode::XOTH) {
        Ok(()) | Err(Errno::EXIST) => {}
        Err(error) => return Err(error),
    }
    openat(folder, name, OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())
}

/// Removes what an agentd before this one has left.
fn remove_left(folder: &OwnedFd) -> Result<(), Errno> {
    for entry in Dir::read_from(folder)? {
        let entry = entry?;
        let Some(name) = entry.file_name().to_str().ok().filter(|name| name.starts_with(PREFIX)) else {
            continue;
        };
        put(&group(folder, name)?, "cgroup.kill", "1")?;
        remove(folder, name)?;
    }
    Ok(())
}

/// Removes a group, once what was killed in it has ended.
fn remove(folder: &OwnedFd, name: &str) -> Result<(), Errno> {
    for _ in 0..LOOKS {
        match unlinkat(folder, name, AtFlags::REMOVEDIR) {
            Err(Errno::BUSY) => std::thread::sleep(BETWEEN),
            result => return result,
        }
    }
    Err(Errno::BUSY)
}

fn put(folder: impl AsFd, name: &str, value: &str) -> Result<(), Errno> {
    let file = openat(folder, name, OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())?;
    File::from(file).write_all(value.as_bytes()).map_err(|error| errno(&error))
}

fn text(folder: impl AsFd, name: &str) -> Result<String, Errno> {
    let file = openat(folder, name, OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())?;
    let mut text = String::new();
    File::from(file).take(LONGEST).read_to_string(&mut text).map_err(|error| errno(&error))?;
    Ok(text)
}

fn errno(error: &std::io::Error) -> Errno {
    match error.kind() {
        ErrorKind::InvalidData => Errno::ILSEQ,
        _ => Errno::from_io_error(error).unwrap_or(Errno::IO),
    }
}
