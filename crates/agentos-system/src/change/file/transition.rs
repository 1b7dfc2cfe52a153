//! A path, from one state to another.

use agentos_api::change::Effect;
use rustix::fd::OwnedFd;
use rustix::fs::{Mode, OFlags, openat};
use serde::{Deserialize, Serialize};

use super::build;
use super::place::Place;
use super::state::FileState;
use super::swap::{Swap, open_folder, sync_folder};
use super::together::Replaced;
use super::unnamed::Unnamed;
use crate::change::context::Context;
use crate::change::error::ChangeError;
use crate::change::transition::{Irreversible, Position, Transit};

/// A path, from one state to another.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct FileTransition {
    /// Where.
    pub(crate) place: Place,
    /// What is there.
    pub(crate) from: FileState,
    /// What shall be there.
    pub(crate) to: FileState,
    /// Other names that the file has now, which will go on having the old content.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub(crate) other_names: u32,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks so")]
const fn is_zero(number: &u32) -> bool {
    *number == 0
}

impl FileTransition {
    /// The folder that it makes where nothing is.
    pub(crate) fn makes_folder(&self) -> Option<&Place> {
        let makes = matches!((&self.from, &self.to), (FileState::Absent, FileState::Folder { .. }));
        makes.then_some(&self.place)
    }

    /// The folder that it takes away.
    pub(crate) fn removes_folder(&self) -> Option<&Place> {
        let removes = matches!((&self.from, &self.to), (FileState::Folder { .. }, FileState::Absent));
        removes.then_some(&self.place)
    }

    /// The same, without the time that a new file gets.
    pub(crate) fn without_time(&self) -> Self {
        let mut without = self.clone();
        if let FileState::File { content, .. } = &mut without.to {
            content.modified = None;
        }
        without
    }

    /// Of a regular file that it deletes: its size in bytes, and whether another name of it is left.
    pub(crate) fn deletes_file(&self) -> Option<(u64, bool)> {
        match (&self.from, &self.to) {
            (FileState::File { content, .. }, FileState::Absent) => {
                Some((content.size, self.other_names > 0))
            }
            _ => None,
        }
    }

    fn is_in_place(&self) -> bool {
        match (&self.from, &self.to) {
            (FileState::File { content: from, .. }, FileState::File { content: to, .. }) => from == to,
            (FileState::Folder { .. }, FileState::Folder { .. }) => true,
            _ => false,
        }
    }
}

impl Transit for FileTransition {
    fn on(&self) -> String {
        self.place.on()
    }

    fn effect(&self, context: &Context<'_>) -> Effect {
        let accounts = &context.machine.accounts;
        Effect {
            on: self.on(),
            before: self.from.text(accounts),
            after: self.to.text(accounts),
            diff: None,
            diff_omitted: None,
        }
    }

    fn position(&self, context: &Context<'_>) -> Result<Position, ChangeError> {
        Ok(if self.to.is_at(&self.place)? {
            Position::After
        } else if self.from.is_at(&self.place)? {
            Position::Before
        } else {
            Position::Elsewhere(FileState::look(&self.place)?.text(&context.machine.accounts))
        })
    }

    fn apply(&self, context: &Context<'_>) -> Result<(), ChangeError> {
        let folder = open_folder(&self.place)?;
        let ahead = self.write_ahead(&folder, context).filter(|ahead| ahead.sync().is_ok());
        self.act(&folder, context, ahead, &mut Replaced::default())?;
        sync_folder(&folder, &self.place)
    }

    fn clean(&self, context: &Context<'_>) {
        let folder = self.place.open_folder();
        if let Ok(Ok(swap)) = folder.as_ref().map(|folder| Swap::new(&self.place, folder, context)) {
            swap.clean();
        }
    }

    fn reversed(&self) -> Result<Self, Irreversible> {
        if let FileState::File { content, .. } = &self.from
            && content.not_kept
        {
            return Err(Irreversible(format!(
                "the content of {} ({} bytes) is more than is kept",
                self.place.text(),
                content.size
            )));
        }
        Ok(Self { place: self.place.clone(), from: self.to.clone(), to: self.from.clone(), other_names: 0 })
    }

    fn paths(&self) -> Vec<Vec<u8>> {
        vec![self.place.as_bytes().to_vec()]
    }

    fn leaves_behind(&self) -> Option<String> {
        (self.other_names > 0 && !self.is_in_place()).then(|| {
            format!(
                "{} has {} other name(s) (hard links), which keep the old content and are not joined again",
                self.place.text(),
                self.other_names
            )
        })
    }
}

impl FileTransition {
    /// The new content, written and not yet synced, where it is a file's and the file system has files without names.
    pub(super) fn write_ahead(&self, folder: &OwnedFd, context: &Context<'_>) -> Option<Unnamed> {
        let FileState::File { attributes, content } = &self.to else { return None };
        if self.is_in_place() {
            return None;
        }
        let mut unnamed = Unnamed::new(folder).ok()?;
        build::write(unnamed.file(), attributes, content, &self.on(), context.objects).ok()?;
        Some(unnamed)
    }

    /// Goes from the first state to the second, in the folder that it is in. It is durable once that is synced.
    ///
    /// # Errors
    /// As [`Transit::apply`].
    pub(super) fn act(
        &self,
        folder: &OwnedFd,
        context: &Context<'_>,
        ahead: Option<Unnamed>,
        replaced: &mut Replaced,
    ) -> Result<(), ChangeError> {
        let swap = Swap::new(&self.place, folder, context)?;
        match (&self.from, &self.to) {
            _ if self.is_in_place() => self.change_attributes(&swap),
            (FileState::Absent, to) => swap.create(to, ahead),
            (from @ FileState::Folder { .. }, FileState::Absent) => swap.remove_folder(from),
            (from, FileState::Absent) => swap.remove(from),
            (FileState::Folder { .. }, _) | (_, FileState::Folder { .. }) => Err(ChangeError::refused(
                format!("{} is a folder on one side of the change only; delete it first", self.on()),
            )),
            (from, to) => swap.replace(from, to, ahead, replaced),
        }
    }

    fn change_attributes(&self, swap: &Swap<'_>) -> Result<(), ChangeError> {
        let (Some(from), Some(to)) = (self.from.attributes(), self.to.attributes()) else {
            return Err(ChangeError::refused(format!("{} has no attributes to change", self.on())));
        };
        swap.expect(&self.from)?;
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        let descriptor: OwnedFd =
            openat(swap.folder(), swap.name(), flags, Mode::empty()).map_err(|error| swap.failed(error))?;
        if let Err(error) = to.write(&descriptor, from) {
            // Half of it may be done: an owner without its permissions.
            let _ = from.write(&descriptor, to);
            return Err(swap.failed(error));
        }
        rustix::fs::fsync(&descriptor).map_err(|error| swap.failed(error))
    }
}
