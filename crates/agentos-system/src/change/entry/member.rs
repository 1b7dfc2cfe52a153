//! One user in one group: a word of a list, so that two people who join at the same time are two changes.

use agentos_api::change::Effect;
use serde::{Deserialize, Serialize};

use super::Lines;
use super::book::Book;
use crate::change::context::Context;
use crate::change::error::ChangeError;
use crate::change::transition::{Irreversible, Position, Transit};

/// A user comes into a list of a group, or leaves it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Member {
    pub(crate) book: Book,
    pub(crate) group: String,
    pub(crate) user: String,
    /// Which field of the entry the list is: members (3), or a group's administrators in gshadow(5) (2).
    pub(crate) field: usize,
    /// The user shall be in it; else, shall not.
    pub(crate) joins: bool,
}

impl Member {
    /// Whether the user is in the list; nothing where there is no such group.
    fn is_in(&self, lines: &Lines) -> Option<bool> {
        let line = lines.iter().find(|line| self.is_group(line))?;
        Some(list(line, self.field).contains(&self.user.as_bytes()))
    }

    fn is_group(&self, line: &[u8]) -> bool {
        self.book.format.key(line).as_deref() == Some(self.group.as_str())
    }

    /// Makes the change in the lines of the file.
    ///
    /// # Errors
    /// [`ChangeError::Moved`] where the user is in the list already, or not in it any more.
    pub(crate) fn edit(&self, lines: &mut Lines) -> Result<(), ChangeError> {
        let found = self.is_in(lines);
        let line = lines.iter_mut().find(|line| self.book.format.key(line).as_deref() == Some(&self.group));
        let (Some(line), true) = (line, found == Some(!self.joins)) else {
            return Err(ChangeError::Moved {
                what: self.on(),
                planned: word(Some(!self.joins)).to_owned(),
                found: word(found).to_owned(),
            });
        };
        let mut members: Vec<&[u8]> =
            list(line, self.field).into_iter().filter(|member| *member != self.user.as_bytes()).collect();
        if self.joins {
            members.push(self.user.as_bytes());
        }
        let members = members.join(&b',');
        let mut fields: Vec<&[u8]> = line.split(|&byte| byte == b':').collect();
        // A line without its last field is still a group's.
        while fields.len() <= self.field {
            fields.push(b"");
        }
        if let Some(field) = fields.get_mut(self.field) {
            *field = &members;
        }
        *line = fields.join(&b':');
        Ok(())
    }
}

/// The names in a list of an entry.
pub(crate) fn list(line: &[u8], field: usize) -> Vec<&[u8]> {
    let field = line.split(|&byte| byte == b':').nth(field).unwrap_or_default();
    field.split(|&byte| byte == b',').filter(|member| !member.is_empty()).collect()
}

const fn word(is_in: Option<bool>) -> &'static str {
    match is_in {
        Some(true) => "a member",
        Some(false) => "not a member",
        None => "without such a group",
    }
}

impl Transit for Member {
    fn on(&self) -> String {
        let role = if self.field == 2 { "administrator" } else { "member" };
        format!("{role} {} of {} in {}", self.user, self.group, self.book.place.text())
    }

    fn effect(&self, _context: &Context<'_>) -> Effect {
        Effect {
            on: self.on(),
            before: word(Some(!self.joins)).to_owned(),
            after: word(Some(self.joins)).to_owned(),
            diff: None,
            diff_omitted: None,
        }
    }

    fn position(&self, _context: &Context<'_>) -> Result<Position, ChangeError> {
        Ok(match self.is_in(&self.book.read()?.unwrap_or_default()) {
            Some(is_in) if is_in == self.joins => Position::After,
            Some(_) => Position::Before,
            // Before the group is made, and after it was deleted, nobody is in it.
            None if self.joins => Position::Before,
            None => Position::After,
        })
    }

    fn apply(&self, _context: &Context<'_>) -> Result<(), ChangeError> {
        self.book.rewrite(|lines| self.edit(lines))
    }

    fn clean(&self, _context: &Context<'_>) {
        self.book.clean();
    }

    fn reversed(&self) -> Result<Self, Irreversible> {
        Ok(Self { joins: !self.joins, ..self.clone() })
    }

    fn paths(&self) -> Vec<Vec<u8>> {
        vec![self.book.place.as_bytes().to_vec()]
    }
}
