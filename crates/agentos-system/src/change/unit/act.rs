//! What is done with units, and leaves no other state behind.

use std::time::Duration;

use agentos_api::change::Effect;
use serde::{Deserialize, Serialize};

use super::run::{look, settled, told};
use super::thing;
use crate::change::context::Context;
use crate::change::error::ChangeError;
use crate::change::transition::{Irreversible, Position, Transit};
use crate::systemd::control::{self, Look, Running, Verb};

/// How long an act may take.
const TIME: Duration = Duration::from_mins(1);
const STAY_TIME: Duration = Duration::from_millis(250);

/// What is done with a unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Act {
    /// It is ended and started.
    Restart,
    /// It reads its configuration again.
    Reload,
    /// A unit that ends by itself runs once.
    RunOnce,
}

/// By what it is told whether an act was done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Mark {
    /// Which run it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    invocation: Option<String>,
    /// When its state last changed.
    changed: u64,
}

impl Mark {
    /// That of a unit as it stands. None for one that is not at rest: its marks change by themselves.
    pub(crate) fn of(look: &Look) -> Option<Self> {
        let at_rest =
            look.job.is_none() && matches!(look.active_state.as_str(), "active" | "inactive" | "failed");
        at_rest.then(|| Self { invocation: look.invocation.clone(), changed: look.changed })
    }
}

/// Something is done with a unit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct UnitAct {
    /// Its main name.
    pub(crate) unit: String,
    pub(crate) act: Act,
    /// How it is, in systemd's words.
    pub(crate) from: String,
    /// How it was before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) mark: Option<Mark>,
}

impl UnitAct {
    fn place(&self, look: &Look) -> Position {
        if self.act != Act::RunOnce && look.running() != Running::Yes {
            return Position::Elsewhere(look.state());
        }
        let Some(mark) = &self.mark else { return Position::Unknowable };
        // It was at rest, and now ends again and again.
        if self.act != Act::RunOnce && look.active_state == "activating" {
            return Position::Elsewhere(look.state());
        }
        let same_run = mark.invocation == look.invocation;
        match self.act {
            // systemd forgets a unit that is at rest, and with it that it ran.
            Act::RunOnce if look.invocation.is_none() => Position::Unknowable,
            Act::Restart | Act::RunOnce if same_run => Position::Before,
            Act::Reload if same_run && mark.changed == look.changed => Position::Before,
            _ => Position::After,
        }
    }

    fn failed(&self, reason: impl std::fmt::Display) -> ChangeError {
        ChangeError::failed(self.on(), reason)
    }
}

impl Transit for UnitAct {
    fn on(&self) -> String {
        thing(&self.unit)
    }

    fn effect(&self, _: &Context<'_>) -> Effect {
        let after = match self.act {
            Act::Restart => "restarted",
            Act::Reload => "with its configuration read again",
            Act::RunOnce => "run once",
        };
        Effect {
            on: self.on(),
            before: self.from.clone(),
            after: after.to_owned(),
            diff: None,
            diff_omitted: None,
        }
    }

    fn position(&self, context: &Context<'_>) -> Result<Position, ChangeError> {
        Ok(self.place(&look(context.machine, &self.unit)?))
    }

    fn apply(&self, context: &Context<'_>) -> Result<(), ChangeError> {
        let machine = context.machine;
        if let Position::Elsewhere(found) = self.position(context)? {
            return Err(ChangeError::Moved { what: self.on(), planned: self.from.clone(), found });
        }
        let verb = match self.act {
            Act::Restart => Verb::Restart,
            Act::Reload => Verb::Reload,
            Act::RunOnce => Verb::Start,
        };
        control::queue(machine, verb, &self.unit).map_err(|error| told(&self.on(), error))?;
        let mut now = settled(machine, &self.unit, TIME)?;
        if self.act == Act::Restart && now.job.is_none() {
            std::thread::sleep(STAY_TIME);
            now = look(machine, &self.unit)?;
        }
        let hint = format!("the query `service` with unit {} gives its last log lines", self.unit);
        if let Some(job) = now.job {
            return Err(self.failed(format!(
                "systemd is not done after {} s, and goes on with it (job {job}): it is {} ({}); {hint}",
                TIME.as_secs(),
                now.active_state,
                now.sub_state
            )));
        }
        let result = if self.act == Act::Reload { &now.reload_result } else { &now.result };
        let why = result.as_deref().map(|why| format!(", because of {why}")).unwrap_or_default();
        let well = match self.act {
            Act::RunOnce => now.active_state != "failed" && now.result.is_none(),
            Act::Restart => now.running() == Running::Yes && now.active_state != "activating",
            Act::Reload if now.running() == Running::Yes && now.reload_result.is_some() => {
                return Err(self.failed(format!(
                    "it goes on running, but did not read its configuration again{why}; {hint}"
                )));
            }
            Act::Reload => now.running() == Running::Yes,
        };
        if well { Ok(()) } else { Err(self.failed(format!("it is {}{why}; {hint}", now.state()))) }
    }

