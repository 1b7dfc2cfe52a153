//! Cells, each begun before there is a command for it: a new process spends most of its time on becoming agentd, and knows
//! nothing of the command until then.
//!
//! One that waits has one thread, holds a socket and two pipes, and has read nothing of the machine: its view of it is made
//! when its command comes. It ends when this process does, because then its socket is closed.

use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use rustix::process::{Pid, PidfdFlags, pidfd_open};

use super::cgroup::Groups;
use super::limits::Bound;

/// What commands find: programs of the machine's, and words in English.
const ENVIRONMENT: [(&str, &str); 6] = [
    ("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"),
    ("HOME", "/root"),
    ("USER", "root"),
    ("LC_ALL", "C.UTF-8"),
    ("TERM", "dumb"),
    // Programs that page or ask would wait for somebody.
    ("PAGER", "cat"),
];

/// Where cells come from.
#[derive(Debug)]
pub(crate) struct Cells {
    /// How one is started: agentd itself, and the argument that makes a cell of it.
    program: Vec<PathBuf>,
    /// Where they are kept within their limits by the kernel.
    groups: Option<Arc<Groups>>,
    spare: Mutex<Option<Begun>>,
}

/// A cell that waits for its command.
#[derive(Debug)]
pub(super) struct Begun {
    pub(super) cell: Cell,
    /// What keeps it within its limits. After the cell, which is in it until it has ended.
    pub(super) bound: Bound,
    /// Where it is told, and what it says.
    pub(super) socket: UnixStream,
}

impl Cells {
    /// Where there is a program, this process takes itself for the one that runs commands, and its control group for its own.
    pub(crate) fn new(program: Vec<PathBuf>) -> Self {
        let groups = if program.is_empty() { None } else { Groups::divide() };
        Self { program, groups, spare: Mutex::new(None) }
    }

    /// The one that waits, or a new one.
    ///
    /// # Errors
    /// None can be started.
    pub(super) fn take(&self) -> std::io::Result<Begun> {
        let spare = self.spare.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(mut begun) = spare
            && begun.cell.0.try_wait()?.is_none()
        {
            return Ok(begun);
        }
        self.begin()
    }

    /// Sees to it that one waits. Where none can be started, the next command says so.
    pub(super) fn prepare(&self) {
        let mut spare = self.spare.lock().unwrap_or_else(PoisonError::into_inner);
        if spare.is_none() {
            *spare = self.begin().ok();
        }
    }

    /// One that waits and is bound by nothing: for a command that acts on the machine.
    ///
    /// # Errors
    /// None can be started.
    pub(super) fn unbound(&self) -> std::io::Result<(Cell, UnixStream)> {
        self.start().map(|(cell, socket)| (Cell(cell), socket))
    }

    fn begin(&self) -> std::io::Result<Begun> {
        let (cell, socket) = self.start()?;
        let bound = Bound::of(&cell, self.groups.as_ref());
        Ok(Begun { cell: Cell(cell), bound, socket })
    }

    fn start(&self) -> std::io::Result<(Child, UnixStream)> {
        let (socket, theirs) = UnixStream::pair()?;
        let (program, arguments) =
            self.program.split_first().ok_or_else(|| std::io::Error::other("no program makes cells here"))?;
        let cell = Command::new(program)
            .args(arguments)
            .env_clear()
            .envs(ENVIRONMENT)
            .current_dir("/")
            .stdin(Stdio::from(OwnedFd::from(theirs)))
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        Ok((cell, socket))
    }
}

/// A cell that was started: it is killed when it is dropped, and with it all that runs in it.
#[derive(Debug)]
pub(super) struct Cell(pub(super) Child);

impl Cell {
    /// Its exit status, once its outputs are closed; none where it has not ended in time.
    pub(super) fn status(&mut self, deadline: Instant) -> std::io::Result<Option<u8>> {
        let handle = pidfd_open(Pid::from_child(&self.0), PidfdFlags::empty())?;
        if !super::wait(handle.as_fd(), deadline.saturating_duration_since(Instant::now()))? {
            return Ok(None);
        }
        let status = self.0.try_wait()?;
        let code =
            status.and_then(|status| status.code().or_else(|| status.signal().map(|signal| 128 + signal)));
        Ok(code.and_then(|code| u8::try_from(code).ok()))
    }
}

impl Drop for Cell {
    fn drop(&mut self) {
        // One that has ended and was waited for is left alone by the standard library.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
