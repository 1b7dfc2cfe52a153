//! Files by name, type, size, age or owner, below a directory.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Query;
use super::directory::Kind;
use super::path::AbsolutePath;
use crate::Bounded;

/// Files below a directory.
pub struct Find;

/// Where, and which. Symbolic links are not followed.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Args {
    /// The directory to begin at: an absolute path.
    pub path: AbsolutePath,
    /// Only names that match: `*.log`; `*` stands for any characters, `?` for one, `[a-z]` for one of a set. The last part
    /// of the path is compared, not the whole.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Only of this type.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<Kind>,
    /// Only of at least this size.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min_size_bytes: Option<Bounded<0, 9_223_372_036_854_775_807, 0>>,
    /// Only of at most this size.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_size_bytes: Option<Bounded<0, 9_223_372_036_854_775_807, 0>>,
    /// Only if changed less than this many seconds ago.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub changed_within_seconds: Option<Bounded<1, 10_000_000_000, 1>>,
    /// Only if not changed for this many seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unchanged_for_seconds: Option<Bounded<1, 10_000_000_000, 1>>,
    /// Only of this user: a name or a number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
    /// Levels below `path`, at most.
    #[serde(default)]
    pub max_depth: Bounded<1, 64, 32>,
    /// Also go into other file systems mounted below.
    #[serde(default)]
    pub other_file_systems: bool,
    /// Which of the matches to show where there are more than `limit`, and in which order.
    #[serde(default)]
    pub sort: Sort,
    /// Matches at most.
    #[serde(default)]
    pub limit: Bounded<1, 1000, 100>,
    /// Time to look for, in seconds.
    #[serde(default)]
    pub time_limit_seconds: Bounded<1, 20, 5>,
}

/// Which matches come first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Sort {
    /// In the order they are met; stops at `limit`.
    #[default]
    Met,
    /// Largest first; looks at all.
    Size,
    /// Last changed first; looks at all.
    Modified,
    /// By path; looks at all.
    Path,
}

/// What was found.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Output {
    /// The matches.
    pub matches: Vec<Match>,
    /// Matches in all, as far as was looked.
    pub matched: u64,
    /// Entries looked at.
    pub visited: u64,
    /// Directories that could not be opened.
    pub unreadable: u64,
    /// Why it stopped before the end. Missing when all was looked at.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stopped: Option<Stopped>,
}

/// Why a search stopped before its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Stopped {
    /// `limit` matches were met.
    Limit,
    /// `time_limit_seconds` were over.
    TimeLimit,
    /// A million entries were looked at.
    Entries,
}

/// One match.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Match {
    /// Its path. One that is not UTF-8 begins with `bytes:` and has its bytes as `%XX`; it can be sent back like that.
    pub path: String,
    /// What it is.
    pub kind: Kind,
    /// Its size.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size_bytes: Option<u64>,
    /// When its content last changed: UTC, RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub modified: Option<String>,
    /// The user that owns it: a name, or the number where there is no name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
}

impl Query for Find {
    const NAME: &'static str = "find";
    const SUMMARY: &'static str = "Files below a directory by name, type, size, age or owner; the largest or newest first";
    type Args = Args;
    type Output = Output;
}
