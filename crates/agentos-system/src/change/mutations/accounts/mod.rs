//! `user.*` and `group.*`: accounts, as entries of the files that hold them.
//!
//! The lines are written here, not by the tools of shadow-utils: those answer with a file that was changed, not with what
//! they would change, and they do not bring an account back with its number, its password and its groups. The lock and the
//! form of the lines are theirs, and their own checkers (pwck(8), grpck(8)) pass over what is written here in the tests.

mod database;
mod group;
mod home;
mod names;
mod rights;
#[cfg(test)]
mod tests;
mod user;

pub(super) use database::Database;
pub(super) use rights::{guard_user, refuse_who_says_yes};
