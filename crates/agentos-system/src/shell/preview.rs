//! A command that runs on a view of the file systems: how it is started, and how files are opened for it.
//!
//! What it writes is its own affair. What it reads of the machine is judged by the rules for reading, file by file, by what the
//! file is on the machine: under another name, in another folder, as a copy that the kernel made because it was written to.

use std::os::fd::OwnedFd;
use std::sync::Arc;

use agentos_cell::{Outcome, Word};
use rustix::fs::{CWD, FileType, Gid, Mode, OFlags, Uid, fchmod, fchown, fstat, openat};
use rustix::io::Errno;

use super::resolve::{Found, Task, file_type, walk};
use super::supervisor::{Answering, DEVICES, Opened, Sight, TERMINAL, device, line_of};
use super::view::{Chosen, Source, View};
use super::{Asked, Ended, Running, SET_UP, descriptors, failed, not_closed, sentence};
use crate::QueryError;
use crate::files::{Located, link_to};

/// Longest text that comes with a view, in bytes.
const LONGEST_OUTCOME: usize = 1 << 20;
/// How often a file is looked for that somebody makes and takes away meanwhile.
const TRIES: usize = 3;

/// Runs a command on a view of the file systems, to its end or to the end of its time. `hidden` are paths that it finds empty;
/// `bytes` and `files` say how much it may write.
///
/// # Errors
/// As [`super::run`].
pub(crate) fn preview(
    mut asked: Asked,
    hidden: &[Vec<u8>],
    (bytes, files): (u64, u64),
) -> Result<(Ended, Arc<View>), QueryError> {
    let chosen = Chosen::of(hidden)?;
    let preview = agentos_cell::Preview { mounts: chosen.mounts.clone(), bytes, files };
    asked.command.confinement = agentos_cell::Confinement::Preview(preview);
    let mut running = Running::new(&asked)?;
    let Some((descriptors, outcome)) = running.view().map_err(failed)? else {
        return Err(not_closed(sentence(&running.begun.socket).as_ref()));
    };
    let view = View::new(chosen, descriptors, &outcome).map_err(|error| failed(error.into()))?;
    let view = Arc::new(view);
    let ended = running.go_on(asked, Sight::View(Arc::clone(&view)))?;
    Ok((ended, view))
}

impl Running {
    /// What the cell says of the view that it made; nothing where it made none.
    fn view(&mut self) -> std::io::Result<Option<(Vec<OwnedFd>, Outcome)>> {
        use std::io::Read;

        let Some(descriptors) = descriptors(&self.begun.socket, Word::View, self.at + SET_UP)? else {
            return Ok(None);
        };
        self.begun.socket.set_read_timeout(Some(
            SET_UP.saturating_sub(self.at.elapsed()).max(std::time::Duration::from_millis(1)),
        ))?;
        let mut length = [0; 4];
        self.begun.socket.read_exact(&mut length)?;
        let length = usize::try_from(u32::from_ne_bytes(length)).map_err(std::io::Error::other)?;
        if length > LONGEST_OUTCOME {
            return Err(std::io::Error::other("what the cell says of the view is too long"));
        }
        let mut text = vec![0; length];
        self.begun.socket.read_exact(&mut text)?;
        self.begun.socket.set_read_timeout(None)?;
        Ok(Some((descriptors, serde_json::from_slice(&text)?)))
    }
}

/// The thread and process by the numbers that they have in their own namespace.
pub(super) fn task(thread: u32) -> Result<Task, Errno> {
    let status = format!("/proc/{thread}/status");
    let inner = |word: &str| {
        let numbers = line_of(&status, word)?;
        numbers.split_ascii_whitespace().last()?.parse().ok()
    };
    Ok(Task { thread: inner("NSpid:").ok_or(Errno::SRCH)?, process: inner("NStgid:").ok_or(Errno::SRCH)? })
}

/// Whose a file becomes that a thread makes, and what is taken from its permissions.
pub(super) struct Maker {
    user: u32,
    group: u32,
    mask: u32,
}

impl Maker {
    /// As the kernel has it for a thread (`proc_pid_status(5)`).
    pub(super) fn of(thread: u32) -> Result<Self, Errno> {
        let status = format!("/proc/{thread}/status");
        // Real, effective, saved, and that for files.
        let last = |word: &str| {
            let numbers = line_of(&status, word)?;
            numbers.split_ascii_whitespace().nth(3)?.parse().ok()
        };
        let mask = line_of(&status, "Umask:").and_then(|mask| u32::from_str_radix(&mask, 8).ok());
        Ok(Self {
            user: last("Uid:").ok_or(Errno::SRCH)?,
            group: last("Gid:").ok_or(Errno::SRCH)?,
            mask: mask.ok_or(Errno::SRCH)?,
        })
    }

