//! `process.signal`: a signal to one process.

use agentos_api::change::Risk;
use agentos_api::mutation::process as api;
use agentos_api::mutation::process::SignalName;

use super::service::is_critical;
use crate::QueryError;
use crate::change::Plan;
use crate::change::error::ChangeError;
use crate::change::host::{Signal, boot, signal_name};
use crate::change::planner::Planner;
use crate::change::protect;
use crate::change::transition::Transition;
use crate::procfs::ticks::{at, rfc3339};
use crate::procfs::{Proc, cgroup, stat};

impl Plan for api::Signal {
    fn check(args: &api::SignalArgs) -> Result<(), ChangeError> {
        if args.pid < 2 {
            return Err(ChangeError::invalid("pid", "must be at least 2: process 1 is the machine's init"));
        }
        Ok(())
    }

    fn plan(planner: &mut Planner<'_>, args: api::SignalArgs) -> Result<(), ChangeError> {
        let pid = args.pid;
        if pid == std::process::id() {
            return Err(ChangeError::refused(
                "that is agentd itself, which would not see its own change through",
            ));
        }
        let proc = Proc::open()?;
        let gone = || ChangeError::Reading(QueryError::not_found(format!("process {pid}")));
        let mut buffer = [0; 4096];
        let line = proc.read(pid, "stat", &mut buffer).map_err(|_| gone())?;
        let stat = stat::parse(line).ok_or_else(gone)?;
        let name = crate::text::lossy(stat.name);
        if stat.kernel_thread {
            return Err(ChangeError::refused(format!(
                "{pid} ({name}) is a thread of the kernel's, which takes no signals"
            )));
        }
        let started = rfc3339(at(planner.machine.ticks.seconds(stat.start_ticks)));
        if args.started.as_ref().is_some_and(|expected| *expected != started) {
            return Err(ChangeError::refused(format!(
                "process {pid} is another one by now: it is {name} and started {started}"
            )));
        }
        let mut buffer = [0; 4096];
        let unit = proc
            .read(pid, "cgroup", &mut buffer)
            .ok()
            .and_then(cgroup::unified_path)
            .and_then(cgroup::unit_of);
        planner.risk(Risk::Medium);
        if let Some(unit) = &unit {
            protect::check_unit(planner.viewer, unit)?;
            if is_critical(unit) && args.signal != SignalName::Cont {
                planner.can_lock_out();
            }
            planner.not_covered(format!(
                "{pid} belongs to {unit}, which may start it again or end because of it"
            ));
        }
        planner.summary(format!(
            "Sends {} to process {pid} ({name}), started {started}",
            signal_name(args.signal)
        ));
        planner.add(Transition::Signal(Signal {
            pid,
            start_ticks: stat.start_ticks,
            boot: boot(),
            name,
            signal: args.signal,
        }))
    }
}
