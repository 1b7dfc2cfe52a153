//! All that a command started, and its end.

use std::collections::{HashMap, HashSet};
use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, WaitOptions, kill_process, kill_process_group, pidfd_open};

use crate::command::Word;
use crate::enter::{FAILED, failed};

/// How long what is left may take to end by itself, once it was asked to.
const GRACE: Duration = Duration::from_secs(2);
/// How long it is killed again and again: a process that hangs in the kernel goes when it can.
const PATIENCE: Duration = Duration::from_secs(10);
/// Places in `stat` behind a process's name: the number of its parent, of its group, of its session.
const PARENT: usize = 1;
const GROUP: usize = 2;
const SESSION: usize = 3;
/// How often processes that ended are taken off the list, while the command runs.
const REAP: Timespec = Timespec { tv_sec: 1, tv_nsec: 0 };

/// Whatever loses its parent below this process becomes its child.
pub(super) fn adopt() -> rustix::io::Result<()> {
    rustix::process::set_child_subreaper(Some(rustix::process::getpid()))
}

/// Waits for the command, says what it exited with, and ends everything that it left. Everything ends at once when agentd asks for
/// it, or is gone.
pub(super) fn see_through(child: Pid, mut socket: &UnixStream) -> Result<u8, String> {
    let handle = pidfd_open(child, PidfdFlags::empty()).map_err(failed("the command's process"))?;
    let mut status = None;
    let mut told = false;
    while status.is_none() && !told {
        let mut asked = [
            PollFd::from_borrowed_fd(handle.as_fd(), PollFlags::IN),
            PollFd::from_borrowed_fd(socket.as_fd(), PollFlags::IN),
        ];
        let _ = poll(&mut asked, Some(&REAP));
        let [_, from_agentd] = asked;
        told = !from_agentd.revents().is_empty();
        reap(child, &mut status);
    }
    if told {
        // What it says does not matter: there is one thing to say, and an end says the same.
        let _ = socket.read(&mut [0]);
    }
    let end = Word::Ended.byte();
    if let Some(status) = status {
        let _ = socket.write_all(&[end, status]);
    }
    if end_all(child, &mut status) {
        let _ = socket.write_all(&[Word::AllEnded.byte()]);
    }
    Ok(status.unwrap_or(FAILED))
}

/// Ends everything below this process: asked first, then killed. Says whether nothing is left.
fn end_all(child: Pid, status: &mut Option<u8>) -> bool {
    let begun = Instant::now();
    let mut asked = false;
    let mut pause = Duration::from_millis(1);
    while begun.elapsed() < GRACE {
        if reap(child, status) {
            return true;
        }
        if !asked {
            let below = below_this();
            signal(&below, Signal::TERM);
            // One that is halted does not hear it.
            signal(&below, Signal::CONT);
            asked = true;
        }
        std::thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(20));
    }
    // Those that begin another one and go want the processor for it, and so does who looks for them.
    let _ = rustix::process::setpriority_process(None, -20);
    // Some begin another one and go, or begin more than can be killed meanwhile. The kernel ends all of a group at once, and what is
    // being begun in it with them (kill(2)). Who left his group is halted first, until nobody is found who is not: what is halted
    // begins nothing, and takes the place of what would be begun.
    let mut halted = HashSet::new();
    loop {
        kill_groups();
        if reap(child, status) {
            return true;
        }
        let below = below_this();
        let late = begun.elapsed() > GRACE + PATIENCE;
        if !halt(&below, &mut halted) || late {
            signal(&below, Signal::KILL);
            halted.clear();
            std::thread::sleep(Duration::from_millis(2));
        }
        if late {
            return false;
        }
        // Whoever begins another one and goes is found sooner as the kernel lists the children of this process.
        for _ in 0..32 {
            halt(&children(), &mut halted);
        }
    }
}

