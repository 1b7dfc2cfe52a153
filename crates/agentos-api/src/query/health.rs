//! The machine at a glance: what a person would look at first.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Query;

/// The machine at a glance.
pub struct Health;

/// No arguments.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Args {}

/// CPU, memory, root file system, load and uptime, all taken at one moment.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Output {
    /// The machine's name (`uname -n`).
    pub hostname: String,
    /// The running kernel's release (`uname -r`).
    pub kernel: String,
    /// When this was measured: UTC, RFC 3339 with milliseconds.
    pub measured_at: String,
    /// Seconds since boot.
    pub uptime_seconds: f64,
    /// Runnable and uninterruptible tasks, averaged.
    pub load: Load,
    /// Processors.
    pub cpu: Cpu,
    /// Main memory.
    pub ram: Ram,
    /// Swap space.
    pub swap: Swap,
    /// The root file system.
    pub disk: Disk,
}

/// Load averages (`proc_loadavg(5)`).
#[derive(Clone, Copy, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Load {
    /// Over one minute.
    pub one_minute: f64,
    /// Over five minutes.
    pub five_minutes: f64,
    /// Over fifteen minutes.
    pub fifteen_minutes: f64,
}

/// Use of all processors together.
#[derive(Clone, Copy, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Cpu {
    /// Processors online.
    pub count: u32,
    /// Time not idle, as a percentage of all processors' time, over the interval beside it.
    pub used_percent: f64,
    /// The interval `used_percent` was measured over, in seconds; since boot for the first measurement.
    pub interval_seconds: f64,
}

/// Use of main memory (`proc_meminfo(5)`).
#[derive(Clone, Copy, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Ram {
    /// `MemTotal`.
    pub total_bytes: u64,
    /// `MemAvailable`: what can be given to programs without swapping.
    pub available_bytes: u64,
    /// Total less available.
    pub used_bytes: u64,
    /// Used as a percentage of total.
    pub used_percent: f64,
}

/// Use of swap space.
#[derive(Clone, Copy, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Swap {
    /// Zero on a machine without swap.
    pub total_bytes: u64,
    /// In use.
    pub used_bytes: u64,
}

/// Use of one file system (statvfs(3)).
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Disk {
    /// Where it is mounted.
    pub mount_point: String,
    /// Its size.
    pub total_bytes: u64,
    /// What an ordinary user can still write.
    pub available_bytes: u64,
    /// Total less free.
    pub used_bytes: u64,
    /// Used as a percentage of used plus available, as df(1) counts it.
    pub used_percent: f64,
}

impl Query for Health {
    const NAME: &'static str = "health";
    const SUMMARY: &'static str = "CPU, memory, swap, root disk, load and uptime at a glance";
    type Args = Args;
    type Output = Output;
}
