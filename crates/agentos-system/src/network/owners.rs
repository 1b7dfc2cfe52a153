//! Which processes hold a socket: `/proc/PID/fd`, and from there the name and the unit.

use std::collections::{HashMap, HashSet};
use std::mem::MaybeUninit;
use std::time::{Duration, Instant};

use agentos_api::query::listeners::Owner;
use rustix::fs::{Mode, OFlags, RawDir, openat, readlinkat_raw};
use rustix::io::Errno;

use crate::QueryError;
use crate::procfs::{Pid, Proc, cgroup, decimal, text_at};

/// Descriptors looked at for one question, and for how long.
const MAX_DESCRIPTORS: usize = 2_000_000;
const TIME: Duration = Duration::from_secs(3);

/// Processes given for one socket.
const MAX_OWNERS: usize = 32;

/// The processes behind sockets, by inode.
#[derive(Debug, Default)]
pub(crate) struct Owners {
    by_inode: HashMap<u64, Vec<Owner>>,
    /// Every process could be looked at.
    pub(crate) complete: bool,
}

impl Owners {
    /// Looks for the holders of these sockets.
    ///
    /// # Errors
    /// [`QueryError::Io`] where there is no `/proc`.
    pub(crate) fn of(inodes: &HashSet<u64>) -> Result<Self, QueryError> {
        let mut owners = Self { by_inode: HashMap::new(), complete: true };
        if inodes.is_empty() {
            return Ok(owners);
        }
        let proc = Proc::open()?;
        let mut pids = Vec::new();
        proc.each(|pid| pids.push(pid))?;
        let deadline = Instant::now() + TIME;
        let mut left = MAX_DESCRIPTORS;
        for pid in pids {
            if left == 0 || Instant::now() > deadline {
                owners.complete = false;
                break;
            }
            match held(&proc, pid, inodes, &mut left) {
                Ok(held) if held.is_empty() => {}
                Ok(held) => owners.add(&proc, pid, held),
                // It ended meanwhile.
                Err(Errno::NOENT | Errno::SRCH) => {}
                Err(_) => owners.complete = false,
            }
        }
        Ok(owners)
    }

    /// The processes that hold this socket, by number.
    pub(crate) fn get(&self, inode: u64) -> &[Owner] {
        self.by_inode.get(&inode).map(Vec::as_slice).unwrap_or_default()
    }

    fn add(&mut self, proc: &Proc, pid: Pid, inodes: HashSet<u64>) {
        let owner = describe(proc, pid);
        for inode in inodes {
            let owners = self.by_inode.entry(inode).or_default();
            if owners.len() < MAX_OWNERS {
                owners.push(owner.clone());
            }
        }
    }
}

/// The wanted sockets that a process holds.
fn held(proc: &Proc, pid: Pid, inodes: &HashSet<u64>, left: &mut usize) -> Result<HashSet<u64>, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let directory = openat(proc, format!("{pid}/fd"), flags, Mode::empty())?;
    let mut buffer = [MaybeUninit::uninit(); 8 << 10];
    let mut target = [MaybeUninit::uninit(); 64];
    let mut held = HashSet::new();
    let mut entries = RawDir::new(&directory, &mut buffer);
    while let Some(entry) = entries.next() {
        let entry = entry?;
        if *left == 0 {
            break;
        }
        *left -= 1;
        // The target of a descriptor that was closed meanwhile is gone; `.` and `..` are no links.
        if let Ok((target, _)) = readlinkat_raw(&directory, entry.file_name(), &mut target[..])
            && let Some(inode) = socket_inode(target)
            && inodes.contains(&inode)
        {
            held.insert(inode);
        }
    }
    Ok(held)
}

/// `socket:[4711]`
pub(crate) fn socket_inode(target: &[u8]) -> Option<u64> {
    decimal(target.strip_prefix(b"socket:[")?.strip_suffix(b"]")?)
}

fn describe(proc: &Proc, pid: Pid) -> Owner {
    let mut buffer = [0; 4096];
    let path = proc.read(pid, "cgroup", &mut buffer).ok().and_then(cgroup::unified_path);
    let name = text_at(proc, &format!("{pid}/comm"));
    Owner { pid, name: name.unwrap_or_default(), unit: path.and_then(cgroup::unit_of) }
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd as _;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_socket_of_this_process_is_found_to_be_its_own() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let inode = rustix::fs::fstat(listener.as_fd()).unwrap().st_ino;
        let owners = Owners::of(&HashSet::from([inode])).unwrap();
        let [owner] = owners.get(inode) else { panic!("{owners:?}") };
        assert_eq!(owner.pid, std::process::id());
        let comm = std::fs::read_to_string(format!("/proc/{}/comm", owner.pid)).unwrap();
        assert_eq!(owner.name, comm.trim());
    }

    proptest! {
        #[test]
        fn only_a_socket_has_a_sockets_inode(target: Vec<u8>, inode: u64) {
            let _ = socket_inode(&target);
            prop_assert_eq!(socket_inode(format!("socket:[{inode}]").as_bytes()), Some(inode));
            prop_assert_eq!(socket_inode(format!("pipe:[{inode}]").as_bytes()), None);
        }
    }
}