/// Kills the process groups of all below this process. They are the command's own: it began a session, and a group is of one session
/// (setpgid(2)).
fn kill_groups() {
    let stat_of = |process: &str| std::fs::read(format!("/proc/{process}/stat")).ok();
    let Some(own) = stat_of("self").and_then(|stat| number_of(&stat, SESSION)) else { return };
    let groups: HashSet<i32> = below_this()
        .into_iter()
        .filter_map(|process| {
            let stat = stat_of(&process.to_string())?;
            let (group, session) = (number_of(&stat, GROUP)?, number_of(&stat, SESSION)?);
            (session != own && group > 1).then_some(group)
        })
        .collect();
    for group in groups.into_iter().filter_map(Pid::from_raw) {
        let _ = kill_process_group(group, Signal::KILL);
    }
}

/// Halts those that are not halted yet. Says whether there were some.
fn halt(processes: &[Pid], halted: &mut HashSet<Pid>) -> bool {
    let more: Vec<Pid> = processes.iter().copied().filter(|process| halted.insert(*process)).collect();
    signal(&more, Signal::STOP);
    !more.is_empty()
}

/// The children of this process, which has one thread (`proc_tid_children(5)`); none where the kernel does not list them.
fn children() -> Vec<Pid> {
    let listed = std::fs::read_to_string("/proc/thread-self/children").unwrap_or_default();
    listed.split_ascii_whitespace().filter_map(|number| number.parse().ok().and_then(Pid::from_raw)).collect()
}

fn signal(processes: &[Pid], signal: Signal) {
    for process in processes {
        let _ = kill_process(*process, signal);
    }
}

/// Takes what ended off the list of processes. Says whether there is none below this one any more: whatever loses its parent is this
/// one's child.
fn reap(child: Pid, status: &mut Option<u8>) -> bool {
    // No more at a time: they may end as fast as they are taken off.
    for _ in 0..10_000 {
        match rustix::process::wait(WaitOptions::NOHANG) {
            Ok(Some((ended, how))) if ended == child => {
                let code = how.exit_status().or_else(|| how.terminating_signal().map(|signal| 128 + signal));
                *status = Some(code.and_then(|code| u8::try_from(code).ok()).unwrap_or(FAILED));
            }
            Ok(Some(_)) | Err(rustix::io::Errno::INTR) => {}
            Ok(None) => return false,
            Err(error) => return error == rustix::io::Errno::CHILD,
        }
    }
    false
}

/// Every process below this one, from `/proc`.
fn below_this() -> Vec<Pid> {
    let mut children: HashMap<i32, Vec<i32>> = HashMap::new();
    for entry in std::fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Some(process) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        let Ok(stat) = std::fs::read(entry.path().join("stat")) else { continue };
        if let Some(parent) = number_of(&stat, PARENT) {
            children.entry(parent).or_default().push(process);
        }
    }
    let mut below = Vec::new();
    let mut next = vec![rustix::process::getpid().as_raw_nonzero().get()];
    while let Some(process) = next.pop() {
        for child in children.remove(&process).into_iter().flatten() {
            below.extend(Pid::from_raw(child));
            next.push(child);
        }
    }
    below
}

/// A number from a process's `stat` (`proc_pid_stat(5)`), by its place among the words after its name, which may hold anything.
fn number_of(stat: &[u8], place: usize) -> Option<i32> {
    let name_ends = stat.iter().rposition(|&byte| byte == b')')?;
    let rest = std::str::from_utf8(stat.get(name_ends + 1..)?).ok()?;
    rest.split_ascii_whitespace().nth(place)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_parent_is_found_behind_whatever_name() {
        assert_eq!(number_of(b"12 (a) S 7 5 3", PARENT), Some(7));
        assert_eq!(number_of(b"12 (a) b) R) S 7 5 3", PARENT), Some(7));
        assert_eq!(number_of(b"12 (a) S 7 5 3", GROUP), Some(5));
        assert_eq!(number_of(b"12 (a) S 7 5 3", SESSION), Some(3));
        for broken in [&b""[..], b"12 (a", b"12 (a)", b"12 (a) S", b"12 (a) S x"] {
            assert_eq!(number_of(broken, PARENT), None);
        }
    }

    #[test]
    fn a_child_of_this_process_is_below_it() {
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let number = i32::try_from(child.id()).unwrap();
        assert!(below_this().contains(&Pid::from_raw(number).unwrap()));
        child.kill().unwrap();
        child.wait().unwrap();
    }
}
