//! One entry, from one state to another.

use agentos_api::change::Effect;
use serde::{Deserialize, Serialize};

use super::book::Book;
use super::format::Format;
use super::line::{Line, shown};
use super::{Kept, Lines, fields};
use crate::change::context::Context;
use crate::change::error::ChangeError;
use crate::change::transition::{Irreversible, Position, Transit};

/// One entry, from one state to another.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Entry {
    pub(crate) book: Book,
    /// Which one: [`Format::key`].
    pub(crate) key: String,
    pub(crate) from: Line,
    pub(crate) to: Line,
}

impl Entry {
    fn find<'l>(&self, lines: &'l Lines) -> Option<&'l Vec<u8>> {
        lines.iter().find(|line| self.book.format.key(line).as_deref() == Some(self.key.as_str()))
    }

    /// Makes the change in the lines of the file.
    ///
    /// # Errors
    /// [`ChangeError::Moved`] where the entry is not in the first state; the store's.
    pub(crate) fn edit(&self, lines: &mut Lines, kept: &impl Kept) -> Result<(), ChangeError> {
        let format = self.book.format;
        let to = self.to.bytes(kept)?;
        let found = self.find(lines).cloned();
        // With a group that goes, its members go: those have to be the ones that were seen.
        let exact = match (&to, self.from.bytes(kept)) {
            (None, Ok(from)) => from == found,
            _ => true,
        };
        if !exact || !self.from.is(format, found.as_deref()) {
            return Err(ChangeError::Moved {
                what: self.on(),
                planned: self.from.text(),
                found: shown(format, found.as_deref()),
            });
        }
        let at = lines.iter().position(|line| format.key(line).as_deref() == Some(self.key.as_str()));
        match (at, to) {
            (Some(at), Some(to)) => {
                if let Some(line) = lines.get_mut(at) {
                    *line = to;
                }
            }
            (Some(at), None) => {
                lines.remove(at);
            }
            (None, Some(to)) => {
                self.refuse_taken_number(lines, &to)?;
                let at = format.place_of_new(lines);
                lines.insert(at, to);
            }
            (None, None) => {}
        }
        Ok(())
    }

    /// A user or group that comes back does not share its number with one that got it meanwhile.
    fn refuse_taken_number(&self, lines: &Lines, new: &[u8]) -> Result<(), ChangeError> {
        if !matches!(self.book.format, Format::Passwd | Format::Group) {
            return Ok(());
        }
        let number = fields(new).get(2).map(|field| field.clone().into_owned());
        let holder = lines.iter().find(|line| {
            self.book.format.key(line).is_some()
                && fields(line).get(2).map(AsRef::as_ref) == number.as_deref()
        });
        match holder {
            Some(holder) => Err(ChangeError::Moved {
                what: self.on(),
                planned: "absent, with its number free".to_owned(),
                found: format!(
                    "absent, and the number {} is that of {}",
                    number.unwrap_or_default(),
                    fields(holder).first().map_or("", |name| name)
                ),
            }),
            None => Ok(()),
        }
    }
}

impl Transit for Entry {
    fn on(&self) -> String {
        format!("entry {} of {}", self.book.format.shown_key(&self.key), self.book.place.text())
    }

    fn effect(&self, _context: &Context<'_>) -> Effect {
        Effect {
            on: self.on(),
            before: self.from.text(),
            after: self.to.text(),
            diff: None,
            diff_omitted: None,
        }
    }

    fn position(&self, _context: &Context<'_>) -> Result<Position, ChangeError> {
        let lines = self.book.read()?.unwrap_or_default();
        let found = self.find(&lines).map(Vec::as_slice);
        let format = self.book.format;
        Ok(if self.to.is(format, found) {
            Position::After
        } else if self.from.is(format, found) {
            Position::Before
        } else {
            Position::Elsewhere(shown(format, found))
        })
    }

    fn apply(&self, context: &Context<'_>) -> Result<(), ChangeError> {
        self.book.rewrite(|lines| self.edit(lines, context))
    }

    fn clean(&self, _context: &Context<'_>) {
        self.book.clean();
    }

    fn reversed(&self) -> Result<Self, Irreversible> {
        Ok(Self {
            book: self.book.clone(),
            key: self.key.clone(),
            from: self.to.clone(),
            to: self.from.clone(),
        })
    }

    fn paths(&self) -> Vec<Vec<u8>> {
        vec![self.book.place.as_bytes().to_vec()]
    }
}
