//! The place of a command whose effects on files are only looked at: a view of the machine in which every file system has
//! another one above it that takes what is written (overlayfs), and is gone with the view.
//!
//! agentd says what is mounted where ([`Preview`]), and gets a pair of descriptors for each overlay: the folder that takes
//! what is written, and the root of the two together.

use std::io::Write;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;

use rustix::fs::{
    AtFlags, CWD, FileType, Gid, Mode, OFlags, ResolveFlags, Uid, chownat, fstat, mkdirat, mknodat, openat,
    openat2, symlinkat,
};
use rustix::io::Errno;
use rustix::mount::{
    MountFlags, MountPropagationFlags, UnmountFlags, mount, mount_bind, mount_change, mount_remount, unmount,
};
use serde::{Deserialize, Serialize};

use crate::command::Word;
use crate::send::send;

/// Most overlays of one view: their descriptors go in one message, which takes 253.
pub const MOST_OVERLAYS: usize = 100;
/// Where what the view is made of is mounted while it is made: a folder that every machine has, and that the view has its
/// own of.
const SCRATCH: &str = "/dev";
/// The devices that a command finds.
const DEVICES: [&str; 6] = ["null", "zero", "full", "random", "urandom", "tty"];
/// Folders and links beside them.
const LINKS: [(&str, &str); 4] = [
    ("fd", "/proc/self/fd"),
    ("stdin", "/proc/self/fd/0"),
    ("stdout", "/proc/self/fd/1"),
    ("stderr", "/proc/self/fd/2"),
];
/// Bytes that a command may write into `/dev/shm`, as tmpfs(5) takes them.
const DEVICES_SIZE: &str = "size=16m,nr_inodes=4k,mode=755";

/// What a command sees of the file systems.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Preview {
    /// What is mounted, a folder before what is in it. The first is the root.
    pub mounts: Vec<Mounted>,
    /// Bytes that may be written, in all file systems together.
    pub bytes: u64,
    /// Files that may be written, in all file systems together.
    pub files: u64,
}

/// Something that is mounted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mounted {
    /// Where, in the kernel's bytes.
    pub point: Vec<u8>,
    /// What the command finds there.
    pub how: How,
    /// Nothing can be written there.
    pub read_only: bool,
    /// No program there is run.
    pub no_exec: bool,
}

/// What a command finds in place of something that is mounted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum How {
    /// The same, and what is written is kept apart.
    Overlay,
    /// The same, and nothing can be written.
    ReadOnly,
    /// Nothing.
    Hidden,
    /// The command's own processes (proc(5)).
    Processes,
    /// Devices that give nothing of the machine's.
    Devices,
}

/// What became of each of [`Preview::mounts`]: why it is not there, where it is not.
pub type Outcome = Vec<Option<String>>;

/// The two sides of an overlay.
struct Sides {
    upper: OwnedFd,
    merged: OwnedFd,
}

/// Makes the view and goes into it. Says on the socket what became of each mount, with the descriptors: the folder that
/// all written files are in (to ask for its free space), then two for each overlay that there is.
///
/// It is called by the first process of a process namespace, in a mount namespace of its own.
///
/// # Errors
/// A sentence: there is no view.
pub(crate) fn enter_view(preview: &Preview, socket: &UnixStream) -> Result<(), String> {
    let private = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
    mount_change("/", private).map_err(|error| format!("private mounts: {error}"))?;
    let devices: Vec<(&str, OwnedFd)> = DEVICES
        .iter()
        .filter_map(|name| Some((*name, point_at(PathBuf::from(SCRATCH).join(name)).ok()?)))
        .collect();
    // Before anything covers them.
    let lowers: Vec<Result<OwnedFd, Errno>> =
        preview.mounts.iter().map(|mounted| point_at(mounted.point.as_slice())).collect();
    let scratch = make_scratch(preview).map_err(|error| format!("room for what is written: {error}"))?;
    let mut view = View { scratch, root: None, sides: Vec::new(), devices };
    let mut outcome = Outcome::with_capacity(preview.mounts.len());
    for (number, (mounted, lower)) in preview.mounts.iter().zip(lowers).enumerate() {
        let made = lower.and_then(|lower| view.mount(number, mounted, &lower));
        // What is below it is not seen as it is; better nothing than something that is taken for it.
        let hidden = made.or_else(|error| view.hide(mounted).and(Err(error)));
        if let (0, Err(error)) = (number, &hidden) {
            return Err(format!("a file system above that of /: {error} (overlayfs is needed)"));
        }
        outcome.push(hidden.err().map(|error| error.to_string()));
    }
    let View { scratch, root, sides, .. } = view;
    let root = root.ok_or("there is no root")?;
    tell(socket, &scratch, &sides, &outcome).map_err(|error| format!("handing over the view: {error}"))?;
    rustix::process::fchdir(&root)
        .and_then(|()| rustix::process::pivot_root(".", "."))
        .and_then(|()| unmount(".", UnmountFlags::DETACH))
        .and_then(|()| rustix::process::chdir("/"))
        .map_err(|error| format!("going into the view: {error}"))
}

