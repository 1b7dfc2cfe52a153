//! Reading a Linux machine: processes, services, network, disks, users, journal.
//!
//! [`Machine::query`] answers a query of [`agentos_api::query`] by name, from JSON arguments to JSON bytes. Everything
//! comes from the kernel and from system services directly; a program is run only where there is no interface.
//! Queries change nothing. [`Machine::plan`] turns mutations of [`agentos_api::mutation`] into a plan and a [`change::Script`],
//! which is what changes the machine, and back. Nothing here prints or reads its own environment. Every answer is bounded in
//! size and time.

mod accounts;
mod bus;
pub mod change;
mod dispatch;
mod error;
mod files;
mod firewall;
mod guard;
mod journal;
mod login;
mod machine;
mod moment;
mod network;
mod packages;
mod procfs;
mod queries;
mod run;
mod samples;
mod sessions;
mod shell;
mod systemd;
mod text;

pub use dispatch::names;
pub use error::QueryError;
pub use files::{Kept, Rules};
pub use login::{Moment, Peer};
pub use machine::{Machine, MachineOptions, Viewer};
pub use run::{counting_programs, starts_programs};
pub use systemd::transient::Wake;
