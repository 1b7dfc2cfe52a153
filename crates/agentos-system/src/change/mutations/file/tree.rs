//! `file.delete`: a file, or a folder with all that is in it.

use agentos_api::change::Risk;
use agentos_api::mutation::file as api;
use rustix::fs::{Dir, OFlags};
use rustix::io::Errno;

use super::{place, risk_at};
use crate::change::Plan;
use crate::change::error::ChangeError;
use crate::change::file::{FileState, Place, open_without_links};
use crate::change::planner::Planner;
use crate::change::protect;

/// Deepest folders that are deleted.
pub(in crate::change::mutations) const MOST_LEVELS: usize = 64;

impl Plan for api::Delete {
    fn plan(planner: &mut Planner<'_>, args: api::DeleteArgs) -> Result<(), ChangeError> {
        let place = place(planner, &args.path)?;
        let from = planner.state(&place)?;
        match &from {
            FileState::Absent => return Err(ChangeError::io(place.text(), Errno::NOENT)),
            FileState::Folder { .. } => {
                if planner.files.knows(&place) {
                    return Err(ChangeError::refused(format!(
                        "an earlier step of this change makes {}; leave that out instead",
                        place.text()
                    )));
                }
                let device = device(&place)?;
                let deleted = empty(planner, &place, args.recursive, device, MOST_LEVELS)?;
                planner.risk(Risk::Destructive);
                planner.summary(match deleted {
                    0 => format!("Deletes the empty folder {}", place.text()),
                    1 => format!("Deletes the folder {} with the one thing in it", place.text()),
                    several => format!("Deletes the folder {} with {several} things in it", place.text()),
                });
            }
            _ => {
                planner.risk(risk_at(&place).max(Risk::Medium));
                planner.summary(format!("Deletes {}", place.text()));
            }
        }
        if let FileState::File { content, .. } = &from
            && content.not_kept
        {
            planner.risk(Risk::Destructive);
        }
        planner.change(place, from, FileState::Absent)
    }
}

/// The file system that a folder is on.
pub(in crate::change::mutations) fn device(place: &Place) -> Result<u64, ChangeError> {
    open_without_links(place.as_bytes(), OFlags::PATH)
        .and_then(|descriptor| rustix::fs::fstat(&descriptor))
        .map(|found| found.st_dev)
        .map_err(|error| ChangeError::io(place.text(), error))
}

/// Plans the deletion of all that is in a folder, the deepest first, and counts it.
pub(in crate::change::mutations) fn empty(
    planner: &mut Planner<'_>,
    folder: &Place,
    recursive: bool,
    on: u64,
    levels: usize,
) -> Result<u64, ChangeError> {
    if device(folder)? != on {
        return Err(ChangeError::refused(format!(
            "another file system is mounted at {}; unmount it first",
            folder.text()
        )));
    }
    let failed = |error: Errno| ChangeError::io(folder.text(), error);
    let descriptor =
        open_without_links(folder.as_bytes(), OFlags::RDONLY | OFlags::DIRECTORY).map_err(failed)?;
    let mut names = Vec::new();
    for entry in Dir::new(descriptor).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let name = entry.file_name().to_bytes();
        if !matches!(name, b"." | b"..") {
            names.push(name.to_vec());
        }
    }
    if !names.is_empty() && !recursive {
        return Err(ChangeError::invalid(
            "recursive",
            format!(
                "{} is not empty: it holds {} things; say so to delete them with it",
                folder.text(),
                names.len()
            ),
        ));
    }
    if levels == 0 {
        return Err(ChangeError::refused(format!(
            "{} is more than {MOST_LEVELS} levels deep",
            folder.text()
        )));
    }
    // The same folder gives the same plan.
    names.sort();
    let mut deleted = 0;
    for name in names {
        let place = folder.child(&name);
        protect::check_place(planner.machine, planner.viewer, &place)?;
        let from = planner.state(&place)?;
        if matches!(from, FileState::Folder { .. }) {
            deleted += empty(planner, &place, recursive, on, levels - 1)?;
        }
        planner.change(place, from, FileState::Absent)?;
        deleted += 1;
    }
    Ok(deleted)
}
