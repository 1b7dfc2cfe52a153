//! Commands, run as changes.

pub mod apply;

pub use apply::{Apply, ApplyArgs};
