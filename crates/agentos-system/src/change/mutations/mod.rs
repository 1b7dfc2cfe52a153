//! The mutations, one file a family: from arguments to transitions.

mod accounts;
mod file;
mod firewall;
mod mount;
mod network;
mod ssh_key;
