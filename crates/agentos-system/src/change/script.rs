//! A change that is planned: what people see of it, and what is carried out.

use agentos_api::change;
use serde::{Deserialize, Serialize};

use super::transition::{Transit, Transition};

/// What is carried out: each step's transitions, in order. Kept as JSON with the change.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Script {
    /// One list a step.
    pub steps: Vec<Vec<Transition>>,
}

impl Script {
    /// All transitions, in order.
    pub fn transitions(&self) -> impl DoubleEndedIterator<Item = &Transition> {
        self.steps.iter().flatten()
    }

    /// The same, without the times that new files get.
    pub(super) fn without_times(&self) -> Self {
        let without = |transition: &Transition| match transition {
            Transition::File(file) => Transition::File(file.without_time()),
            other => other.clone(),
        };
        Self { steps: self.steps.iter().map(|step| step.iter().map(without).collect()).collect() }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.steps.iter().map(Vec::len).sum()
    }

    /// Nothing would change.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The folders that it makes, as [`Script::things`] names them.
    pub fn made_folders(&self) -> Vec<String> {
        let folders = self.transitions().filter_map(|transition| match transition {
            Transition::File(file) => file.makes_folder().map(|_| file.on()),
            _ => None,
        });
        folders.collect()
    }

    /// What it acts on, each once, in order.
    pub fn things(&self) -> Vec<String> {
        let mut things: Vec<String> = Vec::new();
        let mut seen = std::collections::HashSet::new();
        for transition in self.transitions() {
            for thing in transition.things() {
                if seen.insert(thing.clone()) {
                    things.push(thing);
                }
            }
        }
        things
    }
}

/// What one step acts on, for the policy's rules.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Touched {
    /// Paths it writes to: as they were asked for, and as they are once links are followed.
    pub paths: Vec<Vec<u8>>,
    /// systemd units.
    pub units: Vec<String>,
    /// Of a step whose effects are not told by its arguments (a command): each effect, as the mutation that does the same.
    pub effects: Vec<Like>,
}

/// An effect as the mutation that does the same, so that a rule about that mutation is about the effect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Like {
    /// The mutation's name.
    pub mutation: &'static str,
    /// How much harm it can do.
    pub risk: change::Risk,
    /// The path that it acts on.
    pub path: Vec<u8>,
}

/// A change that is planned and not made.
#[derive(Clone, Debug)]
pub struct Prepared {
    /// What people see.
    pub plan: change::Plan,
    /// What is carried out.
    pub script: Script,
    /// What each step acts on.
    pub touched: Vec<Touched>,
    /// Bytes that are kept for it: new contents, and those that they replace.
    pub bytes: u64,
}
