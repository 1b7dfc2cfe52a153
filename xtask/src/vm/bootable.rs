//! A disk to start machines from, with the kernel and the initrd for it.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Result;

use super::bootstrap::Suite;
use super::disk::System;
use super::image;
use super::initrd::{self, RootOn};
use super::kernel::{Flavour, Kernel};
use super::qemu::{Disk, Machine, Start, overlay};
use super::workshop::Workshop;
use crate::progress::Step;

/// All that a machine with a disk needs.
pub(super) struct Bootable {
    pub(super) workshop: Workshop,
    kernel: Kernel,
    /// Kept for the folder that the files are in.
    system: System,
    disk: PathBuf,
    initrd: PathBuf,
}

impl Bootable {
    /// Builds it, with what `change` does to the system before it becomes a disk.
    ///
    /// # Errors
    /// When something cannot be got, built or written.
    pub(super) fn build(suite: &Suite, change: impl FnOnce(&System) -> Result<()>) -> Result<Self> {
        let workshop = Workshop::open()?;
        let kernel = Kernel::get(suite, Flavour::Virtual, &workshop)?;
        let system = System::stage(&image::debian(suite)?, &kernel)?;
        let step = Step::begin(format!("Making a disk with Debian {} and agentos", suite.name()));
        system.trim_for_emulation()?;
        change(&system)?;
        let disk = system.folder().join("disk.img");
        system.write_disk(&workshop, &disk)?;
        let initrd = system.folder().join("initrd");
        initrd::write(&initrd, &kernel, &workshop, RootOn::Disk)?;
        fs::remove_dir_all(system.root())?;
        step.done();
        Ok(Self { workshop, kernel, system, disk, initrd })
    }

    /// The disk as it was built. It is never written to.
    pub(super) fn disk(&self) -> &Path {
        &self.disk
    }

    /// A file of that name which goes with the disk.
    pub(super) fn file(&self, name: &str) -> PathBuf {
        self.system.folder().join(name)
    }

    /// A new disk that begins as `base`.
    ///
    /// # Errors
    /// When it cannot be made.
    pub(super) fn overlay(&self, base: &Path, name: &str) -> Result<PathBuf> {
        let file = self.file(name);
        overlay(&self.workshop, base, &file)?;
        Ok(file)
    }

    /// Switches on a machine that starts from `disk`.
    ///
    /// # Errors
    /// When QEMU cannot be started.
    pub(super) fn switch_on(&self, disk: &Disk) -> Result<Machine> {
        Machine::switch_on(&self.workshop, &self.start(&self.kernel.vmlinux()), Some(disk))
    }

    /// Runs a machine that starts from `disk`, with this terminal as its console.
    ///
    /// # Errors
    /// When QEMU cannot be started or fails.
    pub(super) fn on_this_terminal(&self, disk: &Disk) -> Result<()> {
        super::qemu::on_this_terminal(&self.workshop, &self.start(&self.kernel.vmlinux()), Some(disk))
    }

    fn start<'a>(&'a self, vmlinux: &'a Path) -> Start<'a> {
        Start::Kernel { vmlinux, initrd: &self.initrd }
    }
}
