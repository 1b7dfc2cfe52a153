//! The name of the running machine (sethostname(2)). The one it starts with is a file.

use agentos_api::change::Effect;
use rustix::system::{sethostname, uname};
use serde::{Deserialize, Serialize};

use crate::change::context::Context;
use crate::change::error::ChangeError;
use crate::change::transition::{Irreversible, Position, Transit};

/// The running machine gets another name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Hostname {
    pub(crate) from: String,
    pub(crate) to: String,
}

impl Hostname {
    /// The name it has.
    pub(crate) fn now() -> String {
        crate::text::lossy(uname().nodename().to_bytes())
    }
}

impl Transit for Hostname {
    fn on(&self) -> String {
        "the name of the running machine".to_owned()
    }

    fn effect(&self, _: &Context<'_>) -> Effect {
        Effect {
            on: self.on(),
            before: self.from.clone(),
            after: self.to.clone(),
            diff: None,
            diff_omitted: None,
        }
    }

    fn position(&self, _: &Context<'_>) -> Result<Position, ChangeError> {
        let now = Self::now();
        Ok(if now == self.to {
            Position::After
        } else if now == self.from {
            Position::Before
        } else {
            Position::Elsewhere(now)
        })
    }

    fn apply(&self, context: &Context<'_>) -> Result<(), ChangeError> {
        if self.position(context)? != Position::Before {
            return Err(ChangeError::Moved {
                what: self.on(),
                planned: self.from.clone(),
                found: Self::now(),
            });
        }
        sethostname(self.to.as_bytes())
            .map_err(|error| ChangeError::failed(self.on(), std::io::Error::from(error)))
    }

    fn reversed(&self) -> Result<Self, Irreversible> {
        Ok(Self { from: self.to.clone(), to: self.from.clone() })
    }
}
