//! What a command has of the machine, looked at from outside, where the kernel keeps no limits for it.
//!
//! A look at all processes costs milliseconds, so it is made when the machine as a whole has more of them, or less memory left,
//! and else once a second. Files in memory (`memfd_create(2)`) that are not mapped are nobody's, and are not seen.

use std::fs::File;
use std::io::Read;
use std::os::fd::OwnedFd;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread::JoinHandle;
use std::time::Duration;

use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal, setpriority_process};

use super::limits::Limits;

/// How often it looks whether there is more to look at.
const PAUSE: Duration = Duration::from_millis(10);
/// Every so many times it looks anyhow.
const ANYHOW: u32 = 100;
/// The nice value of who comes first.
const FIRST: i32 = -20;
/// Processes of the machine that are looked at, at most.
const MOST_PROCESSES: usize = 100_000;

/// A limit that was exceeded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Exceeded {
    Processes,
    Memory,
}

/// A thread that looks at what a command has, and ends it where that is too much.
pub(super) struct Watch {
    over: mpsc::Sender<()>,
    thread: JoinHandle<Option<Exceeded>>,
}

impl Watch {
    /// Begins to look at what `cell` has started. The process must not have been waited for.
    ///
    /// # Errors
    /// The process is not there, or there is no thread to be had.
    pub(super) fn start(cell: Pid, limits: Limits) -> std::io::Result<Self> {
        let handle = pidfd_open(cell, PidfdFlags::empty())?;
        let (over, told) = mpsc::channel();
        let thread = std::thread::Builder::new().name("shell limits".to_owned()).spawn(move || {
            // Among thousands of processes its turn would come after seconds (setpriority(2): for this thread alone).
            let _ = setpriority_process(None, FIRST);
            let mut before = Whole::now();
            for look in 1_u32.. {
                if told.recv_timeout(PAUSE) != Err(RecvTimeoutError::Timeout) {
                    break;
                }
                let now = Whole::now();
                if !now.has_changed(before, limits) && look % ANYHOW != 0 {
                    before = before.calmer(now);
                    continue;
                }
                before = now;
                if let Some(exceeded) = namespace(cell).and_then(|own| Had::by(own, limits).exceeds(limits)) {
                    kill(cell, &handle);
                    return Some(exceeded);
                }
            }
            None
        })?;
        Ok(Self { over, thread })
    }

    /// Looks no more. Says what was exceeded.
    pub(super) fn end(self) -> Option<Exceeded> {
        drop(self.over);
        self.thread.join().unwrap_or_default()
    }
}

/// Ends a cell whose first process may be one among thousands that want to run: that one has to, for the kernel to end the others.
fn kill(cell: Pid, handle: &OwnedFd) {
    for first in children(cell) {
        let Ok(process) = pidfd_open(first, PidfdFlags::empty()) else { continue };
        // Only now is it known that the handle is of that process, and not of another that got its number.
        if children(cell).contains(&first) {
            let _ = setpriority_process(Some(first), FIRST);
            let _ = pidfd_send_signal(&process, Signal::KILL);
        }
    }
    let _ = setpriority_process(Some(cell), FIRST);
    let _ = pidfd_send_signal(handle, Signal::KILL);
}

/// The processes that a process of one thread has started.
fn children(process: Pid) -> Vec<Pid> {
    let path = format!("/proc/{0}/task/{0}/children", process.as_raw_nonzero());
    let children = text(&path).unwrap_or_default();
    children.split_whitespace().filter_map(|child| Pid::from_raw(child.parse().ok()?)).collect()
}

/// What is cheap to know of the whole machine.
#[derive(Clone, Copy, Debug)]
struct Whole {
    threads: u64,
    /// Bytes that could be had.
    available: u64,
}

