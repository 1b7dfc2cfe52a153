//! The first file system of a machine: busybox, the modules that reach the disk, and one short script.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

use super::kernel::Kernel;
use super::workshop::Workshop;

mod cpio;

use self::cpio::Archive;

const INIT: &str = include_str!("initrd/init.sh");

/// What of busybox the script uses.
const APPLETS: [&str; 12] = [
    "cat",
    "echo",
    "insmod",
    "losetup",
    "mkdir",
    "mount",
    "poweroff",
    "sh",
    "sleep",
    "switch_root",
    "umount",
    "true",
];

/// Modules of a machine in QEMU.
const FOR_DISK: [&str; 5] = ["virtio_pci", "virtio_blk", "virtio_console", "virtio_rng", "ext4"];

/// Modules of a live medium: what it may be in, and what its file systems are.
const FOR_MEDIUM: [&str; 20] = [
    "virtio_pci",
    "virtio_blk",
    "virtio_console",
    "virtio_rng",
    "virtio_scsi",
    "ahci",
    "ata_piix",
    "nvme",
    "sd_mod",
    "sr_mod",
    "isofs",
    "loop",
    "erofs",
    "overlay",
    "xhci_pci",
    "ehci_pci",
    "ohci_pci",
    "uhci_hcd",
    "usb_storage",
    "uas",
];

/// Where the root file system is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RootOn {
    /// On the first virtual disk.
    Disk,
    /// In a file of a medium that has to be found.
    Medium,
}

/// Writes the archive to `path`.
///
/// # Errors
/// When the kernel lacks a module, or a file cannot be read or written.
pub(super) fn write(path: &Path, kernel: &Kernel, workshop: &Workshop, root: RootOn) -> Result<()> {
    let mut archive = Archive::default();
    for directory in ["bin", "dev", "medium", "modules", "proc", "root", "sys", "lower", "upper"] {
        archive.directory(directory);
    }
    let busybox = workshop.path("usr/bin/busybox");
    archive.file("bin/busybox", 0o755, &fs::read(&busybox).context("the workshop has no busybox")?);
    for applet in APPLETS {
        archive.link(&format!("bin/{applet}"), "busybox");
    }
    let wanted: &[&str] = match root {
        RootOn::Disk => &FOR_DISK,
        RootOn::Medium => &FOR_MEDIUM,
    };
    for (index, module) in kernel.load_order(wanted, workshop)?.into_iter().enumerate() {
        archive.file(&format!("modules/{index:02}-{}.ko", module.name), 0o644, &module.content);
    }
    archive.file("init", 0o755, INIT.as_bytes());
    fs::write(path, archive.finish()).with_context(|| format!("cannot write {}", path.display()))
}
