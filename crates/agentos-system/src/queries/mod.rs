//! The queries about the machine itself: its processes, files, memory and kernel. One file each.

pub(crate) mod block_devices;
pub(crate) mod cgroups;
pub(crate) mod directory;
pub(crate) mod disks;
pub(crate) mod file;
pub(crate) mod find;
pub(crate) mod groups;
pub(crate) mod hardware;
pub(crate) mod health;
pub(crate) mod kernel;
pub(crate) mod memory;
pub(crate) mod os;
pub(crate) mod pressure;
pub(crate) mod process;
pub(crate) mod processes;
pub(crate) mod shell;
pub(crate) mod sysctl;
pub(crate) mod time;
pub(crate) mod users;
