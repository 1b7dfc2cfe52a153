//! A cell for a command that is made as a change: it acts on the machine itself, and not on agentd.
//!
//! The process that agentd started stays, and is the parent of everything that the command leaves behind
//! (`PR_SET_CHILD_SUBREAPER`, prctl(2)). The command gets a view of the mounts in which what is agentd's is covered
//! ([`view`]), some of root's capabilities, a Landlock domain ([`landlock`]), and filters ([`refusals`]).

mod landlock;
pub mod refusals;
mod tree;
mod view;

use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;

use rustix::fs::Mode;
use rustix::process::{Resource, Rlimit, setrlimit, setsid};
use rustix::thread::{CapabilitySet, UnshareFlags, set_no_new_privs};
use seccompiler::BpfProgram;

use crate::command::{Apply, Command, Word};
use crate::enter::{close_on_exec, empty_pipe, execute, failed, fork, install, keep_capabilities, say};
use crate::send::send;

/// What is left of root's capabilities: to administer by files, by signals, by the network, and as other users.
///
/// Gone are those by which one leaves the view of the mounts or reaches below it (`SYS_ADMIN`, `MKNOD`, `SYS_RAWIO`,
/// `SYS_MODULE`, `BPF`, `PERFMON`), into other processes (`SYS_PTRACE`, `CHECKPOINT_RESTORE`), past what protects the machine
/// (`LINUX_IMMUTABLE`, `MAC_*`, `AUDIT_CONTROL`, `AUDIT_READ`, `SETPCAP`), and those that end, starve or misdate the whole of it
/// (`SYS_BOOT`, `SYS_RESOURCE`, `SYS_NICE`, `SYS_TIME`, `SYS_PACCT`, `WAKE_ALARM`, `BLOCK_SUSPEND`, `SYS_TTY_CONFIG`, `LEASE`).
/// `AUDIT_WRITE` stays: it only adds to the log, and without it PAM refuses su(1) and useradd(8). So does `SETFCAP`, which
/// packages are unpacked with, and `SYS_CHROOT`: a chroot(2) leads nowhere that the view does not have.
const LEFT: CapabilitySet = CapabilitySet::CHOWN
    .union(CapabilitySet::DAC_OVERRIDE)
    .union(CapabilitySet::DAC_READ_SEARCH)
    .union(CapabilitySet::FOWNER)
    .union(CapabilitySet::FSETID)
    .union(CapabilitySet::KILL)
    .union(CapabilitySet::SETGID)
    .union(CapabilitySet::SETUID)
    .union(CapabilitySet::NET_BIND_SERVICE)
    .union(CapabilitySet::NET_BROADCAST)
    .union(CapabilitySet::NET_ADMIN)
    .union(CapabilitySet::NET_RAW)
    .union(CapabilitySet::IPC_LOCK)
    .union(CapabilitySet::IPC_OWNER)
    .union(CapabilitySet::SYS_CHROOT)
    .union(CapabilitySet::AUDIT_WRITE)
    .union(CapabilitySet::SETFCAP)
    .union(CapabilitySet::SYSLOG);

/// In the process that agentd started: makes the view, starts the command, ends what it leaves. What the command exited with
/// is said on the socket.
pub(crate) fn run(command: &Command, apply: &Apply, socket: &UnixStream) -> Result<u8, String> {
    let filters = refusals::filters()?;
    // SAFETY: no descriptor table is shared with another thread: there is none, and CLONE_FILES is not asked for.
    unsafe { rustix::thread::unshare_unsafe(UnshareFlags::NEWNS) }.map_err(failed("a view of the mounts"))?;
    let bus = view::make(apply)?;
    tree::adopt().map_err(failed("adopting what the command leaves"))?;
    if let Some(child) = fork()? {
        return tree::see_through(child, socket);
    }
    let bus = bus.as_ref().map(AsFd::as_fd);
    let (word, reason) = match confine(command, socket, bus, &filters) {
        Err(reason) => (Word::Failed, reason),
        Ok(()) => (Word::NotStarted, execute(&command.words)),
    };
    say(socket, word, &reason);
    std::process::exit(crate::enter::FAILED.into())
}

fn confine(
    command: &Command,
    socket: &UnixStream,
    bus: Option<BorrowedFd<'_>>,
    filters: &refusals::Filters,
) -> Result<(), String> {
    setsid().map_err(failed("a session of its own"))?;
    std::env::set_current_dir(&command.folder)
        .map_err(|error| format!("the folder {}: {error}", command.folder))?;
    // That of agentd would keep from all others what is made here.
    rustix::process::umask(Mode::from_raw_mode(0o022));
    let none = Rlimit { current: Some(0), maximum: Some(0) };
    setrlimit(Resource::Core, none).map_err(failed("no core files"))?;
    // Where memory runs out, the command goes before what the machine needs. A kernel without it decides for itself.
    let _ = std::fs::write("/proc/self/oom_score_adj", "500");
    empty_pipe()
        .and_then(|empty| rustix::stdio::dup2_stdin(&empty))
        .map_err(failed("an empty standard input"))?;
    // None is inheritable: a program gets them because it is root's, and loses them when it becomes another user.
    keep_capabilities(LEFT, CapabilitySet::empty())?;
    set_no_new_privs(true).map_err(failed("no new privileges"))?;
    // Should the process be gone that looks after it, it goes, too.
    rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL))
        .map_err(failed("the signal for the parent's end"))?;
    close_on_exec().map_err(failed("the descriptors"))?;
    landlock::enter()?;
    let install =
        |program: &BpfProgram, flags| install(program, flags).map_err(failed("the filter for system calls"));
    // Once agentd has a call, nothing breaks it off but the end of whoever made it.
    let flags = libc::SECCOMP_FILTER_FLAG_NEW_LISTENER | libc::SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV;
    let listener = install(&filters.supervised, flags)?.ok_or("the filter has no listener")?;
    for filter in &filters.refusing {
        install(filter, 0)?;
    }
    let mut descriptors = vec![listener.as_fd()];
    descriptors.extend(bus);
    send(socket, Word::Ready, &descriptors).map_err(failed("handing over the listener"))
}
