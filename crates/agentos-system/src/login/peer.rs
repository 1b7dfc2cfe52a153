//! The process at the other end of a Unix socket, held so that its number is not taken for that of another one.

use std::io;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{PidfdFlags, pidfd_open};

use super::{audit_session, ticks_to_ms};
use crate::procfs::cgroup::unified_path;
use crate::procfs::ticks::Ticks;
use crate::procfs::{Proc, decimal, read_at, stat};

/// The longest that is read of a file below `/proc/PID`.
const LONGEST: usize = 16 << 10;

/// A process, by a descriptor (`pidfd_open(2)`).
#[derive(Debug)]
pub struct Peer {
    pidfd: OwnedFd,
}

/// Where a process is, by its control group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// In a session of logind's, by its id.
    Session(String),
    /// Below a user's own service manager.
    UserManager,
    /// In a service, or on a machine without systemd.
    Elsewhere,
}

/// What is known of a process about its login.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Facts {
    pub(super) place: Place,
    /// The kernel's audit session.
    pub(super) audit_session: Option<u32>,
    /// The leader of its session of processes, and when that began, in milliseconds after boot.
    pub(super) leader: Option<(u32, u64)>,
}

impl Peer {
    /// The process that connected `socket` (unix(7): `SO_PEERPIDFD`; before Linux 6.5 by its number in `SO_PEERCRED`).
    ///
    /// # Errors
    /// The kernel's; also where it is gone already, or in a namespace that cannot be seen from here.
    pub fn of(socket: impl AsFd) -> io::Result<Self> {
        match peer_pidfd(&socket) {
            Ok(pidfd) => Ok(Self { pidfd }),
            // ENOPROTOOPT: an older kernel. The process may have ended and its number been given anew in the moment since it
            // connected; that one began after the connection, and belongs to somebody who may connect as well.
            Err(error) if error.raw_os_error() == Some(libc::ENOPROTOOPT) => {
                let credentials = rustix::net::sockopt::socket_peercred(&socket)?;
                Ok(Self { pidfd: pidfd_open(credentials.pid, PidfdFlags::empty())? })
            }
            Err(error) => Err(error),
        }
    }

    /// What is known of it. All of it is read while it lives, so that all of it is of this process.
    pub(super) fn facts(&self) -> Result<Facts, String> {
        let gone = || "the process that asks is gone".to_owned();
        let pid = self.pid().ok_or_else(gone)?;
        let failed = |error: io::Error| format!("the process that asks cannot be looked at: {error}");
        let proc = Proc::open().map_err(|error| error.to_string())?;
        let process = proc.process(pid).map_err(failed)?;
        // The directory is of this process if that still lived when the directory was open.
        if !self.lives() {
            return Err(gone());
        }
        let place = place(&read_at(&process, "cgroup", LONGEST).map_err(failed)?);
        // Without CONFIG_AUDIT there is no such file.
        let audit_session = read_at(&process, "sessionid", 16).ok().as_deref().and_then(audit_session);
        let line = read_at(&process, "stat", LONGEST).map_err(failed)?;
        let leader = session(&line).and_then(|leader| {
            let mut buffer = [0; 1024];
            let began = stat::parse(proc.read(leader, "stat", &mut buffer).ok()?)?.start_ticks;
            Some((leader, ticks_to_ms(began, Ticks::of_this_kernel().per_second)))
        });
        // The number of a session is not given to another process while a process is in it.
        if !self.lives() {
            return Err(gone());
        }
        Ok(Facts { place, audit_session, leader })
    }

    fn lives(&self) -> bool {
        let mut waits = [PollFd::new(&self.pidfd, PollFlags::IN)];
        // A pidfd becomes readable when its process ends.
        matches!(poll(&mut waits, Some(&Timespec { tv_sec: 0, tv_nsec: 0 })), Ok(0))
    }

    /// Its number; nothing where it has ended, or has none here.
    fn pid(&self) -> Option<u32> {
        let path = format!("/proc/self/fdinfo/{}", self.pidfd.as_raw_fd());
        let text = read_at(rustix::fs::CWD, &path, LONGEST).ok()?;
        let line = text.split(|&byte| byte == b'\n').find_map(|line| line.strip_prefix(b"Pid:"))?;
        let pid = u32::try_from(decimal(line.trim_ascii())?).ok()?;
        (pid > 0).then_some(pid)
    }
}

