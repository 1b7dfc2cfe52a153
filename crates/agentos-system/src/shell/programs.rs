//! Of which programs a command consists, as far as they open something.
//!
//! That is told by what the thread that asks runs (`proc_pid_exe(5)`), not by a name in the command.

use std::os::fd::OwnedFd;

use rustix::fs::{AtFlags, CWD, Mode, OFlags, Statx, StatxFlags, openat, statx};
use rustix::io::Errno;

use super::supervisor::Sight;
use super::view::Source;
use crate::files::{Known, Located, Protected, attributes_at};
use crate::machine::Viewer;

/// Programs of one command that are looked at.
const MOST_PROGRAMS: usize = 16;

/// The programs of a command that runs.
#[derive(Default)]
pub(super) struct Programs {
    seen: Vec<Seen>,
    /// The one that asks now.
    asks: Option<usize>,
}

struct Seen {
    /// Device and inode, as the command sees them.
    numbers: ((u32, u32), u64),
    /// The machine's file; nothing for what the command made itself.
    file: Option<(Located, Key)>,
    refused: bool,
}

/// By which a file's content is known again without reading it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Key {
    /// Major and minor number.
    device: (u32, u32),
    inode: u64,
    pub(super) size: u64,
    /// When it was changed last: seconds and nanoseconds.
    changed: (i64, u32),
}

impl Key {
    /// Of an open file.
    pub(super) fn of(file: &OwnedFd) -> Result<Self, Errno> {
        Ok(Self::from(&attributes(file)?))
    }
}

impl From<&Statx> for Key {
    fn from(found: &Statx) -> Self {
        Self {
            device: (found.stx_dev_major, found.stx_dev_minor),
            inode: found.stx_ino,
            size: found.stx_size,
            changed: (found.stx_ctime.tv_sec, found.stx_ctime.tv_nsec),
        }
    }
}

/// Attributes of what a magic link leads to, without asking a server for what is known already.
fn behind(link: &str) -> Result<Statx, Errno> {
    statx(CWD, link, AtFlags::NO_AUTOMOUNT | AtFlags::STATX_DONT_SYNC, StatxFlags::BASIC_STATS)
}

fn attributes(file: &OwnedFd) -> Result<Statx, Errno> {
    attributes_at(file, c"", AtFlags::EMPTY_PATH)
}

/// A program that ran, and whose file may be read by whoever asked.
pub(crate) struct Ran {
    pub(super) path: Vec<u8>,
    pub(super) content: OwnedFd,
    pub(super) key: Key,
    /// It was told a refusal that another mode would not tell it.
    pub(super) refused: bool,
}

impl Programs {
    /// Notes which program a thread runs, which asks for something. What cannot be told is left out.
    pub(super) fn asks(&mut self, thread: u32, sight: &Sight) {
        self.asks = self.find(thread, sight);
    }

    fn find(&mut self, thread: u32, sight: &Sight) -> Option<usize> {
        let link = format!("/proc/{thread}/exe");
        let found = Key::from(&behind(&link).ok()?);
        let numbers = (found.device, found.inode);
        if let Some(known) = self.seen.iter().position(|seen| seen.numbers == numbers) {
            return Some(known);
        }
        if self.seen.len() >= MOST_PROGRAMS {
            return None;
        }
        let file = openat(CWD, &link, OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).ok()?;
        let file = on_the_machine(file, sight);
        self.seen.push(Seen { numbers, file, refused: false });
        Some(self.seen.len() - 1)
    }

    /// The one that asked last, to be named again later.
    pub(super) fn that_asks(&self) -> Option<usize> {
        self.asks
    }

    /// What follows is about one that asked earlier.
    pub(super) fn again(&mut self, program: Option<usize>) {
        self.asks = program;
    }

    /// What the one that asks wants was refused.
    pub(super) fn is_refused(&mut self) {
        if let Some(seen) = self.asks.and_then(|at| self.seen.get_mut(at)) {
            seen.refused = true;
        }
    }

    /// Those whose files the agent may read, whoever asks: what is remembered of them is for the agent, too.
    pub(super) fn ran(self, protected: &Protected, viewer: &Viewer, known: &mut Known) -> Vec<Ran> {
        let agent = Viewer { operator: false, rules: viewer.rules.clone() };
        // Before it is the command, its first process is agentd.
        let own = behind("/proc/self/exe").ok().map(|own| Key::from(&own));
        let of = |seen: Seen| {
            let (located, key) = seen.file.filter(|(_, key)| own.is_none_or(|own| own != *key))?;
            // It may not answer, and who asked would wait for it.
            (!known.is_remote(&located)).then_some(())?;
            let content = located.content_by(protected, &agent, known).ok()?;
            // That it was read is no trace that it leaves, where the file system lets that be.
            let _ = rustix::fs::fcntl_setfl(&content, OFlags::NOATIME);
            Some(Ran { path: located.path.clone(), content, key, refused: seen.refused })
        };
        self.seen.into_iter().filter_map(of).collect()
    }
}

/// The machine's file of a program; nothing where the command made it or wrote to it, or where it has no name any more.
fn on_the_machine(file: OwnedFd, sight: &Sight) -> Option<(Located, Key)> {
    let seen = Key::of(&file).ok()?;
    let host = match sight {
        Sight::Machine => file,
        Sight::View(view) => match view.source(&file).ok()? {
            Source::New => return None,
            Source::Host(host) => host,
            Source::Elsewhere => file,
        },
    };
    let there = attributes(&host).ok()?;
    let key = Key::from(&there);
    let is_same = (key.size, key.changed) == (seen.size, seen.changed);
    (is_same && there.stx_nlink > 0).then_some(())?;
    Some((Located::of(host).ok()?, key))
}
