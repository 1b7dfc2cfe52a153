//! The groups of the machine.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Query;
use crate::Bounded;

/// Groups.
pub struct Groups;

/// Which groups.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Args {
    /// Only groups whose name contains this text (case is ignored).
    pub text: Option<String>,
    /// Only groups this user is in.
    pub user: Option<String>,
    /// Rows to pass over: `next_offset` of the answer before.
    pub offset: Bounded<0, 100_000, 0>,
    /// Rows at most.
    pub limit: Bounded<1, 1000, 200>,
}

/// One page of groups, by number. Those of `/etc/group`: groups of a directory service are not listed.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Output {
    /// The rows of this page.
    pub groups: Vec<Group>,
    /// Groups that match, on all pages.
    pub total: u64,
    /// The `offset` of the next page; missing on the last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_offset: Option<u64>,
    /// Other sources of groups that the machine asks (nsswitch.conf(5)), which are not listed here.
    pub other_sources: Vec<String>,
}

/// One group.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Group {
    /// Its name.
    pub name: String,
    /// Its number.
    pub gid: u32,
    /// The users in it, those whose first group it is included.
    pub members: Vec<String>,
}

impl Query for Groups {
    const NAME: &'static str = "groups";
    const SUMMARY: &'static str = "Groups and their members";
    type Args = Args;
    type Output = Output;
}
