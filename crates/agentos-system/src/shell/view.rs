//! What a previewed command sees of the file systems: which of them are overlaid, and where each file that it sees comes from.
//!
//! A file of the machine keeps its inode number when it is copied into the layer above (overlayfs.rst, "Inode properties"), and
//! its handle is kept with the copy. So it is known for what it is under whatever name the command gives it.

use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};

use agentos_api::query::path::encode;
use agentos_cell::{How, MOST_OVERLAYS, Mounted, Outcome};
use rustix::fs::{
    AtFlags, CWD, FileType, Mode, OFlags, ResolveFlags, Statx, StatxFlags, XattrFlags, fremovexattr,
    fsetxattr, openat, openat2, readlinkat, statx, unlinkat,
};
use rustix::io::Errno;

use crate::QueryError;
use crate::files::link_to;
use crate::procfs::mountinfo::{self, Mount};

/// File systems that are the kernel's own: they are seen and not written.
const KERNELS_OWN: [&[u8]; 15] = [
    b"sysfs",
    b"cgroup",
    b"cgroup2",
    b"debugfs",
    b"tracefs",
    b"securityfs",
    b"pstore",
    b"efivarfs",
    b"bpf",
    b"configfs",
    b"fusectl",
    b"selinuxfs",
    b"binfmt_misc",
    b"nsfs",
    b"rpc_pipefs",
];
/// The attribute in which overlayfs keeps the handle of the file that was copied (overlayfs.rst).
const ORIGIN: &str = "trusted.overlay.origin";
/// Longest handle of a file (`MAX_HANDLE_SZ`).
const MAX_HANDLE: usize = 128;
/// Bytes of `struct ovl_fb` before the handle itself: version, magic, length, flags, type, the file system's UUID.
const ORIGIN_HEAD: usize = 21;
const ORIGIN_MAGIC: u8 = 0xfb;

/// What is to be mounted for a command, and what of it is the machine's.
pub(super) struct Chosen {
    /// For the cell.
    pub(super) mounts: Vec<Mounted>,
    /// For each of them that is overlaid, the mount of the machine.
    hosts: Vec<Option<(OwnedFd, u64)>>,
    /// What is not seen as it is.
    left_out: Vec<String>,
}

/// The view that a command has of the file systems, as long as it is looked at.
#[derive(Debug)]
pub(crate) struct View {
    scratch: OwnedFd,
    pub(crate) overlays: Vec<Overlay>,
    /// What it does not show as it is, in sentences.
    pub(crate) left_out: Vec<String>,
    /// Extended attributes of the kind `user.*` stay with a file that is written (tmpfs has them since Linux 6.6).
    pub(crate) keeps_user_attributes: bool,
}

/// A file system of the machine with the layer above it.
#[derive(Debug)]
pub(crate) struct Overlay {
    /// Where it is mounted.
    pub(crate) point: Vec<u8>,
    /// What was written.
    pub(crate) upper: OwnedFd,
    /// Both together, as the command sees them.
    pub(crate) merged: OwnedFd,
    merged_mount: u64,
    host: OwnedFd,
    host_mount: u64,
    /// The device number that files have which are in the upper layer alone; none where nothing can be written.
    new: Option<(u32, u32)>,
}

/// Where a file that a command sees comes from.
#[derive(Debug)]
pub(crate) enum Source {
    /// The command made it.
    New,
    /// The machine's file.
    Host(OwnedFd),
    /// It is in no overlay: the kernel's, or a device.
    Elsewhere,
}

impl Chosen {
    /// Chooses what a command sees. `hidden` are folders and files that it finds empty.
    ///
    /// # Errors
    /// The list of mounts cannot be read.
    pub(super) fn of(hidden: &[Vec<u8>]) -> Result<Self, QueryError> {
        let mounts = mountinfo::now()?;
        let mut seen: Vec<(&Mount, Statx, OwnedFd)> = mounts.iter().filter_map(visible).collect();
        // A folder before what is in it.
        seen.sort_by_key(|(mount, ..)| {
            mount.point.split(|&byte| byte == b'/').filter(|name| !name.is_empty()).count()
        });
        let mut chosen = Self { mounts: Vec::new(), hosts: Vec::new(), left_out: Vec::new() };
        for (mount, found, descriptor) in seen {
            chosen.add(mount, &found, &descriptor);
        }
        for path in hidden {
            chosen.mounts.push(Mounted {
                point: path.clone(),
                how: How::Hidden,
                read_only: true,
                no_exec: true,
            });
            chosen.hosts.push(None);
        }
        Ok(chosen)
    }

