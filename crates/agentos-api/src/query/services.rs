//! The services systemd manages, at a glance.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Query;
use crate::Bounded;

/// The services systemd manages.
pub struct Services;

/// Which services, and in which order.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Args {
    /// Only services whose name or description contains this text (case is ignored).
    pub text: Option<String>,
    /// Only services in this state.
    pub state: Option<ActiveState>,
    /// Also the services that are installed and not loaded (neither running nor wanted by anything).
    pub unloaded: bool,
    /// The order of the rows.
    pub sort: Sort,
    /// Rows to pass over: `next_offset` of the answer before.
    pub offset: Bounded<0, 100_000, 0>,
    /// Rows at most.
    pub limit: Bounded<1, 500, 100>,
}

/// The order of services.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Sort {
    /// By name.
    #[default]
    Name,
    /// The one that uses most memory first.
    Memory,
    /// The one that used most processor time first.
    Cpu,
    /// The one that changed its state last first.
    Since,
}

/// What a unit is doing (`ActiveState` of systemd).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ActiveState {
    /// Started, or done successfully for a one-shot service that stays.
    Active,
    /// Reading its configuration again.
    Reloading,
    /// Not running.
    Inactive,
    /// Not running, because it failed.
    Failed,
    /// Being started.
    Activating,
    /// Being stopped.
    Deactivating,
}

/// One page of services.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Output {
    /// The state of the system as a whole: `running`, `degraded` (a unit failed), `starting`, `maintenance`, `stopping`.
    pub system_state: String,
    /// The rows of this page.
    pub services: Vec<Service>,
    /// Services that match, on all pages.
    pub total: u64,
    /// How many of those have failed.
    pub failed: u64,
    /// The `offset` of the next page; missing on the last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_offset: Option<u64>,
}

/// One service.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Service {
    /// The unit's name, `nginx.service`.
    pub unit: String,
    /// The unit's own description.
    pub description: String,
    /// Whether its definition was read: `loaded`, `not-found`, `masked`, `bad-setting`, `error`; `unloaded` for one
    /// that is installed only.
    pub load_state: String,
    /// `active`, `inactive`, `failed`, `activating`, `deactivating` or `reloading`.
    pub active_state: String,
    /// The finer state: `running`, `exited`, `dead`, `auto-restart` …
    pub sub_state: String,
    /// Whether it starts by itself: `enabled`, `disabled`, `static`, `masked`, `generated` …; missing where systemd
    /// does not know.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub enabled: Option<String>,
    /// When it entered its present state: UTC, RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<String>,
    /// Its main process, while it runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub main_pid: Option<u32>,
    /// How often systemd restarted it by itself since it was last started by hand.
    pub restarts: u32,
    /// Memory of all its processes; missing where it is not accounted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_bytes: Option<u64>,
    /// Processor time of all its processes; missing where it is not accounted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu_seconds: Option<f64>,
    /// Processes and threads; missing where they are not accounted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tasks: Option<u64>,
}

impl Query for Services {
    const NAME: &'static str = "services";
    const SUMMARY: &'static str =
        "systemd services: state, since when, restarts, memory, CPU time; filtered and sorted";
    type Args = Args;
    type Output = Output;
}
