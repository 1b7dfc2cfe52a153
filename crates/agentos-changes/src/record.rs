//! What is known of a change: what its events say, one after the other.
//!
//! The same function takes in an event when it is recorded and when the ledger is read again, so both come out the same.

use std::time::Duration;

use agentos_api::change::{Decided, Ran, Risk, Status};
use agentos_objects::Hash;
use agentos_system::Moment;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// What happens to a change, as it stands in the ledger.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "step", rename_all = "snake_case")]
pub(crate) enum Happening {
    /// `change.planned`.
    Planned {
        reason: String,
        summary: String,
        mutations: Vec<String>,
        risk: Risk,
        plan_hash: String,
        /// The plan in the store.
        plan: Hash,
        things: u64,
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        can_lock_out: bool,
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        undoes: Vec<u64>,
        /// Bytes that are kept for it: for quotas.
        #[serde(default)]
        bytes: u64,
        /// Who asked is an operator: planning anew is done with their eyes.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        operator: bool,
    },
    /// `change.waiting`.
    Waiting {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        rule: Option<String>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        because: Option<String>,
        rule_id: String,
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        operator_only: bool,
        expires: String,
    },
    /// `change.replanned`.
    Replanned { because: String, summary: String, risk: Risk, plan_hash: String, plan: Hash },
    /// `change.approved`: by a person, by the policy, or by a yes for a while.
    Approved {
        plan_hash: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        rule: Option<String>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        grant: Option<u64>,
    },
    /// `change.denied`.
    Denied {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
    },
    /// `change.expired`.
    Expired,
    /// `change.applying`.
    Applying { plan_hash: String },
    /// `change.applied`.
    Applied {
        /// It was found to be made after agentd had been cut off.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        found: bool,
        /// How its commands ended.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        ran: Vec<Ran>,
    },
    /// `change.unconfirmed`.
    Unconfirmed {
        until: String,
        /// Why nothing outside agentd sees to it as well.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        alone: Option<String>,
        /// When it was made: whoever confirms it logged in after that.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        made: Option<Moment>,
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        ran: Vec<Ran>,
    },
    /// `change.confirmed`.
    Confirmed {
        /// How it is known that it came from a new login, where that was asked for.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        login: Option<String>,
    },
    /// `change.failed`.
    Failed { reason: String },
    /// `change.unknown`.
    Unknown {
        reason: String,
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        ran: Vec<Ran>,
    },
    /// `change.undone`.
    Undone {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        by: Option<u64>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
    },
    /// `change.redone`: what had taken it back was itself taken back.
    Redone { by: u64 },
}

impl Happening {
    /// The type of its event.
    pub(crate) const fn kind(&self) -> &'static str {
        match self {
            Self::Planned { .. } => "change.planned",
            Self::Waiting { .. } => "change.waiting",
            Self::Replanned { .. } => "change.replanned",
            Self::Approved { .. } => "change.approved",
            Self::Denied { .. } => "change.denied",
            Self::Expired => "change.expired",
            Self::Applying { .. } => "change.applying",
            Self::Applied { .. } => "change.applied",
            Self::Unconfirmed { .. } => "change.unconfirmed",
            Self::Confirmed { .. } => "change.confirmed",
            Self::Failed { .. } => "change.failed",
            Self::Unknown { .. } => "change.unknown",
            Self::Undone { .. } => "change.undone",
            Self::Redone { .. } => "change.redone",
        }
    }
}

/// The data of an event about a change.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Data {
    pub(crate) change: u64,
    #[serde(flatten)]
    pub(crate) happening: Happening,
}

/// An event that a change is known by.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Seen<'e> {
    pub(crate) ts: &'e str,
    pub(crate) actor: &'e str,
}

/// What is known of a change.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Record {
    pub(crate) id: u64,
    pub(crate) status: Status,
    pub(crate) actor: String,
    pub(crate) operator: bool,
    pub(crate) reason: String,
    pub(crate) summary: String,
    pub(crate) risk: Risk,
    pub(crate) created: String,
    pub(crate) updated: String,
    pub(crate) plan_hash: String,
    pub(crate) plan: Hash,
    pub(crate) can_lock_out: bool,
    pub(crate) expires: Option<String>,
    pub(crate) rule: Option<String>,
    pub(crate) rule_id: Option<String>,
    pub(crate) operator_only: bool,
    pub(crate) decided: Option<Decided>,
    pub(crate) outcome: Option<String>,
    pub(crate) undoes: Vec<u64>,
    pub(crate) undone_by: Option<u64>,
    /// When it was made, where it has to be confirmed.
    pub(crate) made: Option<Moment>,
    /// How its commands ended.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) ran: Vec<Ran>,
}

