//! What changes of units need of systemd: one unit as it stands, and jobs that are queued and waited for.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::time::{Duration, Instant};

use zbus::OwnedObjectPath;

use super::service::{Found, exit, find};
use super::{MANAGER, MANAGER_PATH, Manager, SERVICE, not_booted};
use crate::QueryError;
use crate::bus::{BusError, Properties};
use crate::machine::Machine;

/// Names taken of one kind of dependency.
const MAX_NAMES: usize = 500;
/// Between two looks at a job.
const SHORTEST_PAUSE: Duration = Duration::from_millis(10);
const LONGEST_PAUSE: Duration = Duration::from_millis(250);

/// A unit, as it stands.
#[derive(Clone, Debug, Default)]
#[expect(clippy::struct_excessive_bools, reason = "facts that have nothing to do with each other")]
pub(crate) struct Look {
    /// Its main name; others are aliases.
    pub(crate) id: String,
    /// All its names.
    pub(crate) names: Vec<String>,
    pub(crate) load_state: String,
    pub(crate) active_state: String,
    pub(crate) sub_state: String,
    /// Which run it is, in hexadecimal; the last one where it does not run. None where it is not known (any more).
    pub(crate) invocation: Option<String>,
    /// When its state last changed, in microseconds of the monotonic clock.
    pub(crate) changed: u64,
    /// The file it is read from, and what adds to it.
    pub(crate) fragment: Option<String>,
    pub(crate) drop_ins: Vec<String>,
    /// `enabled`, `disabled`, `static`, `masked` … as systemctl(1) has it.
    pub(crate) file_state: Option<String>,
    /// A file of it changed since systemd read it.
    pub(crate) needs_reload: bool,
    pub(crate) can_start: bool,
    pub(crate) can_stop: bool,
    pub(crate) can_reload: bool,
    /// The number of the job that is queued or running for it.
    pub(crate) job: Option<u64>,
    /// A service that is not running once it has run (`Type=oneshot` without `RemainAfterExit=`).
    pub(crate) runs_once: bool,
    /// Units that systemd stops when it stops this one.
    pub(crate) stopped_with: Vec<String>,
    /// Units that systemd starts when it starts this one.
    pub(crate) pulls_in: Vec<String>,
    /// Units that cannot run beside it.
    pub(crate) conflicts: Vec<String>,
    /// Sockets, timers and paths that start it.
    pub(crate) triggered_by: Vec<String>,
    /// Processes in it.
    pub(crate) tasks: Option<u64>,
    /// How it last ended, in systemd's word, and with which status: `exit-code (3)`.
    pub(crate) result: Option<String>,
    /// How the last reload of it ended, in systemd's word, where it did not go well: that leaves the service running, and
    /// `result` as it was.
    pub(crate) reload_result: Option<String>,
}

/// Whether a unit runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Running {
    Yes,
    No,
    /// It is on the way to either.
    Between,
}

impl Look {
    /// Whether it runs. A service that systemd keeps starting again counts as one that does.
    pub(crate) fn running(&self) -> Running {
        match self.active_state.as_str() {
            "active" | "reloading" | "refreshing" => Running::Yes,
            "activating" if self.sub_state.starts_with("auto-restart") => Running::Yes,
            "inactive" | "failed" | "maintenance" => Running::No,
            _ => Running::Between,
        }
    }

    /// Its state in words: `active (running)`.
    pub(crate) fn state(&self) -> String {
        match self.job {
            Some(job) => format!("{} ({}), with job {job} under way", self.active_state, self.sub_state),
            None => format!("{} ({})", self.active_state, self.sub_state),
        }
    }
}

/// Looks at a unit by any of its names.
///
/// # Errors
/// [`QueryError::NotFound`] with near matches; `systemd_unavailable`.
pub(crate) fn look(machine: &Machine, name: &str) -> Result<Look, QueryError> {
    match super::ask(machine, &async |manager| find(manager, name).await)? {
        Found::Unit { unit, kind } => Ok(of(&unit, &kind)),
        Found::Missing { near } => Err(QueryError::NotFound { what: format!("the unit {name}"), near }),
    }
}

