//! The user accounts of the machine.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Query;
use crate::Bounded;

/// User accounts.
pub struct Users;

/// Which accounts.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Args {
    /// Only accounts whose name or comment contains this text (case is ignored).
    pub text: Option<String>,
    /// Leave out the accounts of the system itself (numbers below 1000, other than root, and nobody).
    pub people_only: bool,
    /// Rows to pass over: `next_offset` of the answer before.
    pub offset: Bounded<0, 100_000, 0>,
    /// Rows at most.
    pub limit: Bounded<1, 1000, 200>,
}

/// One page of accounts, by number. Those of `/etc/passwd`: accounts of a directory service are not listed.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Output {
    /// The rows of this page.
    pub users: Vec<User>,
    /// Accounts that match, on all pages.
    pub total: u64,
    /// The `offset` of the next page; missing on the last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_offset: Option<u64>,
    /// Other sources of accounts that the machine asks (nsswitch.conf(5)), which are not listed here.
    pub other_sources: Vec<String>,
}

/// One account.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct User {
    /// Its name.
    pub name: String,
    /// Its number.
    pub uid: u32,
    /// Its first group's number.
    pub gid: u32,
    /// Its first group's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// The other groups it is in.
    pub groups: Vec<String>,
    /// The person's name, mostly.
    pub comment: String,
    /// Its home directory.
    pub home: String,
    /// The program that is started when it logs in.
    pub shell: String,
    /// Whether a password lets one in. Missing where agentd may not read it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password: Option<Password>,
    /// The account expires, or has expired, at the end of this day: `2026-12-31`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<String>,
    /// When it last logged in: UTC, RFC 3339. Missing where it never did or nothing keeps it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_login: Option<String>,
    /// From where it last logged in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_login_from: Option<String>,
}

/// What the password of an account is like (shadow(5)).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Password {
    /// It has one.
    Set,
    /// It has none, and cannot be logged into with one.
    Locked,
    /// It has none, and lets everybody in.
    Empty,
}

impl Query for Users {
    const NAME: &'static str = "users";
    const SUMMARY: &'static str = "User accounts: groups, home, shell, whether locked, last login";
    type Args = Args;
    type Output = Output;
}
