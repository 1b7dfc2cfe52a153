//! Changes, as the policy sees them and as callers may see them.

use std::sync::Arc;

use agentos_api::change::{Change, Risk, Step};
use agentos_api::event::{Actor, EventType};
use agentos_api::query::path::{decode, encode};
use agentos_changes::{Judge, Ruling, Verdict};
use agentos_ledger::NewEvent;
use agentos_policy::{Decision, Request, Spend, Subject, mask};
use agentos_system::change::{Like, Prepared, Touched};
use serde_json::{Map, Value, json};

use crate::app::App;
use crate::caller::Caller;
use crate::chat::Waiting;
use crate::judge::{now, of};
use crate::policy::Loaded;
use crate::principal::Role;
use crate::quota::lift_command;

/// Holds the steps of a change against the policy: one that is refused refuses all, one that is asked about has all wait.
pub(crate) struct Steps {
    app: Arc<App>,
    loaded: Arc<Loaded>,
    role: Role,
    actor: Actor,
}

impl Steps {
    pub(crate) fn new(app: &Arc<App>, caller: &Caller) -> Self {
        let (app, loaded) = (Arc::clone(app), app.policy.now());
        Self { app, loaded, role: caller.role, actor: caller.actor.clone() }
    }

    /// What the policy says of each effect of a step that is only known by them. Together they can be worse than each by itself:
    /// what is destructive as a whole is so in each of its parts.
    fn of_effects(&self, touched: &Touched, whole: Risk) -> Vec<Decision> {
        let decide = |effect: &Like| {
            let path = encode(&effect.path);
            let arguments = Map::from_iter([("path".to_owned(), path.into())]);
            let touched = Touched { paths: vec![effect.path.clone()], ..Touched::default() };
            let risk = if whole == Risk::Destructive { whole } else { effect.risk };
            self.decide(effect.mutation, risk, &arguments, &touched)
        };
        touched.effects.iter().map(decide).collect()
    }

    /// Counts what a change is about to use, and refuses it where there is no room.
    fn spend(&self, spend: Spend) -> Result<(), String> {
        let why = match spend {
            Spend::Kept { bytes, .. } => format!("{bytes} bytes would be kept for this change"),
            _ => "there is no room for this change".to_owned(),
        };
        spend_or_say(&self.app, &self.loaded, (self.role, &self.actor), spend, &why)
    }

    fn decide(&self, mutation: &str, risk: Risk, args: &Map<String, Value>, touched: &Touched) -> Decision {
        let request = Request {
            role: of(self.role),
            actor: self.actor.as_str(),
            subject: Subject::Mutation { name: mutation, risk },
            arguments: args,
            paths: &touched.paths,
            units: &touched.units,
            moment: now(),
        };
        self.loaded.policy.decide(&request, &mut self.loaded.rates(), None)
    }
}

impl Judge for Steps {
    fn judge(&self, steps: &[Step], prepared: &Prepared) -> Result<Ruling, String> {
        let nothing = Map::new();
        let mut strictest: Option<Ruling> = None;
        for (number, planned) in prepared.plan.steps.iter().enumerate() {
            let args = steps.get(number).map_or(&nothing, |step| &step.args);
            let touched = prepared.touched.get(number).cloned().unwrap_or_default();
            let mut decisions = vec![self.decide(&planned.mutation, planned.risk, args, &touched)];
            decisions.extend(self.of_effects(&touched, planned.risk));
            // What a command does decides about it; of the command itself, only a rule that somebody wrote.
            if decisions.len() > 1 && decisions.first().is_some_and(|whole| whole.rule.is_none()) {
                decisions.remove(0);
            }
            for ruling in decisions.into_iter().map(ruling) {
                if strictest.as_ref().is_none_or(|before| ruling.verdict > before.verdict) {
                    strictest = Some(ruling);
                }
            }
        }
        let strictest = strictest.ok_or_else(|| "a change without steps".to_owned())?;
        if strictest.verdict == Verdict::Ask {
            let already = self.app.changes.waiting().unwrap_or(u64::MAX);
            may_wait(&self.app, &self.loaded, (self.role, &self.actor), already)?;
        }
        if strictest.verdict != Verdict::Deny {
            // Without a size of the file system there is no share of it.
            let disk = rustix::fs::statvfs(self.app.ledger.path())
                .map_or(0, |disk| disk.f_blocks.saturating_mul(disk.f_frsize));
            self.spend(Spend::Kept { bytes: prepared.bytes, disk })?;
        }
        Ok(strictest)
    }
}

