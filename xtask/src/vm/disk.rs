//! A system on a disk: a copy of the Debian with agentos installed, turned into a file system.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use tempfile::TempDir;

use super::bootstrap::directory;
use super::kernel::Kernel;
use super::workshop::{Workshop, inside};
use super::{agentos, image};
use crate::command::run;

/// The size of the disk of a machine; what is not written takes no room.
const DISK_BYTES: u64 = 2 << 30;

/// The name of a folder in which a system is put together, before the number of the process that does it.
const WORK: &str = "work-";

/// Units that cost seconds under emulation, and that a machine of one disk without a screen and a network does not need.
const NEEDLESS: [&str; 22] = [
    "dev-hugepages.mount",
    "dpkg-db-backup.timer",
    "e2scrub_reap.service",
    "fstrim.timer",
    "getty-static.service",
    "getty@tty1.service",
    "ldconfig.service",
    "modprobe@configfs.service",
    "modprobe@dm_mod.service",
    "modprobe@drm.service",
    "modprobe@efi_pstore.service",
    "modprobe@fuse.service",
    "modprobe@loop.service",
    "proc-sys-fs-binfmt_misc.automount",
    "sys-kernel-config.mount",
    "sys-kernel-debug.mount",
    "sys-kernel-tracing.mount",
    "systemd-binfmt.service",
    "systemd-hwdb-update.service",
    "systemd-journal-catalog-update.service",
    "systemd-pstore.service",
    "systemd-update-utmp.service",
];

/// A system being put together, in a folder that goes with it.
pub(super) struct System {
    folder: TempDir,
}

impl System {
    /// A copy of `debian` with agentos installed in it, and the kernel's modules.
    ///
    /// # Errors
    /// When something cannot be built or copied.
    pub(super) fn stage(debian: &Path, kernel: &Kernel) -> Result<Self> {
        remove_left_over()?;
        let folder = tempfile::Builder::new()
            .prefix(&format!("{WORK}{}-", std::process::id()))
            .tempdir_in(directory()?)?;
        let system = Self { folder };
        copy(debian, &system.root())?;
        let modules = system.root().join("usr/lib/modules");
        fs::create_dir_all(&modules)?;
        copy(&kernel.modules(), &modules.join(kernel.release()))?;
        agentos::install(&system.root())?;
        // Each machine makes its own: an image that has one is many machines of one identity.
        fs::write(system.root().join("etc/machine-id"), "")?;
        Ok(system)
    }

    /// Where it is.
    pub(super) fn root(&self) -> PathBuf {
        self.folder.path().join("root")
    }

    /// The folder it is in, for what is made from it.
    pub(super) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Adds a file that belongs to root.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(super) fn add(&self, path: &str, mode: u32, content: &[u8]) -> Result<()> {
        let path = self.root().join(path);
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent)?;
        }
        fs::write(&path, content).with_context(|| format!("cannot write {}", path.display()))?;
        Ok(fs::set_permissions(&path, fs::Permissions::from_mode(mode))?)
    }

    /// Runs a program of it in it.
    ///
    /// # Errors
    /// When it does not end with 0.
    pub(super) fn run(&self, program: &str, arguments: &[&str]) -> Result<()> {
        run(inside(&self.root(), program, &[]).args(arguments))
    }

    /// Leaves out what a test in QEMU does not need, and keeps the waiting of systemd in step with emulation.
    ///
    /// # Errors
    /// When a file cannot be written.
    pub(super) fn trim_for_emulation(&self) -> Result<()> {
        image::mask(&self.root(), &NEEDLESS)?;
        let patience = b"[Manager]\nDefaultTimeoutStartSec=300s\nDefaultDeviceTimeoutSec=300s\n";
        self.add("etc/systemd/system.conf.d/patience.conf", 0o644, patience)
    }

    /// Writes it to `file` as a disk that a machine starts from.
    ///
    /// # Errors
    /// When mkfs fails.
    pub(super) fn write_disk(&self, workshop: &Workshop, file: &Path) -> Result<()> {
        fs::File::create(file)?.set_len(DISK_BYTES)?;
        let root = self.root();
        let folder = file.parent().unwrap_or(file);
        run(workshop
            .command("/usr/sbin/mkfs.ext4", &[&root, folder])
            .args(["-q", "-F", "-L", "agentos", "-E", "lazy_itable_init=0,lazy_journal_init=0", "-d"])
            .arg(&root)
            .arg(file))
    }
}

/// Removes the folders of builds that were ended from outside, and so could not do it themselves.
fn remove_left_over() -> Result<()> {
    for entry in fs::read_dir(directory()?)? {
        let entry = entry?;
        let name = entry.file_name();
        let owner =
            name.to_str().and_then(|name| name.strip_prefix(WORK)?.split('-').next()?.parse::<u32>().ok());
        if owner.is_some_and(|owner| !Path::new(&format!("/proc/{owner}")).exists()) {
            fs::remove_dir_all(entry.path())?;
        }
    }
    Ok(())
}

/// Copies a tree with all its owners and modes, sharing the blocks where the file system can.
fn copy(from: &Path, to: &Path) -> Result<()> {
    run(Command::new("cp").args(["--archive", "--reflink=auto", "--"]).arg(from).arg(to))
}
