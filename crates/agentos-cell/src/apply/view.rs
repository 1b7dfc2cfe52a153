//! The mounts as a command sees them that acts on the machine: all of them, without what is agentd's.

mod names;

use std::ffi::CStr;
use std::fs::Permissions;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, FileType, Mode, OFlags, fstat, major, minor, openat};
use rustix::mount::{MountFlags, MoveMountFlags, OpenTreeFlags, mount, move_mount, open_tree};

use crate::command::Apply;
use crate::enter::failed;
use names::Mounts;

/// Devices that give nothing of the machine's: null, zero, full, random, urandom, the own terminal, and what makes new
/// terminals (`devices.txt`).
const DEVICES: [(&CStr, (u32, u32)); 7] = [
    (c"/dev/null", (1, 3)),
    (c"/dev/zero", (1, 5)),
    (c"/dev/full", (1, 7)),
    (c"/dev/random", (1, 8)),
    (c"/dev/urandom", (1, 9)),
    (c"/dev/tty", (5, 0)),
    (c"/dev/ptmx", (5, 2)),
];
/// File systems by which the kernel is controlled: what is written there starts programs outside, freezes or ends agentd, or
/// unplugs a disk.
const OF_THE_KERNEL: [&[u8]; 14] = [
    b"sysfs",
    b"cgroup",
    b"cgroup2",
    b"debugfs",
    b"tracefs",
    b"securityfs",
    b"configfs",
    b"efivarfs",
    b"bpf",
    b"pstore",
    b"binfmt_misc",
    b"selinuxfs",
    b"resctrl",
    b"proc",
];
/// The same below `/proc`: programs that the kernel starts as root are named in `sys/kernel`.
const OF_PROC: [&str; 8] = [
    "/proc/sys",
    "/proc/sysrq-trigger",
    "/proc/irq",
    "/proc/bus",
    "/proc/fs",
    "/proc/scsi",
    "/proc/acpi",
    "/proc/mtrr",
];
/// Of which this stays writable: it is the network's.
const NETWORK: &CStr = c"/proc/sys/net";

/// Makes the view, in a mount namespace of one's own, and gives the socket in place of the system bus where there is one.
///
/// # Errors
/// A sentence. The view is then not to be used.
pub(super) fn make(apply: &Apply) -> Result<Option<UnixListener>, String> {
    let everything =
        Attributes { set: libc::MOUNT_ATTR_NODEV, propagation: libc::MS_PRIVATE, ..Attributes::default() };
    everything.give(CWD, c"/", libc::AT_RECURSIVE).map_err(failed("mounts without devices"))?;
    let mounts = Mounts::read().map_err(failed("the list of mounts"))?;
    give_devices(&mounts)?;
    keep_the_kernel(&mounts)?;
    for path in &apply.read_only {
        // What runs in place of a file that is not there is no file of agentd's.
        if let Ok(path) = std::fs::canonicalize(path) {
            for name in mounts.names(&path) {
                read_only(&name)?;
            }
        }
    }
    let mut covered: Vec<PathBuf> = apply
        .covered
        .iter()
        .filter_map(|path| std::fs::canonicalize(path).ok())
        .flat_map(|path| mounts.names(&path))
        .collect();
    covered.sort();
    covered.dedup();
    let bus = serve_bus(apply)?;
    let mut last: Option<&Path> = None;
    for path in &covered {
        // Below what is covered there is nothing any more.
        if last.is_none_or(|last| !path.starts_with(last)) {
            cover(path)?;
            last = Some(path);
        }
    }
    Ok(bus)
}

/// `struct mount_attr` (`mount_setattr(2)`).
#[repr(C)]
#[derive(Default)]
struct Attributes {
    set: u64,
    clear: u64,
    propagation: u64,
    user_namespace: u64,
}

impl Attributes {
    fn give(&self, at: BorrowedFd<'_>, path: &CStr, flags: libc::c_int) -> std::io::Result<()> {
        // SAFETY: the path ends with NUL, and the structure has the size that is given. rustix has no mount_setattr.
        let result = unsafe {
            libc::syscall(
                libc::SYS_mount_setattr,
                at.as_raw_fd(),
                path.as_ptr(),
                flags,
                std::ptr::from_ref(self),
                size_of::<Self>(),
            )
        };
        if result == 0 { Ok(()) } else { Err(std::io::Error::last_os_error()) }
    }
}

/// What only points at a path.
fn point(path: &Path) -> rustix::io::Result<OwnedFd> {
    openat(CWD, path, OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())
}

/// Puts what is at `from`, with other attributes, over `to`.
fn bind(from: impl AsFd, to: impl AsFd, attributes: &Attributes) -> std::io::Result<()> {
    let flags =
        OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_EMPTY_PATH;
    let tree = open_tree(from, c"", flags)?;
    attributes.give(tree.as_fd(), c"", libc::AT_EMPTY_PATH)?;
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    Ok(move_mount(tree, c"", to, c"", flags)?)
}

