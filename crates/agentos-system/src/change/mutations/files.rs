//! Files that other mutations write: a unit, a drop-in, a link.

use agentos_api::query::path::AbsolutePath;

use super::file::place;
use crate::change::error::ChangeError;
use crate::change::file::{Attributes, Content, FileState, Place};
use crate::change::planner::Planner;

/// Largest file of the machine that is read to change a part of it.
const LARGEST: u64 = 1 << 20;

/// The place of a path that this crate chooses.
pub(super) fn at(planner: &mut Planner<'_>, path: &str) -> Result<Place, ChangeError> {
    let path = AbsolutePath::new(path.as_bytes())
        .map_err(|error| ChangeError::refused(format!("{path} cannot be a path: {error}")))?;
    place(planner, &path)
}

/// The place of a path that is only looked at.
fn seen(planner: &Planner<'_>, path: &str) -> Result<Place, ChangeError> {
    let path = AbsolutePath::new(path.as_bytes())
        .map_err(|error| ChangeError::refused(format!("{path} cannot be a path: {error}")))?;
    Place::of(&path, |folder| planner.files.is_folder(folder))
}

/// An earlier step acts on the path.
pub(super) fn is_planned(planner: &Planner<'_>, path: &str) -> bool {
    seen(planner, path).is_ok_and(|place| planner.files.knows(&place))
}

/// Plans that there is a folder.
pub(super) fn folder(planner: &mut Planner<'_>, path: &str) -> Result<(), ChangeError> {
    let place = at(planner, path)?;
    match planner.state(&place)? {
        FileState::Folder { .. } => Ok(()),
        FileState::Absent => {
            planner.change(place, FileState::Absent, FileState::Folder { attributes: Attributes::new(0o755) })
        }
        other => Err(in_the_way(planner, &place, &other)),
    }
}

/// Plans that a file holds this text, with the attributes that it has, or `0644 root:root`.
pub(super) fn text(planner: &mut Planner<'_>, path: &str, text: &str) -> Result<(), ChangeError> {
    let place = at(planner, path)?;
    let from = planner.state(&place)?;
    let attributes = match &from {
        FileState::Absent => Attributes::new(0o644),
        FileState::File { attributes, .. } => attributes.clone(),
        other => return Err(in_the_way(planner, &place, other)),
    };
    let sha256 = planner.batch.put(text.as_bytes())?;
    let content = Content { sha256, size: text.len() as u64, not_kept: false, modified: None };
    planner.change(place, from, FileState::File { attributes, content })
}

/// Plans that a path is a symbolic link to `target`. Something else that is there is replaced only where `replaces` says so.
pub(super) fn link(
    planner: &mut Planner<'_>,
    path: &str,
    target: &str,
    replaces: impl FnOnce(&FileState) -> bool,
) -> Result<(), ChangeError> {
    let place = at(planner, path)?;
    let from = planner.state(&place)?;
    let (uid, gid) = match &from {
        FileState::Link { target: now, .. } if now == target => return Ok(()),
        FileState::Absent => (0, 0),
        other if replaces(other) => (0, 0),
        other => return Err(in_the_way(planner, &place, other)),
    };
    planner.change(place, from, FileState::Link { target: target.to_owned(), uid, gid })
}

/// Plans that nothing has a path.
pub(super) fn absent(planner: &mut Planner<'_>, path: &str) -> Result<(), ChangeError> {
    let place = at(planner, path)?;
    let from = planner.state(&place)?;
    planner.change(place, from, FileState::Absent)
}

/// Where the link at `path` points after what is planned so far; none where there is no link.
pub(super) fn target(planner: &mut Planner<'_>, path: &str) -> Result<Option<String>, ChangeError> {
    let Ok(place) = seen(planner, path) else { return Ok(None) };
    Ok(match planner.state(&place)? {
        FileState::Link { target, .. } => Some(target),
        _ => None,
    })
}

/// What the file at `path` holds after what is planned so far; none where there is no file.
pub(super) fn read(planner: &mut Planner<'_>, path: &str) -> Result<Option<String>, ChangeError> {
    let Ok(place) = seen(planner, path) else { return Ok(None) };
    let FileState::File { content, .. } = planner.state(&place)? else { return Ok(None) };
    if content.size > LARGEST {
        return Err(ChangeError::refused(format!("{path} is larger than {LARGEST} bytes")));
    }
    let bytes = match planner.batch.get(&content.sha256) {
        Some(bytes) => bytes,
        None => planner.batch.store().get(&content.sha256, LARGEST)?,
    };
    String::from_utf8(bytes)
        .map(Some)
        .map_err(|_| ChangeError::refused(format!("{path} is not text in UTF-8")))
}

fn in_the_way(planner: &Planner<'_>, place: &Place, state: &FileState) -> ChangeError {
    ChangeError::refused(format!(
        "{} is there already: {}; move or delete it first",
        place.text(),
        state.text(&planner.machine.accounts)
    ))
}
