//! Becoming the command, one closed way after the other.

use std::ffi::{CString, OsStr};
use std::os::fd::{AsFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::UnixStream;
use std::process::ExitCode;

use rustix::process::{Resource, Rlimit, WaitOptions, setrlimit, setsid};
use rustix::thread::{
    CapabilitySet, CapabilitySets, UnshareFlags, capabilities, remove_capability_from_bounding_set,
    set_capabilities, set_no_new_privs,
};
use seccompiler::BpfProgram;

use crate::command::{Command, Confinement, Word};
use crate::preview::enter_view;
use crate::programs;
use crate::send::send;

/// What is left of the capabilities to a command that observes.
const OBSERVING: CapabilitySet =
    CapabilitySet::DAC_READ_SEARCH.union(CapabilitySet::SYS_PTRACE).union(CapabilitySet::SYSLOG);
/// What is left of them to a command whose effects are looked at: what root may do to files, and to processes of its own.
const PREVIEWING: CapabilitySet = CapabilitySet::CHOWN
    .union(CapabilitySet::DAC_OVERRIDE)
    .union(CapabilitySet::DAC_READ_SEARCH)
    .union(CapabilitySet::FOWNER)
    .union(CapabilitySet::FSETID)
    .union(CapabilitySet::KILL)
    .union(CapabilitySet::SETGID)
    .union(CapabilitySet::SETUID)
    .union(CapabilitySet::SETFCAP)
    .union(CapabilitySet::NET_BIND_SERVICE);
/// What the process exits with where a step failed.
pub(crate) const FAILED: u8 = 125;

/// Reads a [`Command`] from standard input, which is a socket, and becomes it. It has to be called while there is one thread.
///
/// What is wrong is said on the socket. What is returned is what the command exited with; one that a signal ended gives 128
/// and its number, as with sh(1).
pub fn enter() -> ExitCode {
    let Ok(socket) = std::io::stdin().as_fd().try_clone_to_owned() else { return ExitCode::from(FAILED) };
    let mut socket = UnixStream::from(socket);
    match Command::receive(&mut socket).map_err(|error| error.to_string()).and_then(|command| {
        if let Confinement::Apply(apply) = &command.confinement {
            return crate::apply::run(&command, apply, &socket);
        }
        let filters = programs::receive(&mut socket).map_err(failed("the filters"))?;
        run(&command, &socket, &filters)
    }) {
        Ok(status) => ExitCode::from(status),
        Err(reason) => {
            say(&socket, Word::Failed, &reason);
            ExitCode::from(FAILED)
        }
    }
}

pub(crate) fn say(socket: &UnixStream, word: Word, text: &str) {
    use std::io::Write;

    let mut message = vec![word.byte()];
    message.extend_from_slice(text.as_bytes());
    let _ = (&mut &*socket).write_all(&message);
}

/// Something that failed, with what it was.
pub(crate) fn failed<E: std::fmt::Display>(what: &'static str) -> impl FnOnce(E) -> String {
    move |error| format!("{what}: {error}")
}

/// In the process that agentd started: makes the namespaces, starts the first process in them, waits for it.
fn run(command: &Command, socket: &UnixStream, filters: &[BpfProgram; 3]) -> Result<u8, String> {
    let namespaces = UnshareFlags::NEWNS | UnshareFlags::NEWIPC | UnshareFlags::NEWPID;
    let namespaces = match command.confinement {
        Confinement::Preview(_) => namespaces | UnshareFlags::NEWNET | UnshareFlags::NEWUTS,
        Confinement::Observe | Confinement::Apply(_) => namespaces,
    };
    // SAFETY: no descriptor table is shared with another thread: there is none, and CLONE_FILES is not asked for.
    unsafe { rustix::thread::unshare_unsafe(namespaces) }.map_err(failed("namespaces"))?;
    if command.confinement == Confinement::Observe {
        make_mounts_read_only()?;
    }
    match fork()? {
        Some(first) => wait_for(first),
        None => std::process::exit(first(command, socket, filters).into()),
    }
}

/// In the first process of the namespace: starts the command, and waits for everything until the command has ended. Then the
/// kernel ends what is left.
fn first(command: &Command, socket: &UnixStream, filters: &[BpfProgram; 3]) -> u8 {
    let said = rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL))
        .map_err(failed("the signal for the parent's end"))
        .and_then(|()| match &command.confinement {
            Confinement::Observe | Confinement::Apply(_) => Ok(()),
            // By this process: the processes that are seen are those of its namespace.
            Confinement::Preview(preview) => enter_view(preview, socket),
        })
        .and_then(|()| fork());
    match said {
        Ok(Some(child)) => wait_for(child).unwrap_or(FAILED),
        Ok(None) => {
            let Err((word, reason)) = become_command(command, socket, filters);
            say(socket, word, &reason);
            FAILED
        }
        Err(reason) => {
            say(socket, Word::Failed, &reason);
            FAILED
        }
    }
}

