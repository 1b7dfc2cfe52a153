//! A unit that runs, or does not.

use std::time::Duration;

use agentos_api::change::Effect;
use serde::{Deserialize, Serialize};

use super::thing;
use crate::QueryError;
use crate::change::context::Context;
use crate::change::error::ChangeError;
use crate::change::transition::{Irreversible, Position, Transit};
use crate::machine::Machine;
use crate::systemd::control::{self, Look, Running, Told, Verb};

/// How long systemd may take. A unit that does not end is killed by systemd after its own `TimeoutStopSec=`, 90 s where it
/// says nothing; that long nobody waits here.
const START_TIME: Duration = Duration::from_mins(1);
const STOP_TIME: Duration = Duration::from_secs(30);
/// What a unit that was started is given to fail at once.
const STAY_TIME: Duration = Duration::from_millis(250);

/// Whether a unit runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Run {
    Running,
    Stopped,
}

impl Run {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Running => "active",
            Self::Stopped => "inactive",
        }
    }

    const fn opposite(self) -> Self {
        match self {
            Self::Running => Self::Stopped,
            Self::Stopped => Self::Running,
        }
    }
}

/// A unit starts to run, or ends.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct UnitRun {
    /// Its main name.
    pub(crate) unit: String,
    /// How it is, in systemd's words.
    pub(crate) from: String,
    /// Whether it shall run. It does not yet.
    pub(crate) to: Run,
    /// Which run is ended; for a start, the run that was before, so that the two are told apart.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) invocation: Option<String>,
    /// It holds nothing that ends with it: a timer for certain times.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) holds_nothing: bool,
}

impl UnitRun {
    /// The unit is started by this.
    pub(crate) fn starts(&self) -> bool {
        self.to == Run::Running
    }

    fn place(&self, look: &Look) -> Position {
        let same_run = self.invocation.is_none() || self.invocation == look.invocation;
        match (look.running(), self.to) {
            _ if look.job.is_some() => Position::Elsewhere(look.state()),
            (Running::Between, _) => Position::Elsewhere(look.state()),
            (Running::Yes, Run::Stopped) if same_run => Position::Before,
            (Running::Yes, Run::Stopped) => {
                Position::Elsewhere(format!("{}, started anew since", look.state()))
            }
            (Running::No, Run::Running) => Position::Before,
            (Running::Yes, Run::Running) if self.invocation.is_some() && same_run => {
                Position::Elsewhere(format!("{}, as before", look.state()))
            }
            (Running::No, Run::Stopped) | (Running::Yes, Run::Running) => Position::After,
        }
    }

    fn failed(&self, reason: impl std::fmt::Display) -> ChangeError {
        ChangeError::failed(self.on(), reason)
    }

    fn moved(&self, found: String) -> ChangeError {
        ChangeError::Moved { what: self.on(), planned: self.from.clone(), found }
    }

    /// What is wrong with the unit once systemd says it is done with it.
    fn verdict(&self, look: &Look) -> Result<(), ChangeError> {
        if let Some(job) = look.job {
            let (doing, time) = match self.to {
                Run::Running => ("starting", START_TIME),
                Run::Stopped => ("stopping", STOP_TIME),
            };
            return Err(self.failed(format!(
                "systemd is still {doing} it after {} s, and goes on with that (job {job}): it is {} ({}); the query \
                 `service` says what it waits for, and `journal` what it says",
                time.as_secs(),
                look.active_state,
                look.sub_state
            )));
        }
        match (look.running(), self.to) {
            (Running::Yes, Run::Running) if look.active_state != "activating" => Ok(()),
            (Running::No, Run::Stopped) => Ok(()),
            _ => {
                let why = look.result.as_deref().map(|why| format!(", because of {why}")).unwrap_or_default();
                Err(self.failed(format!(
                    "it is {}{why}; the query `service` with unit {} gives its last log lines",
                    look.state(),
                    self.unit
                )))
            }
        }
    }
}

