//! One process, in full.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Query;
use super::processes::State;
use crate::Bounded;

/// One process.
pub struct Process;

/// Which process, and how much of it.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Args {
    /// Its number.
    pub pid: Bounded<1, 4_194_304, 1>,
    /// Show the values of its environment too, which often hold secrets. Only for the operator; the names are always shown.
    #[serde(default)]
    pub environment: bool,
    /// Open files and sockets to list, at most.
    #[serde(default)]
    pub open_files_limit: Bounded<0, 1000, 100>,
}

/// One process.
#[expect(clippy::struct_excessive_bools, reason = "facts that have nothing to do with each other")]
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Output {
    /// Its number.
    pub pid: u32,
    /// Its parent's number; 0 has none.
    pub parent_pid: u32,
    /// Its parent's short name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent_name: Option<String>,
    /// Its children, at most 200.
    pub children: Vec<u32>,
    /// Its short name.
    pub name: String,
    /// What it is doing.
    pub state: State,
    /// It is one of the kernel's own threads.
    pub kernel_thread: bool,
    /// Its arguments, the program's own name first.
    pub arguments: Vec<String>,
    /// There are more arguments than shown.
    pub arguments_truncated: bool,
    /// The program file. Missing for the kernel's own threads, or where the kernel does not tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub executable: Option<String>,
    /// The program file was replaced or deleted since it was started, as an upgrade does.
    pub executable_deleted: bool,
    /// Its working directory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub working_directory: Option<String>,
    /// Its root directory, where that is not `/`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub root_directory: Option<String>,
    /// The user it acts as: a name, or the number where there is no name.
    pub user: String,
    /// That user's number.
    pub uid: u32,
    /// The group it acts as.
    pub group: String,
    /// That group's number.
    pub gid: u32,
    /// When it was started: UTC, RFC 3339.
    pub started: String,
    /// Seconds since then.
    pub running_seconds: f64,
    /// CPU time since then.
    pub cpu_seconds: f64,
    /// CPU time as a percentage of the time since its start; 100 is one whole processor. For use right now: `processes`.
    pub cpu_percent_since_start: f64,
    /// From -20 (first) to 19 (last).
    pub nice: i64,
    /// Its threads.
    pub threads: u64,
    /// Its memory.
    pub memory: Memory,
    /// What it read and wrote. Missing where the kernel does not count it or does not tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub io: Option<Io>,
    /// The systemd unit it belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unit: Option<String>,
    /// The unit of its user's own service manager.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user_unit: Option<String>,
    /// Its control group, as a path in the unified hierarchy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cgroup: Option<String>,
    /// How soon the kernel would kill it for lack of memory: from 0 (last) to 2000 (first).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub oom_score: Option<u64>,
    /// It and its children cannot gain privileges by running a program (`no_new_privs`).
    pub no_new_privileges: bool,
    /// Its system calls are filtered.
    pub seccomp_filtered: bool,
    /// Its effective capabilities, as the kernel's hexadecimal mask.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub effective_capabilities: Option<String>,
    /// Its resource limits.
    pub limits: Vec<Limit>,
    /// Its environment at start, at most 1,000 variables.
    pub environment: Vec<Variable>,
    /// The values of the environment are left out.
    pub environment_redacted: bool,
    /// How many files and sockets it holds open. Missing where the kernel does not tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub open_files_total: Option<u64>,
    /// Its open files, by descriptor, up to the limit.
    pub open_files: Vec<OpenFile>,
    /// Those of them that are sockets, with their addresses.
    pub sockets: Vec<Socket>,
}

/// Memory of one process.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Memory {
    /// In RAM; what it shares with others is counted in full.
    pub resident_bytes: u64,
    /// In RAM; what it shares with others is divided among them. Missing where the kernel does not tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proportional_bytes: Option<u64>,
    /// Most it ever had in RAM.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peak_resident_bytes: Option<u64>,
    /// Moved out to swap.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub swap_bytes: Option<u64>,
    /// Address space.
    pub virtual_bytes: u64,
    /// Resident, as a percentage of the machine's memory.
    pub percent: f64,
}

/// Input and output of one process since its start (`proc_pid_io(5)`).
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Io {
    /// Read from disks.
    pub read_bytes: u64,
    /// Written, or to be written, to disks.
    pub written_bytes: u64,
}

/// One resource limit (`proc_pid_limits(5)`).
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Limit {
    /// As the kernel names it: `Max open files`.
    pub name: String,
    /// The limit that holds; missing means unlimited.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub soft: Option<u64>,
    /// What the process may raise it to; missing means unlimited.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hard: Option<u64>,
    /// What is counted: `bytes`, `files`, `processes`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unit: Option<String>,
}

/// One variable of the environment.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Variable {
    /// Its name.
    pub name: String,
    /// Its value; missing where it is redacted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
}

/// One open file.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct OpenFile {
    /// The descriptor.
    pub descriptor: u32,
    /// The path, or what the kernel calls it: `socket:[123]`, `pipe:[45]`, `anon_inode:[eventpoll]`.
    pub target: String,
}

/// One open socket.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Socket {
    /// The descriptor.
    pub descriptor: u32,
    /// `tcp`, `tcp6`, `udp`, `udp6`, `unix`; missing for another kind, and for a socket of another network namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub protocol: Option<String>,
    /// Its own address, or the path of a Unix socket (`@` begins an abstract one).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub local: Option<String>,
    /// The address it is connected to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remote: Option<String>,
    /// `established`, `listen`, `close_wait` …
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<String>,
}

impl Query for Process {
    const NAME: &'static str = "process";
    const SUMMARY: &'static str = "One process in full: command line, program, unit, control group, limits, memory, open files, sockets";
    type Args = Args;
    type Output = Output;
}
