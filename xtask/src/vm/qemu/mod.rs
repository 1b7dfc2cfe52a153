//! A whole machine: its own kernel, its own disk, and a plug that can be pulled.
//!
//! QEMU runs in the [workshop](super::workshop), without a network, under KVM where the processor has it and under
//! emulation elsewhere. Dropping a [`Machine`] ends it; so does the end of xtask.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use tempfile::TempDir;

use super::workshop::Workshop;

mod agent;
mod serial;

use self::agent::Agent;
pub(super) use self::agent::Finished;
pub(super) use self::serial::Port;

/// How long starting and powering off may take: emulation on a busy machine is slow.
const BOOT_TIME: Duration = Duration::from_mins(4);
const POWER_OFF_TIME: Duration = Duration::from_mins(2);
/// How long a command inside may take.
const COMMAND_TIME: Duration = Duration::from_mins(2);

const MEMORY: &str = "1024";

/// What makes the kernel start sooner under emulation and takes nothing away that is tested.
const KERNEL_COMMAND_LINE: &str = "console=ttyS0 quiet loglevel=4 panic=-1 oops=panic mitigations=off nopti nokaslr \
     no5lvl init_on_alloc=0 hardened_usercopy=off randomize_kstack_offset=off cryptomgr.notests lsm=landlock,yama \
     net.ifnames=0 nowatchdog audit=0 random.trust_cpu=on systemd.show_status=0";

/// What a machine starts from.
pub(super) enum Start<'a> {
    /// A kernel and its initrd, put into memory by QEMU.
    Kernel { vmlinux: &'a Path, initrd: &'a Path },
    /// A disc in its drive, by the firmware of a PC.
    Bios { medium: &'a Path },
    /// A stick, by UEFI.
    Uefi { medium: &'a Path },
}

/// The first disk of a machine.
pub(super) struct Disk<'a> {
    /// A file in the format qcow2; see [`overlay`].
    pub(super) file: &'a Path,
    /// A file that every write and flush is noted in, in their order.
    pub(super) log: Option<&'a Path>,
}

/// A running machine.
pub(super) struct Machine {
    qemu: Child,
    folder: TempDir,
    agent: Agent,
    started: Instant,
}

/// A new disk whose content is `base` until it is written to. `base` is never changed.
///
/// # Errors
/// When qemu-img fails.
pub(super) fn overlay(workshop: &Workshop, base: &Path, file: &Path) -> Result<()> {
    let folders = [parent(base), parent(file)];
    let mut command = workshop.command("/usr/bin/qemu-img", &folders);
    command.args(["create", "-q", "-f", "qcow2", "-F", "raw", "-b"]).arg(base).arg(file);
    crate::command::run(&mut command)
}

impl Machine {
    /// Switches a machine on. It has not started anything yet when this returns.
    ///
    /// # Errors
    /// When QEMU cannot be started.
    pub(super) fn switch_on(workshop: &Workshop, start: &Start, disk: Option<&Disk>) -> Result<Self> {
        // Short, because the path of a socket may not be long.
        let folder = tempfile::Builder::new().prefix("agentos-vm-").tempdir()?;
        let mut command = command(workshop, start, disk, &[folder.path()]);
        let socket = |name: &str| folder.path().join(name);
        command.arg("-serial").arg(format!("file:{}", socket("console").display()));
        for (id, port) in [("agent", "org.qemu.guest_agent.0"), ("acknowledged", "agentos.acknowledged")] {
            command
                .arg("-chardev")
                .arg(format!("socket,id={id},path={},server=on,wait=off", socket(id).display()))
                .args(["-device", &format!("virtserialport,chardev={id},name={port}")]);
        }
        command.args(["-display", "none"]);
        let errors = fs::File::create(socket("errors"))?;
        command.stdout(errors.try_clone()?).stderr(errors);
        let qemu = command.spawn().context("cannot start QEMU")?;
        Ok(Self { qemu, agent: Agent::new(socket("agent")), folder, started: Instant::now() })
    }

    /// Waits until systemd has started everything, and answers the state it says it is in, such as `running`.
    ///
    /// # Errors
    /// When that takes too long, or the machine ends; with the end of its console.
    pub(super) fn wait_until_up(&mut self) -> Result<String> {
        let deadline = self.started + BOOT_TIME;
        while !self.agent.is_up(Duration::from_secs(2)) {
            if let Some(status) = self.qemu.try_wait()? {
                bail!("QEMU ended ({status}):\n{}", self.console());
            }
            if Instant::now() > deadline {
                bail!("the machine does not come up:\n{}", self.console());
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        let words = ["/usr/bin/systemctl", "is-system-running", "--wait"];
        let left = deadline.saturating_duration_since(Instant::now());
        let finished = self.agent.execute(&words, left).with_context(|| self.console())?;
        Ok(String::from_utf8_lossy(&finished.stdout).trim().to_owned())
    }

    /// How long it has been on.
    pub(super) fn uptime(&self) -> Duration {
        self.started.elapsed()
    }

    /// The processor time QEMU has used, which says more than the clock where others work too.
    ///
    /// # Errors
    /// When QEMU has ended.
    pub(super) fn processor_time(&self) -> Result<Duration> {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.qemu.id()))?;
        processor_time(&stat, rustix::param::clock_ticks_per_second())
            .context("/proc/PID/stat is not understood")
    }

