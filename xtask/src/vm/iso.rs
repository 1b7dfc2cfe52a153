//! `cargo xtask vm iso`: a medium that starts AgentOS on a PC without touching its disks, through BIOS and through UEFI.
//!
//! It is shipped, so nothing of a test and nothing of the machine that built it is in it: no password, no host key, no
//! machine-id, no list of package sources.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use clap::Args;

use super::bootstrap::Suite;
use super::disk::System;
use super::initrd::{self, RootOn};
use super::kernel::{Flavour, Kernel};
use super::qemu::{Machine, Start};
use super::workshop::Workshop;
use super::{image, qemu};
use crate::command::{run as run_command, target_directory};
use crate::progress::Step;

const MENU: &str = include_str!("iso/grub.cfg");
const GREETING: &[u8] = include_bytes!("iso/motd");
const AUTOLOGIN: &[u8] = include_bytes!("iso/autologin.conf");
const NETWORK: &[u8] = include_bytes!("iso/wired.network");

/// Modules that need a screen of their own, a radio or a laboratory.
const NEEDLESS_MODULES: [&str; 11] = [
    "drivers/bluetooth",
    "drivers/comedi",
    "drivers/gpu",
    "drivers/iio",
    "drivers/infiniband",
    "drivers/media",
    "drivers/net/wireless",
    "drivers/staging",
    "net/bluetooth",
    "net/mac80211",
    "sound",
];

/// How GRUB finds the rest of itself under UEFI, where it is started from a small file system of its own.
const SEARCH: &str = "search --file /live/root.erofs --set=root\nset prefix=($root)/boot/grub\n";

/// The size of that file system, in KiB: one of a floppy disk, because it then needs no partition table.
const EFI_KIB: u64 = 2880;

/// Options of `cargo xtask vm iso`.
#[derive(Debug, Default, Args)]
#[command(after_help = "Example:\n  cargo xtask vm iso --test")]
pub(crate) struct Arguments {
    /// The release of Debian on it; the host's own without it.
    #[arg(long, value_name = "NAME")]
    suite: Option<Suite>,
    /// Where to write it; without it to the target directory.
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Then start it in QEMU through BIOS and through UEFI, and see that agentd is well on it.
    #[arg(long)]
    test: bool,
}

impl Arguments {
    /// To build it where it is expected, and test it.
    pub(super) fn test() -> Self {
        Self { test: true, ..Self::default() }
    }
}

/// Builds the medium, and tests it if asked to.
///
/// # Errors
/// What could not be built, or did not hold.
pub(super) fn run(arguments: &Arguments) -> Result<()> {
    let suite = arguments.suite.clone().unwrap_or_else(Suite::of_host);
    let medium = match &arguments.output {
        Some(file) => std::path::absolute(file)?,
        None => default_output(&suite)?,
    };
    let workshop = Workshop::open()?;
    build(&suite, &workshop, &medium)?;
    if arguments.test {
        let one = test(&workshop, "BIOS", "disc", &Start::Bios { medium: &medium })?;
        let other = test(&workshop, "UEFI", "stick", &Start::Uefi { medium: &medium })?;
        ensure!(one != other, "two machines that start from it are both {one}");
    }
    Ok(())
}

/// Starts the medium in QEMU with this terminal as its console.
///
/// # Errors
/// When it cannot be built or started.
pub(super) fn on_this_terminal(suite: &Suite) -> Result<()> {
    let workshop = Workshop::open()?;
    let medium = default_output(suite)?;
    build(suite, &workshop, &medium)?;
    qemu::on_this_terminal(&workshop, &Start::Bios { medium: &medium }, None)
}

fn default_output(suite: &Suite) -> Result<PathBuf> {
    let folder = std::path::absolute(target_directory())?.join("iso");
    fs::create_dir_all(&folder)?;
    Ok(folder.join(format!("agentos-{}-{}-amd64.iso", env!("CARGO_PKG_VERSION"), suite.name())))
}

