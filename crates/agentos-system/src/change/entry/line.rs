//! The state of an entry.

use agentos_api::query::path::{decode, encode};
use agentos_objects::{Batch, Hash};
use serde::{Deserialize, Serialize};

use super::Kept;
use super::format::Format;
use crate::change::error::ChangeError;

/// An entry, or that there is none.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "snake_case")]
pub(crate) enum Line {
    /// There is none.
    Absent,
    /// The line, as [`encode`] writes it.
    Text { text: String },
    /// A line that is not shown: its name in the store, and what can be said of it.
    Kept { sha256: Hash, says: String },
}

impl Line {
    /// The state that a line is. One with a secret in it goes into the store.
    ///
    /// # Errors
    /// The store's.
    pub(crate) fn keep(
        format: Format,
        line: Option<&[u8]>,
        batch: &mut Batch<'_>,
    ) -> Result<Self, ChangeError> {
        match line {
            Some(line) if format.is_secret(line) => {
                Ok(Self::Kept { sha256: batch.put(line)?, says: format.describe(line) })
            }
            Some(line) => Ok(Self::Text { text: encode(line) }),
            None => Ok(Self::Absent),
        }
    }

    /// The bytes of the line; nothing where there is none.
    ///
    /// # Errors
    /// The store's.
    pub(crate) fn bytes(&self, kept: &impl Kept) -> Result<Option<Vec<u8>>, ChangeError> {
        match self {
            Self::Absent => Ok(None),
            Self::Text { text } => decode(text)
                .map(|bytes| Some(bytes.into_owned()))
                .map_err(|error| ChangeError::failed("reading an entry of the plan", error)),
            Self::Kept { sha256, .. } => kept.bytes(sha256).map(Some),
        }
    }

    /// In words.
    pub(crate) fn text(&self) -> String {
        match self {
            Self::Absent => "absent".to_owned(),
            Self::Text { text } => text.clone(),
            Self::Kept { says, .. } => says.clone(),
        }
    }

    /// A line that was found is this one.
    pub(crate) fn is(&self, format: Format, found: Option<&[u8]>) -> bool {
        match (self, found) {
            (Self::Absent, None) => true,
            (Self::Text { text }, Some(found)) => {
                decode(text).is_ok_and(|line| format.comparable(&line) == format.comparable(found))
            }
            (Self::Kept { sha256, .. }, Some(found)) => *sha256 == Hash::of(found),
            _ => false,
        }
    }
}

/// A line that was found, in words that may be shown.
pub(crate) fn shown(format: Format, found: Option<&[u8]>) -> String {
    match found {
        None => "absent".to_owned(),
        Some(line) if format.is_secret(line) => format.describe(line),
        Some(line) => encode(line),
    }
}