    /// Runs a program inside as root, whatever it ends with.
    ///
    /// # Errors
    /// When it cannot be run, or does not end.
    pub(super) fn execute(&self, words: &[&str]) -> Result<Finished> {
        self.agent.execute(words, COMMAND_TIME)
    }

    /// Runs a program inside as root and gives what it printed.
    ///
    /// # Errors
    /// When it does not end with 0.
    pub(super) fn run(&self, words: &[&str]) -> Result<String> {
        let finished = self.execute(words)?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        if finished.code != 0 {
            let (stdout, stderr) = (text(&finished.stdout), text(&finished.stderr));
            bail!("in the machine, {} ended with {}:\n{stdout}{stderr}", words.join(" "), finished.code);
        }
        Ok(text(&finished.stdout))
    }

    /// Runs a few lines of shell inside.
    ///
    /// # Errors
    /// When they do not end with 0.
    pub(super) fn shell(&self, script: &str) -> Result<String> {
        self.run(&["/bin/sh", "-ec", script])
    }

    /// Begins to read what is written inside to `/dev/virtio-ports/agentos.acknowledged`.
    ///
    /// # Errors
    /// When QEMU has ended.
    pub(super) fn acknowledged(&self) -> Result<Port> {
        Port::read(&self.folder.path().join("acknowledged"))
    }

    /// Powers off as a person does, and waits for the end.
    ///
    /// # Errors
    /// When it does not end in time; it is ended by force then.
    pub(super) fn power_off(mut self) -> Result<()> {
        self.agent.power_off()?;
        self.wait_for_end("power off")
    }

    /// Starts it anew, as a person does. QEMU ends with it, so what comes next is switched on again.
    ///
    /// # Errors
    /// As [`Machine::power_off`].
    pub(super) fn reboot(mut self) -> Result<()> {
        // The agent is stopped by what it was told, so its answer may not come.
        let _ = self.agent.execute(&["/usr/bin/systemctl", "reboot"], Duration::from_secs(5));
        self.wait_for_end("reboot")
    }

    /// Pulls the plug: what the machine had in its memory is gone at once.
    ///
    /// # Errors
    /// The kernel's.
    pub(super) fn power_cut(mut self) -> Result<()> {
        self.qemu.kill()?;
        self.qemu.wait()?;
        Ok(())
    }

    /// The end of what the machine printed, and of what QEMU did.
    pub(super) fn console(&self) -> String {
        let end = |name: &str| {
            let bytes = fs::read(self.folder.path().join(name)).unwrap_or_default();
            String::from_utf8_lossy(&bytes[bytes.len().saturating_sub(4000)..]).into_owned()
        };
        format!("{}{}", end("errors"), end("console"))
    }

    fn wait_for_end(&mut self, what: &str) -> Result<()> {
        match self.ended_within(POWER_OFF_TIME)? {
            Some(status) if status.success() => Ok(()),
            Some(status) => bail!("QEMU ended with {status} in a {what}:\n{}", self.console()),
            None => bail!("no {what} within {} s:\n{}", POWER_OFF_TIME.as_secs(), self.console()),
        }
    }

