//! What a mutation collects while it plans.

use std::collections::HashSet;

use agentos_api::change::{Risk, Undo};
use agentos_api::query::shell::Output;
use agentos_objects::Batch;

use super::context::Context;
use super::error::ChangeError;
use super::file::FileOverlay;
use super::reverse;
use super::transition::{Position, Transit, Transition};
use super::unit::UnitOverlay;
use crate::machine::{Machine, Viewer};

/// Most transitions of one change: one a file of a folder that is deleted.
pub(crate) const MOST_TRANSITIONS: usize = 50_000;

/// One change while it is planned: what the earlier steps would do is taken into account by the later ones.
pub(crate) struct Planner<'p> {
    /// The machine.
    pub(crate) machine: &'p Machine,
    /// Who asks.
    pub(crate) viewer: &'p Viewer,
    /// Contents that will be needed to make it, and to take it back.
    pub(crate) batch: Batch<'p>,
    /// Transitions of this and earlier steps.
    transitions: Vec<Transition>,
    /// What they act on.
    things: HashSet<String>,
    /// How they leave the paths they act on.
    pub(super) files: FileOverlay,
    /// How they leave the units they act on.
    pub(super) units: UnitOverlay,
    step: Draft,
}

/// What one step says about itself.
#[derive(Debug)]
pub(super) struct Draft {
    pub(super) first: usize,
    pub(super) summary: String,
    pub(super) risk: Risk,
    pub(super) undo: Undo,
    pub(super) can_lock_out: bool,
    pub(super) not_covered: Vec<String>,
    pub(super) asked: Vec<Vec<u8>>,
    pub(super) said: Option<Output>,
}

impl Draft {
    const fn beginning_at(first: usize) -> Self {
        Self {
            first,
            summary: String::new(),
            risk: Risk::Read,
            undo: Undo::Exact,
            can_lock_out: false,
            not_covered: Vec::new(),
            asked: Vec::new(),
            said: None,
        }
    }
}

impl<'p> Planner<'p> {
    pub(super) fn new(machine: &'p Machine, viewer: &'p Viewer, batch: Batch<'p>) -> Self {
        Self {
            machine,
            viewer,
            batch,
            transitions: Vec::new(),
            things: HashSet::new(),
            files: FileOverlay::default(),
            units: UnitOverlay::default(),
            step: Draft::beginning_at(0),
        }
    }

