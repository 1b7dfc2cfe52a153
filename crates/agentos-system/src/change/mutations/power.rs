//! `power.*`: the end of the machine, a little later.

use agentos_api::change::Risk;
use agentos_api::mutation::power as api;
use agentos_api::mutation::power::PowerArgs;

use crate::change::Plan;
use crate::change::error::ChangeError;
use crate::change::host::{Power, Scheduled, boot};
use crate::change::planner::Planner;
use crate::change::transition::Transition;

fn plan(planner: &mut Planner<'_>, args: &PowerArgs, kind: Scheduled) -> Result<(), ChangeError> {
    let minutes = args.delay_minutes.get();
    planner.risk(Risk::Destructive);
    planner.not_covered("whatever runs ends, and whoever is logged in is logged out");
    let (pending, _) = Power::pending(planner.machine)?;
    if !pending.is_empty() {
        return Err(ChangeError::refused(format!(
            "the machine is about to end already ({pending}); take that back first"
        )));
    }
    planner.summary(match kind {
        Scheduled::Reboot => format!("Starts the machine again in {minutes} min"),
        Scheduled::Poweroff => format!("Switches the machine off in {minutes} min"),
    });
    if kind == Scheduled::Poweroff {
        planner.not_covered("the machine stays off until somebody switches it on");
    }
    planner.add(Transition::Power(Power { kind, scheduled: true, delay_seconds: minutes * 60, boot: boot() }))
}

impl Plan for api::Reboot {
    fn plan(planner: &mut Planner<'_>, args: PowerArgs) -> Result<(), ChangeError> {
        plan(planner, &args, Scheduled::Reboot)
    }
}

impl Plan for api::Shutdown {
    fn plan(planner: &mut Planner<'_>, args: PowerArgs) -> Result<(), ChangeError> {
        plan(planner, &args, Scheduled::Poweroff)
    }
}
