//! Changes of what is mounted.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::query::path::AbsolutePath;

mutation! {
    /// A file system gets a place.
    Mount(MountArgs) = "mount.mount", "Mounts a file system at a folder that is there, without set-user-ID programs and devices"
}
mutation! {
    /// A file system leaves its place.
    Unmount(UnmountArgs) = "mount.unmount", "Unmounts what is mounted at a folder; where it is in use, the plan says by whom"
}

/// Arguments of `mount.mount`.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MountArgs {
    /// The device: `/dev/sdb1`, `/dev/disk/by-uuid/…`; for a tmpfs its name.
    pub source: String,
    /// The folder.
    pub target: AbsolutePath,
    /// The type of the file system: `ext4`, `xfs`, `btrfs`, `vfat`, `exfat`, `iso9660`, `udf`, `squashfs`, `f2fs`, `ntfs3`,
    /// `tmpfs`.
    #[serde(rename = "type")]
    pub kind: String,
    /// Only for reading.
    #[serde(default)]
    pub read_only: bool,
    /// No program on it can be started.
    #[serde(default)]
    pub no_exec: bool,
    /// Largest size in bytes, of a tmpfs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size_bytes: Option<u64>,
    /// Also after the next start of the machine: a line in `/etc/fstab`, with `nofail`.
    #[serde(default)]
    pub persist: bool,
}

/// Arguments of `mount.unmount`.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct UnmountArgs {
    /// The folder.
    pub target: AbsolutePath,
    /// Also take its line out of `/etc/fstab`.
    #[serde(default)]
    pub persist: bool,
}