/// Devices are shut everywhere by now; those that are harmless are opened again.
fn give_devices(mounts: &Mounts) -> Result<(), String> {
    let open = Attributes { clear: libc::MOUNT_ATTR_NODEV, ..Attributes::default() };
    for (path, numbers) in DEVICES {
        let Ok(device) = point(Path::new(std::ffi::OsStr::from_bytes(path.to_bytes()))) else { continue };
        let found = fstat(&device).map_err(failed("a device"))?;
        let is_it = FileType::from_raw_mode(found.st_mode) == FileType::CharacterDevice
            && (major(found.st_rdev), minor(found.st_rdev)) == numbers;
        if is_it {
            bind(&device, &device, &open).map_err(failed("a device"))?;
        }
    }
    for terminals in mounts.of_kinds(&[b"devpts"]) {
        let place = point(terminals).map_err(failed("terminals"))?;
        open.give(place.as_fd(), c"", libc::AT_EMPTY_PATH).map_err(failed("terminals"))?;
    }
    Ok(())
}

/// What controls the kernel is read-only; of `/proc` that part.
fn keep_the_kernel(mounts: &Mounts) -> Result<(), String> {
    let shut = Attributes { set: libc::MOUNT_ATTR_RDONLY, ..Attributes::default() };
    for place in mounts.of_kinds(&OF_THE_KERNEL).chain(mounts.below(Path::new("/sys"))) {
        if place == Path::new("/proc") {
            continue;
        }
        // One that is mounted over is not reached by its path, neither from here nor by the command.
        let Ok(place) = point(place) else { continue };
        shut.give(place.as_fd(), c"", libc::AT_EMPTY_PATH).map_err(failed("the kernel's file systems"))?;
    }
    let network = openat(CWD, NETWORK, OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).ok();
    let agentd = rustix::process::getppid().map(|agentd| format!("/proc/{}", agentd.as_raw_nonzero()));
    for path in OF_PROC.into_iter().map(str::to_owned).chain(agentd) {
        read_only(Path::new(&path))?;
    }
    if let Some(network) = network {
        let there = openat(CWD, NETWORK, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())
            .map_err(failed("/proc/sys/net"))?;
        bind(&network, &there, &Attributes { clear: libc::MOUNT_ATTR_RDONLY, ..Attributes::default() })
            .map_err(failed("/proc/sys/net"))?;
    }
    Ok(())
}

/// Puts a file or folder over itself, read-only.
fn read_only(path: &Path) -> Result<(), String> {
    let Ok(place) = point(path) else { return Ok(()) };
    bind(&place, &place, &Attributes { set: libc::MOUNT_ATTR_RDONLY, ..Attributes::default() })
        .map_err(|error| format!("{} read-only: {error}", path.display()))
}

/// Puts nothing over a file or folder.
fn cover(path: &Path) -> Result<(), String> {
    let failed = |error: std::io::Error| format!("covering {}: {error}", path.display());
    let place = point(path).map_err(|error| failed(error.into()))?;
    let found = fstat(&place).map_err(|error| failed(error.into()))?;
    if FileType::from_raw_mode(found.st_mode) == FileType::Directory {
        let flags = MountFlags::RDONLY | MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
        return empty(&place, flags, c"mode=0555,size=4k,nr_inodes=1").map_err(failed);
    }
    // A device where there are none: it cannot be opened, and nobody listens there.
    let nothing = point(Path::new("/dev/null")).map_err(|error| failed(error.into()))?;
    let shut = libc::MOUNT_ATTR_RDONLY | libc::MOUNT_ATTR_NODEV | libc::MOUNT_ATTR_NOEXEC;
    bind(&nothing, &place, &Attributes { set: shut, ..Attributes::default() }).map_err(failed)
}

/// Mounts a file system with nothing in it.
fn empty(place: &OwnedFd, flags: MountFlags, options: &CStr) -> std::io::Result<()> {
    Ok(mount(c"none", format!("/proc/self/fd/{}", place.as_raw_fd()), c"tmpfs", flags, Some(options))?)
}

/// Makes a socket that agentd answers, in place of that of the system bus. Its own path is in the first folder that is covered,
/// and is covered with it.
fn serve_bus(apply: &Apply) -> Result<Option<UnixListener>, String> {
    let Ok(bus) = std::fs::canonicalize(&apply.bus) else { return Ok(None) };
    let failed = |error: std::io::Error| format!("a socket in place of the system bus: {error}");
    let folder = apply.covered.first().ok_or("no folder is covered in which a socket could be made")?;
    let place =
        point(&std::fs::canonicalize(folder).map_err(failed)?).map_err(|error| failed(error.into()))?;
    let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    empty(&place, flags, c"mode=0755,size=64k,nr_inodes=8").map_err(failed)?;
    // By the folder, and not by its path, which may be longer than the address of a socket.
    std::env::set_current_dir(folder).map_err(failed)?;
    let listener = UnixListener::bind("bus").map_err(failed)?;
    std::fs::set_permissions("bus", Permissions::from_mode(0o666)).map_err(failed)?;
    let socket = point(Path::new("bus")).map_err(|error| failed(error.into()))?;
    let bus = point(&bus).map_err(|error| failed(error.into()))?;
    bind(&socket, &bus, &Attributes::default()).map_err(failed)?;
    std::env::set_current_dir("/").map_err(failed)?;
    Ok(Some(listener))
}
