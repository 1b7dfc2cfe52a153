//! Control groups (version 2): what each service, session and container uses.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Query;
use crate::Bounded;

/// Control groups.
pub struct Cgroups;

/// Which control groups, and in which order.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Args {
    /// The order of the rows.
    pub sort: Sort,
    /// Only groups below this one, as a path in the hierarchy: `/system.slice`.
    pub under: Option<String>,
    /// Only groups whose path contains this text (case is ignored).
    pub text: Option<String>,
    /// Levels below the starting group, at most. With 1, only its direct children.
    pub max_depth: Bounded<1, 32, 32>,
    /// Measure CPU use afresh over this many seconds, rather than since it was last asked for.
    pub measure_seconds: Option<Bounded<1, 5, 1>>,
    /// Rows to pass over: `next_offset` of the answer before.
    pub offset: Bounded<0, 100_000, 0>,
    /// Rows at most.
    pub limit: Bounded<1, 500, 50>,
}

/// The order of control groups. A group's numbers hold those of the groups below it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Sort {
    /// Most memory first.
    #[default]
    Memory,
    /// Most CPU over the interval first.
    Cpu,
    /// Most read and written first.
    Io,
    /// Most processes and threads first.
    Tasks,
    /// By path.
    Path,
}

/// One page of control groups.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Output {
    /// The rows of this page.
    pub cgroups: Vec<Cgroup>,
    /// Groups that match, on all pages.
    pub total: u64,
    /// The `offset` of the next page; missing on the last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_offset: Option<u64>,
    /// There are more groups than are looked at (10,000), so the rows may lack some.
    pub truncated: bool,
    /// Where the hierarchy is mounted.
    pub mount_point: String,
    /// The controllers it has. Without `memory`, `io` or `pids` among them, those numbers are missing in the rows.
    pub controllers: Vec<String>,
    /// The interval that `cpu_percent` was measured over, in seconds.
    pub cpu_interval_seconds: f64,
}

/// One control group, with all groups below it. A number is missing where its controller is not on.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Cgroup {
    /// Its path in the hierarchy.
    pub path: String,
    /// The systemd unit it is, or is inside of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unit: Option<String>,
    /// Memory in use, page cache included.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_bytes: Option<u64>,
    /// Most memory it ever used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_peak_bytes: Option<u64>,
    /// Memory it may use; missing means no limit of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_limit_bytes: Option<u64>,
    /// Swap in use.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub swap_bytes: Option<u64>,
    /// Times a process in it was killed for lack of memory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub oom_kills: Option<u64>,
    /// CPU use over the interval; 100 is one whole processor. Missing for a group made since.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu_percent: Option<f64>,
    /// CPU time since it was made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu_seconds: Option<f64>,
    /// Read from disks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub io_read_bytes: Option<u64>,
    /// Written to disks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub io_written_bytes: Option<u64>,
    /// Processes and threads.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tasks: Option<u64>,
    /// Processes and threads it may have; missing means no limit of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tasks_limit: Option<u64>,
    /// There is a process in it, or below it.
    pub populated: bool,
}

impl Query for Cgroups {
    const NAME: &'static str = "cgroups";
    const SUMMARY: &'static str = "Control groups (services, sessions, containers) by memory, CPU, IO or tasks";
    type Args = Args;
    type Output = Output;
}
