//! `shell.*`: commands.

mod differences;
mod preview;
