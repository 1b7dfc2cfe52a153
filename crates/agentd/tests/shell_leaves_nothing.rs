//! Commands that observe leave nothing of themselves: `cargo xtask bench shell` runs ten thousand. Needs root, as agentd does.

mod common;

use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};

use common::left::{Left, memory};
use common::{Daemon, eventually};
use serde_json::json;

/// What a command may cost agentd in memory at most, in bytes.
const MORE_MEMORY: u64 = 8 << 20;

/// A control group that is marked as its processes' to divide, as systemd marks a service's.
struct Delegated(PathBuf);

impl Delegated {
    /// Nothing, where no control groups of version 2 can be made.
    fn new() -> Option<Self> {
        let hierarchy = ["/sys/fs/cgroup/unified", "/sys/fs/cgroup"].map(Path::new);
        let hierarchy = hierarchy.into_iter().find(|folder| folder.join("cgroup.controllers").exists())?;
        let folder = hierarchy.join(format!("agentos-test-{}", std::process::id()));
        std::fs::create_dir(&folder).ok()?;
        let flags = rustix::fs::XattrFlags::empty();
        rustix::fs::setxattr(&folder, "trusted.delegate", b"1", flags).unwrap();
        Some(Self(folder))
    }

    /// Starts agentd in it, as systemd starts a service in its group.
    fn start(&self, directory: &Path) -> Daemon {
        // As after the group was removed: while groups below have limits, none is started in it.
        let _ = std::fs::write(self.0.join("cgroup.subtree_control"), "-pids -memory");
        let mut command = common::command(directory, "");
        let procs = std::ffi::CString::new(self.0.join("cgroup.procs").display().to_string()).unwrap();
        // SAFETY: open(2), write(2) and nothing else are called in the new process, and none of them allocates.
        unsafe {
            command.pre_exec(move || {
                let flags = rustix::fs::OFlags::WRONLY;
                let file = rustix::fs::open(procs.as_c_str(), flags, rustix::fs::Mode::empty())?;
                rustix::io::write(&file, b"0")?;
                Ok(())
            })
        };
        Daemon::spawn(directory, command)
    }

    fn groups(&self) -> Vec<String> {
        let entries = std::fs::read_dir(&self.0).unwrap().flatten();
        let folders = entries.filter(|entry| entry.file_type().unwrap().is_dir());
        let mut names: Vec<String> =
            folders.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
        names.sort_unstable();
        names
    }
}

impl Drop for Delegated {
    fn drop(&mut self) {
        let _ = std::fs::write(self.0.join("cgroup.kill"), "1");
        for name in self.groups().into_iter().map(|name| self.0.join(name)).chain([self.0.clone()]) {
            eventually("the group is empty", || std::fs::remove_dir(&name).is_ok().then_some(()));
        }
    }
}

/// Commands that end in different ways.
fn run_many(daemon: &Daemon, times: usize) {
    for round in 0..times {
        let args = match round % 20 {
            5 => json!({ "command": "(setsid sleep 9753 &); exit 3" }),
            10 => json!({ "command": "kill -9 $$" }),
            15 => json!({ "words": ["/no/such/program"] }),
            _ => json!({ "words": ["true"] }),
        };
        let answer = daemon.query("shell", &args);
        assert_eq!(answer.status, if round % 20 == 15 { 422 } else { 200 }, "{}", answer.json());
    }
}

#[test]
fn hundreds_of_commands_leave_nothing_behind() {
    let directory = tempfile::tempdir().unwrap();
    let daemon = Daemon::start(directory.path());
    run_many(&daemon, 20);
    let before = Left::of(&daemon);
    run_many(&daemon, 300);
    eventually("it is as it was", || {
        let more = Left::of(&daemon).beside(&before);
        eprintln!("{more:?}");
        more.is_empty().then_some(())
    });
}

#[test]
fn each_command_has_a_control_group_that_ends_with_it() {
    let Some(group) = Delegated::new() else {
        eprintln!("no control groups of version 2 can be made here");
        return;
    };
    let directory = tempfile::tempdir().unwrap();
    let daemon = group.start(directory.path());
    assert_eq!(group.groups(), ["main"], "it made one for itself");
    let own = daemon.query("shell", &json!({ "command": "grep ^0:: /proc/self/cgroup" })).json();
    assert!(own["stdout"]["content"].as_str().unwrap().contains("/command-0\n"), "{own:#}");
    run_many(&daemon, 40);
    let one = group.groups();
    assert!(one.len() == 2 && one[0].starts_with("command-") && one[1] == "main", "{one:?}");
    // What an agentd that was killed has left, the next one removes.
    daemon.kill();
    assert_eq!(group.groups().len(), 2, "{:?}", group.groups());
    let daemon = group.start(directory.path());
    assert_eq!(group.groups(), ["main"]);
    run_many(&daemon, 1);
}

#[test]
fn a_gigabyte_of_output_is_not_kept_in_memory() {
    let directory = tempfile::tempdir().unwrap();
    let daemon = Daemon::start(directory.path());
    let flood = |to: &str, bytes: u64| {
        let command = format!("head -c {bytes} /dev/zero {to}");
        let answer = daemon.query("shell", &json!({ "command": command, "time_limit_seconds": 25 })).json();
        assert_eq!(answer["exit_status"], 0, "{answer:#}");
        answer
    };
    flood("", 10_000_000);
    // The highest so far is from now on what it has now (proc_pid_clear_refs(5)).
    std::fs::write(format!("/proc/{}/clear_refs", daemon.pid()), "5").unwrap();
    let before = memory(&daemon, "VmRSS");
    assert_eq!(flood("", 1_000_000_000)["stdout"]["bytes"], 1_000_000_000);
    assert_eq!(flood(">&2", 500_000_000)["stderr"]["bytes"], 500_000_000);
    let highest = memory(&daemon, "VmHWM");
    assert!(highest <= before + MORE_MEMORY, "{before} bytes before, {highest} at most");
}
