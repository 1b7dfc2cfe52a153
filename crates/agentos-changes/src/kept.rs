//! What is kept of a change in the store, beside the contents that it replaces.

use agentos_api::change::{Plan, Step};
use agentos_objects::Objects;
use agentos_system::change::Script;
use serde::{Deserialize, Serialize};

use crate::changes::Changes;
use crate::error::ChangesError;
use crate::record::Record;

/// Largest plan that is read back.
const LARGEST: u64 = 256 << 20;

/// What people saw, what is carried out, and what was asked for: to plan it anew.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Kept {
    pub(crate) plan: Plan,
    pub(crate) script: Script,
    pub(crate) steps: Vec<Step>,
}

impl Changes {
    /// What is kept of a change.
    ///
    /// # Errors
    /// [`ChangesError::Objects`] where it made room for later ones.
    pub(crate) fn kept(&self, record: &Record) -> Result<Kept, ChangesError> {
        read(&self.objects, record)
    }
}

/// What is kept of a change in a store.
pub(crate) fn read(objects: &Objects, record: &Record) -> Result<Kept, ChangesError> {
    let text = objects.get(&record.plan, LARGEST)?;
    serde_json::from_slice(&text)
        .map_err(|error| ChangesError::Kept { change: record.id, reason: error.to_string() })
}
