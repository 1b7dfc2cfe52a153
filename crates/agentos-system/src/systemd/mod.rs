//! systemd, asked over D-Bus (org.freedesktop.systemd1(5)): its units and their states.

pub(crate) mod control;
pub(crate) mod failed_units;
pub(crate) mod service;
pub(crate) mod services;
pub(crate) mod timers;
pub(crate) mod transient;
pub(crate) mod unit_name;

use std::path::Path;

use zbus::OwnedObjectPath;

use crate::bus::{BusError, Peer};
use crate::machine::Machine;
use crate::{QueryError, procfs};

const SERVICE: &str = "org.freedesktop.systemd1";
const MANAGER_PATH: &str = "/org/freedesktop/systemd1";
const MANAGER: &str = "org.freedesktop.systemd1.Manager";
const UNIT: &str = "org.freedesktop.systemd1.Unit";

/// Units looked at for one question; a machine has some hundreds.
const MAX_UNITS: usize = 10_000;

/// Does `work` with the service manager of this machine.
///
/// # Errors
/// `systemd_unavailable` where systemd does not run or does not answer; what `work` says of a call.
fn ask<T>(
    machine: &Machine,
    work: &impl AsyncFn(Manager<'_>) -> Result<T, BusError>,
) -> Result<T, QueryError> {
    // As sd_booted(3) decides it.
    if !Path::new("/run/systemd/system").is_dir() {
        return Err(not_booted());
    }
    machine.bus.ask(&async |peer| work(Manager { peer }).await).map_err(|error| {
        error.into_query_error(
            "systemd",
            "systemd_unavailable",
            "Look at `systemctl status` and `journalctl -b -p err`.",
        )
    })
}

fn not_booted() -> QueryError {
    let first = procfs::text("/proc/1/comm").unwrap_or_else(|| "unknown".to_owned());
    QueryError::unavailable(
        "systemd_unavailable",
        format!("systemd does not run on this machine: process 1 is {first}"),
        "Ask `processes` and `listeners` for what runs; units, timers and their states exist only under systemd.",
    )
}

/// The service manager.
#[derive(Clone, Copy, Debug)]
struct Manager<'p> {
    peer: &'p Peer,
}

/// One row of `ListUnits`: name, description, load state, active state, sub-state, followed unit, object, job number,
/// job kind, job object.
type UnitRow =
    (String, String, String, String, String, String, OwnedObjectPath, u32, String, OwnedObjectPath);

/// A unit as the manager lists it.
#[derive(Clone, Debug)]
struct ListedUnit {
    name: String,
    description: String,
    load_state: String,
    active_state: String,
    sub_state: String,
    /// The object; none for a unit that is installed only.
    path: Option<OwnedObjectPath>,
    /// The state of its file, where the list said it.
    file_state: Option<String>,
}

impl Manager<'_> {
    /// The loaded units in these states (all where there is none) whose names match these patterns, by name.
    async fn units(&self, states: &[&str], patterns: &[&str]) -> Result<Vec<ListedUnit>, BusError> {
        let rows: Vec<UnitRow> = self
            .peer
            .call(SERVICE, MANAGER_PATH, MANAGER, "ListUnitsByPatterns", &(states, patterns))
            .await?;
        let mut units: Vec<ListedUnit> = rows
            .into_iter()
            .take(MAX_UNITS)
            .map(|(name, description, load_state, active_state, sub_state, _, path, _, _, _)| ListedUnit {
                name,
                description,
                load_state,
                active_state,
                sub_state,
                path: Some(path),
                file_state: None,
            })
            .collect();
        units.sort_by(|left, right| left.name.cmp(&right.name));
        Ok(units)
    }

    /// The installed unit files whose names match these patterns, each with its state: `enabled`, `disabled` …
    async fn unit_files(&self, patterns: &[&str]) -> Result<Vec<(String, String)>, BusError> {
        let none: &[&str] = &[];
        let rows: Vec<(String, String)> = self
            .peer
            .call(SERVICE, MANAGER_PATH, MANAGER, "ListUnitFilesByPatterns", &(none, patterns))
            .await?;
        let name = |path: &str| path.rsplit('/').next().unwrap_or_default().to_owned();
        Ok(rows.into_iter().take(MAX_UNITS).map(|(path, state)| (name(&path), state)).collect())
    }

    /// The object of a unit. Its definition is read if it was not loaded.
    async fn load(&self, name: &str) -> Result<OwnedObjectPath, BusError> {
        self.peer.call(SERVICE, MANAGER_PATH, MANAGER, "LoadUnit", &(name,)).await
    }

    /// `running`, `degraded`, `starting` …
    async fn system_state(&self) -> Result<String, BusError> {
        let value = self.peer.property(SERVICE, MANAGER_PATH, MANAGER, "SystemState").await?;
        Ok(crate::bus::text(&value).unwrap_or_default())
    }
}

impl ListedUnit {
    /// A unit that is installed and not loaded.
    fn installed(name: String, file_state: String) -> Self {
        Self {
            name,
            description: String::new(),
            load_state: "unloaded".to_owned(),
            active_state: "inactive".to_owned(),
            sub_state: "dead".to_owned(),
            path: None,
            file_state: Some(file_state),
        }
    }
}

/// The interface with the properties of this kind of unit: `….Service` for `nginx.service`.
fn interface_of(unit: &str) -> Option<&'static str> {
    Some(match unit.rsplit_once('.')?.1 {
        "service" => "org.freedesktop.systemd1.Service",
        "socket" => "org.freedesktop.systemd1.Socket",
        "mount" => "org.freedesktop.systemd1.Mount",
        "automount" => "org.freedesktop.systemd1.Automount",
        "swap" => "org.freedesktop.systemd1.Swap",
        "timer" => "org.freedesktop.systemd1.Timer",
        "path" => "org.freedesktop.systemd1.Path",
        "slice" => "org.freedesktop.systemd1.Slice",
        "scope" => "org.freedesktop.systemd1.Scope",
        _ => return None,
    })
}

/// Nanoseconds as seconds, to the millisecond.
#[expect(clippy::cast_precision_loss, reason = "processor time stays far below 2^53 milliseconds")]
fn nanoseconds(value: u64) -> f64 {
    (value / 1_000_000) as f64 / 1000.0
}

#[cfg(test)]
mod tests {
    use crate::{Machine, MachineOptions, QueryError, Viewer};

    #[test]
    fn each_question_is_answered_or_says_that_systemd_does_not_run() {
        let machine = Machine::new(MachineOptions::default());
        let booted = std::path::Path::new("/run/systemd/system").is_dir();
        for (name, args) in
            [("services", "{}"), ("service", r#"{"unit":"dbus"}"#), ("timers", "{}"), ("failed_units", "{}")]
        {
            let answer = machine.query(name, args.as_bytes(), Viewer::default());
            match answer {
                Ok(_) => assert!(booted, "{name} answered without systemd"),
                Err(QueryError::Unavailable { code, hint, .. }) => {
                    assert!(!booted, "{name} found no systemd");
                    assert_eq!((code, hint.is_some()), ("systemd_unavailable", true));
                }
                Err(error) => panic!("{name}: {error}"),
            }
        }
    }
}