    fn ended_within(&mut self, time: Duration) -> Result<Option<ExitStatus>> {
        let deadline = Instant::now() + time;
        loop {
            if let Some(status) = self.qemu.try_wait()? {
                return Ok(Some(status));
            }
            if Instant::now() > deadline {
                return Ok(None);
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        let _ = self.qemu.kill();
        let _ = self.qemu.wait();
    }
}

/// Runs a machine whose console is this terminal, until it is ended.
///
/// # Errors
/// When QEMU cannot be started or fails.
pub(super) fn on_this_terminal(workshop: &Workshop, start: &Start, disk: Option<&Disk>) -> Result<()> {
    let mut command = command(workshop, start, disk, &[]);
    command.args(["-netdev", "user,id=network", "-device", "virtio-net-pci,netdev=network,romfile="]);
    command.args(["-display", "none", "-serial", "mon:stdio"]);
    crate::command::run(command.stdin(Stdio::inherit()))
}

/// QEMU with all that every machine has.
fn command(workshop: &Workshop, start: &Start, disk: Option<&Disk>, more: &[&Path]) -> Command {
    let mut folders = more.to_vec();
    match start {
        Start::Kernel { vmlinux, initrd, .. } => folders.extend([parent(vmlinux), parent(initrd)]),
        Start::Bios { medium } | Start::Uefi { medium } => folders.push(parent(medium)),
    }
    if let Some(disk) = disk {
        folders.push(parent(disk.file));
        folders.extend(disk.log.map(parent));
    }
    let mut command = workshop.command("/usr/bin/qemu-system-x86_64", &folders);
    command.args([
        "-nodefaults",
        "-no-user-config",
        "-no-reboot",
        "-machine",
        "pc",
        "-smp",
        "2",
        "-m",
        MEMORY,
    ]);
    if has_virtualization() {
        command.args(["-accel", "kvm", "-cpu", "host"]);
    } else {
        // Five-level page tables only make emulated memory slower.
        command.args(["-accel", "tcg,thread=multi,tb-size=512", "-cpu", "max,la57=off"]);
    }
    command.args([
        "-object",
        "rng-random,id=random,filename=/dev/urandom",
        "-device",
        "virtio-rng-pci,rng=random",
    ]);
    command.args(["-device", "virtio-serial-pci"]);
    match start {
        Start::Kernel { vmlinux, initrd } => {
            command.arg("-kernel").arg(vmlinux).arg("-initrd").arg(initrd);
            command.args(["-append", KERNEL_COMMAND_LINE]);
        }
        Start::Bios { medium } => drive(&mut command, medium, "ide-cd"),
        Start::Uefi { medium } => {
            command.args(["-bios", "/usr/share/ovmf/OVMF.fd"]);
            command.args(["-device", "qemu-xhci"]);
            drive(&mut command, medium, "usb-storage");
        }
    }
    if let Some(disk) = disk {
        // The host keeps its power: what QEMU has written is there after QEMU is killed, so nothing waits for the host's disk.
        let file = |node: &str, path: &Path| {
            format!("driver=file,node-name={node},cache.no-flush=on,filename={}", name(path))
        };
        command.args(["-blockdev", &file("file", disk.file)]);
        command.args(["-blockdev", "driver=qcow2,node-name=disk,file=file"]);
        if let Some(log) = disk.log {
            command.args(["-blockdev", &file("log", log)]);
            command.args(["-blockdev", "driver=blklogwrites,node-name=logged,file=disk,log=log"]);
        }
        let node = if disk.log.is_some() { "logged" } else { "disk" };
        command.args(["-device", &format!("virtio-blk-pci,drive={node}")]);
    }
    command
}

fn drive(command: &mut Command, medium: &Path, device: &str) {
    let file = name(medium);
    command.args(["-vga", "std"]);
    command.args(["-blockdev", &format!("driver=file,node-name=medium,read-only=on,filename={file}")]);
    command.args(["-device", &format!("{device},drive=medium,bootindex=1")]);
}

/// A path as QEMU's options take it.
fn name(path: &Path) -> String {
    path.display().to_string().replace(',', ",,")
}

fn parent(path: &Path) -> &Path {
    path.parent().unwrap_or(path)
}

/// Whether machines run at full speed: the device may be there and yet hang where the processor lacks it.
fn has_virtualization() -> bool {
    let lines = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let mut flags = lines.lines().filter(|line| line.starts_with("flags")).flat_map(str::split_whitespace);
    flags.any(|flag| flag == "vmx" || flag == "svm") && PathBuf::from("/dev/kvm").exists()
}

/// The time in user and kernel mode of a line of `/proc/PID/stat`.
fn processor_time(stat: &str, ticks_per_second: u64) -> Option<Duration> {
    // The name in parentheses may hold anything.
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace().skip(11);
    let mut ticks = || fields.next()?.parse::<u64>().ok();
    let total = ticks()?.checked_add(ticks()?)?;
    Some(Duration::from_millis(total.checked_mul(1000)?.checked_div(ticks_per_second)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_processor_time_is_read_past_any_name() {
        let stat = "7 (a) b (c) S 1 7 7 0 -1 4194560 1 0 0 0 250 50 0 0 20 0 1 0 5 0 0";
        assert_eq!(processor_time(stat, 100), Some(Duration::from_secs(3)));
        assert_eq!(processor_time("7 (a", 100), None);
        assert_eq!(processor_time(stat, 0), None);
    }

    #[test]
    fn a_comma_in_a_path_is_not_the_end_of_an_option() {
        assert_eq!(name(Path::new("/a,b/c")), "/a,,b/c");
    }
}
