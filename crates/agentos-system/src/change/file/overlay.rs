//! How the earlier steps of a change leave the paths that they act on.

use std::collections::HashMap;

use agentos_api::query::path::encode;
use agentos_objects::Batch;
use rustix::fs::{Dir, OFlags};
use rustix::io::Errno;

use super::place::{Place, open_without_links};
use super::state::FileState;
use crate::change::error::ChangeError;
use crate::change::transition::Transition;

/// States of paths after what is planned so far.
#[derive(Debug, Default)]
pub(crate) struct FileOverlay {
    states: HashMap<Place, FileState>,
    moved: Vec<Place>,
}

impl FileOverlay {
    /// Takes a planned transition in.
    pub(crate) fn see(&mut self, transition: &Transition) {
        match transition {
            Transition::File(file) => {
                self.states.insert(file.place.clone(), file.to.clone());
            }
            Transition::Rename(rename) => {
                self.moved.push(rename.from.clone());
                self.moved.push(rename.to.clone());
            }
            #[allow(unreachable_patterns, reason = "not every kind is about files")]
            _ => {}
        }
    }

    /// What will be at `place` when what is planned was made.
    ///
    /// # Errors
    /// As [`FileState::read`]; [`ChangeError::Refused`] at or below something that an earlier step moves.
    pub(crate) fn state(&self, place: &Place, batch: &mut Batch<'_>) -> Result<FileState, ChangeError> {
        let below = |above: &Place| {
            place
                .as_bytes()
                .strip_prefix(above.as_bytes())
                .is_some_and(|rest| matches!(rest.first(), None | Some(b'/')))
        };
        if let Some(moved) = self.moved.iter().find(|moved| below(moved)) {
            return Err(ChangeError::refused(format!(
                "an earlier step of this change moves {}; make what concerns {} a change of its own",
                moved.text(),
                place.text()
            )));
        }
        match self.states.get(place) {
            Some(state) => Ok(state.clone()),
            None => FileState::read(place, batch),
        }
    }

    /// An earlier step leaves a folder there.
    pub(crate) fn is_folder(&self, path: &[u8]) -> bool {
        self.states
            .iter()
            .any(|(place, state)| place.as_bytes() == path && matches!(state, FileState::Folder { .. }))
    }

    /// What is in a folder and no earlier step takes away or moves: the name of one such thing. A folder that is not there
    /// has nothing in it.
    ///
    /// # Errors
    /// The kernel's.
    pub(crate) fn left_in(&self, folder: &Place) -> Result<Option<String>, ChangeError> {
        let failed = |error: Errno| ChangeError::io(folder.text(), error);
        let opened = match open_without_links(folder.as_bytes(), OFlags::RDONLY | OFlags::DIRECTORY) {
            Ok(opened) => opened,
            Err(Errno::NOENT | Errno::NOTDIR) => return Ok(None),
            Err(error) => return Err(failed(error)),
        };
        for entry in Dir::read_from(&opened).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let name = entry.file_name().to_bytes();
            if matches!(name, b"." | b"..") {
                continue;
            }
            let place = folder.child(name);
            let goes =
                matches!(self.states.get(&place), Some(FileState::Absent)) || self.moved.contains(&place);
            if !goes {
                return Ok(Some(encode(name)));
            }
        }
        Ok(None)
    }

    /// An earlier step acts on it.
    pub(crate) fn knows(&self, place: &Place) -> bool {
        self.states.contains_key(place)
    }
}
