//! The machine that is read, and the little that is remembered between two readings of it.

use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use agentos_api::query::path::AbsolutePath;

use crate::QueryError;
use crate::accounts::Accounts;
use crate::bus::Bus;
use crate::files::{Protected, Rules};
use crate::guard::Guard;
use crate::procfs::ticks::Ticks;
use crate::queries;
use crate::samples::Samples;
use crate::shell::{Cells, Remembered};

/// What the owner of a [`Machine`] decides about it.
#[derive(Clone, Debug, Default)]
pub struct MachineOptions {
    /// Files and directories whose contents only an operator may read: agentd's keys and its state. Directories protect
    /// all that is below them, also through hard links, bind mounts and `/proc/PID/root`.
    pub protected: Vec<PathBuf>,
    /// The folder below which the machine's own files (`/etc/passwd`, `/etc/fstab` …) are changed; empty for `/`. A test
    /// gives one of its own.
    pub root: PathBuf,
    /// More of agentd's that a command does not get at which acts on the machine: its sockets, its configuration. What is
    /// [`MachineOptions::protected`] is kept from it, too.
    pub covered: Vec<PathBuf>,
    /// How a cell for a command is started: a program whose `main` calls [`agentos_cell::enter`], and its arguments. Empty:
    /// no commands are run.
    pub cell: Vec<PathBuf>,
    /// The file in which it is kept what is remembered of programs that ran; without, that is forgotten at the end.
    pub remembered: Option<PathBuf>,
}

/// For whom the machine is read.
#[derive(Clone, Debug, Default)]
pub struct Viewer {
    /// The caller is the person who operates the machine, not the agent.
    pub operator: bool,
    /// What is decided about the files that are asked for; without, none is kept but what is protected.
    pub rules: Option<Arc<dyn Rules>>,
}

/// The machine this process runs on.
///
/// One value is shared by all threads. It keeps the previous CPU counters, so that a percentage is over a real interval,
/// and small caches; dropping it loses nothing.
#[derive(Debug)]
pub struct Machine {
    root: PathBuf,
    pub(crate) cells: Arc<Cells>,
    pub(crate) remembered: Remembered,
    pub(crate) covered: Vec<PathBuf>,
    pub(crate) bus: Bus,
    pub(crate) protected: Arc<Protected>,
    pub(crate) accounts: Arc<Accounts>,
    pub(crate) guard: Guard,
    pub(crate) ticks: Ticks,
    pub(crate) health: Mutex<queries::health::Kept>,
    pub(crate) processes: Mutex<Samples<queries::processes::sample::Sample>>,
    pub(crate) cgroups: Mutex<Samples<queries::cgroups::Sample>>,
}

impl Machine {
    /// A machine of which nothing has been read yet.
    pub fn new(options: MachineOptions) -> Self {
        Self {
            root: options.root,
            cells: Arc::new(Cells::new(options.cell)),
            remembered: Remembered::open(options.remembered),
            // The first is a folder, where there is one.
            covered: options.protected.iter().cloned().chain(options.covered).collect(),
            bus: Bus::default(),
            protected: Arc::new(Protected::new(options.protected)),
            accounts: Arc::default(),
            guard: Guard::default(),
            ticks: Ticks::of_this_kernel(),
            health: Mutex::default(),
            processes: Mutex::default(),
            cgroups: Mutex::default(),
        }
    }

    /// Writes what is remembered of programs that ran, as far as it is not written yet. That is done now and then by itself;
    /// this is for the end.
    pub fn write_remembered(&self) {
        self.remembered.write();
    }

    /// Where the file `path` of the machine is: `path` is absolute.
    ///
    /// # Errors
    /// [`QueryError::InvalidArgument`] where that is too long for a path.
    pub(crate) fn own_path(&self, path: &[u8]) -> Result<AbsolutePath, QueryError> {
        let root = self.root.as_os_str().as_bytes();
        let root = root.strip_suffix(b"/").unwrap_or(root);
        AbsolutePath::new([root, path].concat())
            .map_err(|error| QueryError::invalid("path", error.to_string()))
    }

    /// A path of the machine's as it is written in the machine's own files: without the root.
    pub(crate) fn is_own_root(&self) -> bool {
        self.root.as_os_str().is_empty() || self.root.as_os_str() == "/"
    }
}

/// Locks what is kept between readings. A reader that panicked left at worst an older sample behind.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
