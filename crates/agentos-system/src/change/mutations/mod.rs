//! The mutations, one file a family: from arguments to transitions.

mod accounts;
mod file;
mod ssh_key;
