//! From what a command wrote in a view of the file systems to the transitions that do the same to the machine.
//!
//! Only what was written is looked at, so the cost is that of the difference and not of the tree. overlayfs keeps it as folders
//! with what is new, marks in place of what is gone (a character device 0:0), and folders marked as opaque where what
//! the machine has below them is gone (overlayfs.rst).

use std::collections::HashMap;
use std::ffi::CString;

use agentos_api::change::Risk;
use agentos_api::query::path::AbsolutePath;
use rustix::fd::OwnedFd;
use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, Stat, getxattr, openat, statat};
use rustix::io::Errno;

use crate::change::error::ChangeError;
use crate::change::file::{FileState, Place, open_without_links};
use crate::change::mutations::file::tree::{MOST_LEVELS, empty};
use crate::change::planner::Planner;
use crate::change::protect;
use crate::change::transition::Transition;
use crate::files::{Known, Located, link_to};
use crate::shell::{Overlay, View};

const OPAQUE: &str = "trusted.overlay.opaque";

/// What differs, in numbers.
#[derive(Debug, Default)]
pub(super) struct Counts {
    made: u64,
    changed: u64,
    deleted: u64,
    /// Of the files that are deleted, how many are there by another name as well.
    other_names: u64,
    deleted_bytes: u64,
    /// Sockets and devices, which are not made.
    special: Vec<String>,
}

impl Counts {
    /// In words, for a sentence.
    pub(super) fn parts(&self) -> Vec<String> {
        let mut parts = Vec::new();
        if self.made > 0 {
            parts.push(format!("makes {}", things(self.made)));
        }
        if self.changed > 0 {
            parts.push(format!("changes {}", things(self.changed)));
        }
        if self.deleted > 0 {
            let names = match self.other_names {
                0 => "of no file another name is left".to_owned(),
                some => format!("{some} of them by one of several names"),
            };
            let bytes = self.deleted_bytes;
            parts.push(format!("deletes {} ({bytes} bytes of content, {names})", things(self.deleted)));
        }
        parts
    }

    /// What of it is not made.
    pub(super) fn left_out(&self) -> Option<String> {
        (!self.special.is_empty())
            .then(|| format!("sockets and devices that it made are not made: {}", self.special.join(", ")))
    }
}

fn things(number: u64) -> String {
    if number == 1 { "1 file or folder".to_owned() } else { format!("{number} files and folders") }
}

/// What differs, being planned.
pub(super) struct Differences<'d, 'p> {
    planner: &'d mut Planner<'p>,
    overlay: &'d Overlay,
    keeps_user_attributes: bool,
    /// What changed on the machine after this moment was changed by somebody else.
    begun: (i64, u64),
    /// The first name of each written file.
    names: HashMap<u64, Place>,
    counts: Counts,
}

/// A folder, by its two sides.
struct Folder {
    /// What is written in it.
    upper: OwnedFd,
    /// All of it.
    merged: OwnedFd,
}

impl<'d, 'p> Differences<'d, 'p> {
    /// Plans all that differs.
    ///
    /// # Errors
    /// [`ChangeError::Moved`] for what somebody else changed since `begun`; what may not be changed by whoever asks.
    pub(super) fn plan(
        planner: &'d mut Planner<'p>,
        view: &'d View,
        begun: (i64, u64),
    ) -> Result<Counts, ChangeError> {
        let mut counts = Counts::default();
        let mut planner = planner;
        for overlay in &view.overlays {
            let failed = |error: Errno| ChangeError::io("what the command wrote", error);
            let folder = Folder {
                upper: rustix::io::dup(&overlay.upper).map_err(failed)?,
                merged: rustix::io::dup(&overlay.merged).map_err(failed)?,
            };
            let mut differences = Differences {
                planner,
                overlay,
                begun,
                keeps_user_attributes: view.keeps_user_attributes,
                names: HashMap::new(),
                counts: std::mem::take(&mut counts),
            };
            differences.folder(
                &folder,
                overlay.point.strip_suffix(b"/").unwrap_or(&overlay.point),
                MOST_LEVELS,
            )?;
            let Differences { planner: back, counts: counted, .. } = differences;
            (planner, counts) = (back, counted);
        }
        Ok(counts)
    }