fn build(suite: &Suite, workshop: &Workshop, output: &Path) -> Result<()> {
    let kernel = Kernel::get(suite, Flavour::Any, workshop)?;
    let system = System::stage(&image::live(suite)?, &kernel)?;
    let step = Step::begin(format!("Making a live medium with Debian {} and agentos", suite.name()));
    prepare(&system)?;
    leave_out_drivers(&system, kernel.release())?;
    let files = system.folder().join("medium");
    for folder in ["boot/grub/i386-pc", "live"] {
        fs::create_dir_all(files.join(folder))?;
    }
    let root = files.join("live/root.erofs");
    run_command(
        workshop
            .command("/usr/bin/mkfs.erofs", &[system.folder()])
            .args(["--quiet", "-zlz4hc,9", "-C65536"])
            .arg(&root)
            .arg(system.root()),
    )?;
    fs::copy(kernel.vmlinuz(), files.join("boot/vmlinuz")).context("the kernel cannot be copied")?;
    initrd::write(&files.join("boot/initrd"), &kernel, workshop, RootOn::Medium)?;
    fs::write(files.join("boot/grub/grub.cfg"), MENU)?;
    boot_loaders(&system, workshop, &files)?;
    write(workshop, &files, output)?;
    step.done();
    let size = |path: &Path| fs::metadata(path).map_or(0, |metadata| metadata.len() >> 20);
    println!(
        "{}: {} MiB (system {} MiB, kernel {} MiB, initrd {} MiB)",
        output.display(),
        size(output),
        size(&root),
        size(&files.join("boot/vmlinuz")),
        size(&files.join("boot/initrd"))
    );
    Ok(())
}

/// Makes the system one that is held in a hand: consoles that need no password, a network, a greeting.
fn prepare(system: &System) -> Result<()> {
    system.add("etc/hostname", 0o644, b"agentos\n")?;
    system.add("etc/hosts", 0o644, b"127.0.0.1 localhost\n127.0.1.1 agentos\n::1 localhost\n")?;
    system.add("etc/motd", 0o644, GREETING)?;
    system.add("etc/systemd/system/getty@tty1.service.d/autologin.conf", 0o644, AUTOLOGIN)?;
    system.add("etc/systemd/system/serial-getty@.service.d/autologin.conf", 0o644, AUTOLOGIN)?;
    system.add("etc/systemd/network/wired.network", 0o644, NETWORK)?;
    let enable = ["--quiet", "enable", "systemd-networkd.service", "systemd-resolved.service"];
    system.run("/usr/bin/systemctl", &enable)?;
    // A machine without a network is no reason to wait.
    image::mask(&system.root(), &["systemd-networkd-wait-online.service"])?;
    let root = system.root();
    let resolver = root.join("etc/resolv.conf");
    let _ = fs::remove_file(&resolver);
    std::os::unix::fs::symlink("/run/systemd/resolve/stub-resolv.conf", resolver)?;
    for list in
        ["etc/apt/sources.list", "etc/apt/sources.list.d", "var/cache/apt", "var/lib/apt/lists", "var/log"]
    {
        empty(&root.join(list)).with_context(|| format!("cannot empty {list}"))?;
    }
    fs::create_dir_all(root.join("var/log/journal"))?;
    Ok(())
}

/// Leaves out the modules of what a console and a wired network do without: half of all of them.
fn leave_out_drivers(system: &System, release: &str) -> Result<()> {
    let modules = system.root().join("usr/lib/modules").join(release).join("kernel");
    for folder in NEEDLESS_MODULES {
        let folder = modules.join(folder);
        if folder.is_dir() {
            fs::remove_dir_all(folder)?;
        }
    }
    system.run("/usr/sbin/depmod", &[release])
}

/// Removes what is in `path`, and `path` itself if it is a file.
fn empty(path: &Path) -> Result<()> {
    if path.is_dir() {
        for entry in fs::read_dir(path)? {
            let entry = entry?.path();
            let is_directory = entry.is_dir() && !entry.is_symlink();
            if is_directory { fs::remove_dir_all(entry) } else { fs::remove_file(entry) }?;
        }
    } else if path.exists() {
        fs::remove_file(path)?;
    }
    Ok(())
}

