//! Who is logged in.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Query;
use crate::Bounded;

/// Sessions of users.
pub struct Sessions;

/// How many.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Args {
    /// Only sessions of this user.
    pub user: Option<String>,
    /// Sessions at most.
    pub limit: Bounded<1, 500, 100>,
}

/// The sessions, oldest first.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Output {
    /// Where this is from: `logind`, or `utmp` where logind does not run.
    pub source: Source,
    /// The sessions.
    pub sessions: Vec<Session>,
    /// Sessions that match, shown or not.
    pub total: u64,
}

/// Who keeps the list of sessions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Source {
    /// systemd-logind, over D-Bus.
    Logind,
    /// The file that login programs keep (utmp(5)).
    Utmp,
}

/// One session.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Session {
    /// The session's id; its terminal line where only utmp knows of it.
    pub id: String,
    /// The user's name.
    pub user: String,
    /// The user's number, where known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uid: Option<u32>,
    /// When it began: UTC, RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<String>,
    /// The terminal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tty: Option<String>,
    /// The seat, for someone sitting at the machine.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seat: Option<String>,
    /// It came over the network.
    pub remote: bool,
    /// From where, for one over the network.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remote_host: Option<String>,
    /// What let the user in: `sshd`, `login`, `gdm` …
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<String>,
    /// `tty`, `x11`, `wayland` or `unspecified`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// `user`, `greeter`, `manager`, `background` …
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub class: Option<String>,
    /// `active`, `online` or `closing`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<String>,
    /// Idle since then, for a session that says so: UTC, RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idle_since: Option<String>,
    /// The process that leads it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub leader_pid: Option<u32>,
}

impl Query for Sessions {
    const NAME: &'static str = "sessions";
    const SUMMARY: &'static str = "Who is logged in, from where, since when";
    type Args = Args;
    type Output = Output;
}