    /// The machine with the store.
    pub(crate) fn context(&self) -> Context<'p> {
        Context { machine: self.machine, objects: self.batch.store(), making: None }
    }

    /// What the step does, in a sentence.
    pub(crate) fn summary(&mut self, text: impl Into<String>) {
        self.step.summary = text.into();
    }

    /// Adds to the sentence of [`Planner::summary`].
    pub(crate) fn more_summary(&mut self, text: &str) {
        self.step.summary.push_str(text);
    }

    /// The step can do that much harm, at least.
    pub(crate) fn risk(&mut self, risk: Risk) {
        self.step.risk = self.step.risk.max(risk);
    }

    /// Taking the step back does not bring this back. The first reason stays.
    pub(crate) fn undo_is_partial(&mut self, because: impl Into<String>) {
        if self.step.undo == Undo::Exact {
            self.step.undo = Undo::Partial { because: because.into() };
        }
    }

    /// The step cannot be taken back.
    pub(crate) fn undo_is_impossible(&mut self, because: impl Into<String>) {
        if !matches!(self.step.undo, Undo::Impossible { .. }) {
            self.step.undo = Undo::Impossible { because: because.into() };
        }
    }

    /// The step may lock the person out: it is taken back by itself unless it is confirmed.
    pub(crate) fn can_lock_out(&mut self) {
        self.step.can_lock_out = true;
        self.risk(Risk::Destructive);
    }

    /// Something that the plan cannot foresee.
    pub(crate) fn not_covered(&mut self, text: impl Into<String>) {
        self.step.not_covered.push(text.into());
    }

    /// What a command said that was run for the plan.
    pub(crate) fn said(&mut self, output: Output) {
        self.step.said = Some(output);
    }

    /// A path as it was asked for, for the policy's rules.
    pub(crate) fn asked_for(&mut self, path: &[u8]) {
        self.step.asked.push(path.to_vec());
    }

    /// Adds a transition. It is left out where it would change nothing.
    ///
    /// # Errors
    /// [`ChangeError::Refused`] when there are too many.
    pub(crate) fn add(&mut self, transition: Transition) -> Result<(), ChangeError> {
        if self.transitions.len() >= MOST_TRANSITIONS {
            return Err(ChangeError::refused(format!(
                "this would change more than {MOST_TRANSITIONS} things at once; do it in parts"
            )));
        }
        if let Some(left) = transition.leaves_behind() {
            self.undo_is_partial(left);
        }
        if let Err(reason) = transition.reversed() {
            self.undo_is_impossible(reason.0);
        }
        self.files.see(&transition);
        self.units.see(&transition);
        self.things.insert(transition.on());
        self.things.extend(transition.things());
        self.transitions.push(transition);
        Ok(())
    }

    /// What is planned so far, in order.
    pub(in crate::change) fn planned(&self) -> &[Transition] {
        &self.transitions
    }

    /// What the step plans so far, in order.
    pub(in crate::change) fn planned_in_step(&self) -> &[Transition] {
        self.transitions.get(self.step.first..).unwrap_or_default()
    }

    /// Whether a planned transition leaves `on` in some state; then the machine's own is of no interest.
    pub(crate) fn is_planned(&self, on: &str) -> bool {
        self.things.contains(on)
    }

    /// A folder is not taken away with what came into it since. That is said now rather than when it is made.
    fn refuse_to_lose(&self, back: &Transition) -> Result<(), ChangeError> {
        let Transition::File(file) = back else { return Ok(()) };
        let Some(folder) = file.removes_folder() else { return Ok(()) };
        match self.files.left_in(folder)? {
            None => Ok(()),
            Some(name) => Err(ChangeError::Moved {
                what: back.on(),
                planned: "a folder with nothing else in it".to_owned(),
                found: format!("a folder with {name} in it"),
            }),
        }
    }

    /// Adds the way back of what an earlier change did, the last first.
    pub(super) fn reverse(&mut self, done: &[&Transition]) -> Result<(), ChangeError> {
        for back in reverse::way_back(done) {
            let back = back.map_err(|(thing, reason)| {
                ChangeError::refused(format!("{thing} cannot be taken back: {}", reason.0))
            })?;
            if back.is_act() {
                self.again(back)?;
                continue;
            }
            if !self.is_planned(&back.on()) {
                match back.position(&self.context())? {
                    // Somebody did it by hand.
                    Position::After => continue,
                    Position::Before | Position::Unknowable => {}
                    Position::Elsewhere(found) => {
                        let planned = back.effect(&self.context()).before;
                        return Err(ChangeError::Moved { what: back.on(), planned, found });
                    }
                }
            }
            self.refuse_to_lose(&back)?;
            self.add(back)?;
        }
        Ok(())
    }

    /// Adds an act that is done again, where there is something to do it to and a reason for it.
    fn again(&mut self, act: Transition) -> Result<(), ChangeError> {
        if self.transitions.is_empty() {
            return Ok(());
        }
        if self.is_planned(&act.on()) {
            return self.add(act);
        }
        let act = act.renewed(&self.context())?;
        match act.position(&self.context())? {
            Position::Elsewhere(_) => Ok(()),
            _ => self.add(act),
        }
    }

    /// Ends a step, begins the next, and answers what the first said of itself with its transitions.
    pub(super) fn end_step(&mut self) -> (Draft, Vec<Transition>) {
        let next = Draft::beginning_at(self.transitions.len());
        let ended = std::mem::replace(&mut self.step, next);
        let transitions = self.transitions.get(ended.first..).unwrap_or_default().to_vec();
        (ended, transitions)
    }

    pub(super) fn into_batch(self) -> Batch<'p> {
        self.batch
    }
}
