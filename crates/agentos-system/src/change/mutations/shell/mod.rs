//! `shell.*`: commands, run as changes.

mod apply;