impl Record {
    /// What is known after `happening`, which `before` was known of. Nothing for an event that has no beginning.
    pub(crate) fn after(
        before: Option<Self>,
        id: u64,
        happening: &Happening,
        seen: Seen<'_>,
    ) -> Option<Self> {
        if let Happening::Planned {
            reason,
            summary,
            risk,
            plan_hash,
            plan,
            can_lock_out,
            undoes,
            operator,
            ..
        } = happening
        {
            return Some(Self {
                id,
                status: Status::Planned,
                actor: seen.actor.to_owned(),
                operator: *operator,
                reason: reason.clone(),
                summary: summary.clone(),
                risk: *risk,
                created: seen.ts.to_owned(),
                updated: seen.ts.to_owned(),
                plan_hash: plan_hash.clone(),
                plan: *plan,
                can_lock_out: *can_lock_out,
                expires: None,
                rule: None,
                rule_id: None,
                operator_only: false,
                decided: None,
                outcome: None,
                undoes: undoes.clone(),
                undone_by: None,
                made: None,
                ran: Vec::new(),
            });
        }
        let mut record = before?;
        seen.ts.clone_into(&mut record.updated);
        record.take(happening, seen);
        Some(record)
    }

    fn take(&mut self, happening: &Happening, seen: Seen<'_>) {
        let decided = |rule: Option<&String>, reason: Option<&String>| {
            Some(Decided {
                by: seen.actor.to_owned(),
                at: seen.ts.to_owned(),
                rule: rule.cloned(),
                reason: reason.cloned(),
            })
        };
        match happening {
            Happening::Planned { .. } => {}
            Happening::Waiting { rule, because, rule_id, operator_only, expires } => {
                self.status = Status::Waiting;
                self.rule.clone_from(rule);
                self.rule_id = Some(rule_id.clone());
                self.operator_only = *operator_only;
                self.expires = Some(expires.clone());
                self.outcome.clone_from(because);
            }
            Happening::Replanned { because, summary, risk, plan_hash, plan } => {
                self.summary.clone_from(summary);
                self.risk = *risk;
                self.plan_hash.clone_from(plan_hash);
                self.plan = *plan;
                self.outcome = Some(format!("planned anew: {because}"));
            }
            Happening::Approved { rule, reason, .. } => {
                self.decided = decided(rule.as_ref(), reason.as_ref());
                self.expires = None;
            }
            Happening::Denied { reason } => {
                self.end(Status::Denied, reason.clone());
                self.decided = decided(None, reason.as_ref());
            }
            Happening::Expired => self.end(Status::Expired, None),
            Happening::Applying { .. } => {
                self.status = Status::Applying;
                self.outcome = None;
            }
            Happening::Applied { found, ran } => {
                let found =
                    found.then(|| "agentd was cut off, and found it made when it started again".to_owned());
                let said: Vec<String> = found.into_iter().chain(ran.iter().map(sentence)).collect();
                self.ran.clone_from(ran);
                self.end(Status::Applied, (!said.is_empty()).then(|| said.join("; ")));
            }
            Happening::Unconfirmed { until, alone, made, ran } => {
                self.ran.clone_from(ran);
                self.status = Status::Unconfirmed;
                self.made.clone_from(made);
                self.expires = Some(until.clone());
                self.outcome =
                    alone.as_ref().map(|reason| format!("agentd alone would take it back: {reason}"));
            }
            Happening::Confirmed { login } => {
                let from = login.as_ref().map(|login| format!(", from {login}")).unwrap_or_default();
                self.end(Status::Applied, Some(format!("confirmed by {}{from}", seen.actor)));
            }
            Happening::Failed { reason } => self.end(Status::Failed, Some(reason.clone())),
            Happening::Unknown { reason, ran } => {
                self.ran.clone_from(ran);
                self.end(Status::Unknown, Some(reason.clone()));
            }
            Happening::Undone { by, reason } => {
                self.end(Status::Undone, reason.clone());
                self.undone_by = *by;
            }
            Happening::Redone { .. } => {
                self.end(Status::Applied, None);
                self.undone_by = None;
            }
        }
    }

    fn end(&mut self, status: Status, outcome: Option<String>) {
        self.status = status;
        self.expires = None;
        self.outcome = outcome;
    }
}

/// How a command ended, in words.
fn sentence(ran: &Ran) -> String {
    let took = Duration::from_millis(ran.milliseconds).as_secs_f64();
    let how = match ran.exit_status {
        Some(status) => format!("it exited with {status} after {took:.1} s"),
        None if ran.timed_out => format!("its time was over, and it was ended after {took:.1} s"),
        None => format!("it ended after {took:.1} s"),
    };
    let left = if ran.left { "; something that it started could not be ended" } else { "" };
    format!("{how}, having written {} bytes and {} bytes of errors{left}", ran.stdout.bytes, ran.stderr.bytes)
}

/// The data of an event about a change, from its payload; nothing for another kind of event.
pub(crate) fn parse(payload: &str) -> Option<Data> {
    let payload: Value = serde_json::from_str(payload).ok()?;
    serde_json::from_value(payload.get("data")?.clone()).ok()
}
