//! A command that systemd starts later, whatever becomes of this process: a transient timer with its service
//! (org.freedesktop.systemd1(5), `StartTransientUnit`).

use std::time::Duration;

use zbus::{OwnedObjectPath, Variant};

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