    fn reversed(&self) -> Result<Self, Irreversible> {
        match self.act {
            Act::RunOnce => Err(Irreversible(format!("{} has run, and what it did stays", self.unit))),
            // Which run it is then is found out when it is planned.
            _ => Ok(Self { mark: None, ..self.clone() }),
        }
    }

    fn clean(&self, context: &Context<'_>) {
        let _ = settled(context.machine, &self.unit, TIME);
    }

    fn units(&self) -> Vec<String> {
        vec![self.unit.clone()]
    }

    fn leaves_behind(&self) -> Option<String> {
        match self.act {
            Act::Restart => Some(format!(
                "{} is running as before, but what it held in memory and its connections are gone; it is restarted once \
                 more only where other steps of this change are taken back",
                self.unit
            )),
            _ => None,
        }
    }

    fn is_act(&self) -> bool {
        true
    }

    fn renewed(self, context: &Context<'_>) -> Result<Self, ChangeError> {
        let look = look(context.machine, &self.unit)?;
        Ok(Self { mark: Mark::of(&look), from: look.state(), ..self })
    }
}

/// systemd reads its units anew (`systemctl daemon-reload`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ManagerReload {
    /// When it last did, in microseconds of the monotonic clock. None for the second time in a change.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) last: Option<u64>,
}

impl Transit for ManagerReload {
    fn on(&self) -> String {
        "systemd's units".to_owned()
    }

    fn effect(&self, _: &Context<'_>) -> Effect {
        Effect {
            on: self.on(),
            before: "as read before".to_owned(),
            after: "read anew (daemon-reload)".to_owned(),
            diff: None,
            diff_omitted: None,
        }
    }

    fn position(&self, context: &Context<'_>) -> Result<Position, ChangeError> {
        let Some(last) = self.last else { return Ok(Position::Unknowable) };
        Ok(match control::last_reload(context.machine)? {
            None => Position::Unknowable,
            Some(now) if now == last => Position::Before,
            Some(_) => Position::After,
        })
    }

    fn apply(&self, context: &Context<'_>) -> Result<(), ChangeError> {
        control::reload(context.machine).map_err(|error| told(&self.on(), error))
    }

    fn reversed(&self) -> Result<Self, Irreversible> {
        Ok(Self { last: None })
    }

    fn is_act(&self) -> bool {
        true
    }

    fn renewed(self, context: &Context<'_>) -> Result<Self, ChangeError> {
        Ok(Self { last: control::last_reload(context.machine)? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn service(active: &str, sub: &str, invocation: Option<&str>, changed: u64) -> Look {
        Look {
            id: "a.service".to_owned(),
            active_state: active.to_owned(),
            sub_state: sub.to_owned(),
            invocation: invocation.map(str::to_owned),
            changed,
            ..Look::default()
        }
    }

    fn planned(act: Act, look: &Look) -> UnitAct {
        UnitAct { unit: look.id.clone(), act, from: look.state(), mark: Mark::of(look) }
    }

    #[test]
    fn a_restart_is_told_by_the_run() {
        let before = service("active", "running", Some("1"), 5);
        let restart = planned(Act::Restart, &before);
        assert_eq!(restart.place(&before), Position::Before);
        assert_eq!(restart.place(&service("active", "running", Some("2"), 9)), Position::After);
        for (active, sub) in [("failed", "failed"), ("inactive", "dead"), ("activating", "auto-restart")] {
            let found = service(active, sub, Some("2"), 9);
            assert_eq!(restart.place(&found), Position::Elsewhere(found.state()));
        }
    }

    #[test]
    fn a_service_that_ends_again_and_again_can_be_restarted() {
        let before = service("activating", "auto-restart", Some("1"), 5);
        assert_eq!(planned(Act::Restart, &before).place(&before), Position::Unknowable);
    }

    #[test]
    fn whether_a_forgotten_unit_ran_is_not_guessed() {
        let before = service("inactive", "dead", None, 0);
        let once = planned(Act::RunOnce, &before);
        assert_eq!(once.place(&before), Position::Unknowable);
        assert_eq!(once.place(&service("inactive", "dead", Some("1"), 5)), Position::After);
    }
}
