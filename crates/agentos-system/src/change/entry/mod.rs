//! Files that are lists of entries, a line each: accounts, authorized keys, the table of file systems.
//!
//! The state of a transition is one entry, never the file: taking a change back finds its own entry again, whatever was
//! done to the others meanwhile. An entry with a password's hash in it is kept in the store and named by its SHA-256; no
//! plan, no event and no answer holds the hash.

mod book;
mod format;
mod line;
mod lock;
mod member;
mod transition;

pub(crate) use book::{Book, New};
pub(crate) use format::{Format, fingerprint_of};
pub(crate) use line::Line;
pub(crate) use member::{Member, list};
pub(crate) use transition::Entry;

use std::borrow::Cow;

use agentos_objects::{Batch, Hash};

use super::context::Context;
use super::error::ChangeError;
use super::planner::Planner;
use super::transition::Transition;

/// Longest entry, in bytes.
pub(crate) const LONGEST_LINE: u64 = 64 << 10;

/// Where the bytes of entries that are kept in the store come from.
pub(crate) trait Kept {
    /// Those of that hash.
    ///
    /// # Errors
    /// [`ChangeError::Objects`] where they are not kept any more.
    fn bytes(&self, hash: &Hash) -> Result<Vec<u8>, ChangeError>;
}

impl Kept for Context<'_> {
    fn bytes(&self, hash: &Hash) -> Result<Vec<u8>, ChangeError> {
        Ok(self.objects.get(hash, LONGEST_LINE)?)
    }
}

impl Kept for Batch<'_> {
    fn bytes(&self, hash: &Hash) -> Result<Vec<u8>, ChangeError> {
        match self.get(hash) {
            Some(bytes) => Ok(bytes),
            None => Ok(self.store().get(hash, LONGEST_LINE)?),
        }
    }
}

/// The lines of a file, without their line breaks.
pub(crate) type Lines = Vec<Vec<u8>>;

pub(crate) fn split(content: &[u8]) -> Lines {
    let mut lines: Lines = content.split(|&byte| byte == b'\n').map(<[u8]>::to_vec).collect();
    // What follows the last line break is no line.
    if lines.last().is_some_and(Vec::is_empty) {
        lines.pop();
    }
    lines
}

pub(crate) fn join(lines: &Lines) -> Vec<u8> {
    let mut content = lines.join(&b'\n');
    if !lines.is_empty() {
        content.push(b'\n');
    }
    content
}

/// The fields of an entry of the account files.
pub(crate) fn fields(line: &[u8]) -> Vec<Cow<'_, str>> {
    line.split(|&byte| byte == b':').map(String::from_utf8_lossy).collect()
}

impl Planner<'_> {
    /// The lines of a book after what is planned so far; none where there is no such file.
    ///
    /// # Errors
    /// The kernel's.
    pub(crate) fn lines(&self, book: &Book) -> Result<Lines, ChangeError> {
        let mut lines = book.read()?.unwrap_or_default();
        for transition in self.planned() {
            match transition {
                Transition::Entry(entry) if entry.book.place == book.place => {
                    entry.edit(&mut lines, &self.batch)?;
                }
                Transition::Member(member) if member.book.place == book.place => {
                    member.edit(&mut lines)?;
                }
                _ => {}
            }
        }
        Ok(lines)
    }

    /// Plans that the entry `key` of a book becomes `after`, or goes. Nothing is added where it is so already.
    ///
    /// # Errors
    /// The kernel's and the store's.
    pub(crate) fn change_entry(
        &mut self,
        book: &Book,
        key: &str,
        after: Option<&[u8]>,
    ) -> Result<(), ChangeError> {
        let lines = self.lines(book)?;
        let before = lines.iter().find(|line| book.format.key(line).as_deref() == Some(key));
        if before.map(Vec::as_slice) == after {
            return Ok(());
        }
        let from = Line::keep(book.format, before.map(Vec::as_slice), &mut self.batch)?;
        let to = Line::keep(book.format, after, &mut self.batch)?;
        self.add(Transition::Entry(Entry { book: book.clone(), key: key.to_owned(), from, to }))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn lines_put_together_are_the_file(content in "([a-z:#+ ]{0,12}\n){0,12}") {
            prop_assert_eq!(join(&split(content.as_bytes())), content.into_bytes());
        }
    }
}
