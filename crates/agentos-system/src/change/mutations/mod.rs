//! The mutations, one file a family: from arguments to transitions.

mod accounts;
mod file;
mod files;
mod firewall;
mod hostname;
mod mount;
mod network;
mod package;
mod power;
mod process;
mod service;
mod ssh_key;
mod sysctl;
mod timezone;
