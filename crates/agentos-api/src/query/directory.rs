//! What is in a directory.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Query;
use super::path::AbsolutePath;
use crate::Bounded;

/// What is in a directory.
pub struct Directory;

/// Which directory, and which part of it.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Args {
    /// The directory: an absolute path.
    pub path: AbsolutePath,
    /// The name after which to go on: `next_after` of the answer before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<String>,
    /// Leave out names that begin with a dot.
    #[serde(default)]
    pub without_hidden: bool,
    /// Entries at most.
    #[serde(default)]
    pub limit: Bounded<1, 1000, 200>,
}

/// One page of a directory, by name (in the order of its bytes).
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Output {
    /// The directory, with symbolic links followed.
    pub path: String,
    /// The entries of this page.
    pub entries: Vec<Entry>,
    /// Entries in the directory that are not left out, on all pages.
    pub total: u64,
    /// The `after` of the next page; missing on the last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_after: Option<String>,
}

/// One entry of a directory.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Entry {
    /// Its name. One that is not UTF-8 begins with `bytes:` and has its bytes as `%XX`; it can be sent back like that.
    pub name: String,
    /// What it is.
    pub kind: Kind,
    /// Its size; missing for what has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size_bytes: Option<u64>,
    /// When its content last changed: UTC, RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub modified: Option<String>,
    /// Its permissions, in octal: `0644`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<String>,
    /// The user that owns it: a name, or the number where there is no name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
    /// The group that owns it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// Where a symbolic link points to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
}

/// What a name in a directory is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// A symbolic link.
    Symlink,
    /// A named pipe.
    Fifo,
    /// A socket.
    Socket,
    /// A block device.
    BlockDevice,
    /// A character device.
    CharacterDevice,
    /// The kernel does not tell.
    Unknown,
}

impl Query for Directory {
    const NAME: &'static str = "directory";
    const SUMMARY: &'static str = "What is in a directory: names, types, sizes, times, owners, link targets; paged by name";
    type Args = Args;
    type Output = Output;
}