    /// All that was written in a folder of that path (without a slash at its end).
    fn folder(&mut self, folder: &Folder, path: &[u8], levels: usize) -> Result<(), ChangeError> {
        let failed = |error: Errno| ChangeError::io("what the command wrote", error);
        if levels == 0 {
            return Err(ChangeError::refused(format!(
                "what it wrote is more than {MOST_LEVELS} levels deep"
            )));
        }
        for name in names(&folder.upper).map_err(failed)? {
            let written = statat(&folder.upper, &name, AtFlags::SYMLINK_NOFOLLOW).map_err(failed)?;
            let path = [path, b"/", name.to_bytes()].concat();
            let asked = AbsolutePath::new(path.clone()).map_err(|error| {
                ChangeError::refused(format!("the command made a path that is none: {error}"))
            })?;
            let place = Place::of(&asked, |folder| self.planner.files.is_folder(folder))?;
            let kind = FileType::from_raw_mode(written.st_mode);
            if kind == FileType::CharacterDevice && written.st_rdev == 0 {
                self.delete(&place)?;
                continue;
            }
            if matches!(kind, FileType::Socket | FileType::CharacterDevice | FileType::BlockDevice) {
                if self.counts.special.len() < 10 {
                    self.counts.special.push(place.text());
                }
                continue;
            }
            self.written(folder, &name, &place, &written)?;
            if kind == FileType::Directory {
                let open = |folder: &OwnedFd| {
                    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                    openat(folder, &name, flags, Mode::empty()).map_err(failed)
                };
                let below = Folder { upper: open(&folder.upper)?, merged: open(&folder.merged)? };
                if is_opaque(&below.upper) {
                    self.delete_others(&place, &below.upper)?;
                }
                self.folder(&below, &path, levels - 1)?;
            }
        }
        Ok(())
    }

    /// Something that is there afterwards.
    fn written(
        &mut self,
        folder: &Folder,
        name: &CString,
        place: &Place,
        written: &Stat,
    ) -> Result<(), ChangeError> {
        let mut before = self.before(place)?;
        let mut after = self.after(folder, name, place, written)?;
        if !self.keeps_user_attributes {
            keep_user_attributes(&before, &mut after);
        }
        let is_folder = |state: &FileState| matches!(state, FileState::Folder { .. });
        if before != FileState::Absent && is_folder(&before) != is_folder(&after) {
            self.delete(place)?;
            before = FileState::Absent;
        }
        if before == after {
            return Ok(());
        }
        self.may_change(place)?;
        self.stays_readable_by_the_same(folder, name, place, written)?;
        if before == FileState::Absent {
            self.counts.made += 1;
        } else {
            self.counts.changed += 1;
        }
        self.planner.change(place.clone(), before, after)
    }

    /// What is there now. It is as the command found it.
    fn before(&mut self, place: &Place) -> Result<FileState, ChangeError> {
        if !self.planner.files.knows(place) {
            let found = open_without_links(place.as_bytes(), OFlags::PATH).and_then(rustix::fs::fstat);
            if let Ok(found) = found {
                let is_folder = FileType::from_raw_mode(found.st_mode) == FileType::Directory;
                let changed = (found.st_ctime, found.st_ctime_nsec);
                // A folder changes with each name in it.
                if !is_folder && changed > self.begun {
                    return Err(ChangeError::Moved {
                        what: place.on(),
                        planned: "as it was when the command began".to_owned(),
                        found: "changed while the command ran".to_owned(),
                    });
                }
            }
        }
        self.planner.state(place)
    }

    fn after(
        &mut self,
        folder: &Folder,
        name: &CString,
        place: &Place,
        written: &Stat,
    ) -> Result<FileState, ChangeError> {
        if FileType::from_raw_mode(written.st_mode) == FileType::RegularFile && written.st_nlink > 1 {
            match self.names.get(&written.st_ino) {
                Some(first) => return Ok(FileState::SameAs { of: first.clone() }),
                None => {
                    self.names.insert(written.st_ino, place.clone());
                }
            }
        }
        FileState::read_name(&folder.merged, name, &place.text(), &mut self.planner.batch)
    }

    /// What is there now and is gone afterwards.
    fn delete(&mut self, place: &Place) -> Result<(), ChangeError> {
        let before = self.before(place)?;
        if before == FileState::Absent {
            return Ok(());
        }
        self.may_change(place)?;
        let first = self.planner.planned().len();
        if matches!(before, FileState::Folder { .. }) {
            empty(self.planner, place, true)?;
        }
        self.planner.risk(Risk::Medium);
        self.planner.change(place.clone(), before, FileState::Absent)?;
        let gone: Vec<(u64, bool)> =
            self.planner.planned().iter().skip(first).filter_map(Transition::as_deleted_file).collect();
        let number = (self.planner.planned().len() - first) as u64;
        self.counts.deleted += number;
        self.counts.deleted_bytes += gone.iter().map(|(bytes, _)| bytes).sum::<u64>();
        self.counts.other_names += gone.iter().filter(|(_, other_names)| *other_names).count() as u64;
        if number > 1 {
            self.planner.risk(Risk::Destructive);
        }
        Ok(())
    }

