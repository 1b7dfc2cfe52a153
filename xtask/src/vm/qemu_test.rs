//! scratch
use super::bootstrap::Suite;
use super::disk::System;
use super::initrd::{self, RootOn};
use super::kernel::Kernel;
use super::qemu::{self, Disk, Machine, Start};
use super::workshop::Workshop;
use crate::progress::Step;
use anyhow::{Context, Result, bail};
use clap::Args;

/// Options of `cargo xtask vm test-qemu`.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// The release of Debian inside; the host's own without it.
    #[arg(long)]
    suite: Option<Suite>,
}

pub(super) fn run(arguments: &Arguments) -> Result<()> {
    let suite = arguments.suite.clone().unwrap_or_else(Suite::of_host);
    let workshop = Workshop::open()?;
    let kernel = Kernel::get(&suite, &workshop)?;
    let step = Step::begin("staging");
    let system = System::stage(&suite, &kernel)?;
    system.trim_for_emulation()?;
    step.done();
    let step = Step::begin("disk");
    let base = system.folder().join("disk.img");
    let initrd = system.folder().join("initrd");
    initrd::write(&initrd, &kernel, &workshop, RootOn::Disk)?;
    system.write_disk(&workshop, &base)?;
    step.done();
    let overlay = system.folder().join("overlay.qcow2");
    qemu::overlay(&workshop, &base, &overlay)?;
    let start = Start::Kernel { vmlinux: &kernel.vmlinux(), initrd: &initrd, words: "" };
    let mut machine = Machine::switch_on(&workshop, &start, Some(&Disk { file: &overlay, log: None }))?;
    let state = machine.wait_until_up()?;
    println!("{state} {:?} cpu {:?}", machine.uptime(), machine.processor_time());
    for s in [
        "systemctl --failed --no-legend",
        "systemd-analyze",
        "systemctl status agentd --no-pager",
        "agentctl health",
        "cat /proc/cmdline; uname -a; df -h /; free -m; lsmod; dmesg | tail -20",
        "ls -la /dev/virtio-ports",
        "systemctl list-units --no-pager",
        "systemctl show -p CPUUsageNSec,ActiveEnterTimestampMonotonic,MemoryMax agentd; systemctl show -p ActiveEnterTimestampMonotonic multi-user.target",
    ] {
        println!("## {s}\n{}", machine.shell(s).unwrap_or_else(|e| format!("{e:#}")));
    }
    println!("{}", machine.console());
    machine.power_off()?;
    Ok(())
}