impl Whole {
    fn now() -> Self {
        // `0.20 0.18 0.12 1/80 11206` (proc_loadavg(5)).
        let loads = text("/proc/loadavg").unwrap_or_default();
        let threads = loads.split([' ', '/']).nth(4).and_then(|number| number.parse().ok());
        let memory = text("/proc/meminfo").unwrap_or_default();
        let available = memory.lines().find_map(|line| {
            line.strip_prefix("MemAvailable:")?.trim().strip_suffix(" kB")?.parse::<u64>().ok()
        });
        Self { threads: threads.unwrap_or(0), available: available.unwrap_or(0) << 10 }
    }

    fn has_changed(self, before: Self, limits: Limits) -> bool {
        self.threads.saturating_sub(before.threads) > u64::from(limits.processes) / 4
            || before.available.saturating_sub(self.available) > limits.memory / 4
    }

    /// What change is counted from: others may end meanwhile, and hide what the command has begun.
    fn calmer(self, now: Self) -> Self {
        Self { threads: self.threads.min(now.threads), available: self.available.max(now.available) }
    }
}

/// What processes of one namespace have.
#[derive(Clone, Copy, Debug, Default)]
struct Had {
    threads: u64,
    /// Bytes of memory that no other process shares with them.
    memory: u64,
}

impl Had {
    /// Counts until it is known that one of the limits is exceeded.
    fn by(namespace: u64, limits: Limits) -> Self {
        let page = u64::try_from(rustix::param::page_size()).unwrap_or(4096);
        let mut had = Self::default();
        for entry in std::fs::read_dir("/proc").into_iter().flatten().flatten().take(MOST_PROCESSES) {
            let name = entry.file_name();
            let Some(process) = name.to_str().filter(|name| name.bytes().all(|byte| byte.is_ascii_digit()))
            else {
                continue;
            };
            if inode(&format!("/proc/{process}/ns/pid")) != Some(namespace) {
                continue;
            }
            // The folder of the threads has two links more than threads.
            let links = rustix::fs::stat(format!("/proc/{process}/task")).map_or(3, |found| found.st_nlink);
            had.threads += links.saturating_sub(2);
            let pages = text(&format!("/proc/{process}/statm")).unwrap_or_default();
            let mut pages = pages.split(' ').skip(1).map(|number| number.parse::<u64>().unwrap_or(0));
            let (resident, shared) = (pages.next().unwrap_or(0), pages.next().unwrap_or(0));
            had.memory += resident.saturating_sub(shared).saturating_mul(page);
            if had.exceeds(limits).is_some() {
                break;
            }
        }
        had
    }

    fn exceeds(self, limits: Limits) -> Option<Exceeded> {
        if self.threads > u64::from(limits.processes) {
            Some(Exceeded::Processes)
        } else if self.memory > limits.memory {
            Some(Exceeded::Memory)
        } else {
            None
        }
    }
}

/// The process namespace of what a process starts.
fn namespace(process: Pid) -> Option<u64> {
    inode(&format!("/proc/{}/ns/pid_for_children", process.as_raw_nonzero()))
}

fn inode(path: &str) -> Option<u64> {
    rustix::fs::stat(path).ok().map(|found| found.st_ino)
}

/// The beginning of a file of the kernel's.
fn text(path: &str) -> Option<String> {
    let mut text = String::new();
    File::open(path).ok()?.take(4096).read_to_string(&mut text).ok()?;
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_processes_have_is_counted() {
        let own = inode("/proc/self/ns/pid").unwrap();
        let none = Limits { processes: u32::MAX, memory: u64::MAX };
        // Others of this namespace come and go meanwhile; what this process holds is there.
        let large = std::hint::black_box(vec![1_u8; 64 << 20]);
        let had = Had::by(own, none);
        assert!(had.threads > 0 && had.memory > 64 << 20, "{had:?}");
        drop(large);
        let limits = Limits { processes: 0, memory: u64::MAX };
        assert_eq!(had.exceeds(limits), Some(Exceeded::Processes));
        let whole = Whole::now();
        assert!(whole.threads > 0 && whole.available > 0, "{whole:?}");
    }
}