    /// What the machine has in a folder and was not written: the folder was taken away and made anew.
    fn delete_others(&mut self, place: &Place, upper: &OwnedFd) -> Result<(), ChangeError> {
        let failed = |error: Errno| ChangeError::io(place.text(), error);
        let flags = OFlags::RDONLY | OFlags::DIRECTORY;
        let host = match open_without_links(place.as_bytes(), flags) {
            Ok(host) => host,
            Err(Errno::NOENT | Errno::NOTDIR) => return Ok(()),
            Err(error) => return Err(failed(error)),
        };
        for name in names(&host).map_err(failed)? {
            if matches!(statat(upper, &name, AtFlags::SYMLINK_NOFOLLOW), Err(Errno::NOENT)) {
                self.delete(&place.child(name.to_bytes()))?;
            }
        }
        Ok(())
    }

    fn may_change(&self, place: &Place) -> Result<(), ChangeError> {
        protect::check_place(self.planner.machine, self.planner.viewer, place)
    }

    /// What is kept from whoever asks gets no other name by a command: under that nobody would know it any more.
    fn stays_readable_by_the_same(
        &self,
        folder: &Folder,
        name: &CString,
        place: &Place,
        written: &Stat,
    ) -> Result<(), ChangeError> {
        if FileType::from_raw_mode(written.st_mode) != FileType::RegularFile {
            return Ok(());
        }
        let failed = |error: Errno| ChangeError::io(place.text(), error);
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let upper = openat(&folder.upper, name, flags, Mode::empty()).map_err(failed)?;
        let Some(host) = self.overlay.origin(&upper) else { return Ok(()) };
        let located = Located::of(host).map_err(failed)?;
        if located.path == place.as_bytes() {
            return Ok(());
        }
        located.permit(self.planner.viewer, &mut Known::default()).map_err(|error| {
            ChangeError::refused(format!(
                "it gives {} the new name {}, and {error}; file.move and file.copy ask for that",
                located.text(),
                place.text()
            ))
        })
    }
}

/// Gives what is there afterwards the attributes of the kind `user.*` that it has now: that they are gone is the view's doing.
fn keep_user_attributes(before: &FileState, after: &mut FileState) {
    let (Some(before), Some(after)) = (before.attributes(), after.attributes_mut()) else { return };
    for (name, value) in before.extended.iter().filter(|(name, _)| name.starts_with("user.")) {
        after.extended.entry(name.clone()).or_insert_with(|| value.clone());
    }
}

/// What is below the folder on the machine is not seen through it.
fn is_opaque(folder: &OwnedFd) -> bool {
    let mut value = [0; 1];
    getxattr(link_to(folder), OPAQUE, &mut value).is_ok_and(|length| value.get(..length) == Some(b"y"))
}

/// The names in a folder, in order: the same folder gives the same plan.
fn names(folder: &OwnedFd) -> Result<Vec<CString>, Errno> {
    let mut names = Vec::new();
    for entry in Dir::read_from(folder)? {
        let entry = entry?;
        if !matches!(entry.file_name().to_bytes(), b"." | b"..") {
            names.push(entry.file_name().to_owned());
        }
    }
    names.sort();
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::change::file::Attributes;

    #[test]
    fn attributes_that_the_view_cannot_have_stay() {
        let folder = |names: &[&str]| {
            let mut attributes = Attributes::new(0o755);
            attributes.extended.extend(names.iter().map(|name| ((*name).to_owned(), "eA==".to_owned())));
            FileState::Folder { attributes }
        };
        let mut after = folder(&["security.capability"]);
        keep_user_attributes(&folder(&["user.kept", "trusted.other"]), &mut after);
        assert_eq!(after, folder(&["security.capability", "user.kept"]));
        let mut gone = FileState::Absent;
        keep_user_attributes(&folder(&["user.kept"]), &mut gone);
        assert_eq!(gone, FileState::Absent);
    }

    #[test]
    fn counts_are_said_in_words() {
        let counts = Counts { made: 1, deleted: 3, deleted_bytes: 10, ..Counts::default() };
        assert_eq!(
            counts.parts().join(", "),
            "makes 1 file or folder, deletes 3 files and folders (10 bytes of content, of no file another name is left)"
        );
        assert!(Counts::default().parts().is_empty() && Counts::default().left_out().is_none());
    }
}