    fn add(&mut self, mount: &Mount, found: &Statx, descriptor: &OwnedFd) {
        let below =
            |folder: &[u8]| mount.point.strip_prefix(folder).is_some_and(|rest| rest.first() == Some(&b'/'));
        if below(b"/proc") || below(b"/dev") {
            return;
        }
        let is_folder = FileType::from_raw_mode(found.stx_mode.into()) == FileType::Directory;
        let how = match (mount.point.as_slice(), is_folder) {
            (b"/proc", _) => How::Processes,
            (b"/dev", _) => How::Devices,
            (_, true) if KERNELS_OWN.contains(&mount.file_system.as_slice()) => How::ReadOnly,
            (_, true) if mount.is_remote() => How::Hidden,
            (_, true) => How::Overlay,
            // What is mounted on a file: a socket would lead to whoever listens there.
            (_, false) if FileType::from_raw_mode(found.stx_mode.into()) == FileType::RegularFile => {
                How::ReadOnly
            }
            (_, false) => How::Hidden,
        };
        let overlaid = self.hosts.iter().flatten().count();
        let how = if how == How::Overlay && overlaid >= MOST_OVERLAYS { How::Hidden } else { how };
        let where_it_is = encode(&mount.point);
        let kind = String::from_utf8_lossy(&mount.file_system).into_owned();
        match how {
            How::Hidden => self.left_out.push(format!("{where_it_is} ({kind}) was empty for it")),
            How::ReadOnly if !is_folder => {
                self.left_out.push(format!("{where_it_is} could not be written: it is mounted by itself"));
            }
            _ => {}
        }
        let option = |name: &[u8]| {
            let has = |options: &[u8]| options.split(|&byte| byte == b',').any(|option| option == name);
            has(&mount.options) || has(&mount.file_system_options)
        };
        let host = (how == How::Overlay)
            .then(|| {
                let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
                openat(descriptor, c".", flags, Mode::empty()).ok().map(|host| (host, mount.id))
            })
            .flatten();
        let how = if how == How::Overlay && host.is_none() { How::Hidden } else { how };
        self.hosts.push(host);
        self.mounts.push(Mounted {
            point: mount.point.clone(),
            how,
            read_only: option(b"ro"),
            no_exec: option(b"noexec"),
        });
    }
}

/// A mount that is seen at its point, and not covered by another.
fn visible(mount: &Mount) -> Option<(&Mount, Statx, OwnedFd)> {
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let resolve = ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    let descriptor = openat2(CWD, mount.point.as_slice(), flags, Mode::empty(), resolve).ok()?;
    let found = attributes(&descriptor).ok()?;
    (found.stx_mnt_id == mount.id).then_some((mount, found, descriptor))
}

impl View {
    /// Takes what the cell handed over: descriptors, and what became of each mount.
    ///
    /// # Errors
    /// What it handed over is not as it should be.
    pub(super) fn new(chosen: Chosen, descriptors: Vec<OwnedFd>, outcome: &Outcome) -> Result<Self, Errno> {
        let mut descriptors = descriptors.into_iter();
        let scratch = descriptors.next().ok_or(Errno::PROTO)?;
        let Chosen { mounts, hosts, mut left_out } = chosen;
        let mut overlays = Vec::new();
        for ((mounted, host), failed) in mounts.iter().zip(hosts).zip(outcome) {
            if let Some(reason) = failed {
                left_out.push(format!("{} was empty for it: {reason}", encode(&mounted.point)));
                continue;
            }
            let Some((host, host_mount)) = host else { continue };
            let (upper, merged) = descriptors.next().zip(descriptors.next()).ok_or(Errno::PROTO)?;
            let merged_mount = attributes(&merged)?.stx_mnt_id;
            let new = if mounted.read_only { None } else { Some(device_of_new(&merged)?) };
            let point = mounted.point.clone();
            overlays.push(Overlay { point, upper, merged, merged_mount, host, host_mount, new });
        }
        // The first is the root.
        if overlays.first().is_none_or(|overlay| overlay.point != b"/") || descriptors.next().is_some() {
            return Err(Errno::PROTO);
        }
        let keeps_user_attributes = keeps_user_attributes(&scratch);
        Ok(Self { scratch, overlays, left_out, keeps_user_attributes })
    }

