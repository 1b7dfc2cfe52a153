//! What making a change needs: the machine, and where contents are kept.

use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use agentos_api::change::Ran;
use agentos_objects::Objects;

use crate::machine::Machine;

/// The machine that is changed, with the store of what changes replace.
#[derive(Clone, Copy, Debug)]
pub struct Context<'c> {
    /// The machine.
    pub machine: &'c Machine,
    /// The store.
    pub objects: &'c Objects,
    /// The change that is made, or looked at after a cut; nothing while one is planned.
    pub making: Option<&'c Making>,
}

/// A change while it is made.
#[derive(Debug)]
pub struct Making {
    /// Its number.
    pub change: u64,
    /// The folder in which what commands write is kept.
    pub outputs: PathBuf,
    ran: Mutex<Vec<Ran>>,
}

impl Making {
    /// A change of which nothing is made yet.
    pub fn new(change: u64, outputs: PathBuf) -> Self {
        Self { change, outputs, ran: Mutex::default() }
    }

    /// A command of it has ended.
    pub(crate) fn note(&self, ran: Ran) {
        self.ran.lock().unwrap_or_else(PoisonError::into_inner).push(ran);
    }

    /// How its commands ended, in their order.
    pub fn ran(self) -> Vec<Ran> {
        self.ran.into_inner().unwrap_or_else(PoisonError::into_inner)
    }
}
