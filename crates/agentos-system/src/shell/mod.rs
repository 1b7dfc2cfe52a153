//! Commands that read the machine and change nothing, commands whose effects on files are only looked at ([`preview`]), and those that
//! act on the machine as a change ([`apply`]).
//!
//! A command runs in a cell ([`agentos_cell`]): of system calls only those that read are let through. What it opens is
//! opened here in its place ([`supervisor`]), by the rules for reading that hold for whoever asks, on the file itself and not on a
//! path that may be exchanged.

mod advice;
pub(crate) mod apply;
mod bus;
mod cells;
mod cgroup;
mod limits;
mod output;
mod preview;
mod programs;
mod remembered;
mod resolve;
mod supervisor;
mod told;
mod view;
mod watch;
mod words;

use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

use agentos_api::query::shell::{Limits, Refused};
use agentos_cell::{Listener, MOST_DESCRIPTORS, Word};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};

use crate::QueryError;
use crate::files::{Known, Protected};
use crate::machine::Viewer;
use cells::Begun;
pub(crate) use cells::Cells;
pub(crate) use output::{Captured, Outputs};
pub(crate) use preview::{moment, preview};
use programs::Ran;
pub(crate) use remembered::Remembered;
use supervisor::{Sight, Supervisor};
pub(crate) use told::output;
pub(crate) use view::{Overlay, View};
pub(crate) use words::words;

/// How long the cell may take until it is closed and the command begins.
const SET_UP: Duration = Duration::from_secs(10);
/// Longest sentence that a cell says, in bytes.
const LONGEST_SENTENCE: usize = 4096;
/// A command that is to run.
pub(crate) struct Asked {
    /// Where its cell comes from.
    pub(crate) cells: Arc<Cells>,
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
    /// The programs that opened something.
    pub(crate) programs: Vec<Ran>,
    pub(crate) limits: Limits,
    pub(crate) took: Duration,
}

/// Runs a command to its end, or to the end of its time.
///
/// # Errors
/// [`QueryError::Unavailable`] where the cell cannot be closed: then nothing ran. [`QueryError::InvalidArgument`] where the
/// program cannot be started.
pub(crate) fn run(asked: Asked) -> Result<Ended, QueryError> {
    Running::new(&asked)?.go_on(asked, Sight::Machine)
}

/// A cell that was told what to run.
struct Running {
    begun: Begun,
    outputs: Outputs,
    at: Instant,
    /// What the first files would wait for.
    known: Known,
}

impl Running {
    fn new(asked: &Asked) -> Result<Self, QueryError> {
        let at = Instant::now();
        let mut begun = asked.cells.take().map_err(failed)?;
        let outputs = Outputs::of(&mut begun.cell.0, asked.keep)
            .ok_or_else(|| failed(std::io::Error::other("it has no outputs")))?;
        let told = asked.command.send(&mut begun.socket);
        told.map_err(|error| QueryError::invalid("command", error.to_string()))?;
        agentos_cell::programs::send(&mut begun.socket, &asked.command.confinement).map_err(failed)?;
        // While the cell is closed there is time for what its first files would wait for.
        let mut known = Known::default();
        known.prepare(&asked.protected, &asked.viewer);
        Ok(Self { begun, outputs, at, known })
    }

    /// Answers for the command until it has ended, or its time is over.
    fn go_on(self, asked: Asked, sight: Sight) -> Result<Ended, QueryError> {
        let Self { begun: Begun { mut cell, bound, socket }, mut outputs, at, known } = self;
        let Some(listener) = listener(&socket, at + SET_UP).map_err(failed)? else {
            return Err(not_closed(sentence(&socket).as_ref()));
        };
        let deadline = Instant::now() + asked.time;
        let supervisor = Supervisor::start(listener, sight, asked.viewer, asked.protected, known, deadline)
            .map_err(failed)?;
        let watch = bound.watch(&cell.0);
        // Beside the command, and not by this thread, for which its outputs wait.
        let cells = asked.cells;
        let next = std::thread::Builder::new().name("next cell".to_owned()).spawn(move || cells.prepare());
        let in_time = outputs.drain(deadline).map_err(failed)?;
        let status = if in_time { cell.status(deadline).map_err(failed)? } else { None };
        let mut refused = bound.exceeded(watch);
        let limits = bound.told();
        // Its first process ends with it, and all others with that one.
        drop(cell);
        let (refused_calls, programs) = supervisor.end();
        refused.extend(refused_calls);
        let _ = next.map(std::thread::JoinHandle::join);
        if let Some((Word::NotStarted, reason)) = sentence(&socket) {
            return Err(QueryError::invalid("command", reason));
        }
        let (stdout, stderr) = outputs.into_captured();
        Ok(Ended { status, stdout, stderr, refused, programs, limits, took: at.elapsed() })
    }
}

fn failed(source: std::io::Error) -> QueryError {
    QueryError::Io { what: "the cell of the command".to_owned(), source }
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
    let descriptors = descriptors(socket, Word::Ready, deadline)?;
    Ok(descriptors.and_then(|descriptors| descriptors.into_iter().next()).map(Listener::new))
}

/// The descriptors that come with a word; nothing where the cell says another one, which is left where it is.
fn descriptors(socket: &UnixStream, word: Word, deadline: Instant) -> std::io::Result<Option<Vec<OwnedFd>>> {
    let left = deadline.saturating_duration_since(Instant::now());
    let mut byte = [0];
    if !wait(socket.as_fd(), left)?
        || rustix::net::recv(socket, &mut byte[..], RecvFlags::PEEK)?.0 == 0
        || Word::of(byte[0]) != Some(word)
    {
        return Ok(None);
    }
    let mut space = [std::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST_DESCRIPTORS))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    recvmsg(socket, &mut [std::io::IoSliceMut::new(&mut byte)], &mut ancillary, RecvFlags::CMSG_CLOEXEC)?;
    let received = ancillary.drain().filter_map(|message| match message {
        RecvAncillaryMessage::ScmRights(descriptors) => Some(descriptors),
        _ => None,
    });
    Ok(Some(received.flatten().collect()))
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