    /// The root of what the command sees.
    pub(super) fn root(&self) -> Option<&OwnedFd> {
        self.overlays.first().map(|overlay| &overlay.merged)
    }

    /// There was no more room for what it wrote.
    ///
    /// # Errors
    /// The kernel's.
    pub(crate) fn is_full(&self) -> Result<bool, Errno> {
        let left = rustix::fs::fstatvfs(&self.scratch)?;
        Ok(left.f_bavail == 0 || left.f_favail == 0)
    }

    /// Where a file comes from that the command sees.
    ///
    /// # Errors
    /// `EACCES` where that cannot be told: somebody moves it.
    pub(super) fn source(&self, file: &OwnedFd) -> Result<Source, Errno> {
        let found = attributes(file)?;
        let Some(overlay) = self.overlays.iter().find(|overlay| overlay.merged_mount == found.stx_mnt_id)
        else {
            return Ok(Source::Elsewhere);
        };
        let path = readlinkat(CWD, link_to(file), Vec::new())?.into_bytes();
        let point = overlay.point.strip_suffix(b"/").unwrap_or(&overlay.point);
        let inside = path.strip_prefix(point).and_then(|rest| rest.strip_prefix(b"/")).unwrap_or_default();
        let is_new = overlay.new == Some((found.stx_dev_major, found.stx_dev_minor));
        if let Some(host) = overlay.host_file(inside).filter(|host| !is_new && is_number(host, found.stx_ino))
        {
            return Ok(Source::Host(host));
        }
        let origin = overlay.upper_file(inside).and_then(|upper| overlay.origin(&upper));
        match origin {
            Some(host) if is_new || is_number(&host, found.stx_ino) => Ok(Source::Host(host)),
            None if is_new => Ok(Source::New),
            _ => Err(Errno::ACCESS),
        }
    }
}

impl Overlay {
    /// The machine's file at a path in the overlay.
    fn host_file(&self, inside: &[u8]) -> Option<OwnedFd> {
        let file = open_beneath(&self.host, inside)?;
        (attributes(&file).ok()?.stx_mnt_id == self.host_mount).then_some(file)
    }

    /// What was written at a path in the overlay.
    fn upper_file(&self, inside: &[u8]) -> Option<OwnedFd> {
        open_beneath(&self.upper, inside)
    }

    /// The machine's file of which something in the upper layer is a copy.
    pub(crate) fn origin(&self, upper: &OwnedFd) -> Option<OwnedFd> {
        let mut value = [0; ORIGIN_HEAD + MAX_HANDLE];
        let length = rustix::fs::getxattr(link_to(upper), ORIGIN, &mut value).ok()?;
        let (kind, handle) = parse_origin(value.get(..length)?)?;
        open_by_handle(&self.host, kind, handle).ok()
    }
}

/// The type and bytes of the handle in an attribute of overlayfs's.
fn parse_origin(value: &[u8]) -> Option<(i32, &[u8])> {
    let (head, handle) = value.split_at_checked(ORIGIN_HEAD)?;
    let [0, ORIGIN_MAGIC, length, _, kind, ..] = *head else { return None };
    (usize::from(length) == value.len() && !handle.is_empty() && handle.len() <= MAX_HANDLE)
        .then_some((kind.into(), handle))
}

