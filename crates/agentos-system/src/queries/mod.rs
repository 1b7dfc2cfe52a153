//! The queries about the machine itself: its processes, files, memory and kernel. One file each.

pub(crate) mod health;
