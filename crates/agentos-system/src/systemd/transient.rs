//! Commands that systemd starts, later or at once, whatever becomes of this process: a transient timer with its service, or
//! a transient service (org.freedesktop.systemd1(5), `StartTransientUnit`).

use std::time::Duration;

use zbus::{OwnedObjectPath, Variant};

use super::control::{Told, tell};
use super::{MANAGER, MANAGER_PATH, Manager, SERVICE, ask};
use crate::QueryError;
use crate::bus::BusError;
use crate::machine::Machine;

/// A property of a unit.
type Property<'p> = (&'p str, Variant<'p>);

/// When something is started later.
#[derive(Clone, Copy, Debug)]
pub struct Wake<'w> {
    /// The name of the timer and of its service, without their endings: `agentos-take-back-17`.
    pub name: &'w str,
    /// What it is for, as systemctl(1) shows it.
    pub description: &'w str,
    /// From now on; a machine that sleeps does not count.
    pub after: Duration,
    /// The program, by its absolute path, and its arguments.
    pub command: &'w [&'w str],
}

/// A service that is made for one run of some commands. It is there until it is stopped, so that what became of it can be
/// asked.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Work<'w> {
    /// The name of the service.
    pub(crate) unit: &'w str,
    /// What it is for, as systemctl(1) shows it.
    pub(crate) description: &'w str,
    /// Programs by their absolute paths, each with its arguments, run one after the other until one fails.
    pub(crate) commands: &'w [Vec<String>],
    /// `NAME=VALUE`.
    pub(crate) environment: &'w [String],
    /// The file that gets what they print. Its folder is there.
    pub(crate) output: &'w str,
    /// How long they may take together, after which systemd ends them.
    pub(crate) time: Duration,
}

/// Starts a service that is made for one run, outside of this process's own unit.
///
/// # Errors
/// What systemd says, also where there is a service of that name; `systemd_unavailable`.
pub(crate) fn start(machine: &Machine, work: &Work<'_>) -> Result<(), Told> {
    let commands: Vec<(String, Vec<String>, bool)> = work
        .commands
        .iter()
        .filter_map(|command| Some((command.first()?.clone(), command.clone(), false)))
        .collect();
    let time = u64::try_from(work.time.as_micros()).unwrap_or(u64::MAX);
    let none: Vec<(&str, Vec<Property<'_>>)> = Vec::new();
    tell(machine, &async |manager: Manager<'_>| {
        let properties: Vec<Property<'_>> = vec![
            ("Description", work.description.into()),
            ("Type", "oneshot".into()),
            ("RemainAfterExit", true.into()),
            ("Environment", work.environment.to_vec().into()),
            ("StandardOutputFileToTruncate", work.output.into()),
            ("StandardError", "inherit".into()),
            ("TimeoutStartUSec", time.into()),
            ("ExecStart", commands.clone().into()),
        ];
        let body = (work.unit, "fail", properties, none.clone());
        let _: OwnedObjectPath =
            manager.peer.call(SERVICE, MANAGER_PATH, MANAGER, "StartTransientUnit", &body).await?;
        Ok(())
    })
}

/// Has systemd forget that a unit failed, and with it a transient one. One that is not there is no error.
///
/// # Errors
/// What systemd says; `systemd_unavailable`.
pub(crate) fn reset_failed(machine: &Machine, unit: &str) -> Result<(), Told> {
    tell(machine, &async |manager: Manager<'_>| {
        let reset: Result<(), BusError> =
            manager.peer.call(SERVICE, MANAGER_PATH, MANAGER, "ResetFailedUnit", &(unit,)).await;
        match reset {
            Err(error) if error.name().is_some_and(|name| name.ends_with(".NoSuchUnit")) => Ok(()),
            other => other,
        }
    })
}

impl Machine {
    /// Has systemd start a command once, later. It does so also when this process has ended by then, and forgets it when
    /// the machine is started anew.
    ///
    /// # Errors
    /// `systemd_unavailable`; also where a timer of that name waits already.
    pub fn wake(&self, wake: &Wake<'_>) -> Result<(), QueryError> {
        ask(self, &async |manager: Manager<'_>| manager.start_transient(wake).await)
    }

    /// Has systemd forget what [`Machine::wake`] told it. One that is over is no error.
    ///
    /// # Errors
    /// `systemd_unavailable`.
    pub fn cancel_wake(&self, name: &str) -> Result<(), QueryError> {
        ask(self, &async |manager: Manager<'_>| {
            let unit = format!("{name}.timer");
            let stopped: Result<OwnedObjectPath, BusError> =
                manager.peer.call(SERVICE, MANAGER_PATH, MANAGER, "StopUnit", &(unit, "replace")).await;
            match stopped {
                Err(error) if error.name().is_some_and(|name| name.ends_with(".NoSuchUnit")) => Ok(()),
                other => other.map(|_| ()),
            }
        })
    }
}

impl Manager<'_> {
    async fn start_transient(&self, wake: &Wake<'_>) -> Result<(), BusError> {
        let (timer, service) = (format!("{}.timer", wake.name), format!("{}.service", wake.name));
        let after = u64::try_from(wake.after.as_micros()).unwrap_or(u64::MAX);
        let program = wake.command.first().copied().unwrap_or_default();
        let of_timer: Vec<Property<'_>> = vec![
            ("Description", wake.description.into()),
            ("TimersMonotonic", vec![("OnActiveSec", after)].into()),
            ("AccuracyUSec", 100_000_u64.into()),
            ("RemainAfterElapse", false.into()),
        ];
        let of_service: Vec<Property<'_>> = vec![
            ("Description", wake.description.into()),
            ("Type", "oneshot".into()),
            ("ExecStart", vec![(program, wake.command.to_vec(), false)].into()),
            ("CollectMode", "inactive-or-failed".into()),
        ];
        let aux = vec![(service.as_str(), of_service)];
        let body = (timer.as_str(), "fail", of_timer, aux);
        let _: OwnedObjectPath =
            self.peer.call(SERVICE, MANAGER_PATH, MANAGER, "StartTransientUnit", &body).await?;
        Ok(())
    }
}
