//! Commands.

mod preview;

pub use preview::{Preview, PreviewArgs};
