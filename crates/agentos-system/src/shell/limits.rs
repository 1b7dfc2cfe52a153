//! How much of the machine a command may have: all its processes together.
//!
//! The kernel keeps that where agentd has a control group to divide ([`super::cgroup`]). Elsewhere agentd looks a hundred
//! times a second ([`super::watch`]) and ends a command that has more; besides, each process alone gets no more memory than all of
//! them may have (`RLIMIT_DATA`, getrlimit(2)). There is no such limit on processes: `RLIMIT_NPROC` does not hold for
//! root. Where memory runs out all the same, the kernel ends the command before anything else (`oom_score_adj`,
//! `proc_pid_oom_score_adj(5)`).

use std::process::Child;
use std::sync::Arc;

use agentos_api::query::shell::{KeptBy, Limits as Told, Refused};
use rustix::process::{Pid, Resource, Rlimit, prlimit};
use rustix::system::sysinfo;

use super::cgroup::{Group, Groups};
use super::watch::{Exceeded, Watch};

/// Most processes, with threads counted as such.
const PROCESSES: u32 = 512;
/// Most memory in bytes: a quarter of the machine's, but within these.
const LEAST_MEMORY: u64 = 256 << 20;
const MOST_MEMORY: u64 = 1 << 30;

/// How much a command may have.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// Processes and threads.
    pub(super) processes: u32,
    /// Bytes of memory.
    pub(super) memory: u64,
}

/// What keeps one cell within its limits.
#[derive(Debug)]
pub(super) struct Bound {
    limits: Limits,
    group: Option<Group>,
    by: KeptBy,
}

impl Limits {
    /// What commands get on this machine.
    pub(super) fn of_this_machine() -> Self {
        let found = sysinfo();
        let all = found.totalram.saturating_mul(u64::from(found.mem_unit));
        Self { processes: PROCESSES, memory: (all / 4).clamp(LEAST_MEMORY, MOST_MEMORY) }
    }
}

impl Bound {
    /// Binds a process that has started nothing yet, and with it all that it will start.
    pub(super) fn of(cell: &Child, groups: Option<&Arc<Groups>>) -> Self {
        let limits = Limits::of_this_machine();
        // Where that fails agentd looks itself, and the answer says so.
        let group = groups.and_then(|groups| Group::of(groups, limits, cell.id()).ok());
        // Not an error: it makes the command no more than one among others.
        let _ = std::fs::write(format!("/proc/{}/oom_score_adj", cell.id()), "1000");
        let kernel = group.is_some() && groups.is_some_and(|groups| groups.are_limited());
        if !kernel {
            let data = Rlimit { current: Some(limits.memory), maximum: Some(limits.memory) };
            let _ = prlimit(Some(Pid::from_child(cell)), Resource::Data, data);
        }
        Self { limits, group, by: if kernel { KeptBy::Kernel } else { KeptBy::Agentd } }
    }

    /// Begins to look at what the cell has, where the kernel does not.
    pub(super) fn watch(&self, cell: &Child) -> Option<Watch> {
        (self.by == KeptBy::Agentd).then(|| Watch::start(Pid::from_child(cell), self.limits).ok())?
    }

    /// What the caller is told of the limits.
    pub(super) fn told(&self) -> Told {
        Told { processes: self.limits.processes, memory_bytes: self.limits.memory, kept_by: self.by }
    }

    /// The command is over. Says where it wanted more than it may have.
    pub(super) fn exceeded(&self, watch: Option<Watch>) -> Vec<Refused> {
        let [processes, memory] = self.group.as_ref().map(Group::kept).unwrap_or_default();
        let watched = watch.and_then(Watch::end);
        let refused = |on: &str, because: String| Refused {
            what: "exceed".to_owned(),
            on: format!("limits.{on}"),
            because,
        };
        let mut all = Vec::new();
        let most = self.limits.processes;
        if watched == Some(Exceeded::Processes) {
            all.push(refused("processes", format!("it had more than {most} at once, and was ended for it")));
        } else if processes > 0 {
            all.push(refused("processes", format!("it has {most} at once at most, and wanted more")));
        }
        let most = self.limits.memory >> 20;
        if watched == Some(Exceeded::Memory) {
            all.push(refused("memory_bytes", format!("it had more than {most} MiB, and was ended for it")));
        } else if memory > 0 {
            all.push(refused(
                "memory_bytes",
                format!("it has {most} MiB at most; what wanted more was ended"),
            ));
        }
        all
    }
}
