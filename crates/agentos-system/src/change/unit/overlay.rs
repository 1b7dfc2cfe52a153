//! How the earlier steps of a change leave the units that they act on.

use std::collections::HashMap;

use super::run::Run;
use crate::change::transition::Transition;

/// Units after what is planned so far.
#[derive(Debug, Default)]
pub(crate) struct UnitOverlay {
    runs: HashMap<String, Run>,
    reloads: bool,
}

impl UnitOverlay {
    /// Takes a planned transition in.
    pub(crate) fn see(&mut self, transition: &Transition) {
        match transition {
            Transition::UnitRun(run) => {
                self.runs.insert(run.unit.clone(), run.to);
            }
            Transition::ManagerReload(_) => self.reloads = true,
            _ => {}
        }
    }

    /// Whether the unit will run then; none where no earlier step says.
    pub(crate) fn run(&self, unit: &str) -> Option<Run> {
        self.runs.get(unit).copied()
    }

    /// An earlier step has systemd read its units anew.
    pub(crate) fn reloads(&self) -> bool {
        self.reloads
    }
}
