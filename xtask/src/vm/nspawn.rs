//! One booted machine: systemd-nspawn over the image. What it writes goes to a [`Disk`] of its own, which outlives a boot.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process};

use crate::command::cache_directory;
use crate::progress::Step;

/// How long booting and powering off may take.
const BOOT_TIME: Duration = Duration::from_mins(1);
const POWER_OFF_TIME: Duration = Duration::from_mins(1);

/// Starts nspawn in a mount namespace where the machine's control groups are version 2, whatever the host has, and its
/// file system is the image with the machine's own disk over it.
const START: &str = r#"
set -e
echo $$ > "$1/cgroup.procs"
umount -R -l /sys/fs/cgroup
mount -t cgroup2 none /sys/fs/cgroup
mount -t tmpfs none /run
mount -t overlay overlay -o "lowerdir=$2,upperdir=$3/written,workdir=$3/work" "$3/root"
disk=$3
shift 3
exec systemd-nspawn --directory="$disk/root" "$@"
"#;

/// What a machine writes: kept from one boot to the next, and removed at the end.
pub(super) struct Disk {
    folder: PathBuf,
}

impl Disk {
    /// An empty one.
    ///
    /// # Errors
    /// When it cannot be made in the cache.
    pub(super) fn new() -> Result<Self> {
        static MADE: AtomicU32 = AtomicU32::new(0);
        let number = MADE.fetch_add(1, Ordering::Relaxed);
        let folder = cache_directory().join(format!("vm/disk-{}-{number}", std::process::id()));
        for part in ["written", "work", "root"] {
            fs::create_dir_all(folder.join(part))
                .with_context(|| format!("cannot make {}", folder.display()))?;
        }
        Ok(Self { folder })
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// A file or folder of the host that the machine sees, read only.
pub(super) struct Share {
    /// Where it is on the host.
    pub(super) from: PathBuf,
    /// Where the machine sees it.
    pub(super) to: &'static str,
}

/// A booted machine. Dropping it ends it.
pub(super) struct Guest {
    supervisor: Child,
    cgroup: PathBuf,
    log: PathBuf,
    /// Process 1 of the machine, as the host numbers it.
    leader: u32,
    /// What booting took.
    cost: Cost,
}

/// What booting took until systemd had started everything.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Cost {
    /// On the clock.
    pub(super) elapsed: Duration,
    /// Of the processors, by all that runs in the machine.
    pub(super) processor: Duration,
}

impl Guest {
    /// Boots `image` with what is on `disk`, and waits until systemd has started everything.
    ///
    /// # Errors
    /// When nspawn cannot be started, or the machine does not come up; the message names its console log.
    pub(super) fn boot(image: &Path, disk: &Disk, shares: &[Share]) -> Result<Self> {
        let step = Step::begin("Booting the machine");
        let name = format!("agentos-vm-{}", std::process::id());
        let cgroup = unified_hierarchy()?.join(&name);
        fs::create_dir_all(&cgroup)
            .with_context(|| format!("cannot make the control group {}", cgroup.display()))?;
        let log = std::env::temp_dir().join(format!("{name}.log"));
        let console = fs::File::create(&log)?;
        let mut command = Command::new("unshare");
        command.args(["--mount", "--propagation", "private", "sh", "-c", START, "sh"]).arg(&cgroup);
        command.arg(image).arg(&disk.folder).args([
            "--quiet",
            "--register=no",
            "--keep-unit",
            "--private-network",
            "--resolv-conf=off",
            "--timezone=off",
            "--link-journal=no",
            "--console=pipe",
            "--hostname=agentos-test",
            "--capability=CAP_NET_ADMIN",
            // A machine has it; nspawn lets through what it knew to be harmless when it was written.
            "--system-call-filter=landlock_create_ruleset landlock_add_rule landlock_restrict_self",
            "--kill-signal=SIGRTMIN+3",
        ]);
        for share in shares {
            command.arg(format!("--bind-ro={}:{}", share.from.display(), share.to));
        }
        command.args(["--boot", "systemd.show_status=0"]);
        command
            .env("SYSTEMD_NSPAWN_UNIFIED_HIERARCHY", "1")
            .env("SYSTEMD_NSPAWN_API_VFS_WRITABLE", "network");
        command.stdin(Stdio::null()).stdout(console.try_clone()?).stderr(console);
        let started = Instant::now();
        let supervisor = command.spawn().context("cannot start unshare")?;
        let mut guest = Self { supervisor, cgroup, log, leader: 0, cost: Cost::default() };
        guest.wait_until_up()?;
        guest.cost = Cost { elapsed: started.elapsed(), processor: guest.processor_time()? };
        step.done();
        Ok(guest)
    }

    /// A command that runs inside as root.
    pub(super) fn command(&self, words: &[impl AsRef<str>]) -> Command {
        let mut command = Command::new("nsenter");
        command.arg(format!("--target={}", self.leader));
        command.args(["--mount", "--uts", "--ipc", "--net", "--pid", "--cgroup", "--root", "--wd", "--"]);
        command.args(words.iter().map(AsRef::as_ref)).stdin(Stdio::null()).env_clear();
        command
            .env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
            .env("LC_ALL", "C.UTF-8");
        command
    }

