//! What the kernel and logind hold, as transitions.

mod hostname;
mod journal;
mod power;
mod signal;
mod sysctl;

pub(crate) use hostname::Hostname;
pub(crate) use journal::{JournalFiles, Old};
pub(crate) use power::{Power, Scheduled};
pub(crate) use signal::{Signal, boot, name as signal_name};
pub(crate) use sysctl::{Sysctl, normal, read_setting};
