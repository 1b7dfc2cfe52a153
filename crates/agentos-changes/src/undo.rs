//! Taking a change back: itself a change, with a plan, a policy and a place on the record.

use std::collections::BTreeSet;

use agentos_api::change::{Risk, Status, UndoRequest};
use agentos_system::change::{Script, Undone};
use serde_json::json;

use crate::changes::{Asked, Changes, Outcome};
use crate::decide::stands;
use crate::error::{ChangesError, Conflict};
use crate::judge::Judge;
use crate::make::{Draft, Request, check_reason};
use crate::record::Record;

impl Changes {
    /// Plans taking a change back and, unless it is a dry run, does it or has it wait, as the policy says.
    ///
    /// # Errors
    /// [`ChangesError::Conflict`] where it is not made, or later changes build on it and are not to be taken back too;
    /// [`ChangesError::Planning`] where something is not as it left it; [`ChangesError::Objects`] where what it replaced is
    /// not kept any more.
    pub fn undo(
        &self,
        change: u64,
        asked: &Asked,
        request: &UndoRequest,
        judge: &dyn Judge,
    ) -> Result<Outcome, ChangesError> {
        check_reason(&request.reason)?;
        let record = self.record_of(change)?;
        if !matches!(record.status, Status::Applied | Status::Unconfirmed) {
            return Err(stands(&record, "made"));
        }
        let dependents = self.dependents(&record)?;
        if !dependents.is_empty() && !request.with_dependents {
            return Err(Conflict::Dependents { change, dependents: dependents.into_iter().collect() }.into());
        }
        let data = json!({
            "undo": change,
            "with": dependents,
            "reason": request.reason,
            "dry_run": request.dry_run,
        });
        self.note(&asked.actor, "change.requested", &data)?;
        let undoes: Vec<u64> = std::iter::once(change).chain(dependents).collect();
        let made = self.to_undo(&undoes)?;
        let viewer = self.viewer(asked.operator, &asked.actor);
        let (prepared, batch) = self.machine.plan_undo(&made.undone(), &viewer, self.objects.batch())?;
        let draft = Draft { prepared, batch, steps: Vec::new(), undoes };
        let request = Request {
            asked,
            reason: &request.reason,
            dry_run: request.dry_run,
            plan_hash: request.plan_hash.as_deref(),
        };
        self.go_on(draft, &request, judge)
    }

    /// Later changes that are made and act on what this one acts on, or on something in a folder that it made, and those that
    /// build on them in turn.
    fn dependents(&self, record: &Record) -> Result<BTreeSet<u64>, ChangesError> {
        let mut found = BTreeSet::new();
        let mut open = vec![record.id];
        let book = self.book()?;
        while let Some(change) = open.pop() {
            let mut after = book.later_on_the_same(change)?;
            let kept = book.record(change)?.and_then(|record| self.kept(&record).ok());
            for folder in kept.map(|kept| kept.script.made_folders()).unwrap_or_default() {
                after.extend(book.later_below(change, &folder)?);
            }
            for later in after {
                let made = matches!(later.status, Status::Applied | Status::Unconfirmed);
                // What takes back, or was taken back, is no change of its own any more.
                if made && later.undoes.is_empty() && found.insert(later.id) {
                    open.push(later.id);
                }
            }
        }
        Ok(found)
    }

    /// What several changes did, the oldest first, as one.
    pub(crate) fn to_undo(&self, changes: &[u64]) -> Result<MadeBefore, ChangesError> {
        let mut made = MadeBefore {
            script: Script::default(),
            summary: String::new(),
            risk: Risk::Low,
            can_lock_out: false,
        };
        for change in changes {
            let record = self.record_of(*change)?;
            made.script.steps.extend(self.kept(&record)?.script.steps);
            if !made.summary.is_empty() {
                made.summary.push_str("; ");
            }
            made.summary.push_str(&record.summary);
            made.risk = made.risk.max(record.risk);
            made.can_lock_out |= record.can_lock_out;
        }
        Ok(made)
    }
}

/// What one or several changes did.
pub(crate) struct MadeBefore {
    script: Script,
    summary: String,
    risk: Risk,
    can_lock_out: bool,
}

impl MadeBefore {
    pub(crate) fn undone(&self) -> Undone<'_> {
        Undone {
            script: &self.script,
            summary: &self.summary,
            risk: self.risk,
            can_lock_out: self.can_lock_out,
        }
    }
}
