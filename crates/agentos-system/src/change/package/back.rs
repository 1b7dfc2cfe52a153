//! The way back of packages: what is kept for it, and what is done where apt fails.

use super::apt::Apt;
use super::installed::Installed;
use super::keep::{Keep, Kept};
use super::transition::{Origin, PackageState, Packages};
use super::work;
use crate::change::context::Context;
use crate::change::error::ChangeError;
use crate::change::file::{FileState, FileTransition};
use crate::change::transition::{Position, Transit};

impl Packages {
    /// Gets what the way back needs, before anything is changed.
    pub(super) fn keep_what_goes(&self, apt: &Apt, keep: &Keep) -> Result<(), ChangeError> {
        if self.reversed().is_err() {
            return Ok(());
        }
        let wanted: Vec<(String, &Kept)> = self
            .changes
            .iter()
            .filter_map(|change| match (&change.from, &change.from_origin) {
                (PackageState::Installed(version), Origin::Kept(kept)) => {
                    Some((format!("{}={version}", change.name), kept))
                }
                _ => None,
            })
            .collect();
        keep.fetch(apt, &wanted)
    }

    /// Puts configuration files where they were, for a package that comes back to find them.
    pub(super) fn put_files(&self, context: &Context<'_>) -> Result<(), ChangeError> {
        let put = |file: &FileTransition| {
            if file.position(context)? == Position::After { Ok(()) } else { file.apply(context) }
        };
        let mut files = self.files.iter().filter(|_| self.back);
        files.try_for_each(put).inspect_err(|_| self.take_files_away(context))
    }

    /// Takes away what [`Packages::put_files`] put there.
    pub(super) fn take_files_away(&self, context: &Context<'_>) {
        if !self.back {
            return;
        }
        for file in
            self.files.iter().rev().filter(|file| matches!(file.position(context), Ok(Position::After)))
        {
            if let Ok(gone) = file.reversed() {
                let _ = gone.apply(context);
            }
        }
    }

    /// Takes away what dpkg put beside configuration that it left as it is.
    pub(super) fn take_copies_away(&self, context: &Context<'_>) {
        for place in self.copies.iter().filter(|_| self.back) {
            if let Ok(from @ FileState::File { .. }) = FileState::look(place) {
                let copy =
                    FileTransition { place: place.clone(), from, to: FileState::Absent, other_names: 0 };
                let _ = copy.apply(context);
            }
        }
    }

    /// After a failure: all back to how it was, as far as apt and dpkg can. Gives whether anything had been done.
    pub(super) fn go_back(&self, apt: &Apt, keep: &Keep, context: &Context<'_>) -> Result<bool, ChangeError> {
        let installed = Installed::read(context.machine)?;
        if self.look(&installed) == Position::Before && !installed.unfinished {
            self.take_files_away(context);
            return Ok(false);
        }
        let Ok(mut back) = self.reversed() else {
            return Err(self.failed("what was replaced is not kept"));
        };
        // What did not change yet needs no way back.
        back.changes.retain(|change| {
            let broken = installed.get(&change.name).is_some_and(|package| package.broken.is_some());
            broken || !change.to.is(&PackageState::of(&installed, &change.name))
        });
        back.put_files(context)?;
        let mut commands = Vec::new();
        if installed.unfinished {
            // dpkg takes its notes into its database whatever it is told, here nothing; apt refuses to begin before.
            let words = ["dpkg".to_owned()].into_iter().chain(apt.dpkg_options());
            commands.push(words.chain(["--set-selections".to_owned()]).collect());
        }
        if !back.changes.is_empty() {
            commands.extend(back.commands(apt, keep));
        }
        work::run(context.machine, &commands)?;
        back.take_copies_away(context);
        self.take_files_away(context);
        Ok(true)
    }
}
