//! The mutations, one file a family: from arguments to transitions.

mod accounts;
mod file;
mod files;
mod firewall;
mod hostname;
mod journal;
mod mount;
mod network;
mod ntp;
mod package;
mod power;
mod process;
mod service;
mod shell;
mod ssh_key;
mod sysctl;
mod timer;
mod timezone;

pub(super) use file::like;
pub(crate) use service::ends_the_machine;
