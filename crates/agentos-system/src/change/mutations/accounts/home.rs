//! Home folders: made from `/etc/skel`, and deleted with all that is in them.

use agentos_api::query::path::{AbsolutePath, encode};
use rustix::fs::{Dir, OFlags};

use super::database::Database;
use crate::accounts::User;
use crate::change::error::ChangeError;
use crate::change::file::{Attributes, FileState, Place, open_without_links};
use crate::change::mutations::file::tree;
use crate::change::planner::Planner;
use crate::change::protect;

/// Most things that `/etc/skel` gives to a new home.
const MOST_THINGS: usize = 500;
const MOST_LEVELS: usize = 8;

/// Plans a home folder with what is in `/etc/skel`, all of it the user's.
pub(super) fn create(
    planner: &mut Planner<'_>,
    database: &Database,
    home: &[u8],
    uid: u32,
    gid: u32,
) -> Result<(), ChangeError> {
    let place = place(planner, home)?;
    if planner.state(&place)? != FileState::Absent {
        return Err(ChangeError::invalid(
            "create_home",
            format!("{} is there already, and would not be the user's own", place.text()),
        ));
    }
    let mode = database.defined("HOME_MODE", 0o777 & !database.defined("UMASK", 0o022));
    let attributes = Attributes { uid, gid, ..Attributes::new(mode) };
    planner.change(place.clone(), FileState::Absent, FileState::Folder { attributes })?;
    let skeleton = planner.machine.own_path(b"/etc/skel")?;
    let mut left = MOST_THINGS;
    match Place::of(&skeleton, |_| false) {
        Ok(skeleton) if planner.state(&skeleton)? != FileState::Absent => {
            copy(planner, &skeleton, &place, (uid, gid), &mut left, MOST_LEVELS)
        }
        _ => Ok(()),
    }
}

fn copy(
    planner: &mut Planner<'_>,
    from: &Place,
    to: &Place,
    (uid, gid): (u32, u32),
    left: &mut usize,
    levels: usize,
) -> Result<(), ChangeError> {
    for name in names(from)? {
        let (source, place) = (from.child(&name), to.child(&name));
        *left = left
            .checked_sub(1)
            .filter(|_| levels > 0)
            .ok_or_else(|| ChangeError::refused(format!("{} holds too much to be copied", from.text())))?;
        let mut state = planner.state(&source)?;
        match &mut state {
            FileState::Link { uid: owner, gid: group, .. } => (*owner, *group) = (uid, gid),
            other => {
                if let Some(attributes) = other.attributes_mut() {
                    (attributes.uid, attributes.gid) = (uid, gid);
                }
            }
        }
        if matches!(&state, FileState::File { content, .. } if content.not_kept) {
            return Err(ChangeError::refused(format!("{} is too large to be copied", source.text())));
        }
        let is_folder = matches!(state, FileState::Folder { .. });
        planner.change(place.clone(), FileState::Absent, state)?;
        if is_folder {
            copy(planner, &source, &place, (uid, gid), left, levels - 1)?;
        }
    }
    Ok(())
}

fn names(folder: &Place) -> Result<Vec<Vec<u8>>, ChangeError> {
    let failed = |error| ChangeError::io(folder.text(), error);
    let descriptor =
        open_without_links(folder.as_bytes(), OFlags::RDONLY | OFlags::DIRECTORY).map_err(failed)?;
    let mut names = Vec::new();
    for entry in Dir::new(descriptor).map_err(failed)? {
        let name = entry.map_err(failed)?.file_name().to_bytes().to_vec();
        if !matches!(name.as_slice(), b"." | b"..") {
            names.push(name);
        }
    }
    names.sort();
    Ok(names)
}

/// Plans that a home folder goes with all that is in it, and says how many things that are.
///
/// # Errors
/// [`ChangeError::Refused`] where it is not the user's own, or somebody else lives in it too.
pub(super) fn delete(
    planner: &mut Planner<'_>,
    database: &Database,
    user: &User,
) -> Result<u64, ChangeError> {
    let place = place(planner, user.home.as_bytes())?;
    let from = planner.state(&place)?;
    match &from {
        FileState::Absent => return Ok(0),
        FileState::Folder { attributes } if attributes.uid == user.uid => {}
        _ => {
            return Err(ChangeError::invalid(
                "delete_home",
                format!(
                    "{} is not a folder of {}'s own; leave it, or delete it with file.delete",
                    place.text(),
                    user.name
                ),
            ));
        }
    }
    let shares = |other: &&User| {
        let (theirs, this) = (other.home.as_bytes(), user.home.as_bytes());
        other.name != user.name
            && theirs.strip_prefix(this).is_some_and(|rest| matches!(rest.first(), None | Some(b'/')))
    };
    if let Some(other) = database.users.iter().find(shares) {
        return Err(ChangeError::invalid("delete_home", format!("{} lives there too", other.name)));
    }
    let deleted = tree::empty(planner, &place, true)?;
    planner.change(place, from, FileState::Absent)?;
    Ok(deleted + 1)
}

/// The place of a home folder, which may be changed by whoever asks.
pub(in crate::change::mutations) fn place(
    planner: &mut Planner<'_>,
    home: &[u8],
) -> Result<Place, ChangeError> {
    let path: AbsolutePath = planner.machine.own_path(home)?;
    planner.asked_for(path.as_bytes());
    let place = Place::of(&path, |folder| planner.files.is_folder(folder)).map_err(|error| match error {
        ChangeError::Reading(crate::QueryError::NotFound { .. }) => {
            ChangeError::invalid("home", format!("the folder above {} does not exist", encode(home)))
        }
        other => other,
    })?;
    protect::check_place(planner.machine, planner.viewer, &place)?;
    place.refuse_kernels_own()?;
    Ok(place)
}
