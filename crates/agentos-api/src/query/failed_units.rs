//! What systemd could not start or keep running, and what it said last.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Query, journal, service};
use crate::Bounded;

/// The failed units.
pub struct FailedUnits;

/// How much of each.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Args {
    /// Last log lines of each unit to include.
    pub log_lines: Bounded<0, 50, 5>,
    /// Units at most.
    pub limit: Bounded<1, 100, 20>,
}

/// The failed units, by name.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Output {
    /// The state of the system as a whole: `running`, `degraded` (a unit failed), `starting`, `maintenance`, `stopping`.
    pub system_state: String,
    /// The units.
    pub units: Vec<FailedUnit>,
    /// How many failed, shown or not.
    pub total: u64,
    /// Why there are no log lines.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log_unavailable: Option<String>,
}

/// One unit that failed.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct FailedUnit {
    /// The unit's name.
    pub unit: String,
    /// The unit's own description.
    pub description: String,
    /// Whether its definition was read: `loaded`, `not-found`, `bad-setting`, `error`.
    pub load_state: String,
    /// The finer state.
    pub sub_state: String,
    /// Why: `exit-code`, `signal`, `timeout`, `oom-kill`, `start-limit-hit`, `dependency` …
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub result: Option<String>,
    /// The end of its main process.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit: Option<service::Exit>,
    /// When it failed: UTC, RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<String>,
    /// How often systemd restarted it before it gave up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub restarts: Option<u32>,
    /// Its last log lines, oldest first.
    pub log: Vec<journal::Entry>,
}

impl Query for FailedUnits {
    const NAME: &'static str = "failed_units";
    const SUMMARY: &'static str = "systemd units that failed: why, since when, and their last log lines";
    type Args = Args;
    type Output = Output;
}
