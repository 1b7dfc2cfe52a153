//! The name servers of an interface, as systemd-resolved has them for the time being.

use std::time::{Duration, Instant};

use agentos_api::change::Effect;
use serde::{Deserialize, Serialize};

use super::context::Context;
use super::error::ChangeError;
use super::transition::{Irreversible, Position, Transit};
use crate::network::resolved::{self, LinkNames};

/// systemd-resolved hears of what systemd-networkd does by a file that it watches.
const TIME: Duration = Duration::from_secs(3);
const PAUSE: Duration = Duration::from_millis(20);

/// An interface gets other name servers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct LinkDns {
    pub(crate) interface: String,
    pub(crate) index: u32,
    pub(crate) from: LinkNames,
    pub(crate) to: LinkNames,
    /// systemd-networkd manages it.
    pub(crate) managed: bool,
    /// The second state is what systemd-networkd's own configuration makes of it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) reverts: bool,
}

impl LinkDns {
    /// Waits until the interface is in the second state.
    fn reached(&self, context: &Context<'_>) -> Result<bool, ChangeError> {
        let deadline = Instant::now() + TIME;
        loop {
            if resolved::of_link(context.machine, self.index)? == self.to {
                return Ok(true);
            }
            if Instant::now() >= deadline {
                return Ok(false);
            }
            std::thread::sleep(PAUSE);
        }
    }
}

impl Transit for LinkDns {
    fn on(&self) -> String {
        format!("name servers of {}", self.interface)
    }

    fn effect(&self, _: &Context<'_>) -> Effect {
        Effect {
            on: self.on(),
            before: self.from.text(),
            after: self.to.text(),
            diff: None,
            diff_omitted: None,
        }
    }

    fn position(&self, context: &Context<'_>) -> Result<Position, ChangeError> {
        let now = resolved::of_link(context.machine, self.index)?;
        Ok(if now == self.to {
            Position::After
        } else if now == self.from {
            Position::Before
        } else {
            Position::Elsewhere(now.text())
        })
    }

    fn apply(&self, context: &Context<'_>) -> Result<(), ChangeError> {
        let machine = context.machine;
        let now = resolved::of_link(machine, self.index)?;
        if now != self.from {
            return Err(ChangeError::Moved { what: self.on(), planned: self.from.text(), found: now.text() });
        }
        if self.managed && self.reverts {
            resolved::revert(machine, self.index)?;
            if self.reached(context)? {
                return Ok(());
            }
        }
        resolved::set(machine, self.index, self.managed, &self.to)?;
        if self.reached(context)? {
            return Ok(());
        }
        let found = resolved::of_link(machine, self.index)?.text();
        Err(ChangeError::failed(self.on(), format!("they were set, and systemd-resolved has {found}")))
    }

    fn reversed(&self) -> Result<Self, Irreversible> {
        Ok(Self { from: self.to.clone(), to: self.from.clone(), reverts: !self.reverts, ..self.clone() })
    }

    fn leaves_behind(&self) -> Option<String> {
        (self.managed && !self.reverts).then(|| {
            format!(
                "systemd-networkd goes back to its own configuration of {}, also for what else resolvectl had set there",
                self.interface
            )
        })
    }
}
