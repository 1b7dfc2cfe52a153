//! Disks and their partitions, mounted or not.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Query;

/// Disks and partitions.
pub struct BlockDevices;

/// Which devices.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Args {
    /// Also those that are empty: unused loop and RAM devices.
    pub empty: bool,
}

/// Block devices, by name.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Output {
    /// The devices, at most 512. A partition follows its disk.
    pub devices: Vec<BlockDevice>,
    /// There are more than are shown.
    pub truncated: bool,
}

/// One block device.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct BlockDevice {
    /// Its name below `/dev`: `nvme0n1p2`.
    pub name: String,
    /// What it is.
    pub kind: Kind,
    /// The disk it is a partition of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<String>,
    /// Its size.
    pub size_bytes: u64,
    /// The maker.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vendor: Option<String>,
    /// The model.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// The maker's number of this one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub serial: Option<String>,
    /// It has turning platters. Virtual disks may say so too.
    pub rotational: bool,
    /// It can be taken out.
    pub removable: bool,
    /// It cannot be written.
    pub read_only: bool,
    /// The file system on it, as udev found it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file_system: Option<String>,
    /// That file system's label.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// That file system's identifier.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uuid: Option<String>,
    /// Where it is mounted; at most 20.
    pub mount_points: Vec<String>,
    /// The file that is its content, for a loop device.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backing_file: Option<String>,
    /// The name that device mapper gave it: an LVM volume, an opened LUKS volume.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mapper_name: Option<String>,
    /// Devices that it is made of.
    pub made_of: Vec<String>,
    /// Read since boot.
    pub read_bytes: u64,
    /// Written since boot.
    pub written_bytes: u64,
    /// Part of the time since boot that it was busy, in percent.
    pub busy_percent: f64,
}

/// What a block device is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// A whole disk.
    Disk,
    /// A part of a disk.
    Partition,
    /// A file as a device.
    Loop,
    /// Made by device mapper: LVM, LUKS.
    Mapper,
    /// A software RAID.
    Raid,
    /// An optical drive.
    Optical,
    /// In memory, compressed or not.
    Ram,
}

impl Query for BlockDevices {
    const NAME: &'static str = "block_devices";
    const SUMMARY: &'static str = "Disks and partitions: size, model, file system, where mounted, read and written";
    type Args = Args;
    type Output = Output;
}
