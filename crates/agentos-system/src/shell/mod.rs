//! Commands that read the machine and change nothing; and those that are made as a change ([`apply`]).
//!
//! The command runs in a cell ([`agentos_cell`]): of system calls only those that read are let through. What it opens is
//! opened here in its place ([`supervisor`]), by the rules for reading that hold for whoever asks, on the file itself and not on a
//! path that may be exchanged.

pub(crate) mod apply;
mod bus;
mod output;
mod resolve;
mod supervisor;
mod words;

use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use agentos_api::query::shell::Refused;
use agentos_cell::{Listener, Word};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};

use crate::QueryError;
use crate::files::Protected;
use crate::machine::Viewer;
pub(crate) use output::{Captured, Outputs};
use supervisor::Supervisor;
pub(crate) use words::words;

/// How long the cell may take until it is closed and the command begins.
const SET_UP: Duration = Duration::from_secs(10);
/// Longest sentence that a cell says, in bytes.
const LONGEST_SENTENCE: usize = 4096;
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

/// A command that is to run.
pub(crate) struct Asked {
    /// How a cell is started: agentd itself, and the argument that makes a cell of it.
    pub(crate) cell: Vec<PathBuf>,
    /// What runs in it.
    pub(crate) command: agentos_cell::Command,
    /// How long.
    pub(crate) time: Duration,
    /// How much is kept of each output, in bytes.
    pub(crate) keep: usize,
    /// For whom.
    pub(crate) viewer: Viewer,
    /// What is kept from the agent by what it is.
    pub(crate) protected: Arc<Protected>,
}

/// How a command ended.
pub(crate) struct Ended {
    /// Its exit status; none where its time was over.
    pub(crate) status: Option<u8>,
    pub(crate) stdout: Captured,
    pub(crate) stderr: Captured,
    pub(crate) refused: Vec<Refused>,
    pub(crate) took: Duration,
}

/// Runs a command to its end, or to the end of its time.
///
/// # Errors
/// [`QueryError::Unavailable`] where the cell cannot be closed: then nothing ran. [`QueryError::InvalidArgument`] where the
/// program cannot be started.
pub(crate) fn run(asked: Asked) -> Result<Ended, QueryError> {
    let failed =
        |source: std::io::Error| QueryError::Io { what: "the cell of the command".to_owned(), source };
    let begun = Instant::now();
    let (mut socket, theirs) = UnixStream::pair().map_err(failed)?;
    let mut cell = start(&asked.cell, theirs.into()).map_err(failed)?;
    let mut outputs = Outputs::of(&mut cell.0, asked.keep)
        .ok_or_else(|| failed(std::io::Error::other("it has no outputs")))?;
    asked.command.send(&mut socket).map_err(|error| QueryError::invalid("command", error.to_string()))?;
    let Some(listener) = listener(&socket, begun + SET_UP).map_err(failed)? else {
        return Err(not_closed(sentence(&socket).as_ref()));
    };
    let deadline = Instant::now() + asked.time;
    let supervisor = Supervisor::start(listener, asked.viewer, asked.protected, deadline).map_err(failed)?;
    let in_time = outputs.drain(deadline).map_err(failed)?;
    let status = if in_time { cell.status(deadline).map_err(failed)? } else { None };
    // Its first process ends with it, and all others with that one.
    drop(cell);
    let refused = supervisor.end();
    if let Some((Word::NotStarted, reason)) = sentence(&socket) {
        return Err(QueryError::invalid("command", reason));
    }
    let (stdout, stderr) = outputs.into_captured();
    Ok(Ended { status, stdout, stderr, refused, took: begun.elapsed() })
}

fn start(cell: &[PathBuf], socket: OwnedFd) -> std::io::Result<Cell> {
    let (program, arguments) =
        cell.split_first().ok_or_else(|| std::io::Error::other("no program makes cells here"))?;
    Command::new(program)
        .args(arguments)
        .env_clear()
        .envs(ENVIRONMENT)
        .current_dir("/")
        .stdin(Stdio::from(socket))
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map(Cell)
}

fn not_closed(said: Option<&(Word, String)>) -> QueryError {
    let reason = said.map_or("it ended before it was closed", |(_, reason)| reason.as_str());
    QueryError::unavailable(
        "unavailable",
        format!("the command was not run, because it could not be kept from changing things: {reason}"),
        "namespaces, read-only mounts and filters with a listener are needed (Linux 5.14 or later); nothing runs without them",
    )
}

/// What the cell hands over once it is closed; nothing where it says something else.
fn listener(socket: &UnixStream, deadline: Instant) -> std::io::Result<Option<Listener>> {
    let left = deadline.saturating_duration_since(Instant::now());
    if !wait(socket.as_fd(), left)? {
        return Ok(None);
    }
    let mut byte = [0];
    let mut space = [std::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    // Left in place where it is the beginning of a sentence.
    let flags = RecvFlags::PEEK | RecvFlags::CMSG_CLOEXEC;
    recvmsg(socket, &mut [std::io::IoSliceMut::new(&mut byte)], &mut ancillary, flags)?;
    drop(ancillary);
    if Word::of(byte[0]) != Some(Word::Ready) {
        return Ok(None);
    }
    let mut space = [std::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    recvmsg(socket, &mut [std::io::IoSliceMut::new(&mut byte)], &mut ancillary, RecvFlags::CMSG_CLOEXEC)?;
    let descriptor = ancillary.drain().find_map(|message| match message {
        RecvAncillaryMessage::ScmRights(mut descriptors) => descriptors.next(),
        _ => None,
    });
    Ok(descriptor.map(Listener::new))
}

/// What the cell says in words, if it says something.
fn sentence(socket: &UnixStream) -> Option<(Word, String)> {
    let mut said = vec![0; LONGEST_SENTENCE];
    let (length, _) = rustix::net::recv(socket, &mut said[..], RecvFlags::DONTWAIT).ok()?;
    let (word, text) = said.get(..length)?.split_first()?;
    Some((Word::of(*word)?, String::from_utf8_lossy(text).into_owned()))
}

/// Whether there is something to read before that time is over.
fn wait(descriptor: std::os::fd::BorrowedFd<'_>, left: Duration) -> std::io::Result<bool> {
    let timeout = timespec(left);
    let mut asked = [PollFd::from_borrowed_fd(descriptor, PollFlags::IN)];
    match rustix::io::retry_on_intr(|| poll(&mut asked, Some(&timeout))) {
        Ok(ready) => Ok(ready > 0),
        Err(error) => Err(error.into()),
    }
}

fn timespec(left: Duration) -> Timespec {
    Timespec { tv_sec: left.as_secs().try_into().unwrap_or(i64::MAX), tv_nsec: left.subsec_nanos().into() }
}

/// A cell that was started: it is killed when it is dropped, and with it all that runs in it.
struct Cell(Child);

impl Cell {
    /// Its exit status, once its outputs are closed; none where it has not ended in time.
    fn status(&mut self, deadline: Instant) -> std::io::Result<Option<u8>> {
        // It ends now: a pause that starts short keeps the common case fast.
        let mut pause = Duration::from_micros(50);
        loop {
            if let Some(status) = self.0.try_wait()? {
                return Ok(status.code().and_then(|code| u8::try_from(code).ok()));
            }
            if Instant::now() >= deadline {
                return Ok(None);
            }
            std::thread::sleep(pause);
            pause = (pause * 2).min(Duration::from_millis(20));
        }
    }
}

impl Drop for Cell {
    fn drop(&mut self) {
        // One that has ended and was waited for is left alone by the standard library.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
