//! The query `services`: the service units, filtered, sorted, one page of them.

use std::cmp::{Ordering, Reverse};
use std::collections::BTreeSet;

use agentos_api::query::Services;
use agentos_api::query::services::{ActiveState, Args, Output, Service, Sort};
use tokio::task::JoinSet;

use super::{ListedUnit, Manager, SERVICE, UNIT, interface_of, nanoseconds};
use crate::bus::{BusError, Peer, number, text};
use crate::dispatch::Read;
use crate::machine::{Machine, Viewer};
use crate::{QueryError, moment};

const PATTERN: &[&str] = &["*.service"];

impl Read for Services {
    fn read(machine: &Machine, _viewer: Viewer, args: Args) -> Result<Output, QueryError> {
        super::ask(machine, &async |manager| read(manager, &args).await)
    }
}

async fn read(manager: Manager<'_>, args: &Args) -> Result<Output, BusError> {
    let system_state = manager.system_state().await?;
    let states: Vec<&str> = args.state.map(name).into_iter().collect();
    let mut units = manager.units(&states, PATTERN).await?;
    // Names that other units mention and nobody installed.
    units.retain(|unit| unit.load_state != "not-found" || unit.active_state != "inactive");
    if args.unloaded && args.state.is_none_or(|state| state == ActiveState::Inactive) {
        add_unloaded(&mut units, manager.unit_files(PATTERN).await?);
    }
    if let Some(wanted) = &args.text {
        let wanted = wanted.to_lowercase();
        let matches = |text: &str| text.to_lowercase().contains(&wanted);
        units.retain(|unit| matches(&unit.name) || matches(&unit.description));
    }
    let total = units.len();
    let failed = units.iter().filter(|unit| unit.active_state == "failed").count() as u64;
    let (offset, limit) = (args.offset.as_usize(), args.limit.as_usize());
    let services = if args.sort == Sort::Name {
        // The page is known before its rows are looked at.
        details(manager, units.into_iter().skip(offset).take(limit)).await?
    } else {
        let mut all = details(manager, units.into_iter()).await?;
        all.sort_by(|left, right| order(args.sort, left, right));
        all.into_iter().skip(offset).take(limit).collect()
    };
    let next = offset + services.len();
    let next_offset = (next < total && !services.is_empty()).then_some(next as u64);
    Ok(Output { system_state, services, total: total as u64, failed, next_offset })
}

/// The largest or latest first; what is not known last.
fn order(sort: Sort, left: &Service, right: &Service) -> Ordering {
    let first = match sort {
        Sort::Name => Ordering::Equal,
        Sort::Memory => Reverse(left.memory_bytes).cmp(&Reverse(right.memory_bytes)),
        Sort::Cpu => right.cpu_seconds.unwrap_or(-1.0).total_cmp(&left.cpu_seconds.unwrap_or(-1.0)),
        Sort::Since => Reverse(&left.since).cmp(&Reverse(&right.since)),
    };
    first.then_with(|| left.unit.cmp(&right.unit))
}

/// Adds the installed units that are not loaded. Templates are no units of their own.
fn add_unloaded(units: &mut Vec<ListedUnit>, files: Vec<(String, String)>) {
    let loaded: BTreeSet<String> = units.iter().map(|unit| unit.name.clone()).collect();
    let missing = files.into_iter().filter(|(name, _)| !name.contains("@.") && !loaded.contains(name));
    units.extend(missing.map(|(name, state)| ListedUnit::installed(name, state)));
    units.sort_by(|left, right| left.name.cmp(&right.name));
}

/// Units asked about at once: a round trip per property would add up, and a bus limits the calls that may wait.
const AT_ONCE: usize = 16;

async fn details(
    manager: Manager<'_>,
    units: impl Iterator<Item = ListedUnit>,
) -> Result<Vec<Service>, BusError> {
    let mut units = units.enumerate();
    let mut running = JoinSet::new();
    let mut services = Vec::new();
    loop {
        for (place, unit) in units.by_ref().take(AT_ONCE - running.len()) {
            let peer = manager.peer.clone();
            running.spawn(async move { (place, detail(&peer, unit).await) });
        }
        match running.join_next().await {
            Some(Ok(service)) => services.push(service),
            Some(Err(_)) => {}
            None => break,
        }
    }
    services.sort_by_key(|(place, _)| *place);
    Ok(services.into_iter().map(|(_, service)| service).collect())
}

async fn detail(peer: &Peer, unit: ListedUnit) -> Service {
    let mut service = Service {
        unit: unit.name,
        description: unit.description,
        load_state: unit.load_state,
        active_state: unit.active_state,
        sub_state: unit.sub_state,
        enabled: unit.file_state,
        since: None,
        main_pid: None,
        restarts: 0,
        memory_bytes: None,
        cpu_seconds: None,
        tasks: None,
    };
    let Some(path) = unit.path else { return service };
    let path = path.as_str();
    // A unit may be unloaded between the list and here; what is known of it then stays.
    let property =
        async |interface: &str, name: &str| peer.property(SERVICE, path, interface, name).await.ok();
    service.enabled = property(UNIT, "UnitFileState")
        .await
        .and_then(|value| text(&value))
        .filter(|state| !state.is_empty());
    service.since =
        property(UNIT, "StateChangeTimestamp").await.and_then(|value| moment::from_micros(number(&value)?));
    let Some(interface) = interface_of(&service.unit) else { return service };
    let count = async |name: &str| property(interface, name).await.and_then(|value| number(&value));
    service.restarts =
        count("NRestarts").await.and_then(|restarts| u32::try_from(restarts).ok()).unwrap_or(0);
    // A unit that does not run has neither a process nor a control group.
    if !matches!(service.active_state.as_str(), "inactive" | "failed") {
        service.main_pid =
            count("MainPID").await.and_then(|pid| u32::try_from(pid).ok()).filter(|&pid| pid > 0);
        service.memory_bytes = count("MemoryCurrent").await;
        service.cpu_seconds = count("CPUUsageNSec").await.map(nanoseconds);
        service.tasks = count("TasksCurrent").await;
    }
    service
}

const fn name(state: ActiveState) -> &'static str {
    match state {
        ActiveState::Active => "active",
        ActiveState::Reloading => "reloading",
        ActiveState::Inactive => "inactive",
        ActiveState::Failed => "failed",
        ActiveState::Activating => "activating",
        ActiveState::Deactivating => "deactivating",
    }
}
