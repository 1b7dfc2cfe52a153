//! Machines to look at: a shell in one, or its console on this terminal.

use std::process::Stdio;

use anyhow::Result;
use clap::Args;

use super::bootable::Bootable;
use super::bootstrap::Suite;
use super::disk::System;
use super::nspawn::{Disk, Guest, Share};
use super::{image, iso, qemu};
use crate::package;
use crate::progress::Step;

/// Nobody has to log in on a machine that is thrown away. This is never shipped.
const AUTOLOGIN: &[u8] = include_bytes!("iso/autologin.conf");
const NETWORK: &[u8] = include_bytes!("iso/wired.network");
const GREETING: &[u8] =
    b"\nThis machine is thrown away when it is switched off. agentd runs in it: try agentctl health.\n\
    Ctrl-A X pulls its plug; systemctl poweroff switches it off.\n\n";

/// The name server that QEMU answers for.
const RESOLVER: &[u8] = b"nameserver 10.0.2.3\n";

/// Options of `cargo xtask vm qemu`.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  cargo xtask vm qemu\n  cargo xtask vm qemu --suite trixie\n  cargo xtask vm qemu --iso"
)]
pub(crate) struct Qemu {
    /// The release of Debian inside; the host's own without it.
    #[arg(long, value_name = "NAME")]
    suite: Option<Suite>,
    /// Start the live medium of `cargo xtask vm iso` instead.
    #[arg(long)]
    iso: bool,
}

/// A machine with a kernel and a disk of its own, its console on this terminal.
///
/// # Errors
/// What could not be built, or how QEMU failed.
pub(super) fn on_this_terminal(arguments: &Qemu) -> Result<()> {
    let suite = arguments.suite.clone().unwrap_or_else(Suite::of_host);
    if arguments.iso {
        return iso::on_this_terminal(&suite);
    }
    let bootable = Bootable::build(&suite, open_to_its_developer)?;
    let disk = bootable.overlay(bootable.disk(), "disk.qcow2")?;
    eprintln!("Debian {} with agentos, in QEMU. Ctrl-A X pulls its plug.", suite.name());
    bootable.on_this_terminal(&qemu::Disk { file: &disk, log: None })
}

fn open_to_its_developer(system: &System) -> Result<()> {
    system.add("etc/systemd/system/serial-getty@.service.d/autologin.conf", 0o644, AUTOLOGIN)?;
    system.add("etc/systemd/network/wired.network", 0o644, NETWORK)?;
    system.add("etc/resolv.conf", 0o644, RESOLVER)?;
    system.add("etc/motd", 0o644, GREETING)?;
    image::mask(&system.root(), &["systemd-networkd-wait-online.service"])?;
    system.run("/usr/bin/systemctl", &["--quiet", "enable", "systemd-networkd.service"])
}

/// A shell in a machine in nspawn that has agentd running; the machine ends with the shell.
///
/// # Errors
/// What could not be built or booted.
pub(super) fn shell() -> Result<()> {
    let disk = Disk::new()?;
    let guest = with_agentd(&disk)?;
    eprintln!("A shell in a Debian with agentd, in systemd-nspawn. Leaving it throws the machine away.");
    let _ =
        guest.command(&["/bin/bash", "--login"]).stdin(Stdio::inherit()).env("TERM", terminal()).status()?;
    guest.power_off()
}

/// A machine in nspawn that runs until Enter is pressed.
///
/// # Errors
/// What could not be built or booted.
pub(super) fn nspawn() -> Result<()> {
    let disk = Disk::new()?;
    let guest = with_agentd(&disk)?;
    let enter = guest.command(&["/bin/bash", "--login"]);
    let words = enter.get_args().map(|word| word.to_string_lossy());
    println!("A Debian with agentd runs in systemd-nspawn. A shell in it, from another terminal:");
    println!("  sudo nsenter {}", words.collect::<Vec<_>>().join(" "));
    println!("agentd's socket: {}", guest.path("/run/agentos/operator.sock").display());
    println!("Enter switches it off.");
    std::io::stdin().read_line(&mut String::new())?;
    guest.power_off()
}

/// A machine in nspawn with the package installed.
fn with_agentd(disk: &Disk) -> Result<Guest> {
    let package = Share { from: package::debian(None, false)?, to: "/package.deb" };
    let guest = Guest::boot(&image::prepare()?, disk, &[package])?;
    let step = Step::begin("Installing the package in it");
    guest.shell("AGENTOS_SKIP_SETUP=1 dpkg --install /package.deb")?;
    step.done();
    Ok(guest)
}

fn terminal() -> String {
    std::env::var("TERM").unwrap_or_else(|_| "linux".to_owned())
}
