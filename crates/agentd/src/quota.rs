//! The quotas of callers: a caller that goes round in circles is told to wait, and that is recorded once, not each time.

use std::collections::BTreeMap;

use agentos_api::event::{EventFilter, Order};
use agentos_api::{Bounded, Code, Problem};
use agentos_changes::Changes;
use agentos_ledger::Ledger;
use agentos_policy::{Quota, QuotaReached, Spend};
use agentos_system::starts_programs;
use anyhow::{Result, anyhow};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use crate::app::App;
use crate::caller::Caller;
use crate::judge::{now, of};
use crate::policy::LivePolicy;

/// Most events of a kind that are looked at to count what was used before a start.
const MOST_EVENTS: usize = 20_000;

impl App {
    /// Counts what the caller is about to use. Nothing of the machine is looked at before, so refusing costs next to nothing.
    ///
    /// # Errors
    /// `quota_reached`, and `ledger_unavailable` where the first refusal of a window cannot be recorded.
    pub(crate) async fn spend(&self, caller: &Caller, spend: Spend) -> std::result::Result<(), Problem> {
        let loaded = self.policy.now();
        let (role, actor) = (of(caller.role), caller.actor.as_str());
        let taken = self.policy.quotas().take(&loaded.policy, role, actor, spend, now().seconds);
        let Err(reached) = taken else { return Ok(()) };
        if reached.first {
            let event = json!({
                "quota": reached.which.as_str(),
                "principal": reached.principal,
                "limit": reached.limit,
                "policy": loaded.on_record(),
            });
            self.record(caller, "quota.reached", &event).await?;
            self.notifier.quota_reached(&reached.to_string(), &lift_command(&reached));
        }
        Err(problem(&reached))
    }

    /// Counts programs that were started for a caller.
    pub(crate) fn count_programs(&self, caller: &Caller, started: u64) {
        if started > 0 {
            let (loaded, spend) = (self.policy.now(), Spend::Programs { started });
            let (role, actor) = (of(caller.role), caller.actor.as_str());
            self.policy.quotas().count(&loaded.policy, role, actor, spend, now().seconds);
        }
    }
}

/// How a refusal ends that no time alone undoes.
pub(crate) fn lift_command(reached: &QuotaReached) -> String {
    let of =
        if reached.principal == "agent" { String::new() } else { format!(" --of {}", reached.principal) };
    format!("agentctl grants lift {}{of} --for 10m", reached.which)
}

fn problem(reached: &QuotaReached) -> Problem {
    let next = match reached.retry_after {
        Some(1) => "There is room again in a second.".to_owned(),
        Some(seconds) => format!("There is room again in {seconds} seconds."),
        None => "Waiting alone makes no room.".to_owned(),
    };
    let hint = format!(
        "{next} Do not repeat what was asked already: look at the answers you have, or tell the person what you are after. The person can lift it for a while: {}; or change it in the policy ([quota.\"{}\"]).",
        lift_command(reached),
        reached.principal
    );
    Problem::new(Code::QUOTA_REACHED, reached.to_string())
        .with_hint(hint)
        .with_retry_after(reached.retry_after)
}

/// Takes from the record what was used before this start, and which quotas are lifted.
///
/// # Errors
/// The ledger's and the database's.
pub(crate) fn restore(policy: &LivePolicy, ledger: &Ledger, changes: &Changes) -> Result<()> {
    let loaded = policy.now();
    let mut quotas = policy.quotas();
    let now = (Timestamp::now(), now().seconds);
    if loaded.policy.has_quotas() {
        for used in used(ledger, now.0)?.into_values() {
            let Some((role, age)) = role_of(&used.actor).zip(age(&used.ts, now.0)) else { continue };
            quotas.count(&loaded.policy, role, &used.actor, used.spend, now.1.saturating_sub(age));
        }
    }
    for grant in changes.grants()? {
        let Some(which) = grant.quota.as_deref().and_then(Quota::named) else { continue };
        let left = grant.until.parse::<Timestamp>().map_or(0, |until| until.as_second() - now.0.as_second());
        quotas.lift(&grant.to, which, now.1.saturating_add(u64::try_from(left).unwrap_or(0)));
    }
    Ok(())
}

/// Something that was used, as the ledger has it.
struct Used {
    ts: String,
    actor: String,
    spend: Spend,
}

/// What is on the record of the last hour's questions and the last day's changes, by the event's number. Of each kind the
/// newest [`MOST_EVENTS`] are looked at: more than that is more than a quota of a person's pace lets through.
fn used(ledger: &Ledger, now: Timestamp) -> Result<BTreeMap<(u64, u8), Used>> {
    let mut found = BTreeMap::new();
    for (kind, hours) in [("system.query", 1), ("change.requested", 24), ("change.planned", 24)] {
        let mut filter = EventFilter {
            kind: Some(kind.parse().map_err(|error| anyhow!("{kind}: {error}"))?),
            since: now.checked_sub(SignedDuration::from_hours(hours)).ok(),
            order: Some(Order::Newest),
            limit: Bounded::new(1000).unwrap_or_default(),
            ..EventFilter::default()
        };
        let mut seen = 0;
        while seen < MOST_EVENTS {
            let page = ledger.page(&filter)?;
            seen += page.events.len();
            for event in &page.events {
                for (nth, spend) in (0_u8..).zip(spent(kind, event.payload.get())) {
                    let (ts, actor) = (event.ts.clone(), event.actor.as_str().to_owned());
                    found.insert((event.id, nth), Used { ts, actor, spend });
                }
            }
            match page.next {
                Some(next) => filter.before = Some(next),
                None => break,
            }
        }
    }
    Ok(found)
}

/// What an event says was used. How many programs were started is not on the record: each question that may have started
/// some counts for one.
fn spent(kind: &str, payload: &str) -> Vec<Spend> {
    let Ok(payload) = serde_json::from_str::<Value>(payload) else { return Vec::new() };
    let Some(data) = payload.get("data") else { return Vec::new() };
    let number = |key: &str| data.get(key).and_then(Value::as_u64).unwrap_or(0);
    let programs =
        |name: Option<&str>| name.is_some_and(starts_programs).then_some(Spend::Programs { started: 1 });
    match kind {
        "system.query" => {
            let name = data.get("query").and_then(Value::as_str);
            std::iter::once(Spend::Call).chain(programs(name)).collect()
        }
        "change.requested" => {
            let dry_run = data.get("dry_run").and_then(Value::as_bool).unwrap_or(false);
            let change = if dry_run { Spend::Call } else { Spend::Change { bytes: number("bytes") } };
            let steps = data.get("steps").and_then(Value::as_array).into_iter().flatten();
            let names = steps.map(|step| step.get("mutation").and_then(Value::as_str));
            std::iter::once(change).chain(names.filter_map(programs).take(1)).collect()
        }
        _ => vec![Spend::Kept { bytes: number("bytes"), disk: 0 }],
    }
}

fn role_of(actor: &str) -> Option<agentos_policy::Role> {
    let role = actor.split_once([':', '/']).map_or(actor, |(role, _)| role);
    match role {
        "agent" => Some(agentos_policy::Role::Agent),
        "operator" => Some(agentos_policy::Role::Operator),
        _ => None,
    }
}

/// How many seconds ago that was; 0 where the clock was set back since.
fn age(ts: &str, now: Timestamp) -> Option<u64> {
    let then: Timestamp = ts.parse().ok()?;
    Some(u64::try_from(now.as_second().saturating_sub(then.as_second())).unwrap_or(0))
}