/// Makes GRUB for both kinds of firmware.
fn boot_loaders(system: &System, workshop: &Workshop, files: &Path) -> Result<()> {
    let folders = [system.folder()];
    let search = system.folder().join("search.cfg");
    fs::write(&search, SEARCH)?;
    let efi = system.folder().join("BOOTX64.EFI");
    let grub = |format: &str, to: &Path, configuration: Option<&Path>, more: &[&str]| {
        let mut command = workshop.command("/usr/bin/grub-mkimage", &folders);
        command.args(["-O", format, "-p", "/boot/grub", "-o"]).arg(to);
        if let Some(configuration) = configuration {
            command.arg("-c").arg(configuration);
        }
        command.args([
            "linux",
            "normal",
            "iso9660",
            "search",
            "search_fs_file",
            "serial",
            "terminal",
            "configfile",
            "test",
        ]);
        run_command(command.args(more))
    };
    grub("i386-pc-eltorito", &files.join("boot/grub/bios.img"), None, &["biosdisk"])?;
    grub("x86_64-efi", &efi, Some(&search), &["part_gpt", "part_msdos", "fat"])?;
    let image = files.join("boot/efi.img");
    fs::File::create(&image)?.set_len(EFI_KIB << 10)?;
    let tool = |program: &str, arguments: &[&str]| {
        let mut command = workshop.command(program, &folders);
        command.arg("-i").arg(&image).args(arguments);
        run_command(&mut command)
    };
    tool("/usr/bin/mformat", &["-f", &EFI_KIB.to_string(), "::"])?;
    tool("/usr/bin/mmd", &["::/EFI", "::/EFI/BOOT"])?;
    tool("/usr/bin/mcopy", &[&efi.display().to_string(), "::/EFI/BOOT/"])
}

/// Writes the medium: one that a drive reads, and one that a stick can hold, at the same time.
fn write(workshop: &Workshop, files: &Path, output: &Path) -> Result<()> {
    let folder = output.parent().unwrap_or(output);
    let above = files.parent().unwrap_or(files);
    let mut xorriso = workshop.command("/usr/bin/xorriso", &[above, folder]);
    xorriso.args(["-as", "mkisofs", "-quiet", "-R", "-J", "-V", "AGENTOS"]);
    xorriso.args(["-b", "boot/grub/bios.img", "-no-emul-boot", "-boot-load-size", "4", "-boot-info-table"]);
    xorriso.args(["--grub2-boot-info", "--grub2-mbr", "/usr/lib/grub/i386-pc/boot_hybrid.img"]);
    xorriso.args(["-eltorito-alt-boot", "-e", "boot/efi.img", "-no-emul-boot", "-isohybrid-gpt-basdat"]);
    run_command(xorriso.arg("-o").arg(output).arg(files))
}

/// Starts the medium and looks at it from inside. Answers the machine-id.
fn test(workshop: &Workshop, firmware: &str, medium: &str, start: &Start) -> Result<String> {
    let mut machine = Machine::switch_on(workshop, start, None)?;
    let state = machine.wait_until_up()?;
    let (clock, processor) = (machine.uptime(), machine.processor_time()?);
    ensure!(
        state == "running",
        "the machine is {state}:\n{}",
        machine.shell("systemctl --failed --no-legend")?
    );
    let health: serde_json::Value =
        serde_json::from_str(&machine.run(&["/usr/bin/agentctl", "health", "--json"])?)?;
    ensure!(health["status"] == "ok", "agentd is not well: {health}");
    machine.run(&["/usr/bin/agentctl", "verify-ledger"])?;
    let by = machine.shell("if [ -d /sys/firmware/efi ]; then echo UEFI; else echo BIOS; fi")?;
    ensure!(by.trim() == firmware, "it was started by {by}");
    let root = machine.shell("findmnt --noheadings --output FSTYPE /")?;
    ensure!(root.trim() == "overlay", "its root is {root}");
    lets_in_who_sits_at_it(&machine)?;
    let identity = machine.shell("cat /etc/machine-id")?.trim().to_owned();
    ensure!(identity.len() == 32, "its machine-id is {identity:?}");
    machine.power_off()?;
    println!(
        "✓ it runs, started by {firmware} from a {medium}, agentd is well ({:.1} s, {:.1} s of processor time)",
        clock.as_secs_f64(),
        processor.as_secs_f64()
    );
    Ok(identity)
}

/// Whoever sits at it has a shell, and nobody else gets in.
fn lets_in_who_sits_at_it(machine: &Machine) -> Result<()> {
    let with_password = machine.shell("cut -d: -f1,2 /etc/shadow | grep -v ':[!*]' || true")?;
    ensure!(with_password.trim().is_empty(), "accounts that need no password, or have one: {with_password}");
    let remote = machine.shell("ls /usr/sbin/sshd /etc/ssh/ssh_host_* 2> /dev/null || true")?;
    ensure!(remote.trim().is_empty(), "ssh is on it: {remote}");
    let shells = "for _ in $(seq 60); do shells=$(ps -C bash --no-headers -o tty= | sort | xargs); \
                  [ \"$shells\" != 'tty1 ttyS0' ] || break; sleep 0.5; done; echo $shells";
    let shells = machine.shell(shells)?;
    ensure!(shells.trim() == "tty1 ttyS0", "its consoles should have a shell each, and these have: {shells}");
    Ok(())
}
