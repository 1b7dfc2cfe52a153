//! What is left of a ledger that cannot be opened: looked at from its first event on, and read as far as it is whole,
//! without changing a byte of it.

use std::path::{Path, PathBuf};

use agentos_api::event::{EventFilter, EventPage};

use crate::alone::{State, state};
use crate::error::LedgerError;
use crate::read;
use crate::verify::{Progress, VerifyError, VerifyOptions, verify};
use crate::violation::{Violation, ViolationKind};

/// A ledger's database that is kept as evidence.
#[derive(Debug)]
pub struct Evidence {
    path: PathBuf,
    found: Option<Violation>,
    readable: u64,
    /// What the database was when it was examined.
    state: Option<State>,
}

impl Evidence {
    /// Reads every event of the database at `path`, which nobody may write meanwhile, and says how far it is whole.
    ///
    /// # Errors
    /// [`VerifyError`] when it cannot be read at all, or was written to meanwhile.
    pub fn examine(path: &Path, progress: &mut dyn FnMut(Progress)) -> Result<Self, VerifyError> {
        let before = state(path);
        let options = VerifyOptions::default().reading_all().that_nobody_writes().reporting_to(progress);
        let (found, readable) = match verify(path, options) {
            Ok(report) => (None, report.size),
            Err(VerifyError::Violation(violation)) => {
                // In tables that are not the ledger's own, nothing says which rows are shown; and where the key is
                // not the one that signed, nothing vouches for any of them.
                let nothing_vouches =
                    matches!(violation.kind, ViolationKind::SchemaChanged | ViolationKind::CheckpointKey);
                let first = violation.first.filter(|_| !nothing_vouches);
                (Some(violation), first.map_or(0, |first| first.saturating_sub(1)))
            }
            Err(error) => return Err(error),
        };
        if before != state(path) {
            return Err(VerifyError::Changed { path: path.to_owned() });
        }
        Ok(Self { path: path.to_owned(), found, readable, state: before })
    }

    /// The damage that comes first; nothing when the database itself is whole (its key, or what is kept outside, is not).
    pub fn violation(&self) -> Option<&Violation> {
        self.found.as_ref()
    }

    /// The last event up to which all events are as they were recorded; 0 when none is.
    pub fn readable(&self) -> u64 {
        self.readable
    }

    /// One page of the events that are as they were recorded.
    ///
    /// # Errors
    /// [`LedgerError::Altered`] when the database is not the one that was examined any more; else as
    /// [`crate::Ledger::page`].
    pub fn page(&self, filter: &EventFilter) -> Result<EventPage, LedgerError> {
        let unaltered = || {
            if state(&self.path) == self.state {
                Ok(())
            } else {
                Err(LedgerError::Altered { path: self.path.clone() })
            }
        };
        if self.readable == 0 {
            return Ok(EventPage { events: Vec::new(), next: None });
        }
        unaltered()?;
        let end = self.readable.saturating_add(1);
        let mut filter = filter.clone();
        filter.before = Some(filter.before.map_or(end, |before| before.min(end)));
        let page = read::page_alone(&self.path, &filter)?;
        unaltered()?;
        Ok(page)
    }
}