/// Refuses one more thing that waits for a yes beside `already` others, where those are enough. Blocks.
///
/// # Errors
/// The quota, as a sentence.
pub(crate) fn may_wait(
    app: &App,
    loaded: &Loaded,
    (role, actor): (Role, &Actor),
    already: u64,
) -> Result<(), String> {
    let why = format!("{already} wait for a yes already");
    spend_or_say(app, loaded, (role, actor), Spend::Waiting { already }, &why)
}

/// Counts what a caller is about to use of a quota; the first refusal of a window is recorded, and the person told. Blocks.
///
/// # Errors
/// The quota as a sentence, with `why` and what the person types.
fn spend_or_say(
    app: &App,
    loaded: &Loaded,
    (role, actor): (Role, &Actor),
    spend: Spend,
    why: &str,
) -> Result<(), String> {
    let taken = app.policy.quotas().take(&loaded.policy, of(role), actor.as_str(), spend, now().seconds);
    let Err(reached) = taken else { return Ok(()) };
    if reached.first {
        let event = EventType::new("quota.reached").ok().and_then(|kind| {
            let data = json!({"quota": reached.which.as_str(), "principal": reached.principal, "limit": reached.limit});
            NewEvent::new(kind, actor.clone(), &data).ok()
        });
        // What cannot be recorded is refused all the same: nothing is done.
        if let Some(event) = event {
            let _ = app.ledger.append_blocking(event);
        }
        app.notifier.quota_reached(&reached.to_string(), &lift_command(&reached));
    }
    Err(format!("{reached}: {why}; to lift it for a while the person runs: {}", lift_command(&reached)))
}

fn ruling(decision: Decision) -> Ruling {
    let verdict = match decision.verdict {
        agentos_policy::Verdict::Allow { .. } => Verdict::Allow,
        agentos_policy::Verdict::Ask => Verdict::Ask,
        agentos_policy::Verdict::Deny => Verdict::Deny,
    };
    Ruling {
        verdict,
        rule: decision.rule.map(|rule| rule.to_string()),
        reason: decision.reason,
        id: decision.id.as_str().to_owned(),
        operator_only: decision.operator_only,
    }
}

/// A change as the caller may see it: what the rules for reading keep from the agent is kept from it here too, and secrets
/// are masked. The person sees all of it.
pub(crate) fn shown(mut change: Change, caller: &Caller, app: &App) -> Vec<u8> {
    let loaded = &app.policy.now();
    if caller.role == Role::Operator {
        change.chat_code = app.chat.code(Waiting::Change(&change));
        return serde_json::to_vec(&change).unwrap_or_default();
    }
    for step in &mut change.plan.steps {
        for effect in &mut step.effects {
            if effect.diff.is_some()
                && let Some(rule) = kept_by(&effect.on, caller, loaded)
            {
                effect.diff = None;
                effect.diff_omitted = Some(format!("kept from the agent by {rule} of the policy"));
            }
        }
    }
    mask::json(serde_json::to_vec(&change).unwrap_or_default()).0
}

/// The rule by which a caller may not read the file that an effect is on.
fn kept_by(on: &str, caller: &Caller, loaded: &Loaded) -> Option<String> {
    let path = decode(on.strip_prefix("file ")?).ok()?.into_owned();
    let mut arguments = Map::new();
    arguments.insert("path".to_owned(), on.strip_prefix("file ")?.into());
    let request = Request {
        role: of(caller.role),
        actor: caller.actor.as_str(),
        subject: Subject::Query("file"),
        arguments: &arguments,
        paths: &[path],
        units: &[],
        moment: now(),
    };
    let decision = loaded.policy.decide(&request, &mut loaded.rates(), None);
    match decision.verdict {
        agentos_policy::Verdict::Allow { .. } => None,
        _ => Some(decision.rule.map_or_else(|| "a rule".to_owned(), |rule| rule.to_string())),
    }
}
