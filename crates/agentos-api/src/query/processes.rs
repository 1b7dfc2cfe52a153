//! The processes of the machine: what they are, what they use now.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Query;
use crate::Bounded;

/// Running processes.
pub struct Processes;

/// Which processes, and in which order.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Args {
    /// The order of the rows.
    pub sort: Sort,
    /// Only processes whose name or command line contains this text (case is ignored).
    pub text: Option<String>,
    /// Only processes of this user: a name or a number.
    pub user: Option<String>,
    /// Only processes of this systemd unit, such as `nginx.service`.
    pub unit: Option<String>,
    /// Only processes in this state.
    pub state: Option<State>,
    /// Only children of this process.
    pub parent_pid: Option<Bounded<0, 4_194_304, 1>>,
    /// Leave out the kernel's own threads, such as `kworker`.
    pub without_kernel_threads: bool,
    /// Measure CPU use afresh over this many seconds, rather than since it was last asked for.
    pub measure_seconds: Option<Bounded<1, 5, 1>>,
    /// Rows to pass over: `next_offset` of the answer before.
    pub offset: Bounded<0, 1_000_000, 0>,
    /// Rows at most.
    pub limit: Bounded<1, 1000, 50>,
}

/// The order of processes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Sort {
    /// Most CPU over the interval first.
    #[default]
    Cpu,
    /// Most resident memory first.
    Memory,
    /// Most CPU time since its start first.
    CpuTime,
    /// Most threads first.
    Threads,
    /// Newest first.
    Started,
    /// By number.
    Pid,
    /// By name.
    Name,
}

/// What a process is doing (`proc_pid_stat(5)`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Running or ready to run.
    Running,
    /// Waiting, and can be woken by a signal.
    Sleeping,
    /// Waiting for the kernel, mostly for a disk or a network file system; cannot be interrupted (`D`).
    Uninterruptible,
    /// Ended, and not yet collected by its parent.
    Zombie,
    /// Stopped by a signal.
    Stopped,
    /// Stopped by a debugger.
    Traced,
    /// A kernel thread with nothing to do.
    Idle,
    /// Anything else.
    Other,
}

/// One page of processes, and what all of them are. Threads are counted, and are not rows.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Output {
    /// The rows of this page.
    pub processes: Vec<Process>,
    /// Processes that match, on all pages.
    pub total: u64,
    /// The `offset` of the next page; missing on the last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_offset: Option<u64>,
    /// The interval that `cpu_percent` was measured over, in seconds. A process younger than the interval is measured since
    /// its start.
    pub cpu_interval_seconds: f64,
    /// Processors online. All of them busy are 100 times this in `cpu_percent`.
    pub processors: u32,
    /// The machine's memory, which `memory_percent` is a part of.
    pub memory_total_bytes: u64,
    /// All processes of the machine, by state.
    pub counts: Counts,
    /// When this was measured: UTC, RFC 3339.
    pub measured_at: String,
}

/// All processes of the machine, whether they match or not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Counts {
    /// Processes, the kernel's own threads included.
    pub processes: u64,
    /// Threads of all processes.
    pub threads: u64,
    /// The kernel's own threads.
    pub kernel_threads: u64,
    /// Processes running or ready to run.
    pub running: u64,
    /// Processes waiting for the kernel, uninterruptible.
    pub uninterruptible: u64,
    /// Processes stopped by a signal or a debugger.
    pub stopped: u64,
    /// Processes ended and not collected.
    pub zombies: u64,
}

/// One process.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Process {
    /// Its number.
    pub pid: u32,
    /// Its parent's number; 0 has none.
    pub parent_pid: u32,
    /// Its short name (at most 15 bytes, as the kernel keeps it).
    pub name: String,
    /// Its command line, at most 300 characters; in brackets, its name, where it has none.
    pub command: String,
    /// What it is doing.
    pub state: State,
    /// The user it acts as: a name, or the number where there is no name.
    pub user: String,
    /// That user's number.
    pub uid: u32,
    /// CPU use over `cpu_interval_seconds`; 100 is one whole processor.
    pub cpu_percent: f64,
    /// CPU time since its start.
    pub cpu_seconds: f64,
    /// Memory it holds in RAM; what it shares with others is counted at each.
    pub resident_bytes: u64,
    /// That as a percentage of the machine's memory.
    pub memory_percent: f64,
    /// Its threads.
    pub threads: u64,
    /// When it was started: UTC, RFC 3339.
    pub started: String,
    /// The systemd unit it belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unit: Option<String>,
    /// It is one of the kernel's own threads.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub kernel_thread: bool,
}

impl Query for Processes {
    const NAME: &'static str = "processes";
    const SUMMARY: &'static str = "Running processes with real CPU and memory use; sorted, filtered, paged";
    type Args = Args;
    type Output = Output;
}
