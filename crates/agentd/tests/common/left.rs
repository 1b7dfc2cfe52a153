//! What commands could leave behind, counted.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::Daemon;

/// Threads that tokio may have kept since for work that blocks: each is used once in ten seconds, so none of them ends.
const POOL: usize = 10;

/// What there is of a daemon.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Left {
    descriptors: usize,
    threads: usize,
    /// It, and what descends from it: the cell that waits for the next command.
    processes: usize,
    /// Of all those.
    namespaces: BTreeSet<String>,
    mounts: String,
    groups: usize,
    /// In its folder, besides the ledger's own.
    files: BTreeSet<PathBuf>,
}

impl Left {
    /// What there is now.
    pub(crate) fn of(daemon: &Daemon) -> Self {
        let process = PathBuf::from(format!("/proc/{}", daemon.pid()));
        let count = |what: &str| std::fs::read_dir(process.join(what)).unwrap().count();
        let family = family(daemon.pid());
        let mut files = BTreeSet::new();
        add_below(&daemon.directory.join("state"), &mut files);
        Self {
            descriptors: count("fd"),
            threads: count("task"),
            processes: family.len(),
            namespaces: family.iter().flat_map(|&process| namespaces(process)).collect(),
            mounts: std::fs::read_to_string(process.join("mountinfo")).unwrap(),
            groups: groups(daemon.pid()),
            files,
        }
    }

    /// What is there that was not there before, or more of what comes and goes.
    pub(crate) fn beside(&self, before: &Self) -> Vec<String> {
        let mut more = Vec::new();
        for (what, now, then) in [
            ("descriptors", self.descriptors, before.descriptors),
            ("threads", self.threads, before.threads + POOL),
            ("processes", self.processes, before.processes),
            ("groups", self.groups, before.groups),
        ] {
            if now > then {
                more.push(format!("{what}: {now}, not {then}"));
            }
        }
        more.extend(self.namespaces.difference(&before.namespaces).cloned());
        more.extend(self.files.difference(&before.files).map(|file| file.display().to_string()));
        if self.mounts != before.mounts {
            more.push(self.mounts.clone());
        }
        more
    }
}

/// A process and all that descend from it, dead ones that nobody has waited for too.
fn family(process: u32) -> Vec<u32> {
    let mut family = vec![process];
    let mut next = 0;
    while let Some(&one) = family.get(next) {
        next += 1;
        for thread in std::fs::read_dir(format!("/proc/{one}/task")).into_iter().flatten().flatten() {
            let children = std::fs::read_to_string(thread.path().join("children")).unwrap_or_default();
            family.extend(children.split_whitespace().map(|child| child.parse::<u32>().unwrap()));
        }
    }
    family
}

fn namespaces(process: u32) -> Vec<String> {
    let links = std::fs::read_dir(format!("/proc/{process}/ns")).into_iter().flatten().flatten();
    let links = links.filter_map(|link| std::fs::read_link(link.path()).ok());
    links.map(|link| link.display().to_string()).collect()
}

/// Groups beside the one that the process is in, where control groups of version 2 are.
fn groups(process: u32) -> usize {
    let own = std::fs::read_to_string(format!("/proc/{process}/cgroup")).unwrap();
    let Some(path) = own.lines().find_map(|line| line.strip_prefix("0::/")) else { return 0 };
    let above = Path::new(path).parent().unwrap_or(Path::new(""));
    let hierarchy = ["/sys/fs/cgroup/unified", "/sys/fs/cgroup"].map(Path::new);
    let hierarchy = hierarchy.into_iter().find(|folder| folder.join("cgroup.controllers").exists());
    let entries = hierarchy.map(|folder| std::fs::read_dir(folder.join(above)));
    let names = entries.into_iter().flatten().flatten().flatten().map(|entry| entry.file_name());
    names.filter(|name| name.to_string_lossy().starts_with("command-")).count()
}

fn add_below(folder: &Path, files: &mut BTreeSet<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap().flatten() {
        let path = entry.path();
        if entry.file_name().to_string_lossy().starts_with("ledger") {
            continue;
        }
        if entry.file_type().unwrap().is_dir() {
            add_below(&path, files);
        }
        files.insert(path);
    }
}

/// One line of `/proc/PID/status`, in bytes.
pub(crate) fn memory(daemon: &Daemon, line: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", daemon.pid())).unwrap();
    let line = status.lines().find_map(|found| found.strip_prefix(line)).unwrap();
    line.trim_matches([':', '\t', ' ']).strip_suffix(" kB").unwrap().parse::<u64>().unwrap() << 10
}
