//! Commands that act on the machine: the making of the change `shell.apply`.
//!
//! The cell ([`agentos_cell::apply`]) keeps the command from what is agentd's. Here are its outputs, its clock, and the two
//! things that agentd decides for it while it runs: whom it signals ([`guard`]), and what it says to the
//! system bus ([`bus`]).

mod bus;
mod guard;
mod written;

use std::fs::File;
use std::os::fd::AsFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use agentos_api::change::Ran;
use agentos_cell::{Apply, Confinement, Listener, Word};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;

use super::{Cells, SET_UP, descriptors};
use bus::Served;
use guard::Guard;
use written::Output;

/// How much of the beginning of each output is kept, in bytes.
pub(crate) const KEPT_BYTES: u64 = 256 << 10;
/// How long a command that is to end may take: the cell asks it first, then kills.
const ENDING: Duration = Duration::from_secs(20);
/// How often the clock is looked at, where nothing happens.
const PAUSE: Duration = Duration::from_millis(200);
/// Longest that a cell says, in bytes.
const LONGEST: usize = 8192;

/// Sockets through which a command would have others run programs as root, or as a user who may say yes to changes: of systemd
/// (private, per user, udev), of containers, of virtual machines.
const SOCKETS: [&str; 18] = [
    "/run/systemd/private",
    "/run/systemd/io.systemd.Manager",
    "/run/systemd/io.systemd.Unit",
    "/run/systemd/machine",
    "/run/udev/control",
    "/run/initctl",
    "/run/user",
    "/run/docker.sock",
    "/run/docker",
    "/run/containerd",
    "/run/podman",
    "/run/crio",
    "/run/libvirt",
    "/run/snapd.socket",
    "/run/snapd-snap.socket",
    "/var/snap/lxd/common/lxd/unix.socket",
    "/var/lib/lxd/unix.socket",
    "/var/lib/incus/unix.socket",
];

/// A command that is to run.
pub(crate) struct Asked {
    /// How a cell is started.
    pub(crate) cells: Arc<Cells>,
    /// The program and its arguments.
    pub(crate) words: Vec<String>,
    /// Where.
    pub(crate) folder: String,
    /// How long.
    pub(crate) time: Duration,
    /// Folders and files of agentd's that this machine was told of. The first is a folder.
    pub(crate) covered: Vec<String>,
    /// Where the beginnings of its outputs go: standard output, standard error.
    pub(crate) files: [File; 2],
}

/// Why a command did not run.
#[derive(Debug)]
pub(crate) enum NotRun {
    /// It could not be kept from what is agentd's; with the step that failed.
    NotClosed(String),
    /// There is no such program, or it cannot be executed.
    NotStarted(String),
    /// It was begun, and how it ended is not known.
    Lost(String),
}

/// Runs a command to its end, or to the end of its time. Nothing of it runs on afterwards, unless [`Ran::left`] says so.
///
/// # Errors
/// [`NotRun`]: in the first two cases nothing happened.
pub(crate) fn run(asked: Asked) -> Result<Ran, NotRun> {
    let begun = Instant::now();
    let closed = |error: std::io::Error| NotRun::NotClosed(error.to_string());
    let (mut cell, mut socket) = asked.cells.unbound().map_err(closed)?;
    let no_outputs = || NotRun::NotClosed("it has no outputs".to_owned());
    let [out, err] = asked.files;
    let stdout = Output::new(cell.0.stdout.take().ok_or_else(no_outputs)?, out).map_err(closed)?;
    let stderr = Output::new(cell.0.stderr.take().ok_or_else(no_outputs)?, err).map_err(closed)?;
    let command = agentos_cell::Command {
        words: asked.words,
        folder: asked.folder,
        confinement: Confinement::Apply(kept_from(asked.covered)),
    };
    command.send(&mut socket).map_err(|error| NotRun::NotClosed(error.to_string()))?;
    let handed = descriptors(&socket, Word::Ready, begun + SET_UP).map_err(closed)?;
    let mut descriptors = handed.unwrap_or_default().into_iter();
    let Some(listener) = descriptors.next() else { return Err(not_closed(&socket)) };
    let deadline = Instant::now() + asked.time;
    let guard = Guard::start(Listener::new(listener), [std::process::id(), cell.0.id()]).map_err(closed)?;
    let bus = Served::start(descriptors.next().map(UnixListener::from), deadline + ENDING).map_err(closed)?;
    let mut running = Running { socket, stdout, stderr, said: Vec::new(), ended: false, timed_out: false };
    let seen = running.see_through(deadline);
    // Where it has not ended, it hears by this that it is to end everything. Then there is nothing left to wait for.
    let _ = running.socket.shutdown(std::net::Shutdown::Both);
    let _ = cell.status(Instant::now() + ENDING);
    drop(cell);
    guard.end();
    let refused = bus.end();
    seen.map_err(|error| NotRun::Lost(error.to_string()))?;
    running.into_ran(begun.elapsed(), refused)
}

/// All that a command is kept from.
fn kept_from(covered: Vec<String>) -> Apply {
    use crate::change::{own_folders, own_programs_and_units};

    let others = own_folders().chain(SOCKETS).map(str::to_owned);
    let mut read_only = own_programs_and_units();
    // The program that runs here, wherever it lies.
    read_only.extend(std::env::current_exe().ok().and_then(|path| path.to_str().map(str::to_owned)));
    Apply { covered: covered.into_iter().chain(others).collect(), read_only, bus: bus::SOCKET.to_owned() }
}

