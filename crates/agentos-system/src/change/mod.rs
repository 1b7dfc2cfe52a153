//! Changing the machine: what a mutation would do is planned as transitions, and those are made, looked up and reversed.
//!
//! A [`Transition`] is one thing of the machine with the state it has and the state it shall have. That is all there is to
//! a change: its plan shows both states, an approval binds to them, making it goes from the one to the other and refuses
//! where the first is not found, undoing goes back, and after a cut the thing itself says how far it was.
//!
//! A mutation only plans. It is a function from arguments to transitions ([`Plan`], one file a family in `mutations/`).

mod apply;
mod command;
mod context;
mod diff;
mod dispatch;
mod entry;
mod error;
mod file;
mod filter;
mod host;
mod link;
mod link_names;
mod mount;
mod mutations;
mod package;
mod plan;
mod planner;
mod protect;
mod reverse;
mod script;
mod ssh;
#[cfg(test)]
mod testing;
mod transition;
mod unit;
mod ways_in;

pub use crate::text::chain;
pub use apply::{Made, Progress};
pub use command::{Mask, Output, Piece, output};
pub use context::{Context, Making};
pub use dispatch::mutation_names;
pub use error::ChangeError;
pub use file::together::{Ahead, Replaced};
pub use plan::Undone;
pub use script::{Like, Prepared, Script, Touched};
pub use transition::{Position, Transition};

pub(crate) use dispatch::Plan;
pub(crate) use file::open_without_links;
pub(crate) use mutations::ends_the_machine;
pub(crate) use protect::{is_another_name_of_own, is_own_name, own_folders, own_programs_and_units};