    /// Makes a file that is not there.
    fn make_file(&self, folder: &OwnedFd, name: &[u8], flags: OFlags, mode: Mode) -> Opened {
        let flags =
            (flags - OFlags::TRUNC) | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NOCTTY;
        let file = openat(folder, name, flags, Mode::RUSR | Mode::WUSR)?;
        // A set-group-ID folder hands its group down (inode(7)).
        let hands_down = fstat(folder)?.st_mode & 0o2000 != 0;
        let group = (!hands_down).then(|| Gid::from_raw(self.group));
        fchown(&file, Some(Uid::from_raw(self.user)), group)?;
        fchmod(&file, Mode::from_raw_mode(mode.as_raw_mode() & !self.mask & 0o7777))?;
        Ok(file)
    }
}

impl Answering {
    /// Opens a path of the view for a command.
    pub(super) fn open_in(
        &mut self,
        view: &View,
        maker: &Maker,
        task: Task,
        (from, path): (Option<OwnedFd>, &[u8]),
        (flags, mode): (OFlags, Mode),
    ) -> Opened {
        for _ in 0..TRIES {
            let beginning = from.as_ref().map(rustix::io::dup).transpose()?;
            // Every process that it sees is one of its own.
            match walk(view.root(), task, beginning, path, !flags.contains(OFlags::NOFOLLOW), &|_| true)? {
                Found::Missing(folder, name) if flags.contains(OFlags::CREATE) => {
                    match maker.make_file(&folder, &name, flags, mode) {
                        Err(Errno::EXIST) => {}
                        opened => return opened,
                    }
                }
                Found::Missing(..) => return Err(Errno::NOENT),
                Found::Own(there) | Found::There(there) => return self.open_seen(view, &there, path, flags),
            }
        }
        Err(Errno::AGAIN)
    }

    fn open_seen(&mut self, view: &View, there: &OwnedFd, path: &[u8], flags: OFlags) -> Opened {
        if flags.contains(OFlags::CREATE | OFlags::EXCL) {
            return Err(Errno::EXIST);
        }
        let again = (flags - OFlags::CREATE - OFlags::NOFOLLOW) | OFlags::CLOEXEC | OFlags::NOCTTY;
        let reopen = |flags: OFlags| openat(CWD, link_to(there), flags, Mode::empty());
        match file_type(there)? {
            FileType::Directory => reopen(again),
            FileType::RegularFile => {
                self.judge(view, there, path)?;
                reopen(again)
            }
            FileType::CharacterDevice if device(there)? == TERMINAL => Err(Errno::NXIO),
            FileType::CharacterDevice if DEVICES.contains(&device(there)?) => reopen(again),
            // It does not wait for the other end here.
            FileType::Fifo => reopen(again | OFlags::NONBLOCK).and_then(|pipe| {
                rustix::fs::fcntl_setfl(&pipe, flags & OFlags::NONBLOCK)?;
                Ok(pipe)
            }),
            FileType::Symlink => Err(Errno::LOOP),
            FileType::Socket => Err(Errno::NXIO),
            _ => Err(Errno::ACCESS),
        }
    }

    /// Refuses what the rules for reading keep, by what it is on the machine.
    fn judge(&mut self, view: &View, there: &OwnedFd, path: &[u8]) -> Result<(), Errno> {
        let located = match view.source(there) {
            Ok(Source::New) => return Ok(()),
            Ok(Source::Host(host)) => Located::of(host)?,
            Ok(Source::Elsewhere) => Located::of(rustix::io::dup(there)?)?,
            Err(error) => return Err(error),
        };
        match located.content_by(&self.protected, &self.viewer, &mut self.known) {
            Ok(_) => Ok(()),
            Err(QueryError::Io { source, .. }) => Err(Errno::from_io_error(&source).unwrap_or(Errno::IO)),
            Err(error) => Err(self.refuse("read", path, &error.to_string(), Errno::ACCESS)),
        }
    }
}

/// Now, by the clock whose time files get when they are changed (inode(7)). Some file systems take it from the last tick, at most
/// 10 ms ago; making the view takes longer than that.
pub(crate) fn moment() -> (i64, u64) {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Realtime);
    (now.tv_sec, u64::try_from(now.tv_nsec).unwrap_or_default())
}
