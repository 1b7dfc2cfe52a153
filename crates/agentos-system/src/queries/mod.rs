//! The queries about the machine itself: its processes, files, memory and kernel. One file each.

pub(crate) mod directory;
pub(crate) mod file;
pub(crate) mod find;
pub(crate) mod health;
pub(crate) mod processes;
