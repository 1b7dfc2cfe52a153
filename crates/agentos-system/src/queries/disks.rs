//! Mounted file systems with their space and inodes. One that hangs is said to hang, and holds up no other.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::time::{Duration, Instant};

use agentos_api::query::Disks;
use agentos_api::query::disks::{Args, FileSystem, Output, Usage};
use agentos_api::query::path::encode;
use rustix::fs::{StatVfs, statvfs};

use crate::QueryError;
use crate::dispatch::Read;
use crate::files::Located;
use crate::guard::Guard;
use crate::machine::{Machine, Viewer};
use crate::procfs::mountinfo::{self, Mount};
use crate::procfs::read;
use crate::procfs::ticks::percent;
use crate::queries::health::sizes;
use crate::text::lossy;

/// File systems that are shown, at most.
const MOST: usize = 200;
/// Other mount points of one file system that are shown, at most.
const MOST_POINTS: usize = 20;
/// Time for one file system to answer.
const PATIENCE: Duration = Duration::from_secs(2);
/// Time for all of them together.
const PATIENCE_FOR_ALL: Duration = Duration::from_secs(10);

/// Types that hold nothing on a disk or a server: what `/proc/filesystems` calls `nodev`, less those that do.
const NOTHING_ON_A_DISK: [&str; 28] = [
    "autofs",
    "bdev",
    "binder",
    "binfmt_misc",
    "bpf",
    "cgroup",
    "cgroup2",
    "configfs",
    "cpuset",
    "debugfs",
    "devpts",
    "devtmpfs",
    "efivarfs",
    "fusectl",
    "hugetlbfs",
    "mqueue",
    "nsfs",
    "pidfs",
    "pipefs",
    "proc",
    "pstore",
    "ramfs",
    "rpc_pipefs",
    "securityfs",
    "selinuxfs",
    "sockfs",
    "sysfs",
    "tracefs",
];

impl Read for Disks {
    fn read(machine: &Machine, _viewer: Viewer, args: Args) -> Result<Output, QueryError> {
        let mut groups = file_systems(mountinfo::parse(&read("/proc/self/mountinfo", 4 << 20)?));
        if let Some(path) = &args.path {
            let (path, name) = (path.clone(), path.to_string());
            let device = machine.guard.call(&name, PATIENCE, move || {
                let attributes = Located::find(&path)?.attributes;
                Ok((attributes.stx_mnt_id, (attributes.stx_dev_major, attributes.stx_dev_minor)))
            })?;
            groups.retain(|group| group.holds(device));
        } else if !args.all {
            groups.retain(|group| is_on_a_disk(group.shown()));
        }
        let truncated = groups.len() > MOST;
        groups.truncate(MOST);
        let deadline = Instant::now() + PATIENCE_FOR_ALL;
        let mut file_systems: Vec<FileSystem> =
            groups.into_iter().map(|group| file_system(&machine.guard, group, deadline)).collect();
        file_systems.sort_by(|left, right| {
            let used = |file_system: &FileSystem| file_system.usage.map_or(-1.0, |usage| usage.used_percent);
            used(right).total_cmp(&used(left)).then_with(|| left.mount_point.cmp(&right.mount_point))
        });
        Ok(Output { file_systems, truncated })
    }
}

/// All mounts of one file system; the one that is shown comes first.
struct Group {
    mounts: Vec<Mount>,
}

impl Group {
    fn shown(&self) -> &Mount {
        &self.mounts[0]
    }

    /// A file with this mount and device is on it. The subvolumes of some file systems have devices of their own, which
    /// are in no mount table; their mount is.
    fn holds(&self, (mount, device): (u64, (u32, u32))) -> bool {
        self.mounts.iter().any(|other| other.id == mount || (other.major, other.minor) == device)
    }
}

/// Mounts, gathered by file system. What is shown is the mount of its root, or else the one with the shortest path.
fn file_systems(mounts: Vec<Mount>) -> Vec<Group> {
    let mut by_device: BTreeMap<(u32, u32), Vec<Mount>> = BTreeMap::new();
    for mount in mounts {
        by_device.entry((mount.major, mount.minor)).or_default().push(mount);
    }
    let mut groups: Vec<Group> = by_device
        .into_values()
        .map(|mut mounts| {
            mounts.sort_by_key(|mount| (mount.root != b"/", mount.point.len(), mount.id));
            Group { mounts }
        })
        .collect();
    groups.sort_by_key(|group| group.shown().id);
    groups
}

fn is_on_a_disk(mount: &Mount) -> bool {
    let kind = lossy(&mount.file_system);
    // A tmpfs fills up like a disk, but takes memory: it is asked for with the rest.
    kind != "tmpfs" && !NOTHING_ON_A_DISK.contains(&kind.as_str())
}

fn file_system(guard: &Guard, mut group: Group, deadline: Instant) -> FileSystem {
    let others = group.mounts.split_off(1);
    let mount = group.mounts.swap_remove(0);
    let point = mount.point.clone();
    let patience = PATIENCE.min(deadline.saturating_duration_since(Instant::now()));
    let usage = guard.call(&encode(&point), patience, move || {
        statvfs(OsStr::from_bytes(&point)).map_err(|error| QueryError::io(encode(&point), error))
    });
    let has =
        |options: &[u8], option: &[u8]| options.split(|&byte| byte == b',').any(|other| other == option);
    FileSystem {
        mount_point: encode(&mount.point),
        also_mounted_at: others.iter().take(MOST_POINTS).map(|other| encode(&other.point)).collect(),
        source: encode(&mount.source),
        file_system: lossy(&mount.file_system),
        read_only: has(&mount.options, b"ro") || has(&mount.file_system_options, b"ro"),
        options: lossy(&mount.options),
        unresponsive: matches!(usage, Err(QueryError::TimedOut { .. })),
        usage: usage.ok().map(|usage| self::usage(&usage)),
    }
}

