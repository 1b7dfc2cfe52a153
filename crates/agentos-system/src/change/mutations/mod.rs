//! The mutations, one file a family: from arguments to transitions.

mod file;
mod files;
mod hostname;
mod power;
mod process;
mod service;
mod sysctl;
mod timezone;
