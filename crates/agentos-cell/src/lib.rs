//! The place in which a command runs that may read the machine and change nothing.
//!
//! agentd starts itself as `agentd --cell`, with one end of a socket as standard input. The new process has one thread, reads
//! there what it shall run ([`Command`]), closes one way of altering the machine after the other, and becomes the command:
//!
//! 1. A mount namespace in which every mount is read-only, without devices and without set-user-ID (`mount_setattr(2)`).
//! 2. A process namespace: no process outside has a number that a signal could be sent to, and when the first process of it
//!    ends, for whatever reason, the kernel ends all others. `/proc` stays the machine's, so that ps(1) sees it.
//! 3. A namespace for System V IPC and POSIX queues.
//! 4. Of all capabilities those to read: `CAP_DAC_READ_SEARCH`, `CAP_SYS_PTRACE` (for `/proc/PID/fd`), `CAP_SYSLOG`.
//! 5. No new privileges, no core files, a session of its own.
//! 6. A filter for system calls ([`filter`]): those that read are let through, the others fail. What opens a file, and what
//!    connects a socket, is decided by agentd, which opens it itself ([`Listener`]): a check that the command could outrun by
//!    exchanging the path is no check.
//!
//! A step that fails ends the process, and nothing runs.
//!
//! A command that is made as a change is kept from less ([`apply`]).

pub mod apply;
mod command;
mod enter;
pub mod filter;
mod listener;
mod preview;
mod preview_filter;
pub mod programs;
mod send;

pub use command::{Apply, Command, CommandError, Confinement, MOST_BYTES, Word};
pub use enter::enter;
pub use listener::{Listener, Notification};
pub use preview::{How, MOST_OVERLAYS, Mounted, Outcome, Preview};
pub use send::MOST_DESCRIPTORS;

/// The argument by which agentd knows, when it starts, that it is to [`enter`] and nothing else.
pub const ARGUMENT: &str = "--cell";
