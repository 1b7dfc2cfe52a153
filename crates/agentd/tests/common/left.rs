//! What commands could leave behind, counted.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::Daemon;

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

    /// Nothing is there that was not there before, and the same number of what comes and goes at most.
    pub(crate) fn is_no_more_than(&self, before: &Self) -> bool {
        self.descriptors <= before.descriptors
            && self.threads <= before.threads
            && self.processes <= before.processes
            && self.namespaces.is_subset(&before.namespaces)
            && self.mounts == before.mounts
            && self.groups <= before.groups
            && self.files.is_subset(&before.files)
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
