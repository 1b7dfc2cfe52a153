//! Interfaces, their addresses, and routes: one each, there or not.

use agentos_api::change::Effect;
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use super::context::Context;
use super::error::ChangeError;
use super::transition::{Irreversible, Position, Transit};
use crate::network::changes::{self, Interface, Message};

/// What the kernel takes away together with something: it is put back with it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Dependents {
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) addresses: Vec<Message>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) routes: Vec<Message>,
}

impl Dependents {
    pub(crate) fn is_empty(&self) -> bool {
        self.addresses.is_empty() && self.routes.is_empty()
    }

    /// Puts back what is missing.
    fn restore(&self, index: u32) -> Result<(), Errno> {
        let there = |result| match result {
            Ok(()) | Err(Errno::EXIST) => Ok(()),
            Err(error) => Err(error),
        };
        self.addresses.iter().try_for_each(|message| there(message.add_address(index)))?;
        // A gateway may be reached over another of these routes: what fails at first is tried again.
        let mut left: Vec<&Message> = self.routes.iter().collect();
        while !left.is_empty() {
            let count = left.len();
            let mut last = Ok(());
            left.retain(|message| {
                let result = there(message.add_route());
                let failed = result.is_err();
                if failed {
                    last = result;
                }
                failed
            });
            if left.len() == count {
                return last;
            }
        }
        Ok(())
    }
}

fn find(name: &str) -> Result<Option<Interface>, ChangeError> {
    Ok(changes::interfaces()?.into_iter().find(|interface| interface.name == name))
}

fn needed(on: &str, name: &str) -> Result<Interface, ChangeError> {
    find(name)?.ok_or_else(|| ChangeError::failed(on, format!("there is no interface {name} any more")))
}

fn there(on: String, is: bool, shall: bool) -> Result<(), ChangeError> {
    if is != shall {
        return Ok(());
    }
    let word = |there| if there { "there" } else { "absent" };
    Err(ChangeError::Moved { what: on, planned: word(!shall).to_owned(), found: word(is).to_owned() })
}

fn effect(on: String, from: &str, to: &str) -> Effect {
    Effect { on, before: from.to_owned(), after: to.to_owned(), diff: None, diff_omitted: None }
}

const fn position(done: bool) -> Position {
    if done { Position::After } else { Position::Before }
}

/// An interface is set up or down.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Link {
    pub(crate) interface: String,
    pub(crate) up: bool,
    /// What goes when it goes down.
    #[serde(default, skip_serializing_if = "Dependents::is_empty")]
    pub(crate) with: Dependents,
}

impl Transit for Link {
    fn on(&self) -> String {
        format!("interface {}", self.interface)
    }

    fn effect(&self, _context: &Context<'_>) -> Effect {
        let word = |up| if up { "up" } else { "down" };
        effect(self.on(), word(!self.up), word(self.up))
    }

    fn position(&self, _context: &Context<'_>) -> Result<Position, ChangeError> {
        Ok(find(&self.interface)?
            .map_or_else(|| Position::Elsewhere("absent".to_owned()), |found| position(found.up == self.up)))
    }

    fn apply(&self, _context: &Context<'_>) -> Result<(), ChangeError> {
        let interface = needed(&self.on(), &self.interface)?;
        there(self.on(), interface.up, self.up)?;
        let failed = |error: Errno| ChangeError::failed(self.on(), std::io::Error::from(error));
        changes::set_link(interface.index, self.up).map_err(failed)?;
        if self.up
            && let Err(error) = self.with.restore(interface.index)
        {
            let _ = changes::set_link(interface.index, false);
            return Err(failed(error));
        }
        Ok(())
    }

    fn reversed(&self) -> Result<Self, Irreversible> {
        Ok(Self { up: !self.up, ..self.clone() })
    }
}

/// An address comes to an interface, or goes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Address {
    pub(crate) interface: String,
    /// As it is written: `192.0.2.7/24`.
    pub(crate) written: String,
    pub(crate) message: Message,
    pub(crate) there: bool,
    /// Routes that go with it.
    #[serde(default, skip_serializing_if = "Dependents::is_empty")]
    pub(crate) with: Dependents,
}

impl Address {
    fn is_there(&self, index: u32) -> Result<bool, ChangeError> {
        let wanted = self.message.address_key().map(|key| changes::AddressKey { index, ..key });
        Ok(changes::addresses()?.iter().any(|(key, _)| Some(*key) == wanted))
    }
}

impl Transit for Address {
    fn on(&self) -> String {
        format!("address {} of {}", self.written, self.interface)
    }

    fn effect(&self, _context: &Context<'_>) -> Effect {
        let word = |there| if there { "there" } else { "absent" };
        effect(self.on(), word(!self.there), word(self.there))
    }

    fn position(&self, _context: &Context<'_>) -> Result<Position, ChangeError> {
        match find(&self.interface)? {
            Some(found) => Ok(position(self.is_there(found.index)? == self.there)),
            None => Ok(Position::Elsewhere("without its interface".to_owned())),
        }
    }

    fn apply(&self, _context: &Context<'_>) -> Result<(), ChangeError> {
        let index = needed(&self.on(), &self.interface)?.index;
        there(self.on(), self.is_there(index)?, self.there)?;
        let failed = |error: Errno| ChangeError::failed(self.on(), std::io::Error::from(error));
        if !self.there {
            return self.message.remove_address(index).map_err(failed);
        }
        self.message.add_address(index).map_err(failed)?;
        if let Err(error) = self.with.restore(index) {
            let _ = self.message.remove_address(index);
            return Err(failed(error));
        }
        Ok(())
    }

    fn reversed(&self) -> Result<Self, Irreversible> {
        Ok(Self { there: !self.there, ..self.clone() })
    }
}

/// A route comes, or goes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Route {
    /// As it is written: `192.0.2.0/24 via 198.51.100.1`.
    pub(crate) written: String,
    pub(crate) message: Message,
    pub(crate) there: bool,
}

impl Route {
    fn is_there(&self) -> Result<bool, ChangeError> {
        let Some(wanted) = self.message.route_key() else { return Ok(false) };
        Ok(changes::routes()?.iter().any(|(key, _)| wanted.matches(key)))
    }
}

impl Transit for Route {
    fn on(&self) -> String {
        format!("route {}", self.written)
    }

    fn effect(&self, _context: &Context<'_>) -> Effect {
        let word = |there| if there { "there" } else { "absent" };
        effect(self.on(), word(!self.there), word(self.there))
    }

    fn position(&self, _context: &Context<'_>) -> Result<Position, ChangeError> {
        Ok(position(self.is_there()? == self.there))
    }

    fn apply(&self, _context: &Context<'_>) -> Result<(), ChangeError> {
        there(self.on(), self.is_there()?, self.there)?;
        let done = if self.there { self.message.add_route() } else { self.message.remove_route() };
        done.map_err(|error| ChangeError::failed(self.on(), std::io::Error::from(error)))
    }

    fn reversed(&self) -> Result<Self, Irreversible> {
        Ok(Self { there: !self.there, ..self.clone() })
    }
}
