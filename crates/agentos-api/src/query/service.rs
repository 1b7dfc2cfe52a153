//! One systemd unit in full, with its last log lines.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Query, journal};
use crate::Bounded;

/// One systemd unit.
pub struct Service;

/// Which unit.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Args {
    /// The unit: `nginx` means `nginx.service`; other kinds need their suffix (`nginx.socket`, `fstrim.timer`).
    pub unit: String,
    /// Last log lines to include.
    #[serde(default)]
    pub log_lines: Bounded<0, 200, 10>,
}

/// One unit.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Output {
    /// The unit's primary name.
    pub unit: String,
    /// Its other names.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub aliases: Vec<String>,
    /// The unit's own description.
    pub description: String,
    /// Man pages and addresses that document it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub documentation: Vec<String>,
    /// Whether its definition was read: `loaded`, `masked`, `bad-setting`, `error`.
    pub load_state: String,
    /// Why its definition could not be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub load_error: Option<String>,
    /// `active`, `inactive`, `failed`, `activating`, `deactivating` or `reloading`.
    pub active_state: String,
    /// The finer state: `running`, `exited`, `dead`, `listening`, `waiting` …
    pub sub_state: String,
    /// Whether it starts by itself: `enabled`, `disabled`, `static`, `masked`, `generated` …
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub enabled: Option<String>,
    /// What the distribution would have it be: `enabled` or `disabled`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub preset: Option<String>,
    /// When it entered its present state: UTC, RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<String>,
    /// How its last run ended: `success`, `exit-code`, `signal`, `timeout`, `oom-kill`, `start-limit-hit` …
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub result: Option<String>,
    /// The end of its main process, once it has ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit: Option<Exit>,
    /// Its main process, while it runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub main_pid: Option<u32>,
    /// How often systemd restarted it by itself since it was last started by hand.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub restarts: Option<u32>,
    /// Memory of all its processes; missing where it is not accounted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_bytes: Option<u64>,
    /// The memory it may use at most; missing without a limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_limit_bytes: Option<u64>,
    /// Processor time of all its processes; missing where it is not accounted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu_seconds: Option<f64>,
    /// Processes and threads; missing where they are not accounted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tasks: Option<u64>,
    /// The processes and threads it may have at most; missing without a limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tasks_limit: Option<u64>,
    /// For a service its kind: `simple`, `notify`, `oneshot`, `forking`, `dbus` …
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service_type: Option<String>,
    /// When systemd restarts it: `no`, `on-failure`, `always` …
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub restart_policy: Option<String>,
    /// What it last said about itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status_text: Option<String>,
    /// The user its processes run as, where the unit names one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// The command lines it starts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub commands: Vec<Vec<String>>,
    /// The file that defines it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fragment_path: Option<String>,
    /// Files that change its definition.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub drop_ins: Vec<String>,
    /// Its definition on disk is newer than the one in use: `systemctl daemon-reload` is due.
    pub needs_reload: bool,
    /// Its control group, below the hierarchy's root.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub control_group: Option<String>,
    /// Units that start it: its socket, timer or path.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub triggered_by: Vec<String>,
    /// Units it cannot be without.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub requires: Vec<String>,
    /// Units that need it: stopping it stops them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub required_by: Vec<String>,
    /// Units that want it started.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub wanted_by: Vec<String>,
    /// Its last log lines, oldest first.
    pub log: Vec<journal::Entry>,
    /// Why there are no log lines.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log_unavailable: Option<String>,
}

/// How a process ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Exit {
    /// `exited`, `killed` or `dumped`.
    pub kind: String,
    /// The exit status, or the number of the signal.
    pub status: i32,
    /// The signal's name, for a process that was killed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signal: Option<String>,
    /// When: UTC, RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<String>,
}

impl Query for Service {
    const NAME: &'static str = "service";
    const SUMMARY: &'static str =
        "One systemd unit in full: state, process, memory, files, dependencies and last log lines";
    type Args = Args;
    type Output = Output;
}
