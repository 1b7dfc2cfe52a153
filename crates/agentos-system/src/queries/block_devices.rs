//! Disks and their partitions from `/sys/class/block`, mounted or not.

use std::collections::HashMap;

use agentos_api::query::BlockDevices;
use agentos_api::query::block_devices::{Args, BlockDevice, Kind, Output};
use agentos_api::query::path::encode;
use rustix::fs::{CWD, readlinkat};

use crate::QueryError;
use crate::dispatch::Read;
use crate::machine::{Machine, Viewer};
use crate::procfs::ticks::{as_f64, round, since_boot};
use crate::procfs::{decimal, mountinfo, names, read, read_at, text};
use crate::text::lossy;

/// Devices that are shown, at most.
const MOST: usize = 512;
/// Mount points of one device that are shown, at most.
const MOST_POINTS: usize = 20;
/// The kernel counts sectors of this many bytes, whatever the device's are (Documentation/ABI/stable/sysfs-block).
const SECTOR_BYTES: u64 = 512;

impl Read for BlockDevices {
    fn read(_machine: &Machine, _viewer: Viewer, args: Args) -> Result<Output, QueryError> {
        let mut mounts: HashMap<String, Vec<mountinfo::Mount>> = HashMap::new();
        for mount in mountinfo::parse(&read("/proc/self/mountinfo", 4 << 20)?) {
            mounts.entry(format!("{}:{}", mount.major, mount.minor)).or_default().push(mount);
        }
        let mut devices: Vec<BlockDevice> = names("/sys/class/block", 16_384)
            .into_iter()
            .filter_map(|name| device(name, &mounts))
            .filter(|device| args.empty || device.size_bytes > 0)
            .collect();
        // A partition follows its disk: both sort under the disk's name.
        devices.sort_by(|left, right| sort_key(left).cmp(&sort_key(right)));
        let truncated = devices.len() > MOST;
        devices.truncate(MOST);
        Ok(Output { devices, truncated })
    }
}

/// `sda2` before `sda10`, and both after `sda`.
fn sort_key(device: &BlockDevice) -> (&str, usize, &str) {
    (device.parent.as_deref().unwrap_or(&device.name), device.name.len(), &device.name)
}

fn device(name: String, mounts: &HashMap<String, Vec<mountinfo::Mount>>) -> Option<BlockDevice> {
    let path = format!("/sys/class/block/{name}");
    let attribute = |file: &str| text(&format!("{path}/{file}"));
    let flag = |file: &str| attribute(file).as_deref() == Some("1");
    let number = attribute("dev")?;
    let parent = attribute("partition").and_then(|_| parent(&path));
    // What belongs to the whole disk stands at the disk.
    let disk = parent.as_ref().map_or_else(|| path.clone(), |parent| format!("/sys/class/block/{parent}"));
    let of_disk = |file: &str| text(&format!("{disk}/{file}"));
    let udev = read_at(CWD, &format!("/run/udev/data/b{number}"), 64 << 10).unwrap_or_default();
    let mounted = mounts.get(&number).map(Vec::as_slice).unwrap_or_default();
    let statistics = statistics(&attribute("stat").unwrap_or_default());
    Some(BlockDevice {
        kind: kind(&name, parent.is_some(), &path),
        size_bytes: decimal(attribute("size")?.as_bytes())?.saturating_mul(SECTOR_BYTES),
        vendor: of_disk("device/vendor").filter(|vendor| !vendor.starts_with("0x")),
        model: of_disk("device/model"),
        serial: of_disk("device/serial")
            .or_else(|| of_disk("serial"))
            .or_else(|| property(&udev, "ID_SERIAL_SHORT")),
        rotational: of_disk("queue/rotational").as_deref() == Some("1"),
        removable: of_disk("removable").as_deref() == Some("1"),
        read_only: flag("ro"),
        file_system: property(&udev, "ID_FS_TYPE")
            .or_else(|| mounted.first().map(|mount| lossy(&mount.file_system))),
        label: property(&udev, "ID_FS_LABEL"),
        uuid: property(&udev, "ID_FS_UUID"),
        mount_points: mounted.iter().take(MOST_POINTS).map(|mount| encode(&mount.point)).collect(),
        backing_file: attribute("loop/backing_file"),
        mapper_name: attribute("dm/name"),
        made_of: names(&format!("{path}/slaves"), 64),
        read_bytes: statistics.read_bytes,
        written_bytes: statistics.written_bytes,
        busy_percent: round((100.0 * statistics.busy_seconds / since_boot().max(1.0)).min(100.0), 2),
        parent,
        name,
    })
}

