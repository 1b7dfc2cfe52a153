//! Putting something in the place of something else, where that is still what it was; and taking it away.
//!
//! The kernel exchanges two names in one step (`RENAME_EXCHANGE`, renameat2(2)), so what was replaced is at hand
//! afterwards. It is looked at then: where somebody changed it between the last look and the exchange, they are exchanged
//! back, and nothing of theirs is lost.

use std::ffi::CString;

use rustix::fd::OwnedFd;
use rustix::fs::{AtFlags, RenameFlags, fsync, renameat, renameat_with, unlinkat};
use rustix::io::Errno;

use super::build::{Aside, build, remove};
use super::place::Place;
use super::state::FileState;
use super::together::Replaced;
use super::unnamed::Unnamed;
use crate::change::context::Context;
use crate::change::error::ChangeError;

/// What one change of a name works with. Nothing of it is durable before [`sync_folder`].
pub(super) struct Swap<'s> {
    place: &'s Place,
    folder: &'s OwnedFd,
    name: CString,
    aside: CString,
    context: &'s Context<'s>,
}

/// Opens the folder that a place is in.
///
/// # Errors
/// [`ChangeError::Failed`] where it is gone, or a link stands in its path now.
pub(super) fn open_folder(place: &Place) -> Result<OwnedFd, ChangeError> {
    place.open_folder().map_err(|error| match error {
        Errno::LOOP => ChangeError::failed(place.text(), "a symbolic link stands in its path now"),
        error => ChangeError::failed(place.text(), std::io::Error::from(error)),
    })
}

/// Makes durable which names a folder has. `place` is in it, and names it in errors.
///
/// # Errors
/// The kernel's.
pub(super) fn sync_folder(folder: &OwnedFd, place: &Place) -> Result<(), ChangeError> {
    fsync(folder).map_err(|error| ChangeError::failed(place.on(), std::io::Error::from(error)))
}

impl<'s> Swap<'s> {
    /// In a folder that [`open_folder`] opened.
    ///
    /// # Errors
    /// [`ChangeError::Reading`] where its name is none.
    pub(super) fn new(
        place: &'s Place,
        folder: &'s OwnedFd,
        context: &'s Context<'s>,
    ) -> Result<Self, ChangeError> {
        Ok(Self { place, folder, name: place.name()?, aside: place.aside()?, context })
    }

    /// Makes `to` where nothing is. What was written ahead has its content already.
    pub(super) fn create(&self, to: &FileState, ahead: Option<Unnamed>) -> Result<(), ChangeError> {
        if let Some(ahead) = ahead {
            match ahead.link(self.folder, &self.name) {
                Ok(()) => return Ok(()),
                Err(Errno::EXIST) => return Err(self.moved(&FileState::Absent)),
                // It is made another way.
                Err(_) => {}
            }
        }
        let mut made = self.build(to)?;
        match renameat_with(self.folder, &made.name, self.folder, &self.name, RenameFlags::NOREPLACE) {
            Ok(()) => made.settled = true,
            Err(Errno::EXIST) => return Err(self.moved(&FileState::Absent)),
            Err(error) => return Err(self.failed(error)),
        }
        Ok(())
    }

    /// Puts `to` in the place of `from`.
    pub(super) fn replace(
        &self,
        from: &FileState,
        to: &FileState,
        ahead: Option<Unnamed>,
        replaced: &mut Replaced,
    ) -> Result<(), ChangeError> {
        self.expect(from)?;
        let mut made = match ahead {
            Some(ahead) => self.name_aside(&ahead).or_else(|_| self.build(to))?,
            None => self.build(to)?,
        };
        let exchange =
            |folder: &OwnedFd| renameat_with(folder, &made.name, folder, &self.name, RenameFlags::EXCHANGE);
        match exchange(self.folder) {
            Ok(()) => {}
            Err(Errno::NOENT) => return Err(self.moved(from)),
            // A file system that cannot exchange: what was looked at a moment ago is replaced.
            Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => {
                renameat(self.folder, &made.name, self.folder, &self.name)
                    .map_err(|error| self.failed(error))?;
                made.settled = true;
                return Ok(());
            }
            Err(error) => return Err(self.failed(error)),
        }
        if !from.is_of_name(self.folder, &made.name, self.place)? {
            exchange(self.folder).map_err(|error| self.failed(error))?;
            return Err(self.moved(from));
        }
        // What has the name aside now is what was replaced: its name goes when this ends.
        replaced.hold(self.folder, &made.name);
        drop(made);
        Ok(())
    }

    /// Takes a file, link or pipe away.
    pub(super) fn remove(&self, from: &FileState) -> Result<(), ChangeError> {
        self.expect(from)?;
        remove(self.folder, &self.aside);
        match renameat_with(self.folder, &self.name, self.folder, &self.aside, RenameFlags::NOREPLACE) {
            Ok(()) => {}
            Err(Errno::NOENT) => return Err(self.moved(from)),
            Err(error) => return Err(self.failed(error)),
        }
        if !from.is_of_name(self.folder, &self.aside, self.place)? {
            renameat_with(self.folder, &self.aside, self.folder, &self.name, RenameFlags::NOREPLACE)
                .map_err(|error| self.failed(error))?;
            return Err(self.moved(from));
        }
        unlinkat(self.folder, &self.aside, AtFlags::empty()).map_err(|error| self.failed(error))
    }

    /// Takes a folder away, which must be empty.
    pub(super) fn remove_folder(&self, from: &FileState) -> Result<(), ChangeError> {
        self.expect(from)?;
        match unlinkat(self.folder, &self.name, AtFlags::REMOVEDIR) {
            Ok(()) => Ok(()),
            Err(Errno::NOTEMPTY | Errno::EXIST) => Err(ChangeError::Moved {
                what: self.place.on(),
                planned: "a folder with nothing else in it".to_owned(),
                found: "a folder with something new in it".to_owned(),
            }),
            Err(error) => Err(self.failed(error)),
        }
    }

    /// Removes what a cut left beside the name.
    pub(super) fn clean(&self) {
        remove(self.folder, &self.aside);
    }

    pub(super) const fn folder(&self) -> &OwnedFd {
        self.folder
    }

    pub(super) fn name(&self) -> &CString {
        &self.name
    }

    pub(super) fn moved(&self, planned: &FileState) -> ChangeError {
        let accounts = &self.context.machine.accounts;
        let found = FileState::look_at_name(self.folder, &self.name, self.place)
            .map_or_else(|error| error.to_string(), |found| found.text(accounts));
        ChangeError::Moved { what: self.place.on(), planned: planned.text(accounts), found }
    }

    pub(super) fn failed(&self, error: Errno) -> ChangeError {
        ChangeError::failed(self.place.on(), std::io::Error::from(error))
    }

    /// What has the name is in that state.
    pub(super) fn expect(&self, state: &FileState) -> Result<(), ChangeError> {
        let is = state.is_of_name(self.folder, &self.name, self.place)?;
        if is { Ok(()) } else { Err(self.moved(state)) }
    }

    fn name_aside(&self, ahead: &Unnamed) -> Result<Aside<'_>, Errno> {
        remove(self.folder, &self.aside);
        ahead.link(self.folder, &self.aside)?;
        Ok(Aside { folder: self.folder, name: self.aside.clone(), settled: false })
    }

    fn build(&self, to: &FileState) -> Result<Aside<'_>, ChangeError> {
        build(self.folder, self.aside.clone(), to, &self.place.on(), self.context.objects)
    }
}