/// A file system in memory for all that is written, of the size that is allowed.
fn make_scratch(preview: &Preview) -> Result<OwnedFd, Errno> {
    let data = std::ffi::CString::new(format!("size={},nr_inodes={},mode=700", preview.bytes, preview.files))
        .map_err(|_| Errno::INVAL)?;
    mount("scratch", SCRATCH, "tmpfs", MountFlags::NOSUID | MountFlags::NODEV, data.as_c_str())?;
    let scratch = openat(CWD, SCRATCH, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    mkdirat(&scratch, "root", Mode::RWXU)?;
    mkdirat(&scratch, "empty", Mode::from_raw_mode(0o555))?;
    mknodat(&scratch, "none", FileType::RegularFile, Mode::from_raw_mode(0o444), 0)?;
    Ok(scratch)
}

struct View {
    scratch: OwnedFd,
    root: Option<OwnedFd>,
    sides: Vec<Sides>,
    devices: Vec<(&'static str, OwnedFd)>,
}

impl View {
    /// The place of a mount in the view, without following links.
    fn at(&self, point: &[u8]) -> Result<OwnedFd, Errno> {
        let Some(root) = &self.root else {
            return openat(
                &self.scratch,
                "root",
                OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC,
                Mode::empty(),
            );
        };
        let inside = point.strip_prefix(b"/").unwrap_or(point);
        if inside.is_empty() {
            return rustix::io::dup(root);
        }
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
        openat2(root, inside, OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty(), resolve)
    }

    fn mount(&mut self, number: usize, mounted: &Mounted, lower: &OwnedFd) -> Result<(), Errno> {
        let place = self.at(&mounted.point)?;
        let mut flags = MountFlags::NOSUID | MountFlags::NODEV;
        flags.set(MountFlags::RDONLY, mounted.read_only);
        flags.set(MountFlags::NOEXEC, mounted.no_exec);
        match mounted.how {
            How::Overlay if self.sides.len() >= MOST_OVERLAYS => Err(Errno::NOBUFS),
            How::Overlay => self.overlay(number, mounted, lower, &place, flags),
            How::ReadOnly => {
                mount_bind(path_of(lower), path_of(&place))?;
                self.bind_flags(&mounted.point, flags | MountFlags::RDONLY)
            }
            How::Hidden => self.hide(mounted),
            How::Processes => {
                let flags = flags | MountFlags::RDONLY | MountFlags::NOEXEC;
                mount("proc", path_of(&place), "proc", flags, None)
            }
            How::Devices => self.make_devices(mounted, &place),
        }
    }

    fn overlay(
        &mut self,
        number: usize,
        mounted: &Mounted,
        lower: &OwnedFd,
        place: &OwnedFd,
        flags: MountFlags,
    ) -> Result<(), Errno> {
        let own = format!("{number}");
        mkdirat(&self.scratch, own.as_str(), Mode::RWXU)?;
        let folder = openat(
            &self.scratch,
            own.as_str(),
            OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC,
            Mode::empty(),
        )?;
        mkdirat(&folder, "work", Mode::RWXU)?;
        mkdirat(&folder, "upper", Mode::RWXU)?;
        let open = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let upper = openat(&folder, "upper", open, Mode::empty())?;
        // The root of the overlay is this folder, as far as owner and permissions go.
        let like = fstat(lower)?;
        chownat(
            &upper,
            "",
            Some(Uid::from_raw(like.st_uid)),
            Some(Gid::from_raw(like.st_gid)),
            AtFlags::EMPTY_PATH,
        )?;
        rustix::fs::fchmod(&upper, Mode::from_raw_mode(like.st_mode & 0o7777))?;
        // index: a file of several names stays one, and where each written file comes from can be told (overlayfs.rst).
        // redirect_dir: folders are not moved as a whole, so that what is in them is found by its path.
        let data = format!(
            "lowerdir={},upperdir={SCRATCH}/{own}/upper,workdir={SCRATCH}/{own}/work,index=on,redirect_dir=off,metacopy=off,xino=off",
            path_of(lower)
        );
        let data = std::ffi::CString::new(data).map_err(|_| Errno::INVAL)?;
        mount("overlay", path_of(place), "overlay", flags, data.as_c_str())?;
        let merged = if self.root.is_some() {
            openat(&self.at(&mounted.point)?, ".", open, Mode::empty())?
        } else {
            openat(&self.scratch, "root", open, Mode::empty())?
        };
        if self.root.is_none() {
            self.root = Some(rustix::io::dup(&merged)?);
        }
        self.sides.push(Sides { upper, merged });
        Ok(())
    }

    /// Puts something empty in the place of a mount.
    fn hide(&self, mounted: &Mounted) -> Result<(), Errno> {
        let place = self.at(&mounted.point)?;
        let is_folder = FileType::from_raw_mode(fstat(&place)?.st_mode) == FileType::Directory;
        let nothing = format!("{SCRATCH}/{}", if is_folder { "empty" } else { "none" });
        mount_bind(nothing.as_str(), path_of(&place))?;
        self.bind_flags(&mounted.point, MountFlags::RDONLY | MountFlags::NOSUID | MountFlags::NODEV)
    }

    /// A bind mount takes its flags only afterwards (mount(2)).
    fn bind_flags(&self, point: &[u8], flags: MountFlags) -> Result<(), Errno> {
        mount_remount(path_of(&self.at(point)?), MountFlags::BIND | flags, "")
    }

    fn make_devices(&self, mounted: &Mounted, place: &OwnedFd) -> Result<(), Errno> {
        let data = std::ffi::CString::new(DEVICES_SIZE).map_err(|_| Errno::INVAL)?;
        mount("dev", path_of(place), "tmpfs", MountFlags::NOSUID | MountFlags::NOEXEC, data.as_c_str())?;
        let folder = self.at(&mounted.point)?;
        for (name, device) in &self.devices {
            mknodat(&folder, *name, FileType::RegularFile, Mode::from_raw_mode(0o666), 0)?;
            let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let node = openat(&folder, *name, flags, Mode::empty())?;
            mount_bind(path_of(device), path_of(&node))?;
        }
        for (name, target) in LINKS {
            symlinkat(target, &folder, name)?;
        }
        mkdirat(&folder, "shm", Mode::empty())?;
        rustix::fs::chmodat(&folder, "shm", Mode::from_raw_mode(0o1777), AtFlags::empty())
    }
}

/// A descriptor that only points at something.
fn point_at(path: impl rustix::path::Arg) -> Result<OwnedFd, Errno> {
    openat(CWD, path, OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())
}

fn path_of(descriptor: impl AsFd) -> String {
    format!("/proc/self/fd/{}", descriptor.as_fd().as_raw_fd())
}

fn tell(socket: &UnixStream, scratch: &OwnedFd, sides: &[Sides], outcome: &Outcome) -> std::io::Result<()> {
    let mut descriptors: Vec<BorrowedFd<'_>> = vec![scratch.as_fd()];
    descriptors.extend(sides.iter().flat_map(|sides| [sides.upper.as_fd(), sides.merged.as_fd()]));
    send(socket, Word::View, &descriptors)?;
    let text = serde_json::to_vec(outcome)?;
    let length = u32::try_from(text.len()).map_err(std::io::Error::other)?;
    (&mut &*socket).write_all(&length.to_ne_bytes())?;
    (&mut &*socket).write_all(&text)
}