/// The disk a partition is on: the directory above its own in `/sys/devices`.
fn parent(path: &str) -> Option<String> {
    let target = readlinkat(CWD, path, Vec::new()).ok()?;
    target.to_string_lossy().rsplit('/').nth(1).map(str::to_owned)
}

fn kind(name: &str, is_partition: bool, path: &str) -> Kind {
    let starts =
        |prefix: &str| name.strip_prefix(prefix).is_some_and(|rest| decimal(rest.as_bytes()).is_some());
    if is_partition {
        Kind::Partition
    } else if starts("loop") {
        Kind::Loop
    } else if starts("dm-") {
        Kind::Mapper
    } else if starts("md") || text(&format!("{path}/md/level")).is_some() {
        Kind::Raid
    } else if starts("sr") {
        Kind::Optical
    } else if starts("ram") || starts("zram") {
        Kind::Ram
    } else {
        Kind::Disk
    }
}

/// A property that udev keeps of a device: `E:ID_FS_TYPE=ext4`.
fn property(database: &[u8], key: &str) -> Option<String> {
    database.split(|&byte| byte == b'\n').find_map(|line| {
        let value = line.strip_prefix(b"E:")?.strip_prefix(key.as_bytes())?.strip_prefix(b"=")?;
        (!value.is_empty()).then(|| lossy(value))
    })
}

/// What a device did since boot.
#[derive(Debug, Default, PartialEq)]
struct Statistics {
    read_bytes: u64,
    written_bytes: u64,
    busy_seconds: f64,
}

/// The fields of `stat` (the kernel's Documentation/block/stat.rst): the third and seventh are sectors, the tenth is the
/// time busy in milliseconds.
fn statistics(line: &str) -> Statistics {
    let fields: Vec<u64> =
        line.split_whitespace().map(|field| decimal(field.as_bytes()).unwrap_or(0)).collect();
    let field = |index: usize| fields.get(index).copied().unwrap_or(0);
    Statistics {
        read_bytes: field(2).saturating_mul(SECTOR_BYTES),
        written_bytes: field(6).saturating_mul(SECTOR_BYTES),
        busy_seconds: as_f64(field(9)) / 1000.0,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_devices_are_those_of_proc_partitions() {
        let machine = Machine::new(crate::MachineOptions::default());
        let answer = machine.query("block_devices", br#"{"empty":true}"#, Viewer::default()).unwrap();
        let output: Output = serde_json::from_slice(&answer).unwrap();
        let partitions = std::fs::read_to_string("/proc/partitions").unwrap();
        for line in partitions.lines().skip(2) {
            let fields: Vec<&str> = line.split_whitespace().collect();
            let device = output.devices.iter().find(|device| device.name == fields[3]).unwrap();
            assert_eq!((device.size_bytes / 1024).to_string(), fields[2], "{line}");
        }
    }

    #[test]
    fn the_root_file_system_is_found_on_its_device() {
        let mounts = mountinfo::parse(&std::fs::read("/proc/self/mountinfo").unwrap());
        let root = mounts.iter().find(|mount| mount.point == b"/").unwrap();
        let machine = Machine::new(crate::MachineOptions::default());
        let answer = machine.query("block_devices", b"", Viewer::default()).unwrap();
        let output: Output = serde_json::from_slice(&answer).unwrap();
        // A root on overlayfs or btrfs is on no device of its own number.
        if root.major > 0 {
            assert!(output.devices.iter().any(|device| device.mount_points.iter().any(|point| point == "/")));
        }
    }

    #[test]
    fn sectors_are_bytes_and_milliseconds_are_seconds() {
        let statistics = statistics("   10  0  8 5 20 0 16 7 0 1500 12 0 0 0 0 0 0");
        assert_eq!(statistics, Statistics { read_bytes: 4096, written_bytes: 8192, busy_seconds: 1.5 });
        assert_eq!(super::statistics(""), Statistics::default());
    }

    #[test]
    fn udev_properties_are_read_by_their_whole_key() {
        let database = b"S:disk/by-uuid/1\nE:ID_FS_TYPE=ext4\nE:ID_FS_UUID_ENC=x\nE:ID_FS_UUID=1-2\n";
        assert_eq!(property(database, "ID_FS_TYPE").unwrap(), "ext4");
        assert_eq!(property(database, "ID_FS_UUID").unwrap(), "1-2");
        assert_eq!(property(database, "ID_FS"), None);
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_panic(content: Vec<u8>, line: String) {
            let _ = (property(&content, "ID_FS_TYPE"), statistics(&line));
        }
    }
}