/// The unit; one that is gone altogether does not run.
pub(super) fn look(machine: &Machine, unit: &str) -> Result<Look, ChangeError> {
    match control::look(machine, unit) {
        Err(QueryError::NotFound { .. }) => Ok(gone(unit)),
        other => Ok(other?),
    }
}

/// Waits for what systemd does with the unit.
pub(super) fn settled(machine: &Machine, unit: &str, time: Duration) -> Result<Look, ChangeError> {
    match control::settled(machine, unit, time) {
        Err(QueryError::NotFound { .. }) => Ok(gone(unit)),
        other => Ok(other?),
    }
}

fn gone(unit: &str) -> Look {
    Look {
        id: unit.to_owned(),
        active_state: "inactive".to_owned(),
        sub_state: "not there".to_owned(),
        ..Look::default()
    }
}

/// What systemd said, as the failure of a change.
pub(super) fn told(thing: &str, error: Told) -> ChangeError {
    match error {
        Told::No(reason) => ChangeError::failed(thing, format!("systemd refuses: {reason}")),
        Told::Unreachable(error) => error.into(),
    }
}

impl Transit for UnitRun {
    fn on(&self) -> String {
        thing(&self.unit)
    }

    fn effect(&self, _: &Context<'_>) -> Effect {
        Effect {
            on: self.on(),
            before: self.from.clone(),
            after: self.to.as_str().to_owned(),
            diff: None,
            diff_omitted: None,
        }
    }

    fn position(&self, context: &Context<'_>) -> Result<Position, ChangeError> {
        Ok(self.place(&look(context.machine, &self.unit)?))
    }

    fn apply(&self, context: &Context<'_>) -> Result<(), ChangeError> {
        let machine = context.machine;
        let before = look(machine, &self.unit)?;
        match self.place(&before) {
            Position::Before => {}
            // Stopping what stops by itself, together with another unit, is done.
            Position::After if self.to == Run::Stopped => return Ok(()),
            Position::After | Position::Unknowable => return Err(self.moved(before.state())),
            Position::Elsewhere(found) => return Err(self.moved(found)),
        }
        let (verb, time) = match self.to {
            Run::Running => (Verb::Start, START_TIME),
            Run::Stopped => (Verb::Stop, STOP_TIME),
        };
        control::queue(machine, verb, &self.unit).map_err(|error| told(&self.on(), error))?;
        let mut now = settled(machine, &self.unit, time)?;
        if self.starts() && now.job.is_none() && now.running() == Running::Yes {
            std::thread::sleep(STAY_TIME);
            now = look(machine, &self.unit)?;
        }
        let verdict = self.verdict(&now);
        // One that ended at once is not left to be started again and again.
        if verdict.is_err() && self.starts() && now.job.is_none() && now.running() == Running::Yes {
            control::queue(machine, Verb::Stop, &self.unit).map_err(|error| told(&self.on(), error))?;
            settled(machine, &self.unit, STOP_TIME)?;
        }
        verdict
    }

    fn reversed(&self) -> Result<Self, Irreversible> {
        let invocation = if self.starts() { None } else { self.invocation.clone() };
        Ok(Self {
            unit: self.unit.clone(),
            from: self.to.as_str().to_owned(),
            to: self.to.opposite(),
            invocation,
            holds_nothing: self.holds_nothing,
        })
    }

    /// A job that was queued before a cut goes on without whoever queued it.
    fn clean(&self, context: &Context<'_>) {
        let _ = settled(context.machine, &self.unit, STOP_TIME);
    }

    fn units(&self) -> Vec<String> {
        vec![self.unit.clone()]
    }

    fn leaves_behind(&self) -> Option<String> {
        (!self.starts() && !self.holds_nothing).then(|| {
            format!("{} is started again, but what it held in memory and its connections are gone", self.unit)
        })
    }
}
