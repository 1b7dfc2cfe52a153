//! `service.*`: planning what is done with units.

mod critical;
mod enable;

use std::fmt::Write as _;

use agentos_api::change::Risk;
use agentos_api::mutation::service as api;
use agentos_api::mutation::service::UnitArgs;

use super::files;
use crate::QueryError;
use crate::change::Plan;
use crate::change::error::ChangeError;
use crate::change::planner::Planner;
use crate::change::protect;
use crate::change::transition::Transition;
use crate::change::unit::{Act, ManagerReload, Mark, Run, UnitAct, UnitRun};
use crate::systemd::control::{self, Look, Running};
use crate::systemd::unit_name::normalise;

pub(crate) use critical::ends_the_machine;
pub(super) use critical::is_critical;
pub(super) use enable::{disable, enable, links_to};

/// Most units that are stopped with one.
const MOST_STOPPED: usize = 50;
/// Most names in a sentence.
const MOST_NAMED: usize = 10;
/// Where an administrator's units are.
pub(super) const UNITS: &str = "/etc/systemd/system";
/// Where an earlier step of the same change may put a unit.
const MADE_IN: [&str; 3] = [UNITS, "/run/systemd/system", "/usr/local/lib/systemd/system"];

/// The unit, which may be changed by whoever asks. One that an earlier step makes does not run.
pub(super) fn unit(planner: &mut Planner<'_>, name: &str) -> Result<Look, ChangeError> {
    let name = normalise("unit", name)?;
    // Before systemd is asked: what is kept is kept, whether systemd answers or not.
    protect::check_unit(planner.viewer, &name)?;
    let look = match control::look(planner.machine, &name) {
        Ok(look) => look,
        Err(error @ QueryError::NotFound { .. }) => {
            planned(planner, &name)?.ok_or(ChangeError::Reading(error))?
        }
        Err(error) => return Err(error.into()),
    };
    for name in look.names.iter().chain([&look.id]) {
        protect::check_unit(planner.viewer, name)?;
    }
    if look.id != name {
        planner.not_covered(format!("{name} is another name of {}", look.id));
    }
    Ok(look)
}

/// A unit whose file an earlier step writes.
fn planned(planner: &mut Planner<'_>, name: &str) -> Result<Option<Look>, ChangeError> {
    for folder in MADE_IN {
        let path = format!("{folder}/{name}");
        if !files::is_planned(planner, &path) || files::read(planner, &path)?.is_none() {
            continue;
        }
        planner.not_covered(format!(
            "{name} is made by this change: which units it needs and stops is known only once systemd has read it"
        ));
        return Ok(Some(Look {
            id: name.to_owned(),
            names: vec![name.to_owned()],
            load_state: "loaded".to_owned(),
            active_state: "inactive".to_owned(),
            sub_state: "dead".to_owned(),
            fragment: Some(path),
            needs_reload: true,
            can_start: true,
            can_stop: true,
            ..Look::default()
        }));
    }
    Ok(None)
}

/// Whether the unit will run after what is planned so far, and how it is or will be, in words.
pub(super) fn state(planner: &Planner<'_>, look: &Look) -> Result<(bool, String), ChangeError> {
    if let Some(run) = planner.units.run(&look.id) {
        let running = run == Run::Running;
        return Ok((running, if running { "active" } else { "inactive" }.to_owned()));
    }
    match look.running() {
        Running::Yes => Ok((true, look.state())),
        Running::No => Ok((false, look.state())),
        Running::Between => Err(ChangeError::refused(format!(
            "{} is {}: wait until that is over, or look at what it waits for with the query service",
            look.id,
            look.state()
        ))),
    }
}

/// Plans that systemd reads its units anew.
pub(super) fn read_anew(planner: &mut Planner<'_>) -> Result<(), ChangeError> {
    let last = if planner.units.reloads() { None } else { control::last_reload(planner.machine)? };
    planner.add(Transition::ManagerReload(ManagerReload { last }))
}

/// Has systemd read a unit anew where its files changed since it did.
fn bring_up_to_date(planner: &mut Planner<'_>, look: &Look) -> Result<(), ChangeError> {
    let mut files = look.fragment.iter().chain(&look.drop_ins);
    let stale = look.needs_reload || files.any(|path| files::is_planned(planner, path));
    if stale && !planner.units.reloads() {
        planner.not_covered(format!(
            "the files of {} changed since systemd read them, so it reads all units anew first",
            look.id
        ));
        read_anew(planner)?;
    }
    Ok(())
}

