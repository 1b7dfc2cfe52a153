//! The life of a change: planned, (waiting for a yes,) made, and taken back.
//!
//! The ledger is the truth. Each step of a change is an event, durable before what it announces; what is known of a change
//! is what its events say ([`record`]), and a database beside the ledger only keeps that at hand ([`book`]). It can be
//! deleted. Contents and plans are in the store of [`agentos_objects`], as they may be forgotten and the ledger may not.
//!
//! ```text
//! requested → planned ┬→ applying ┬→ applied → undone
//!                     │           ├→ unconfirmed → applied | undone
//!                     │           ├→ failed
//!                     │           └→ unknown
//!                     └→ waiting ┬→ approved → applying …
//!                                ├→ replanned → waiting
//!                                └→ denied | expired
//! ```
//!
//! A question that a rule asks about goes a shorter way ([`questions`]): waiting, approved, used; or denied, or expired.
//!
//! Everything here blocks, and may be called from any thread.

mod book;
mod changes;
mod decide;
mod error;
mod grants;
mod judge;
mod kept;
mod make;
mod output;
mod questions;
mod record;
mod settle;
mod show;
mod turn;
mod undo;

pub use changes::{Asked, BeforeStep, Changes, Options, Outcome, RulesFor};
pub use error::{ChangesError, Conflict};
pub use judge::{Judge, Ruling, Verdict};
pub use make::content_bytes;
pub use questions::{Asking, Consent, Yes};
pub use settle::take_back_alone;
