//! A restart or power-off that logind has scheduled (org.freedesktop.login1(5)).

use std::time::Duration;

use agentos_api::change::Effect;
use serde::{Deserialize, Serialize};
use zbus::Variant;

use super::signal::boot;
use crate::bus::{BusError, Peer};
use crate::change::context::Context;
use crate::change::error::ChangeError;
use crate::change::transition::{Irreversible, Position, Transit};
use crate::machine::Machine;
use crate::{QueryError, moment};

const SERVICE: &str = "org.freedesktop.login1";
const PATH: &str = "/org/freedesktop/login1";
const MANAGER: &str = "org.freedesktop.login1.Manager";

/// How the machine ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Scheduled {
    Reboot,
    Poweroff,
}

impl Scheduled {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Reboot => "reboot",
            Self::Poweroff => "poweroff",
        }
    }
}

/// The end of the machine is scheduled, or not any more.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Power {
    /// `kind` is the transition's own, where it is kept.
    #[serde(rename = "end")]
    pub(crate) kind: Scheduled,
    /// Whether it shall be scheduled.
    pub(crate) scheduled: bool,
    /// How long after this is made.
    pub(crate) delay_seconds: u64,
    /// The start of the machine that ends with it.
    pub(crate) boot: String,
}

fn asked<T>(answer: Result<T, BusError>) -> Result<T, QueryError> {
    const HINT: &str = "Look at `systemctl status systemd-logind`.";
    answer.map_err(|error| {
        if error.no_such_service() {
            QueryError::unavailable("unavailable", "systemd-logind does not run on this machine", HINT)
        } else {
            error.into_query_error("systemd-logind", "unavailable", HINT)
        }
    })
}

impl Power {
    /// What is scheduled: its kind, empty where nothing is, and when, in microseconds since 1970.
    ///
    /// # Errors
    /// `unavailable` where logind does not run.
    pub(crate) fn pending(machine: &Machine) -> Result<(String, u64), QueryError> {
        asked(machine.bus.ask(&async |peer: &Peer| {
            let value = peer.property(SERVICE, PATH, MANAGER, "ScheduledShutdown").await?;
            let Variant::Structure(pair) = &*value else { return Ok((String::new(), 0)) };
            let mut fields = pair.fields().iter();
            let kind = fields.next().and_then(crate::bus::text).unwrap_or_default();
            Ok((kind, fields.next().and_then(crate::bus::number).unwrap_or_default()))
        }))
    }

    fn text(&self, scheduled: bool) -> String {
        match (scheduled, self.kind) {
            (false, _) => "running".to_owned(),
            (true, Scheduled::Reboot) => {
                format!("started again {} min after this is made", self.delay_seconds / 60)
            }
            (true, Scheduled::Poweroff) => {
                format!("switched off {} min after this is made", self.delay_seconds / 60)
            }
        }
    }
}

impl Transit for Power {
    fn on(&self) -> String {
        "the machine's power".to_owned()
    }

    fn effect(&self, _: &Context<'_>) -> Effect {
        Effect {
            on: self.on(),
            before: self.text(!self.scheduled),
            after: self.text(self.scheduled),
            diff: None,
            diff_omitted: None,
        }
    }

    fn position(&self, context: &Context<'_>) -> Result<Position, ChangeError> {
        if boot() != self.boot {
            // It happened: that is what scheduling it leads to, and cannot be taken back.
            return Ok(if self.scheduled {
                Position::After
            } else {
                Position::Elsewhere("started again since".to_owned())
            });
        }
        let (kind, _) = Self::pending(context.machine)?;
        let pending = kind == self.kind.as_str();
        Ok(match (kind.is_empty(), pending, self.scheduled) {
            (true, _, true) | (_, true, false) => Position::Before,
            (_, true, true) | (true, _, false) => Position::After,
            _ => Position::Elsewhere(format!("about to end already ({kind})")),
        })
    }

    fn apply(&self, context: &Context<'_>) -> Result<(), ChangeError> {
        match self.position(context)? {
            Position::Before => {}
            other => {
                let found = match other {
                    Position::Elsewhere(found) => found,
                    _ => self.text(self.scheduled),
                };
                let planned = self.text(!self.scheduled);
                return Err(ChangeError::Moved { what: self.on(), planned, found });
            }
        }
        let machine = context.machine;
        if self.scheduled {
            let delay = Duration::from_secs(self.delay_seconds);
            let when =
                moment::now_micros().saturating_add(u64::try_from(delay.as_micros()).unwrap_or(u64::MAX));
            let () = asked(machine.bus.tell(&async |peer: &Peer| {
                peer.call(SERVICE, PATH, MANAGER, "ScheduleShutdown", &(self.kind.as_str(), when)).await
            }))?;
            return Ok(());
        }
        let cancelled: bool = asked(machine.bus.tell(&async |peer: &Peer| {
            peer.call(SERVICE, PATH, MANAGER, "CancelScheduledShutdown", &()).await
        }))?;
        if cancelled {
            Ok(())
        } else {
            Err(ChangeError::failed(self.on(), "there was nothing to cancel any more"))
        }
    }

    fn reversed(&self) -> Result<Self, Irreversible> {
        Ok(Self { scheduled: !self.scheduled, ..self.clone() })
    }

    fn leaves_behind(&self) -> Option<String> {
        self.scheduled.then(|| {
            format!(
                "only until it begins, {} min after it was made, it can be taken back",
                self.delay_seconds / 60
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::change::transition::Transition;

    #[test]
    fn what_is_kept_of_it_is_read_again() {
        let power =
            Power { kind: Scheduled::Reboot, scheduled: true, delay_seconds: 60, boot: "a".to_owned() };
        let power = Transition::Power(power);
        let kept = serde_json::to_string(&power).unwrap();
        assert_eq!(serde_json::from_str::<Transition>(&kept).unwrap(), power, "{kept}");
    }
}