fn names(names: &[String]) -> String {
    let mut text = names.iter().take(MOST_NAMED).cloned().collect::<Vec<_>>().join(", ");
    if names.len() > MOST_NAMED {
        let _ = write!(text, " and {} more", names.len() - MOST_NAMED);
    }
    text
}

/// Plans that a unit runs.
pub(super) fn start(planner: &mut Planner<'_>, look: &Look) -> Result<(), ChangeError> {
    critical::refuse_power(&look.id)?;
    let (running, from) = state(planner, look)?;
    if running {
        return Ok(());
    }
    if look.load_state == "masked" {
        return Err(ChangeError::refused(format!(
            "{} is masked: nothing can start it; service.unmask first",
            look.id
        )));
    }
    if look.load_state != "loaded" {
        return Err(ChangeError::refused(format!(
            "{} cannot be loaded ({}); the query service says why",
            look.id, look.load_state
        )));
    }
    if !look.can_start {
        return Err(ChangeError::refused(format!(
            "{} is not started by hand (RefuseManualStart=); start what needs it",
            look.id
        )));
    }
    bring_up_to_date(planner, look)?;
    for other in &look.conflicts {
        let Ok(other) = control::look(planner.machine, other) else { continue };
        let ends = matches!(state(planner, &other), Ok((true, _)));
        // shutdown.target conflicts with everything, and is never active.
        if ends && other.id != look.id {
            planner.not_covered(format!("{} cannot run beside {}, and is stopped", other.id, look.id));
            stop(planner, &other)?;
        }
    }
    let pulled: Vec<String> =
        look.pulls_in.iter().filter(|name| is_stopped(planner, name)).cloned().collect();
    if !pulled.is_empty() {
        planner.not_covered(format!("what it needs or wants is started with it: {}", names(&pulled)));
        planner.undo_is_partial(format!("units that are started with it stay: {}", names(&pulled)));
    }
    if look.runs_once {
        planner.not_covered(format!("what {} does when it runs", look.id));
        let act = UnitAct { unit: look.id.clone(), act: Act::RunOnce, from, mark: Mark::of(look) };
        return planner.add(Transition::UnitAct(act));
    }
    let invocation = if planner.units.run(&look.id).is_some() { look.invocation.clone() } else { None };
    planner.add(Transition::UnitRun(UnitRun {
        unit: look.id.clone(),
        from,
        to: Run::Running,
        invocation,
        holds_nothing: false,
    }))
}

/// A service, socket or the like that does not run.
fn is_stopped(planner: &Planner<'_>, name: &str) -> bool {
    let shown = [".service", ".socket", ".mount", ".timer"].iter().any(|suffix| name.ends_with(suffix));
    shown
        && planner.units.run(name) != Some(Run::Running)
        && control::look(planner.machine, name).is_ok_and(|look| {
            look.running() == Running::No && !look.runs_once && look.load_state == "loaded" && look.id == name
        })
}

/// Plans that a unit does not run, nor what cannot run without it.
pub(super) fn stop(planner: &mut Planner<'_>, look: &Look) -> Result<(), ChangeError> {
    let mut found = vec![look.clone()];
    let mut next = 0;
    while let Some(name) = found.get(next).map(|unit| unit.stopped_with.clone()) {
        next += 1;
        for dependent in name {
            if found.iter().any(|unit| unit.id == dependent || unit.names.contains(&dependent)) {
                continue;
            }
            let Ok(dependent) = control::look(planner.machine, &dependent) else { continue };
            if !matches!(state(planner, &dependent), Ok((true, _))) {
                continue;
            }
            if found.len() > MOST_STOPPED {
                return Err(ChangeError::refused(format!(
                    "more than {MOST_STOPPED} units depend on {} and would be stopped with it",
                    look.id
                )));
            }
            found.push(dependent);
        }
    }
    // What depends on it ends first, and is started after it where this is taken back.
    for unit in found.iter().rev() {
        for name in unit.names.iter().chain([&unit.id]) {
            protect::check_unit(planner.viewer, name)?;
        }
        stop_one(planner, unit)?;
    }
    if found.len() > 1 {
        let others: Vec<String> = found.iter().skip(1).map(|unit| unit.id.clone()).collect();
        planner.not_covered(format!("what depends on {} is stopped with it: {}", look.id, names(&others)));
    }
    Ok(())
}