fn peer_pidfd(socket: &impl AsFd) -> io::Result<OwnedFd> {
    let mut descriptor: libc::c_int = -1;
    let mut length = libc::socklen_t::try_from(size_of::<libc::c_int>()).unwrap_or(0);
    // SAFETY: the kernel writes at most `length` bytes, which is the size of `descriptor`, and both live for the call.
    let result = unsafe {
        libc::getsockopt(
            socket.as_fd().as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_PEERPIDFD,
            (&raw mut descriptor).cast(),
            &raw mut length,
        )
    };
    if result != 0 || descriptor < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel has just made this descriptor for this call, so nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(descriptor) })
}

/// Where a process is, from its `/proc/PID/cgroup`.
fn place(content: &[u8]) -> Place {
    // Where both versions are mounted, systemd keeps its tree in one of its own.
    let own = || {
        content.split(|&byte| byte == b'\n').find_map(|line| {
            let (_, rest) = line.split_at_checked(line.iter().position(|&byte| byte == b':')? + 1)?;
            rest.strip_prefix(b"name=systemd:")
        })
    };
    let path = unified_path(content).filter(|path| path.len() > 1).or_else(own).unwrap_or_default();
    let components = || path.split(|&byte| byte == b'/');
    if components().any(|name| name.starts_with(b"user@") && name.ends_with(b".service")) {
        return Place::UserManager;
    }
    let session = components().find_map(|name| name.strip_prefix(b"session-")?.strip_suffix(b".scope"));
    match session.and_then(|id| std::str::from_utf8(id).ok()) {
        // As logind names them: `3`, `c1`.
        Some(id)
            if !id.is_empty() && id.len() <= 32 && id.bytes().all(|byte| byte.is_ascii_alphanumeric()) =>
        {
            Place::Session(id.to_owned())
        }
        _ => Place::Elsewhere,
    }
}

/// The session of processes in a line of `/proc/PID/stat`: its sixth field (`proc_pid_stat(5)`).
fn session(line: &[u8]) -> Option<u32> {
    let close = line.iter().rposition(|&byte| byte == b')')?;
    let mut fields = line.get(close + 1..)?.trim_ascii().split(|&byte| byte == b' ');
    let session = u32::try_from(decimal(fields.nth(3)?)?).ok()?;
    (session > 0).then_some(session)
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;
    use std::process::{Command, Stdio};

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_place_is_told_by_the_control_group() {
        let session = |id: &str| Place::Session(id.to_owned());
        for (text, place_there) in [
            ("0::/user.slice/user-1000.slice/session-3.scope\n", session("3")),
            ("0::/user.slice/user-0.slice/session-c12.scope/x\n", session("c12")),
            ("1:name=systemd:/user.slice/user-1000.slice/session-3.scope\n0::/\n", session("3")),
            ("0::/user.slice/user-1000.slice/user@1000.service/app.slice/foot.scope\n", Place::UserManager),
            ("0::/user.slice/user-1000.slice/user@1000.service/session-3.scope\n", Place::UserManager),
            ("0::/system.slice/ssh.service\n", Place::Elsewhere),
            ("0::/user.slice/session-.scope\n", Place::Elsewhere),
            ("0::/user.slice/session-a_b.scope\n", Place::Elsewhere),
            ("0::/\n", Place::Elsewhere),
            ("", Place::Elsewhere),
        ] {
            assert_eq!(place(text.as_bytes()), place_there, "{text}");
        }
    }

    #[test]
    fn the_process_at_the_other_end_is_held() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("socket");
        let listener = UnixListener::bind(&path).unwrap();
        // This process connects itself.
        let _connected = std::os::unix::net::UnixStream::connect(&path).unwrap();
        let (accepted, _) = listener.accept().unwrap();
        let peer = Peer::of(&accepted).unwrap();
        assert_eq!(peer.pid(), Some(std::process::id()));
        let facts = peer.facts().unwrap();
        // In a process namespace that was entered from a session outside it, the session has no number here.
        if let Some((leader, _)) = facts.leader {
            let sid = rustix::process::getsid(None).unwrap().as_raw_nonzero().get();
            assert_eq!(i32::try_from(leader).unwrap(), sid);
        }
        // One that has ended says nothing, whoever has its number.
        let mut child = Command::new("sleep").arg("60").stdin(Stdio::null()).spawn().unwrap();
        let pid = rustix::process::Pid::from_child(&child);
        let held = Peer { pidfd: pidfd_open(pid, PidfdFlags::empty()).unwrap() };
        held.facts().unwrap();
        child.kill().unwrap();
        assert!(!child.wait().unwrap().success());
        assert!(held.facts().unwrap_err().contains("gone"));
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_panic(bytes: Vec<u8>) {
            let _ = (place(&bytes), session(&bytes));
        }
    }
}