/// Opens a file by its handle, in the file system of `mount` (`open_by_handle_at(2)`).
fn open_by_handle(mount: &OwnedFd, kind: i32, handle: &[u8]) -> Result<OwnedFd, Errno> {
    /// `struct file_handle`, with room for the longest.
    #[repr(C)]
    struct Handle {
        length: libc::c_uint,
        kind: libc::c_int,
        bytes: [u8; MAX_HANDLE],
    }
    let length = libc::c_uint::try_from(handle.len()).map_err(|_| Errno::INVAL)?;
    let mut asked = Handle { length, kind, bytes: [0; MAX_HANDLE] };
    asked.bytes.get_mut(..handle.len()).ok_or(Errno::INVAL)?.copy_from_slice(handle);
    let flags = libc::O_PATH | libc::O_CLOEXEC | libc::O_NOFOLLOW;
    // SAFETY: the structure has the form that the kernel reads, and lives for the call. rustix has no such call.
    let result = unsafe {
        libc::syscall(libc::SYS_open_by_handle_at, mount.as_fd().as_raw_fd(), &raw const asked, flags)
    };
    if result < 0 {
        return Err(Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::IO));
    }
    let number = i32::try_from(result).map_err(|_| Errno::BADF)?;
    // SAFETY: the kernel made this descriptor for this call, and nobody else knows of it.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}

fn open_beneath(folder: &OwnedFd, inside: &[u8]) -> Option<OwnedFd> {
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let resolve = ResolveFlags::BENEATH
        | ResolveFlags::NO_SYMLINKS
        | ResolveFlags::NO_MAGICLINKS
        | ResolveFlags::NO_XDEV;
    openat2(folder, inside, flags, Mode::empty(), resolve).ok()
}

fn is_number(file: &OwnedFd, inode: u64) -> bool {
    attributes(file).is_ok_and(|found| found.stx_ino == inode)
}

pub(super) fn attributes(file: &OwnedFd) -> Result<Statx, Errno> {
    let flags = AtFlags::EMPTY_PATH | AtFlags::NO_AUTOMOUNT;
    statx(file, c"", flags, StatxFlags::BASIC_STATS | StatxFlags::MNT_ID)
}

/// Whether a file system in memory has attributes of the kind `user.*`.
fn keeps_user_attributes(scratch: &OwnedFd) -> bool {
    let name = "user.agentos";
    let kept = fsetxattr(scratch, name, b"", XattrFlags::CREATE).is_ok();
    kept && fremovexattr(scratch, name).is_ok()
}

/// The device number of files that the machine does not have: one is made, and is gone again.
fn device_of_new(merged: &OwnedFd) -> Result<(u32, u32), Errno> {
    let name = format!(".agentos-{:016x}", attributes(merged)?.stx_mnt_id);
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file = openat(merged, name.as_str(), flags, Mode::RUSR | Mode::WUSR)?;
    let found = attributes(&file);
    unlinkat(merged, name.as_str(), AtFlags::empty())?;
    let found = found?;
    Ok((found.stx_dev_major, found.stx_dev_minor))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_handle_of_a_copied_file_is_found_in_its_attribute() {
        let mut value = vec![0, 0xfb, 29, 0, 1];
        value.extend([0; 16]);
        value.extend([0x31, 3, 0, 0, 0, 0, 0, 0]);
        assert_eq!(parse_origin(&value), Some((1, &[0x31, 3, 0, 0, 0, 0, 0, 0][..])));
        value.pop();
        assert_eq!(parse_origin(&value), None);
        assert_eq!(parse_origin(&[]), None);
    }

    #[test]
    fn the_root_is_seen_first() {
        let chosen = Chosen::of(&[b"/nowhere".to_vec()]).unwrap();
        assert_eq!(chosen.mounts[0].point, b"/");
        assert!(chosen.mounts.iter().any(|mounted| mounted.how == How::Processes));
        assert_eq!(chosen.mounts.last().unwrap().how, How::Hidden);
    }

    proptest! {
        #[test]
        fn any_attribute_is_read_without_panic(value: Vec<u8>) {
            let _ = parse_origin(&value);
        }
    }
}
