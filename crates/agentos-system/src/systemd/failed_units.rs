//! The query `failed_units`: what failed, why, and what it said last.

use agentos_api::query::FailedUnits;
use agentos_api::query::failed_units::{Args, FailedUnit, Output};

use super::service::exit;
use super::{ListedUnit, Manager, SERVICE, UNIT, interface_of};
use crate::bus::{BusError, Properties, number};
use crate::dispatch::Read;
use crate::machine::{Machine, Viewer};
use crate::{QueryError, journal, moment};

impl Read for FailedUnits {
    fn read(machine: &Machine, _viewer: Viewer, args: Args) -> Result<Output, QueryError> {
        let mut output = super::ask(machine, &async |manager| read(manager, &args).await)?;
        for unit in &mut output.units {
            match journal::tail(&unit.unit, args.log_lines.as_usize()) {
                Ok(log) => unit.log = log,
                Err(error) => {
                    // What keeps one unit's lines away keeps away those of all.
                    output.log_unavailable = Some(error.to_string());
                    break;
                }
            }
        }
        Ok(output)
    }
}

async fn read(manager: Manager<'_>, args: &Args) -> Result<Output, BusError> {
    let system_state = manager.system_state().await?;
    let failed = manager.units(&["failed"], &[]).await?;
    let total = failed.len() as u64;
    let mut units = Vec::new();
    for unit in failed.into_iter().take(args.limit.as_usize()) {
        units.push(detail(manager, unit).await?);
    }
    Ok(Output { system_state, units, total, log_unavailable: None })
}

async fn detail(manager: Manager<'_>, unit: ListedUnit) -> Result<FailedUnit, BusError> {
    let (mut since, mut kind) = (None, Properties::default());
    if let Some(path) = &unit.path {
        let value = manager.peer.property(SERVICE, path.as_str(), UNIT, "StateChangeTimestamp").await?;
        since = number(&value).and_then(moment::from_micros);
        if let Some(interface) = interface_of(&unit.name) {
            kind = manager.peer.properties(SERVICE, path.as_str(), interface).await?;
        }
    }
    Ok(FailedUnit {
        result: kind.text("Result"),
        exit: exit(&kind),
        since,
        restarts: kind.small("NRestarts"),
        unit: unit.name,
        description: unit.description,
        load_state: unit.load_state,
        sub_state: unit.sub_state,
        log: Vec::new(),
    })
}
