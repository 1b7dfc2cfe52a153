//! One row after another: is each well formed, does its hash hold, does it continue from the one before?

use rusqlite::Row;
use rusqlite::types::ValueRef;

use crate::digest::{Digest, GENESIS, from_hex};
use crate::record::{Fields, check, check_content, event_hash, hash_text};
use crate::violation::{Violation, ViolationKind};

/// The columns that [`Chain::row`] expects, in order.
pub(crate) const COLUMNS: &str = "id, ts, type, actor, payload, prev_hash, hash";

/// The state of a walk along the chain.
#[derive(Debug)]
pub(crate) struct Chain {
    next: u64,
    previous: Option<[u8; 64]>,
    last_ts: [u8; 24],
    /// How often a time was before the one of the event before it: the clock was set back.
    pub(crate) clock_set_back: u64,
    /// Whether ids are unique and read in order (an intact primary key), so that a gap is a missing event.
    pub(crate) ids_are_ordered: bool,
}

impl Chain {
    /// A walk that begins with event `next`; its `prev_hash` is believed unless it is the first.
    pub(crate) fn starting_at(next: u64) -> Self {
        let mut genesis = [0; 64];
        genesis.copy_from_slice(GENESIS.as_bytes());
        Self {
            next,
            previous: (next == 1).then_some(genesis),
            last_ts: [0; 24],
            clock_set_back: 0,
            ids_are_ordered: true,
        }
    }

    /// The id that the next row must have.
    pub(crate) fn next(&self) -> u64 {
        self.next
    }

    /// The `hash` of the last row.
    pub(crate) fn last_hash(&self) -> Option<Digest> {
        self.previous.as_ref().and_then(|hash| from_hex(hash))
    }

    /// Checks one row and answers its hash.
    pub(crate) fn row(&mut self, row: &Row<'_>) -> Result<Digest, Violation> {
        let expected = self.next;
        let id = match row.get_ref(0) {
            Ok(ValueRef::Integer(id)) => u64::try_from(id).unwrap_or(0),
            _ => return Err(malformed(expected, "id")),
        };
        if id != expected {
            return Err(self.misplaced(id));
        }
        let text = |column: usize, name: &'static str| match row.get_ref(column) {
            Ok(ValueRef::Text(bytes)) => Ok(bytes),
            _ => Err(malformed(expected, name)),
        };
        let fields = Fields {
            id,
            ts: text(1, "ts")?,
            kind: text(2, "type")?,
            actor: text(3, "actor")?,
            payload: text(4, "payload")?,
            prev_hash: text(5, "prev_hash")?,
        };
        let continues = self.previous.as_ref().is_some_and(|previous| previous[..] == *fields.prev_hash);
        // What equals a hash has its form.
        let form = if continues { check_content(&fields) } else { check(&fields) };
        form.map_err(|error| Violation::of_field(id, error))?;
        let hash = event_hash(&fields);
        let digits = hash_text(&hash);
        if text(6, "hash")? != digits {
            return Err(Violation::at(
                ViolationKind::HashMismatch,
                id,
                "its hash is not the hash of its fields: one of them was edited",
            ));
        }
        if self.previous.is_some() && !continues {
            return Err(Violation::between(
                ViolationKind::BrokenLink,
                id.saturating_sub(1).max(1),
                id,
                "the second does not continue from the first: one of them was edited and its own hash recomputed",
            ));
        }
        if let Ok(ts) = <[u8; 24]>::try_from(fields.ts) {
            if ts < self.last_ts {
                self.clock_set_back += 1;
            }
            self.last_ts = ts;
        }
        self.previous = Some(digits);
        self.next += 1;
        Ok(hash)
    }

    fn misplaced(&self, id: u64) -> Violation {
        let expected = self.next;
        if id > expected && self.ids_are_ordered {
            Violation::between(ViolationKind::EventMissing, expected, id - 1, "not in the ledger: deleted")
        } else if id > expected {
            let detail = format!("event {id} stands in its place");
            Violation::at(ViolationKind::OutOfOrder, expected, detail)
        } else if id > 0 && id + 1 == expected {
            Violation::at(ViolationKind::DuplicateId, id, "there is a second event with this id")
        } else {
            let detail = format!("stands where event {expected} should");
            Violation::at(ViolationKind::OutOfOrder, id, detail)
        }
    }
}

fn malformed(event: u64, column: &'static str) -> Violation {
    Violation::at(ViolationKind::MalformedField, event, format!("`{column}` is malformed"))
}
