//! What systemd starts by the clock.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Query;
use crate::Bounded;

/// The systemd timers.
pub struct Timers;

/// Which timers.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Args {
    /// Also timers that are not active.
    pub inactive: bool,
    /// Rows to pass over: `next_offset` of the answer before.
    pub offset: Bounded<0, 100_000, 0>,
    /// Rows at most.
    pub limit: Bounded<1, 500, 100>,
}

/// One page of timers, the one that elapses next first.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Output {
    /// The rows of this page.
    pub timers: Vec<Timer>,
    /// Timers that match, on all pages.
    pub total: u64,
    /// The `offset` of the next page; missing on the last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_offset: Option<u64>,
}

/// One timer.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Timer {
    /// The timer's unit.
    pub unit: String,
    /// The unit's own description.
    pub description: String,
    /// The unit it starts.
    pub activates: String,
    /// `active`, `inactive` or `failed`.
    pub active_state: String,
    /// `waiting`, `running`, `elapsed`, `dead` …
    pub sub_state: String,
    /// Its schedule as in the unit: `OnCalendar=daily`, `OnBootSec=15min` …
    pub schedule: Vec<String>,
    /// When it elapses next: UTC, RFC 3339; missing when it does not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
    /// Seconds until then; zero when it is due.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_in_seconds: Option<f64>,
    /// When it elapsed last: UTC, RFC 3339; missing when it has not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last: Option<String>,
    /// A run that was missed while the machine was off is made up for.
    pub persistent: bool,
}

impl Query for Timers {
    const NAME: &'static str = "timers";
    const SUMMARY: &'static str = "systemd timers: what they start, when next and when last";
    type Args = Args;
    type Output = Output;
}