/// Why it was not closed, which it says before it ends.
fn not_closed(mut socket: &UnixStream) -> NotRun {
    use std::io::Read;

    let mut said = Vec::new();
    let limited = socket.set_read_timeout(Some(Duration::from_secs(1)));
    let _ = limited.and_then(|()| socket.by_ref().take(LONGEST as u64).read_to_end(&mut said));
    let reason = Said::of(&said).not_started;
    NotRun::NotClosed(reason.unwrap_or_else(|| "it ended before it was closed".to_owned()))
}

/// A command that runs.
struct Running {
    socket: UnixStream,
    stdout: Output<std::process::ChildStdout>,
    stderr: Output<std::process::ChildStderr>,
    /// What the cell said since it was closed.
    said: Vec<u8>,
    /// It is over, or is to be.
    ended: bool,
    timed_out: bool,
}

impl Running {
    /// Takes what it writes until the cell has ended.
    fn see_through(&mut self, deadline: Instant) -> std::io::Result<()> {
        loop {
            let now = Instant::now();
            if now >= deadline && !self.ended {
                // It is told once, by the one thing that there is to say.
                let _ = rustix::net::send(&self.socket, b"T", rustix::net::SendFlags::NOSIGNAL);
                self.timed_out = true;
                self.ended = true;
            }
            if now >= deadline + ENDING {
                return Ok(());
            }
            self.wait(deadline)?;
            let some = self.stdout.take()? | self.stderr.take()?;
            let here = self.listen()?;
            // What was written before the end is in the pipes by then; what somebody outside still writes is not waited for.
            if !here && !some {
                return Ok(());
            }
        }
    }

    fn wait(&self, deadline: Instant) -> std::io::Result<()> {
        let left =
            deadline.saturating_duration_since(Instant::now()).min(PAUSE).max(Duration::from_millis(1));
        let timeout = super::timespec(left);
        let waits = [Some(self.socket.as_fd()), self.stdout.waits(), self.stderr.waits()];
        let mut asked: Vec<PollFd<'_>> = waits
            .iter()
            .flatten()
            .map(|descriptor| PollFd::from_borrowed_fd(*descriptor, PollFlags::IN))
            .collect();
        match poll(&mut asked, Some(&timeout)) {
            Ok(_) | Err(Errno::INTR) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// What the cell says. Says false once it has ended.
    fn listen(&mut self) -> std::io::Result<bool> {
        let mut piece = [0; 1024];
        let flags = rustix::net::RecvFlags::DONTWAIT;
        match rustix::net::recv(&self.socket, &mut piece[..], flags) {
            Ok((0, _)) | Err(Errno::CONNRESET) => {
                self.ended = true;
                Ok(false)
            }
            Ok((length, _)) => {
                if self.said.len() < LONGEST {
                    self.said.extend_from_slice(piece.get(..length).unwrap_or_default());
                }
                self.ended = true;
                Ok(true)
            }
            Err(Errno::AGAIN | Errno::INTR) => Ok(true),
            Err(error) => Err(error.into()),
        }
    }

    fn into_ran(
        self,
        took: Duration,
        refused: Vec<agentos_api::query::shell::Refused>,
    ) -> Result<Ran, NotRun> {
        let Said { not_started, status, all_ended } = Said::of(&self.said);
        if let Some(reason) = not_started {
            return Err(NotRun::NotStarted(reason));
        }
        if status.is_none() && !self.timed_out {
            return Err(NotRun::Lost("the process that looked after it ended before it".to_owned()));
        }
        Ok(Ran {
            exit_status: status.filter(|_| !self.timed_out),
            timed_out: self.timed_out,
            left: !all_ended,
            milliseconds: u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
            stdout: self.stdout.end(),
            stderr: self.stderr.end(),
            refused,
        })
    }
}

/// What a cell said after it was closed: perhaps that the program could not be started; the exit status; that nothing is left.
#[derive(Debug, Default, PartialEq, Eq)]
struct Said {
    not_started: Option<String>,
    status: Option<u8>,
    all_ended: bool,
}

impl Said {
    fn of(said: &[u8]) -> Self {
        let (said, all_ended) = match said.split_last() {
            Some((last, rest)) if Word::of(*last) == Some(Word::AllEnded) => (rest, true),
            _ => (said, false),
        };
        let (said, status) = match said.split_last_chunk::<2>() {
            Some((rest, [end, status])) if Word::of(*end) == Some(Word::Ended) => (rest, Some(*status)),
            _ => (said, None),
        };
        let not_started = said
            .split_first()
            .filter(|(word, _)| matches!(Word::of(**word), Some(Word::NotStarted | Word::Failed)))
            .map(|(_, reason)| String::from_utf8_lossy(reason).into_owned());
        Self { not_started, status, all_ended }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_cell_says_is_taken_apart_from_its_end() {
        let said = |text: &[u8]| Said::of(text);
        assert_eq!(said(b"E\x00A"), Said { not_started: None, status: Some(0), all_ended: true });
        // A status that is a letter of another word.
        assert_eq!(said(b"EAA"), Said { not_started: None, status: Some(b'A'), all_ended: true });
        assert_eq!(said(b"E\x07"), Said { not_started: None, status: Some(7), all_ended: false });
        assert_eq!(said(b"A"), Said { all_ended: true, ..Said::default() });
        let not_started = said(b"Nno such fileE\x7dA");
        assert_eq!(
            (not_started.not_started.as_deref(), not_started.status),
            (Some("no such file"), Some(125))
        );
        assert_eq!(said(b""), Said::default());
    }
}