fn stop_one(planner: &mut Planner<'_>, look: &Look) -> Result<(), ChangeError> {
    let (running, from) = state(planner, look)?;
    if !running {
        return Ok(());
    }
    if !look.can_stop {
        return Err(ChangeError::refused(format!("{} is not stopped by hand (RefuseManualStop=)", look.id)));
    }
    critical::warn(planner, &look.id, "stopped");
    let starters: Vec<String> = look
        .triggered_by
        .iter()
        .filter(|name| control::look(planner.machine, name).is_ok_and(|it| it.running() == Running::Yes))
        .cloned()
        .collect();
    if !starters.is_empty() {
        planner.not_covered(format!("{} may be started again by {}", look.id, names(&starters)));
    }
    if let Some(tasks) = look.tasks.filter(|&tasks| tasks > 0) {
        planner.not_covered(format!("{tasks} process(es) or threads of {} end", look.id));
    }
    let invocation = Mark::of(look).and(look.invocation.clone());
    planner.add(Transition::UnitRun(UnitRun {
        unit: look.id.clone(),
        from,
        to: Run::Stopped,
        invocation,
        holds_nothing: false,
    }))
}

fn check(args: &UnitArgs) -> Result<(), ChangeError> {
    normalise("unit", &args.unit)?;
    Ok(())
}

impl Plan for api::Start {
    fn check(args: &UnitArgs) -> Result<(), ChangeError> {
        check(args)
    }

    fn plan(planner: &mut Planner<'_>, args: UnitArgs) -> Result<(), ChangeError> {
        let look = unit(planner, &args.unit)?;
        planner.risk(Risk::Medium);
        planner.summary(format!("Starts {}", look.id));
        start(planner, &look)
    }
}

impl Plan for api::Stop {
    fn check(args: &UnitArgs) -> Result<(), ChangeError> {
        check(args)
    }

    fn plan(planner: &mut Planner<'_>, args: UnitArgs) -> Result<(), ChangeError> {
        let look = unit(planner, &args.unit)?;
        planner.risk(Risk::Medium);
        planner.summary(format!("Stops {}", look.id));
        stop(planner, &look)
    }
}

impl Plan for api::Restart {
    fn check(args: &UnitArgs) -> Result<(), ChangeError> {
        check(args)
    }

    fn plan(planner: &mut Planner<'_>, args: UnitArgs) -> Result<(), ChangeError> {
        let look = unit(planner, &args.unit)?;
        planner.risk(Risk::Medium);
        planner.summary(format!("Restarts {}", look.id));
        let (running, from) = state(planner, &look)?;
        if !running {
            return start(planner, &look);
        }
        if !look.can_stop || !look.can_start {
            return Err(ChangeError::refused(format!("{} is not started or stopped by hand", look.id)));
        }
        critical::warn(planner, &look.id, "restarted");
        bring_up_to_date(planner, &look)?;
        let others: Vec<String> = look
            .stopped_with
            .iter()
            .filter(|name| control::look(planner.machine, name).is_ok_and(|it| it.running() == Running::Yes))
            .cloned()
            .collect();
        for other in &others {
            protect::check_unit(planner.viewer, other)?;
            critical::warn(planner, other, "restarted");
        }
        if !others.is_empty() {
            planner.not_covered(format!("what depends on it is restarted with it: {}", names(&others)));
        }
        let mark = if planner.is_planned(&format!("unit {}", look.id)) { None } else { Mark::of(&look) };
        planner.add(Transition::UnitAct(UnitAct { unit: look.id, act: Act::Restart, from, mark }))
    }
}

impl Plan for api::Reload {
    fn check(args: &UnitArgs) -> Result<(), ChangeError> {
        check(args)
    }

    fn plan(planner: &mut Planner<'_>, args: UnitArgs) -> Result<(), ChangeError> {
        let look = unit(planner, &args.unit)?;
        planner.summary(format!("Has {} read its configuration again", look.id));
        let (running, from) = state(planner, &look)?;
        if !running {
            return Err(ChangeError::refused(format!(
                "{} does not run ({from}); service.start starts it",
                look.id
            )));
        }
        if !look.can_reload {
            return Err(ChangeError::refused(format!(
                "{} cannot read its configuration again while it runs; service.restart can",
                look.id
            )));
        }
        if critical::is_critical(&look.id) {
            planner.risk(Risk::Medium);
        }
        bring_up_to_date(planner, &look)?;
        planner.not_covered("whether the program takes the new configuration: look at its log".to_owned());
        let mark = if planner.is_planned(&format!("unit {}", look.id)) { None } else { Mark::of(&look) };
        planner.add(Transition::UnitAct(UnitAct { unit: look.id, act: Act::Reload, from, mark }))
    }
}
