//! Commands, run as changes.

pub mod apply;
mod preview;

pub use apply::{Apply, ApplyArgs};
pub use preview::{Preview, PreviewArgs};
