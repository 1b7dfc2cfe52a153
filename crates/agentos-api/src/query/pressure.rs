//! Pressure stall information: how much time is lost waiting for CPU, memory and disks.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Query;

/// Pressure stall information.
pub struct Pressure;

/// Of what.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Args {
    /// Of this control group, as a path in the unified hierarchy: `/system.slice/nginx.service`. Left out: the machine.
    pub cgroup: Option<String>,
}

/// Time lost waiting, by resource. A resource the kernel does not account is missing.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Output {
    /// Waiting for a processor.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu: Option<Resource>,
    /// Waiting for memory: reclaim, swapping in, refaults.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory: Option<Resource>,
    /// Waiting for disks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub io: Option<Resource>,
    /// Lost to interrupts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub irq: Option<Resource>,
}

/// Pressure on one resource.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Resource {
    /// At least one task waited.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub some: Option<Share>,
    /// All tasks that had work waited: nothing got done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub full: Option<Share>,
}

/// Part of the time that was lost.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Share {
    /// Over the last ten seconds, in percent.
    pub average_10_seconds_percent: f64,
    /// Over the last minute, in percent.
    pub average_60_seconds_percent: f64,
    /// Over the last five minutes, in percent.
    pub average_300_seconds_percent: f64,
    /// In all, since boot or since the group was made.
    pub total_seconds: f64,
}

impl Query for Pressure {
    const NAME: &'static str = "pressure";
    const SUMMARY: &'static str = "Pressure stall information: time lost waiting for CPU, memory, disks";
    type Args = Args;
    type Output = Output;
}
