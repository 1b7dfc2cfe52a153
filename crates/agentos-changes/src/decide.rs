//! A person's yes or no.

use std::time::Instant;

use agentos_api::change::{Change, DecideRequest, Decision, Status};
use agentos_api::event::Actor;
use agentos_system::Moment;
use agentos_system::change::{ChangeError, Prepared, chain};

use crate::changes::{Asked, Changes, is_over};
use crate::error::{ChangesError, Conflict};
use crate::grants::Giving;
use crate::kept::Kept;
use crate::make::{check_reason, cut, written};
use crate::record::{Happening, Record};

impl Changes {
    /// Says yes or no to a change that waits. A yes makes it, when the plan is the one that was looked at and the machine is
    /// as it was; otherwise it is planned anew and waits again.
    ///
    /// # Errors
    /// [`ChangesError::Conflict`] where it does not wait any more, its plan is another, or the machine moved;
    /// [`ChangesError::Failed`] where making it failed.
    pub fn decide(&self, change: u64, by: &Asked, request: &DecideRequest) -> Result<Change, ChangesError> {
        if let Some(reason) = &request.reason {
            check_reason(reason)?;
        }
        let turn = self.my_turn()?;
        let record = self.record_of(change)?;
        if record.status != Status::Waiting {
            return Err(stands(&record, "waiting for a yes"));
        }
        if record.expires.as_deref().is_some_and(is_over) {
            self.end(change, by, Happening::Expired)?;
            return Err(stands(&self.record_of(change)?, "waiting for a yes"));
        }
        match request.decision {
            Decision::Deny => {
                self.end(change, by, Happening::Denied { reason: request.reason.clone() })?;
            }
            Decision::Approve => {
                let kept = self.kept(&record)?;
                if request.plan_hash.as_deref() != Some(record.plan_hash.as_str()) {
                    return Err(Conflict::PlanChanged { now: record.plan_hash }.into());
                }
                if let Err(moved) = kept.script.check(&self.context()) {
                    return Err(self.plan_anew(&record, kept, by, &moved));
                }
                let plan_hash = record.plan_hash.clone();
                let approved = Happening::Approved {
                    plan_hash: plan_hash.clone(),
                    rule: record.rule.clone(),
                    reason: request.reason.clone(),
                    grant: None,
                };
                let happenings = vec![(change, approved), (change, Happening::Applying { plan_hash })];
                let ahead = {
                    let book = self.book()?;
                    let underway = self.begin_happening(&by.actor, happenings)?;
                    let ahead = self.write_ahead(&kept);
                    underway.finish(self, &book, |_| Ok(()))?;
                    ahead
                };
                if let Some(seconds) = request.for_seconds {
                    let giving = Giving {
                        number: change,
                        to: &record.actor,
                        rule: record.rule.clone(),
                        rule_id: record.rule_id.clone(),
                    };
                    self.give(by, giving, seconds.get())?;
                }
                self.carry_out(change, &kept, ahead, by)?;
            }
        }
        drop(turn);
        self.get(change)
    }

    /// The machine moved under a plan: it is made again, and waits again.
    fn plan_anew(&self, record: &Record, kept: Kept, by: &Asked, moved: &ChangeError) -> ChangesError {
        let because = chain(moved);
        match self.try_to_plan_anew(record, kept, by, &because) {
            Ok(now) => Conflict::PlanMoved { change: record.id, what: because, now }.into(),
            Err(ChangesError::Planning(error)) => {
                let reason = format!("{because}; and it cannot be planned any more: {}", chain(&error));
                match self.end(record.id, by, Happening::Failed { reason: cut(&reason, 4000) }) {
                    Ok(()) => ChangesError::Failed { change: record.id, reason },
                    Err(error) => error,
                }
            }
            Err(error) => error,
        }
    }

    fn try_to_plan_anew(
        &self,
        record: &Record,
        kept: Kept,
        by: &Asked,
        because: &str,
    ) -> Result<String, ChangesError> {
        let actor = Actor::new(&record.actor)
            .map_err(|error| ChangesError::Kept { change: record.id, reason: error.to_string() })?;
        let viewer = self.viewer(record.operator, &actor);
        let (prepared, mut batch) = if record.undoes.is_empty() {
            self.machine.plan(&kept.steps, &viewer, self.objects.batch())?
        } else {
            let made = self.to_undo(&record.undoes)?;
            self.machine.plan_undo(&made.undone(), &viewer, self.objects.batch())?
        };
        let Prepared { plan, script, .. } = prepared;
        let kept = Kept { plan, script, steps: kept.steps };
        let object = batch.put(&written(&kept)?)?;
        batch.commit(record.id)?;
        let happening = Happening::Replanned {
            because: cut(because, 2000),
            summary: cut(&kept.plan.summary, 1000),
            risk: kept.plan.risk,
            plan_hash: kept.plan.hash.clone(),
            plan: object,
        };
        let things = kept.script.things();
        let book = self.book()?;
        self.begin_happening(&by.actor, vec![(record.id, happening)])?
            .finish(self, &book, |book| book.note_things(record.id, &things))?;
        Ok(kept.plan.hash)
    }

    /// Confirms a change that is taken back by itself otherwise. `connected` is when the connection was made over which the
    /// confirmation comes: it must be after the change, as that may have cut all earlier ones off from their makers. `login`
    /// says how it is known that whoever confirms logged in after that moment, or why it is not; where nothing is asked
    /// about the login, nothing.
    ///
    /// # Errors
    /// [`ChangesError::Conflict`] where it is not unconfirmed, or the connection or the login is not fresh.
    pub fn confirm(
        &self,
        change: u64,
        by: &Asked,
        connected: Instant,
        login: &dyn Fn(&Moment) -> Result<Option<String>, String>,
    ) -> Result<Change, ChangesError> {
        let turn = self.my_turn()?;
        let record = self.record_of(change)?;
        if record.status != Status::Unconfirmed {
            return Err(stands(&record, "waiting to be confirmed"));
        }
        if self.unconfirmed_since(change).is_some_and(|since| connected <= since) {
            return Err(Conflict::NotFresh { change, login: None }.into());
        }
        let login = match record.made.as_ref().map(login) {
            Some(Err(why)) => return Err(Conflict::NotFresh { change, login: Some(why) }.into()),
            Some(Ok(login)) => login,
            // Made by a version that did not note when.
            None => None,
        };
        self.happen(&by.actor, self.consequences(&record, Happening::Confirmed { login })?)?;
        self.objects.unpin(&[change]);
        self.disarm(change);
        drop(turn);
        self.get(change)
    }
}

/// How a change stands, where it would have to stand otherwise.
pub(crate) fn stands(record: &Record, wanted: &'static str) -> ChangesError {
    let by = match &record.decided {
        Some(decided) => format!(" (by {} at {})", decided.by, decided.at),
        None => format!(" (since {})", record.updated),
    };
    Conflict::Stands { change: record.id, wanted, stands: format!("{}{by}", record.status.as_str()) }.into()
}
