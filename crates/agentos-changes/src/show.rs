//! A change as it is answered.

use agentos_api::change::{Change, ChangeSummary, Plan, Status, Undo};

use agentos_system::change::chain;

use crate::changes::Changes;
use crate::record::Record;

/// A change in a list.
pub(crate) fn summary(record: &Record) -> ChangeSummary {
    ChangeSummary {
        id: record.id,
        status: record.status,
        actor: record.actor.clone(),
        reason: record.reason.clone(),
        summary: record.summary.clone(),
        risk: record.risk,
        created: record.created.clone(),
        updated: record.updated.clone(),
        expires: record.expires.clone(),
        plan_hash: record.plan_hash.clone(),
        undoes: record.undoes.first().copied(),
        undone_by: record.undone_by,
    }
}

impl Changes {
    /// A change, whole; without the steps of its plan where that made room for later ones.
    pub(crate) fn show(&self, record: &Record) -> Change {
        let plan = self.kept(record).map_or_else(
            |error| Plan {
                summary: record.summary.clone(),
                risk: record.risk,
                undo: Undo::Impossible { because: chain(&error) },
                steps: Vec::new(),
                hash: record.plan_hash.clone(),
            },
            |kept| kept.plan,
        );
        with_plan(record, plan)
    }
}

/// A change with its plan.
pub(crate) fn with_plan(record: &Record, plan: Plan) -> Change {
    let next_step = next_step(record, &plan.undo);
    Change {
        id: record.id,
        status: record.status,
        actor: record.actor.clone(),
        reason: record.reason.clone(),
        created: record.created.clone(),
        updated: record.updated.clone(),
        plan,
        expires: record.expires.clone(),
        operator_only: record.operator_only,
        chat_code: None,
        decided: record.decided.clone(),
        outcome: record.outcome.clone(),
        ran: record.ran.clone(),
        undoes: record.undoes.first().copied(),
        undone_by: record.undone_by,
        next_step,
    }
}

fn next_step(record: &Record, undo: &Undo) -> Option<String> {
    let id = record.id;
    match record.status {
        Status::Waiting => {
            let asked = record.rule.as_ref().map(|rule| format!(" ({rule})")).unwrap_or_default();
            Some(format!(
                "It waits for a person's yes{asked}. The person looks at it with `agentctl approvals show {id}` and says yes \
                 with `agentctl approvals approve {id}` or no with `agentctl approvals deny {id}`. Asking again, or in another \
                 way, changes nothing; change_status {id} says when it is decided."
            ))
        }
        Status::Unconfirmed => Some(format!(
            "It is made, and is taken back by itself at {} unless a person logs in anew and confirms it from there: \
             `agentctl approvals confirm {id}`.",
            record.expires.as_deref().unwrap_or("its time")
        )),
        Status::Applied if !record.ran.is_empty() => {
            Some(format!("What it wrote is shown with `agentctl changes output {id}`."))
        }
        // It says itself that it cannot be taken back.
        Status::Applied if matches!(undo, Undo::Impossible { .. }) => None,
        Status::Applied if record.undone_by.is_none() => {
            Some(format!("It is taken back with `agentctl undo {id}`."))
        }
        _ => None,
    }
}
