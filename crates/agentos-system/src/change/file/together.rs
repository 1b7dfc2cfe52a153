//! Paths of one folder that are changed with few syncs: their new contents are written and made durable before the first of
//! them gets its name, and the folder is synced once behind the last.
//!
//! A power cut in between may leave any of them as it is or as it shall be, each whole; which ones is seen afterwards.

use std::collections::VecDeque;
use std::ffi::CStr;

use rustix::fd::OwnedFd;
use rustix::fs::{Mode, OFlags, openat};

use super::swap::{open_folder, sync_folder};
use super::unnamed::Unnamed;
use crate::change::context::Context;
use crate::change::error::ChangeError;
use crate::change::transition::Transition;

/// Most paths that are changed between two syncs of their folder. Each may hold a file open.
pub(crate) const MOST: usize = 128;
/// Most bytes that are written ahead of them.
const MOST_BYTES: u64 = 16 << 20;

/// How many of these, from the first on, are paths of one folder that are changed together; 0 where the first is none.
pub(crate) fn length(transitions: &[&Transition]) -> usize {
    let Some(Transition::File(first)) = transitions.first() else { return 0 };
    let folder = first.place.parent();
    let mut bytes = 0;
    let beside = |transition: &&&Transition| match transition {
        Transition::File(file) => {
            bytes += file.to.bytes();
            file.place.parent() == folder && bytes <= MOST_BYTES
        }
        _ => false,
    };
    transitions.iter().take(MOST).take_while(beside).count().max(1)
}

/// Whether these are all paths of one folder: those that a cut may have left in any order.
pub(crate) fn are_beside(transitions: &[&Transition]) -> bool {
    let mut places = transitions.iter().map(|transition| match transition {
        Transition::File(file) => Some(file.place.parent()),
        _ => None,
    });
    places.next().is_some_and(|first| first.is_some() && places.all(|place| place == first))
}

/// New contents of the first transitions of a script: whole, durable, and without a name. Dropping it leaves nothing of them.
#[derive(Debug, Default)]
pub struct Ahead(VecDeque<Option<Unnamed>>);

impl Ahead {
    /// Writes the contents of these, which are paths of one folder. Where one cannot be written ahead there is none for it;
    /// why is said when it is its turn.
    pub(crate) fn write(transitions: &[&Transition], context: &Context<'_>) -> Self {
        let Some(Transition::File(first)) = transitions.first() else { return Self::default() };
        match first.place.open_folder() {
            Ok(folder) => Self::write_in(&folder, transitions, context),
            Err(_) => Self::default(),
        }
    }

    fn write_in(folder: &OwnedFd, transitions: &[&Transition], context: &Context<'_>) -> Self {
        let unnamed = |transition: &&Transition| match transition {
            Transition::File(file) => file.write_ahead(folder, context),
            _ => None,
        };
        let mut ahead: VecDeque<Option<Unnamed>> = transitions.iter().map(unnamed).collect();
        // All are written before the first is synced: the file system takes them to the disk together.
        for place in &mut ahead {
            if place.as_ref().is_some_and(|unnamed| unnamed.sync().is_err()) {
                *place = None;
            }
        }
        Self(ahead)
    }
}

/// Files that were replaced and have no name any more. Freeing their blocks takes the file system some time: it does when this
/// is dropped, so that what is recorded need not wait for it.
#[derive(Debug, Default)]
pub struct Replaced(Vec<OwnedFd>);

impl Replaced {
    /// Keeps a file, by a name that is about to go, from being freed. Where it is not kept it is freed with its name.
    pub(super) fn hold(&mut self, folder: &OwnedFd, name: &CStr) {
        if self.0.len() < MOST {
            let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            self.0.extend(openat(folder, name, flags, Mode::empty()));
        }
    }
}

/// Where making some of them failed.
pub(crate) enum Failed {
    /// At one of them.
    At(ChangeError),
    /// Behind the last.
    Sync(ChangeError),
}

impl From<Failed> for ChangeError {
    fn from(failed: Failed) -> Self {
        match failed {
            Failed::At(error) | Failed::Sync(error) => error,
        }
    }
}

/// Makes paths of one folder, as [`length`] counts them. `before_each` is told the number of the one that is made next.
///
/// # Errors
/// [`Failed`]; those before it are made then.
pub(crate) fn make(
    run: &[&Transition],
    mut ahead: Ahead,
    replaced: &mut Replaced,
    context: &Context<'_>,
    mut before_each: impl FnMut(usize),
) -> Result<(), Failed> {
    let files = run.iter().filter_map(|transition| match transition {
        Transition::File(file) => Some(file),
        _ => None,
    });
    let mut folder = None;
    for (number, file) in files.enumerate() {
        before_each(number);
        let (folder, _) = match &mut folder {
            Some(folder) => folder,
            // It is opened once: they are in one folder, also where its path leads elsewhere meanwhile.
            none => none.insert((open_folder(&file.place).map_err(Failed::At)?, file)),
        };
        if number == 0 && ahead.0.is_empty() {
            ahead = Ahead::write_in(folder, run, context);
        }
        file.act(folder, context, ahead.0.pop_front().flatten(), replaced).map_err(Failed::At)?;
    }
    folder.map_or(Ok(()), |(folder, file)| sync_folder(&folder, &file.place).map_err(Failed::Sync))
}