/// Returns only where the command could not be started.
fn become_command(
    command: &Command,
    socket: &UnixStream,
    filters: &[BpfProgram; 3],
) -> Result<std::convert::Infallible, (Word, String)> {
    confine(command, socket, filters).map_err(|reason| (Word::Failed, reason))?;
    Err((Word::NotStarted, execute(&command.words)))
}

fn confine(command: &Command, socket: &UnixStream, filters: &[BpfProgram; 3]) -> Result<(), String> {
    setsid().map_err(failed("a session of its own"))?;
    std::env::set_current_dir(&command.folder)
        .map_err(|error| format!("the folder {}: {error}", command.folder))?;
    // That of a login; what agentd makes is its own.
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o022));
    // One byte: no file is so small, and with none a program would still be started that takes the core (core(5)).
    let none = Rlimit { current: Some(1), maximum: Some(1) };
    setrlimit(Resource::Core, none).map_err(failed("no core files"))?;
    // Not /dev/null: of devices there are none here.
    empty_pipe()
        .and_then(|empty| rustix::stdio::dup2_stdin(&empty))
        .map_err(failed("an empty standard input"))?;
    let left = match command.confinement {
        Confinement::Observe | Confinement::Apply(_) => OBSERVING,
        Confinement::Preview(_) => PREVIEWING,
    };
    keep_capabilities(left, left)?;
    set_no_new_privs(true).map_err(failed("no new privileges"))?;
    close_on_exec().map_err(failed("the descriptors"))?;
    let [supervised, allowed, refused] = filters;
    let listener = install(supervised, libc::SECCOMP_FILTER_FLAG_NEW_LISTENER)
        .map_err(failed("the filter for system calls"))?
        .ok_or("the filter has no listener")?;
    install(allowed, 0).map_err(failed("the filter for system calls"))?;
    install(refused, 0).map_err(failed("the filter for system calls"))?;
    send(socket, Word::Ready, &[listener.as_fd()]).map_err(failed("handing over the listener"))
}

/// Takes all capabilities but `left` from this process for good. Of those, programs that it starts have `inheritable` without being
/// root's (capabilities(7)).
pub(crate) fn keep_capabilities(left: CapabilitySet, inheritable: CapabilitySet) -> Result<(), String> {
    for capability in (0..=40).map(|number| CapabilitySet::from_bits_retain(1 << number)) {
        if !left.contains(capability) {
            // A number that this kernel does not know is not there to be taken.
            let _ = remove_capability_from_bounding_set(capability);
        }
    }
    // In a container there may be fewer of them.
    let had = capabilities(None).map_err(failed("the capabilities"))?;
    let left = left & had.permitted;
    let sets = CapabilitySets { effective: left, permitted: left, inheritable: inheritable & left };
    set_capabilities(None, sets).map_err(failed("the capabilities"))
}

/// The reading end of a pipe that nobody writes to.
pub(crate) fn empty_pipe() -> rustix::io::Result<OwnedFd> {
    rustix::pipe::pipe().map(|(reader, _)| reader)
}

/// Every mount of this namespace, read-only, without devices and set-user-ID, and cut off from what it was copied from.
fn make_mounts_read_only() -> Result<(), String> {
    /// `struct mount_attr` (`mount_setattr(2)`).
    #[repr(C)]
    struct Attributes {
        set: u64,
        clear: u64,
        propagation: u64,
        user_namespace: u64,
    }
    let attributes = Attributes {
        set: libc::MOUNT_ATTR_RDONLY | libc::MOUNT_ATTR_NOSUID | libc::MOUNT_ATTR_NODEV,
        clear: 0,
        propagation: libc::MS_PRIVATE,
        user_namespace: 0,
    };
    // SAFETY: the path ends with NUL, and the structure has the size that is given. rustix has no mount_setattr.
    let result = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            libc::AT_FDCWD,
            c"/".as_ptr(),
            libc::AT_RECURSIVE,
            &raw const attributes,
            size_of::<Attributes>(),
        )
    };
    if result == 0 { Ok(()) } else { Err(format!("read-only mounts: {}", std::io::Error::last_os_error())) }
}

