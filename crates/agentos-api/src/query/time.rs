//! The clock: what time it is here, and whether it can be trusted.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Query;

/// The clock.
pub struct Time;

/// No arguments.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Args {}

/// The clock.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Output {
    /// Now: UTC, RFC 3339 with milliseconds.
    pub utc: String,
    /// Now in the machine's time zone: RFC 3339 with its offset.
    pub local: String,
    /// The machine's time zone: `Europe/Berlin`; `UTC` where none is set.
    pub time_zone: String,
    /// The clock is kept in step with a time server, as the kernel was told. Missing where the kernel does not tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub synchronized: Option<bool>,
    /// The error of the clock that is to be expected at most, in seconds, where it is kept in step.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub maximum_error_seconds: Option<f64>,
    /// When the machine was booted: UTC, RFC 3339.
    pub booted: String,
    /// Seconds since then, time asleep included.
    pub uptime_seconds: f64,
    /// Seconds of that asleep.
    pub asleep_seconds: f64,
    /// The hardware clock: RFC 3339, read as UTC. Missing on a machine without one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hardware_clock: Option<String>,
    /// What the kernel counts time with: `tsc`, `kvm-clock`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clock_source: Option<String>,
}

impl Query for Time {
    const NAME: &'static str = "time";
    const SUMMARY: &'static str = "The clock: UTC, local time, zone, synchronisation, boot time, uptime";
    type Args = Args;
    type Output = Output;
}
