//! Archived files of the journal go.
//!
//! They are deleted here by their descriptors' folder rather than by `journalctl --vacuum-…`: that decides anew which files
//! go when it runs, and a yes is for the files that were shown. For journald it is the same; it never writes to them again.

use std::collections::BTreeMap;

use agentos_api::change::Effect;
use rustix::fd::OwnedFd;
use rustix::fs::{AtFlags, OFlags, fsync, statat, unlinkat};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use crate::change::context::Context;
use crate::change::error::ChangeError;
use crate::change::file::open_without_links;
use crate::change::transition::{Irreversible, Position, Transit};

/// A file that goes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Old {
    pub(crate) folder: String,
    pub(crate) name: String,
    /// Which file it is, should another get its name.
    pub(crate) inode: u64,
}

/// Archived files of the journal are deleted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct JournalFiles {
    pub(crate) files: Vec<Old>,
    /// What they are, in words.
    pub(crate) before: String,
    /// What stays, in words.
    pub(crate) after: String,
    /// A line for each of the first.
    pub(crate) list: String,
}

impl JournalFiles {
    /// Does `each` with those that are there still, with their open folder.
    fn there(
        &self,
        mut each: impl FnMut(&OwnedFd, &Old) -> Result<(), ChangeError>,
    ) -> Result<usize, ChangeError> {
        let mut count = 0;
        let mut open: Option<(&str, OwnedFd)> = None;
        for file in &self.files {
            if open.as_ref().is_none_or(|(folder, _)| *folder != file.folder) {
                let folder = open_without_links(file.folder.as_bytes(), OFlags::RDONLY | OFlags::DIRECTORY);
                open = match folder {
                    Ok(folder) => Some((file.folder.as_str(), folder)),
                    Err(Errno::NOENT) => None,
                    Err(error) => return Err(ChangeError::io(&file.folder, error)),
                };
            }
            let Some((_, folder)) = &open else { continue };
            match statat(folder, &file.name, AtFlags::SYMLINK_NOFOLLOW) {
                Ok(found) if found.st_ino == file.inode => {
                    count += 1;
                    each(folder, file)?;
                }
                Ok(_) | Err(Errno::NOENT) => {}
                Err(error) => return Err(ChangeError::io(format!("{}/{}", file.folder, file.name), error)),
            }
        }
        Ok(count)
    }
}

impl Transit for JournalFiles {
    fn on(&self) -> String {
        "the journal's archived files".to_owned()
    }

    fn effect(&self, _: &Context<'_>) -> Effect {
        Effect {
            on: self.on(),
            before: self.before.clone(),
            after: self.after.clone(),
            diff: Some(self.list.clone()),
            diff_omitted: None,
        }
    }

    fn position(&self, _: &Context<'_>) -> Result<Position, ChangeError> {
        Ok(match self.there(|_, _| Ok(()))? {
            0 => Position::After,
            all if all == self.files.len() => Position::Before,
            some => Position::Elsewhere(format!("{some} of the {} files that would go", self.files.len())),
        })
    }

    fn apply(&self, context: &Context<'_>) -> Result<(), ChangeError> {
        if let Position::Elsewhere(found) = self.position(context)? {
            return Err(ChangeError::Moved { what: self.on(), planned: self.before.clone(), found });
        }
        let mut gone = 0;
        let mut folders: BTreeMap<String, OwnedFd> = BTreeMap::new();
        self.there(|folder, file| {
            let failed = |error: std::io::Error| {
                let what = format!("{}/{}", file.folder, file.name);
                ChangeError::failed(
                    self.on(),
                    format!("{what} cannot be deleted ({error}); {gone} are gone already"),
                )
            };
            if !folders.contains_key(&file.folder) {
                folders.insert(file.folder.clone(), folder.try_clone().map_err(failed)?);
            }
            unlinkat(folder, &file.name, AtFlags::empty()).map_err(|error| failed(error.into()))?;
            gone += 1;
            Ok(())
        })?;
        for folder in folders.into_values() {
            fsync(&folder).map_err(|error| ChangeError::failed(self.on(), std::io::Error::from(error)))?;
        }
        Ok(())
    }

    fn reversed(&self) -> Result<Self, Irreversible> {
        Err(Irreversible("log entries that were deleted do not come back".to_owned()))
    }

    fn paths(&self) -> Vec<Vec<u8>> {
        self.files.iter().map(|file| format!("{}/{}", file.folder, file.name).into_bytes()).collect()
    }
}