/// Adds a filter, and answers its listener where one was asked for.
pub(crate) fn install(program: &BpfProgram, flags: libc::c_ulong) -> std::io::Result<Option<OwnedFd>> {
    let length = u16::try_from(program.len()).map_err(|_| std::io::ErrorKind::InvalidInput)?;
    let filter = libc::sock_fprog { len: length, filter: program.as_ptr().cast_mut().cast() };
    // SAFETY: the instructions live until the call has returned, and the kernel copies them (seccomp(2)).
    let result =
        unsafe { libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, flags, &raw const filter) };
    if result < 0 {
        return Err(std::io::Error::last_os_error());
    }
    if flags & libc::SECCOMP_FILTER_FLAG_NEW_LISTENER == 0 {
        return Ok(None);
    }
    let number = i32::try_from(result).map_err(|_| std::io::ErrorKind::InvalidData)?;
    // SAFETY: the kernel made this descriptor for this process a moment ago, and nobody else knows of it.
    Ok(Some(unsafe { OwnedFd::from_raw_fd(number) }))
}

/// Whatever is open besides the three standard ones does not reach the program.
pub(crate) fn close_on_exec() -> std::io::Result<()> {
    // SAFETY: it marks descriptors and closes none.
    let result =
        unsafe { libc::syscall(libc::SYS_close_range, 3, libc::c_uint::MAX, libc::CLOSE_RANGE_CLOEXEC) };
    if result == 0 { Ok(()) } else { Err(std::io::Error::last_os_error()) }
}

/// Executes, and answers why it could not. Nothing is allocated between the filter and the program but here, by this thread.
pub(crate) fn execute(words: &[String]) -> String {
    let owned: Result<Vec<CString>, _> = words.iter().map(|word| CString::new(word.as_bytes())).collect();
    let Ok(owned) = owned else { return "a word of it has a NUL byte".to_owned() };
    let Some(program) = owned.first() else { return "there is no program to run".to_owned() };
    let mut pointers: Vec<*const libc::c_char> = owned.iter().map(|word| word.as_ptr()).collect();
    pointers.push(std::ptr::null());
    // SAFETY: the words end with NUL and live on, and the list ends with a null pointer.
    unsafe { libc::execvp(program.as_ptr(), pointers.as_ptr()) };
    let error = std::io::Error::last_os_error();
    format!("{}: {error}", OsStr::from_bytes(program.as_bytes()).display())
}

/// A second process; in it, nothing.
pub(crate) fn fork() -> Result<Option<rustix::process::Pid>, String> {
    // SAFETY: this process has one thread, so the second one is in no state that another thread left half done.
    match unsafe { libc::fork() } {
        0 => Ok(None),
        number => rustix::process::Pid::from_raw(number)
            .filter(|_| number > 0)
            .map(Some)
            .ok_or_else(|| format!("a process: {}", std::io::Error::last_os_error())),
    }
}

/// Waits for every child until this one has ended.
fn wait_for(child: rustix::process::Pid) -> Result<u8, String> {
    loop {
        match rustix::process::wait(WaitOptions::empty()) {
            Ok(Some((ended, status))) if ended == child => {
                let status =
                    status.exit_status().or_else(|| status.terminating_signal().map(|signal| 128 + signal));
                return Ok(status.and_then(|status| u8::try_from(status).ok()).unwrap_or(FAILED));
            }
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(format!("waiting: {error}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::os::fd::AsRawFd;

    use super::*;

    #[test]
    fn an_empty_pipe_is_at_its_end() {
        let mut all = Vec::new();
        std::fs::File::from(empty_pipe().unwrap()).read_to_end(&mut all).unwrap();
        assert!(all.is_empty());
        assert!(empty_pipe().unwrap().as_raw_fd() > 2);
    }
}