    /// Runs a command inside and gives what it printed.
    ///
    /// # Errors
    /// When it does not end with 0.
    pub(super) fn run(&self, words: &[&str]) -> Result<String> {
        crate::command::output(&mut self.command(words))
    }

    /// Runs a few lines of shell inside.
    ///
    /// # Errors
    /// When they do not end with 0.
    pub(super) fn shell(&self, script: &str) -> Result<String> {
        self.run(&["sh", "-ec", script])
    }

    /// A path of the machine, as the host reaches it.
    pub(super) fn path(&self, inside: &str) -> PathBuf {
        PathBuf::from(format!("/proc/{}/root{inside}", self.leader))
    }

    /// What booting took.
    pub(super) fn cost(&self) -> Cost {
        self.cost
    }

    /// What the machine has used of the processors so far (`cpu.stat` of its control group).
    fn processor_time(&self) -> Result<Duration> {
        let text = fs::read_to_string(self.cgroup.join("cpu.stat"))?;
        let used = text.lines().find_map(|line| line.strip_prefix("usage_usec ")?.trim().parse().ok());
        Ok(Duration::from_micros(used.context("the machine's control group says no processor time")?))
    }

    /// Stops process 1 of the machine until what is returned is dropped.
    ///
    /// # Errors
    /// The kernel's.
    pub(super) fn pause(&self) -> Result<Paused> {
        let leader = i32::try_from(self.leader).ok().and_then(Pid::from_raw).context("no process 1")?;
        kill_process(leader, Signal::STOP)?;
        Ok(Paused(leader))
    }

    /// Powers the machine off and waits for its end.
    ///
    /// # Errors
    /// When it does not end in time; it is ended by force then.
    pub(super) fn power_off(mut self) -> Result<()> {
        let step = Step::begin("Powering off");
        // The command loses its machine while it runs, so its own end says nothing.
        let _ = self.command(&["systemctl", "poweroff"]).stdout(Stdio::null()).stderr(Stdio::null()).status();
        match self.ended_within(POWER_OFF_TIME)? {
            Some(_) => {
                step.done();
                let _ = fs::remove_file(&self.log);
                Ok(())
            }
            None => bail!("the machine did not power off within {} s", POWER_OFF_TIME.as_secs()),
        }
    }

    fn wait_until_up(&mut self) -> Result<()> {
        let deadline = Instant::now() + BOOT_TIME;
        loop {
            if let Some(status) = self.supervisor.try_wait()? {
                bail!("nspawn ended ({status}); its console is in {}", self.log.display());
            }
            if self.leader == 0 {
                self.leader = self.find_leader().unwrap_or(0);
            } else if self.path("/run/dbus/system_bus_socket").exists() {
                let state = self.command(&["systemctl", "is-system-running"]).output()?;
                if matches!(state.stdout.trim_ascii(), b"running" | b"degraded") {
                    return Ok(());
                }
            }
            if Instant::now() > deadline {
                bail!("the machine did not come up; its console is in {}", self.log.display());
            }
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    /// The process of the machine's own control groups that is systemd.
    fn find_leader(&self) -> Option<u32> {
        ["payload/init.scope/cgroup.procs", "payload/cgroup.procs"].iter().find_map(|procs| {
            let file = fs::File::open(self.cgroup.join(procs)).ok()?;
            let is_systemd = |pid: &u32| {
                fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|name| name.trim() == "systemd")
            };
            BufReader::new(file)
                .lines()
                .map_while(Result::ok)
                .filter_map(|line| line.parse().ok())
                .find(is_systemd)
        })
    }

    fn ended_within(&mut self, time: Duration) -> Result<Option<ExitStatus>> {
        let deadline = Instant::now() + time;
        loop {
            if let Some(status) = self.supervisor.try_wait()? {
                return Ok(Some(status));
            }
            if Instant::now() > deadline {
                return Ok(None);
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

/// A process 1 that stands still.
pub(super) struct Paused(Pid);

impl Drop for Paused {
    fn drop(&mut self) {
        let _ = kill_process(self.0, Signal::CONT);
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        if matches!(self.supervisor.try_wait(), Ok(None)) {
            // The kernel ends all that is in a process namespace with its process 1.
            let _ = fs::write(self.cgroup.join("cgroup.kill"), "1");
            let _ = self.supervisor.kill();
            let _ = self.supervisor.wait();
        }
        remove_groups(&self.cgroup);
    }
}

/// Removes a control group and all below it; each must be empty of processes.
fn remove_groups(group: &Path) {
    let Ok(entries) = fs::read_dir(group) else { return };
    for entry in entries.flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            remove_groups(&entry.path());
        }
    }
    let _ = fs::remove_dir(group);
}

/// Where the host has its control groups of version 2.
fn unified_hierarchy() -> Result<PathBuf> {
    ["/sys/fs/cgroup/unified", "/sys/fs/cgroup"]
        .map(PathBuf::from)
        .into_iter()
        .find(|path| path.join("cgroup.procs").exists() && path.join("cgroup.controllers").exists())
        .context("no control groups of version 2 are mounted on this machine")
}
