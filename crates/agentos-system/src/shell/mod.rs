//! Commands that read the machine and change nothing.
//!
//! The command runs in a cell ([`agentos_cell`]): of system calls only those that read are let through. What it opens is
//! opened here in its place ([`supervisor`]), by the rules for reading that hold for whoever asks, on the file itself and not on a
//! path that may be exchanged.

mod bus;
mod cells;
mod cgroup;
mod limits;
mod output;
mod resolve;
mod supervisor;
mod watch;

use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

use agentos_api::query::shell::{Limits, Refused};
use agentos_cell::{Listener, Word};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};

use crate::QueryError;
use crate::files::{Known, Protected};
use crate::machine::Viewer;
use cells::Begun;
pub(crate) use cells::Cells;
pub(crate) use output::{Captured, Outputs};
use supervisor::Supervisor;

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
    pub(crate) limits: Limits,
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
    let Begun { mut cell, mut socket } = asked.cells.take().map_err(failed)?;
    let mut outputs = Outputs::of(&mut cell.0, asked.keep)
        .ok_or_else(|| failed(std::io::Error::other("it has no outputs")))?;
    asked.command.send(&mut socket).map_err(|error| QueryError::invalid("command", error.to_string()))?;
    agentos_cell::programs::send(&mut socket).map_err(failed)?;
    // While the cell is closed there is time for what its first files would wait for.
    let mut known = Known::default();
    known.prepare(&asked.protected, &asked.viewer);
    let Some(listener) = listener(&socket, begun + SET_UP).map_err(failed)? else {
        return Err(not_closed(sentence(&socket).as_ref()));
    };
    let deadline = Instant::now() + asked.time;
    let supervisor =
        Supervisor::start(listener, asked.viewer, asked.protected, known, deadline).map_err(failed)?;
    let watch = cell.1.watch(&cell.0);
    // Beside the command, and not by this thread, for which its outputs wait.
    let cells = asked.cells;
    let next = std::thread::Builder::new().name("next cell".to_owned()).spawn(move || cells.prepare());
    let in_time = outputs.drain(deadline).map_err(failed)?;
    let status = if in_time { cell.status(deadline).map_err(failed)? } else { None };
    let mut refused = cell.1.exceeded(watch);
    let limits = cell.1.told();
    // Its first process ends with it, and all others with that one.
    drop(cell);
    refused.extend(supervisor.end());
    let _ = next.map(std::thread::JoinHandle::join);
    if let Some((Word::NotStarted, reason)) = sentence(&socket) {
        return Err(QueryError::invalid("command", reason));
    }
    let (stdout, stderr) = outputs.into_captured();
    Ok(Ended { status, stdout, stderr, refused, limits, took: begun.elapsed() })
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
