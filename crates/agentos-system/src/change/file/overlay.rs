//! How the earlier steps of a change leave the paths that they act on.

use std::collections::HashMap;

use agentos_objects::Batch;

use super::place::Place;
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

    /// An earlier step acts on it.
    pub(crate) fn knows(&self, place: &Place) -> bool {
        self.states.contains_key(place)
    }
}