fn usage(file_system: &StatVfs) -> Usage {
    let (total, used, available) = sizes(file_system);
    let inodes_used = file_system.f_files.saturating_sub(file_system.f_ffree);
    Usage {
        total_bytes: total,
        used_bytes: used,
        available_bytes: available,
        used_percent: percent(used, used.saturating_add(available)),
        inodes_total: file_system.f_files,
        inodes_used,
        inodes_used_percent: percent(inodes_used, file_system.f_files),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(args: &str) -> Result<Output, QueryError> {
        let machine = Machine::new(crate::MachineOptions::default());
        let bytes = machine.query("disks", args.as_bytes(), Viewer::default())?;
        Ok(serde_json::from_slice(&bytes).unwrap())
    }

    fn mount(id: u64, minor: u32, root: &str, point: &str, kind: &str) -> Mount {
        Mount {
            id,
            major: 8,
            minor,
            root: root.into(),
            point: point.into(),
            options: b"rw".to_vec(),
            file_system: kind.into(),
            source: b"/dev/x".to_vec(),
            file_system_options: Vec::new(),
        }
    }

    #[test]
    fn df_sees_the_same_sizes() {
        let output = ask(r#"{"path":"/"}"#).unwrap();
        assert_eq!(output.file_systems.len(), 1);
        let root = &output.file_systems[0];
        let df = std::process::Command::new("df")
            .args(["-B1", "--output=size,iused,itotal,target", "/"])
            .output()
            .unwrap();
        let df = String::from_utf8_lossy(&df.stdout).into_owned();
        let fields: Vec<&str> = df.lines().nth(1).unwrap().split_whitespace().collect();
        let usage = root.usage.unwrap();
        assert_eq!(usage.total_bytes.to_string(), fields[0]);
        assert_eq!(usage.inodes_total.to_string(), fields[2]);
        assert_eq!(root.mount_point, "/");
    }

    #[test]
    fn what_is_not_on_a_disk_is_shown_only_when_asked_for() {
        let disks = ask("{}").unwrap();
        assert!(
            disks
                .file_systems
                .iter()
                .all(|disk| !["proc", "sysfs", "tmpfs"].contains(&disk.file_system.as_str()))
        );
        let all = ask(r#"{"all":true}"#).unwrap();
        assert!(all.file_systems.iter().any(|disk| disk.file_system == "proc"));
        let proc = ask(r#"{"path":"/proc/self/status"}"#).unwrap();
        assert_eq!(proc.file_systems[0].file_system, "proc");
    }

    #[test]
    fn bind_mounts_of_one_file_system_are_one_row() {
        let groups = file_systems(vec![
            mount(3, 1, "/srv/data", "/d", "ext4"),
            mount(1, 1, "/", "/mnt/disk", "ext4"),
            mount(2, 2, "/", "/other", "xfs"),
        ]);
        assert_eq!(groups.len(), 2);
        assert_eq!(groups[0].shown().point, b"/mnt/disk");
        assert_eq!(groups[0].mounts.len(), 2);
    }

    #[test]
    fn a_mount_that_hangs_is_said_to_hang_and_holds_up_no_other() {
        use rustix::mount::{MountFlags, MountPropagationFlags, UnmountFlags, mount, mount_change, unmount};
        use rustix::thread::{UnshareFlags, unshare_unsafe};
        use std::os::fd::AsRawFd;

        // A file system in user space whose server never answers.
        let Ok(server) = std::fs::File::options().read(true).write(true).open("/dev/fuse") else { return };
        // SAFETY: only the mounts are unshared, for this thread; memory and descriptors stay shared with the others.
        if unsafe { unshare_unsafe(UnshareFlags::NEWNS) }.is_err() {
            assert!(!rustix::process::geteuid().is_root(), "root may have mounts of its own");
            return;
        }
        mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC).unwrap();
        let point = tempfile::tempdir().unwrap();
        let options = format!("fd={},rootmode=40000,user_id=0,group_id=0", server.as_raw_fd());
        let options = std::ffi::CString::new(options).unwrap();
        mount("hung", point.path(), "fuse", MountFlags::empty(), Some(options.as_c_str())).unwrap();
        // What the thread sees: /proc/self is of the first thread, whose mounts are others.
        let content = std::fs::read("/proc/thread-self/mountinfo").unwrap();
        let groups = file_systems(mountinfo::parse(&content));
        let started = Instant::now();
        let guard = Guard::default();
        let rows: Vec<FileSystem> = groups
            .into_iter()
            .filter(|group| is_on_a_disk(group.shown()))
            .map(|group| file_system(&guard, group, started + PATIENCE_FOR_ALL))
            .collect();
        let hung = rows.iter().find(|row| row.source == "hung").unwrap();
        assert!(hung.unresponsive && hung.usage.is_none());
        assert!(rows.iter().any(|row| row.mount_point == "/" && row.usage.is_some()));
        assert!(started.elapsed() < PATIENCE + Duration::from_secs(3));
        unmount(point.path(), UnmountFlags::DETACH).unwrap();
        drop(server);
    }

    #[test]
    fn a_path_that_is_none_is_refused() {
        assert!(
            matches!(ask(r#"{"path":"relative"}"#), Err(QueryError::InvalidArgument { field, .. }) if field == "path")
        );
        assert!(matches!(ask(r#"{"path":"/no/such"}"#), Err(QueryError::NotFound { .. })));
    }
}
