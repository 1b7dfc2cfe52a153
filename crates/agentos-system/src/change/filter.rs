//! A rule of AgentOS' own table, there or not.

use agentos_api::change::Effect;
use serde::{Deserialize, Serialize};

use super::context::Context;
use super::error::ChangeError;
use super::transition::{Irreversible, Position, Transit};
use crate::firewall::own::Own;
use crate::firewall::rule::Rule;

/// A rule comes into the kernel's packet filter, or goes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Filter {
    pub(crate) rule: Rule,
    /// It shall be there; else, shall not.
    pub(crate) there: bool,
}

impl Transit for Filter {
    fn on(&self) -> String {
        format!("firewall rule {}", self.rule)
    }

    fn effect(&self, _context: &Context<'_>) -> Effect {
        let words = |there| if there { self.rule.line() } else { "absent".to_owned() };
        Effect {
            on: self.on(),
            before: words(!self.there),
            after: words(self.there),
            diff: None,
            diff_omitted: None,
        }
    }

    fn position(&self, _context: &Context<'_>) -> Result<Position, ChangeError> {
        Ok(if Own::read()?.has(&self.rule) == self.there { Position::After } else { Position::Before })
    }

    fn apply(&self, _context: &Context<'_>) -> Result<(), ChangeError> {
        let own = Own::read()?;
        if own.has(&self.rule) == self.there {
            let word = |there| if there { "there" } else { "absent" };
            return Err(ChangeError::Moved {
                what: self.on(),
                planned: word(!self.there).to_owned(),
                found: word(self.there).to_owned(),
            });
        }
        let done = if self.there { own.add(&self.rule) } else { own.remove(&self.rule) };
        done.map_err(|error| ChangeError::failed(self.on(), crate::text::chain(&error)))
    }

    fn reversed(&self) -> Result<Self, Irreversible> {
        Ok(Self { there: !self.there, ..self.clone() })
    }
}
