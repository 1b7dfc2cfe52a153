//! Mounted file systems: space and inodes.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Query;
use super::path::AbsolutePath;

/// Mounted file systems.
pub struct Disks;

/// Which file systems.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Args {
    /// Only the file system that holds this path.
    pub path: Option<AbsolutePath>,
    /// Also those that hold nothing on a disk: tmpfs, proc, sysfs …
    pub all: bool,
}

/// File systems, fullest first. One that is mounted several times is one row.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Output {
    /// The file systems.
    pub file_systems: Vec<FileSystem>,
    /// There are more than are shown (200).
    pub truncated: bool,
}

/// One file system.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct FileSystem {
    /// Where it is mounted.
    pub mount_point: String,
    /// Where else it, or a part of it, is mounted; at most 20.
    pub also_mounted_at: Vec<String>,
    /// What is mounted: a device, a share, a name.
    pub source: String,
    /// `ext4`, `btrfs`, `nfs4`.
    pub file_system: String,
    /// Its mount options.
    pub options: String,
    /// Nothing can be written to it.
    pub read_only: bool,
    /// It did not answer within two seconds, as a network share whose server is gone; its numbers are missing.
    pub unresponsive: bool,
    /// Its space and inodes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub usage: Option<Usage>,
}

/// Space and inodes of a file system (statvfs(3)).
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Usage {
    /// Its size.
    pub total_bytes: u64,
    /// In use.
    pub used_bytes: u64,
    /// What an ordinary user can still write.
    pub available_bytes: u64,
    /// Used as a percentage of used plus available, as df(1) counts it.
    pub used_percent: f64,
    /// Files and directories it can hold; 0 where it has no such limit.
    pub inodes_total: u64,
    /// Files and directories it holds.
    pub inodes_used: u64,
    /// Used as a percentage of total.
    pub inodes_used_percent: f64,
}

impl Query for Disks {
    const NAME: &'static str = "disks";
    const SUMMARY: &'static str = "Mounted file systems: space and inodes, fullest first";
    type Args = Args;
    type Output = Output;
}