fn of(unit: &Properties, kind: &Properties) -> Look {
    let text = |name: &str| unit.text(name).unwrap_or_default();
    let all = |names: &[&str]| {
        let names: BTreeSet<String> = names.iter().flat_map(|name| unit.texts(name, MAX_NAMES)).collect();
        names.into_iter().collect::<Vec<_>>()
    };
    let result = kind.text("Result").filter(|result| result != "success").map(|result| match exit(kind) {
        Some(exit) => format!("{result} ({})", exit.signal.unwrap_or_else(|| exit.status.to_string())),
        None => result,
    });
    Look {
        id: text("Id"),
        names: unit.texts("Names", MAX_NAMES),
        load_state: text("LoadState"),
        active_state: text("ActiveState"),
        sub_state: text("SubState"),
        invocation: unit.bytes("InvocationID").filter(|id| !id.is_empty()).map(|id| hexadecimal(&id)),
        changed: unit.number("StateChangeTimestampMonotonic").unwrap_or_default(),
        fragment: unit.text("FragmentPath"),
        drop_ins: unit.texts("DropInPaths", MAX_NAMES),
        file_state: unit.text("UnitFileState"),
        needs_reload: unit.is("NeedDaemonReload"),
        can_start: unit.is("CanStart"),
        can_stop: unit.is("CanStop"),
        can_reload: unit.is("CanReload"),
        job: unit.fields("Job").first().and_then(crate::bus::number).filter(|&job| job > 0),
        runs_once: kind.text("Type").as_deref() == Some("oneshot") && !kind.is("RemainAfterExit"),
        // systemd.unit(5), "Mapping of unit properties to their inverses".
        stopped_with: all(&["RequiredBy", "RequisiteOf", "BoundBy", "ConsistsOf"]),
        pulls_in: all(&["Requires", "BindsTo", "Wants", "Upholds"]),
        conflicts: all(&["Conflicts", "ConflictedBy"]),
        triggered_by: unit.texts("TriggeredBy", MAX_NAMES),
        tasks: kind.number("TasksCurrent"),
        result,
        reload_result: kind.text("ReloadResult").filter(|result| result != "success"),
    }
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// What systemd is told to do with a unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verb {
    Start,
    Stop,
    Restart,
    Reload,
}

impl Verb {
    const fn method(self) -> &'static str {
        match self {
            Self::Start => "StartUnit",
            Self::Stop => "StopUnit",
            Self::Restart => "RestartUnit",
            Self::Reload => "ReloadUnit",
        }
    }

    /// How jobs that are queued already are treated: one that starts the unit does not keep it from being stopped;
    /// otherwise nobody's job is thrown away.
    const fn mode(self) -> &'static str {
        match self {
            Self::Stop => "replace",
            _ => "fail",
        }
    }
}

/// Queues a job and gives its number.
///
/// # Errors
/// What systemd says, in its words; `systemd_unavailable`.
pub(crate) fn queue(machine: &Machine, verb: Verb, unit: &str) -> Result<u64, Told> {
    let job: OwnedObjectPath = tell(machine, &async |manager: Manager<'_>| {
        manager.peer.call(SERVICE, MANAGER_PATH, MANAGER, verb.method(), &(unit, verb.mode())).await
    })?;
    Ok(job.as_str().rsplit('/').next().and_then(|number| number.parse().ok()).unwrap_or_default())
}

/// Has systemd read all units anew, and waits until it has (`Reload` answers when it is done).
///
/// # Errors
/// As [`queue`].
pub(crate) fn reload(machine: &Machine) -> Result<(), Told> {
    tell(machine, &async |manager: Manager<'_>| {
        manager.peer.call(SERVICE, MANAGER_PATH, MANAGER, "Reload", &()).await
    })
}

/// When systemd last read its units, in microseconds of the monotonic clock; none where it does not say.
///
/// # Errors
/// `systemd_unavailable`.
pub(crate) fn last_reload(machine: &Machine) -> Result<Option<u64>, QueryError> {
    super::ask(machine, &async |manager| {
        let value =
            manager.peer.property(SERVICE, MANAGER_PATH, MANAGER, "UnitsLoadTimestampMonotonic").await;
        Ok(value.ok().and_then(|value| crate::bus::number(&value)))
    })
}

/// Waits until no job is queued or running for the unit, and gives the unit; after `time` as it is then.
///
/// # Errors
/// As [`look`].
pub(crate) fn settled(machine: &Machine, unit: &str, time: Duration) -> Result<Look, QueryError> {
    let deadline = Instant::now() + time;
    let mut pause = SHORTEST_PAUSE;
    loop {
        let look = look(machine, unit)?;
        if look.job.is_none() || Instant::now() >= deadline {
            return Ok(look);
        }
        std::thread::sleep(pause);
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

/// Why systemd did not do what it was told.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Told {
    /// It said no.
    #[error("systemd refuses: {0}")]
    No(String),
    /// It cannot be reached.
    #[error(transparent)]
    Unreachable(#[from] QueryError),
}

/// Tells the manager to do something, once: where the connection is lost it may have been done.
pub(super) fn tell<T>(
    machine: &Machine,
    work: &impl AsyncFn(Manager<'_>) -> Result<T, BusError>,
) -> Result<T, Told> {
    if !std::path::Path::new("/run/systemd/system").is_dir() {
        return Err(Told::Unreachable(not_booted()));
    }
    machine.bus.tell(&async |peer| work(Manager { peer }).await).map_err(|error| match error {
        BusError::Call(zbus::Error::MethodError(name, message, _)) => {
            Told::No(message.unwrap_or_else(|| name.to_string()))
        }
        other => Told::Unreachable(other.into_query_error(
            "systemd",
            "systemd_unavailable",
            "Look at `systemctl status` and `journalctl -b -p err`.",
        )),
    })
}
