//! `shell.*`: commands, run as changes.

mod apply;
mod differences;
mod preview;
