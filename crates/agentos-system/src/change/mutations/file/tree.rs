//! `file.delete`: a file, or a folder with all that is in it.

use std::collections::HashMap;

use agentos_api::change::Risk;
use agentos_api::mutation::file as api;
use rustix::fs::{AtFlags, Dir, FileType, OFlags, fstat, statat};
use rustix::io::Errno;

use super::place;
use crate::change::Plan;
use crate::change::error::ChangeError;
use crate::change::file::{FileState, Place, open_without_links};
use crate::change::planner::{MOST_TRANSITIONS, Planner};
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
                let deleted = empty(planner, &place, args.recursive)?;
                planner.risk(Risk::Destructive);
                planner.summary(match deleted {
                    0 => format!("Deletes the empty folder {}", place.text()),
                    1 => format!("Deletes the folder {} with the one thing in it", place.text()),
                    several => format!("Deletes the folder {} with {several} things in it", place.text()),
                });
            }
            _ => {
                planner.risk(Risk::Medium);
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
) -> Result<u64, ChangeError> {
    let on = device(folder)?;
    let mut found = Vec::new();
    list(folder, recursive, on, MOST_LEVELS, &mut found)?;
    // Of a file with several names in here, the last name stands for the file: the others go before it, and come back after.
    let mut last: HashMap<u64, usize> = HashMap::new();
    let mut names: HashMap<u64, u32> = HashMap::new();
    for (number, entry) in found.iter().enumerate() {
        if let Some((inode, _)) = entry.shared {
            last.insert(inode, number);
            *names.entry(inode).or_default() += 1;
        }
    }
    let of: HashMap<u64, Place> = last
        .iter()
        .filter_map(|(inode, number)| found.get(*number).map(|entry| (*inode, entry.place.clone())))
        .collect();
    let deleted = found.len() as u64;
    for Entry { place, shared } in found {
        protect::check_place(planner.machine, planner.viewer, &place)?;
        match shared.and_then(|(inode, links)| of.get(&inode).map(|of| (of, inode, links))) {
            Some((of, _, _)) if *of != place => {
                let from = FileState::SameAs { of: of.clone() };
                planner.change_with(place, from, FileState::Absent, 0)?;
            }
            Some((_, inode, links)) => {
                let elsewhere = links.saturating_sub(names.get(&inode).copied().unwrap_or(1));
                let from = planner.state(&place)?;
                planner.change_with(place, from, FileState::Absent, elsewhere)?;
            }
            None => {
                let from = planner.state(&place)?;
                planner.change_with(place, from, FileState::Absent, 0)?;
            }
        }
    }
    Ok(deleted)
}

/// Something in a folder that is deleted.
struct Entry {
    place: Place,
    /// Of a file with several names: its inode, and how many it has.
    shared: Option<(u64, u32)>,
}

/// Lists all that is in a folder, what is in folders before them.
fn list(
    folder: &Place,
    recursive: bool,
    on: u64,
    levels: usize,
    found: &mut Vec<Entry>,
) -> Result<(), ChangeError> {
    let failed = |error: Errno| ChangeError::io(folder.text(), error);
    let descriptor =
        open_without_links(folder.as_bytes(), OFlags::RDONLY | OFlags::DIRECTORY).map_err(failed)?;
    if fstat(&descriptor).map_err(failed)?.st_dev != on {
        return Err(ChangeError::refused(format!(
            "another file system is mounted at {}; unmount it first",
            folder.text()
        )));
    }
    let mut names = Vec::new();
    let mut entries = Dir::read_from(&descriptor).map_err(failed)?;
    while let Some(entry) = entries.read() {
        let entry = entry.map_err(failed)?;
        let name = entry.file_name();
        if !matches!(name.to_bytes(), b"." | b"..") {
            names.push(name.to_owned());
        }
        if found.len() + names.len() > MOST_TRANSITIONS {
            return Err(ChangeError::refused(format!(
                "{} holds more than {MOST_TRANSITIONS} things; delete it in parts",
                folder.text()
            )));
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
    for name in names {
        let place = folder.child(name.to_bytes());
        let attributes = statat(&descriptor, &name, AtFlags::SYMLINK_NOFOLLOW).map_err(failed)?;
        let kind = FileType::from_raw_mode(attributes.st_mode);
        if kind == FileType::Directory {
            list(&place, recursive, on, levels - 1, found)?;
        }
        let links = u32::try_from(attributes.st_nlink).unwrap_or(u32::MAX);
        let shared = (kind == FileType::RegularFile && links > 1).then_some((attributes.st_ino, links));
        found.push(Entry { place, shared });
    }
    Ok(())
}
