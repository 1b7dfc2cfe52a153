//! A yes for a while: to whatever the same rule asks about, from the same caller.

use std::time::Duration;

use agentos_api::change::Grant;
use agentos_api::event::Actor;
use serde_json::{Value, json};

use crate::book::Book;
use crate::changes::{Asked, Changes, from_now, is_over};
use crate::error::ChangesError;
use crate::judge::Ruling;

/// With what a grant is given, to whom, and to what.
#[derive(Clone, Debug)]
pub(crate) struct Giving<'a> {
    /// The number of the change or question.
    pub(crate) number: u64,
    /// Who asked.
    pub(crate) to: &'a str,
    pub(crate) rule: Option<String>,
    pub(crate) rule_id: Option<String>,
}

/// The types of events about grants.
pub(crate) const GIVEN: &str = "grant.given";
pub(crate) const REVOKED: &str = "grant.revoked";

/// Grants that lift a quota have numbers above this: no change's number comes near it.
const LIFTED_FROM: u64 = 1_000_000_000;
/// Most quotas that are lifted at once.
const MOST_LIFTED: usize = 100;

/// Takes in an event about grants.
pub(crate) fn take(book: &Book, kind: &str, payload: &str) -> rusqlite::Result<()> {
    let Ok(payload) = serde_json::from_str::<Value>(payload) else { return Ok(()) };
    let Some(data) = payload.get("data") else { return Ok(()) };
    let Some(grant) = data.get("grant").and_then(Value::as_u64) else { return Ok(()) };
    match kind {
        GIVEN => book.set_grant(grant, Some(&data.to_string())),
        REVOKED => book.set_grant(grant, None),
        _ => Ok(()),
    }
}

impl Changes {
    /// The grants that hold now.
    ///
    /// # Errors
    /// The database's.
    pub fn grants(&self) -> Result<Vec<Grant>, ChangesError> {
        let kept = self.book()?.grants()?;
        let grants = kept.iter().filter_map(|text| serde_json::from_str::<Grant>(text).ok());
        Ok(grants.filter(|grant| !is_over(&grant.until)).collect())
    }

    /// Takes a grant away, and answers which that was.
    ///
    /// # Errors
    /// [`ChangesError::NotFound`]; the ledger's.
    pub fn revoke(&self, by: &Asked, grant: u64) -> Result<Grant, ChangesError> {
        let found = self.grants()?.into_iter().find(|known| known.grant == grant);
        let found = found.ok_or_else(|| ChangesError::NotFound(format!("grant {grant}")))?;
        self.note_grant(&by.actor, REVOKED, grant, &json!({"grant": grant}))?;
        Ok(found)
    }

    /// Records that a quota of a principal's does not hold for a while. It is in force once the caller lifts it.
    ///
    /// # Errors
    /// [`ChangesError::Busy`] where too many are lifted; the ledger's.
    pub fn lift(&self, by: &Asked, to: &str, quota: &str, seconds: u64) -> Result<Grant, ChangesError> {
        let known = self.grants()?;
        let lifted = |grant: &&Grant| grant.quota.is_some();
        // One that is lifted already is lifted anew.
        let same = known.iter().find(|grant| grant.to == to && grant.quota.as_deref() == Some(quota));
        if same.is_none() && known.iter().filter(lifted).count() >= MOST_LIFTED {
            return Err(ChangesError::Busy(format!("{MOST_LIFTED} quotas are lifted already")));
        }
        let highest = known.iter().filter(lifted).map(|grant| grant.grant).max();
        let grant = Grant {
            grant: same.map_or(highest.unwrap_or(LIFTED_FROM) + 1, |grant| grant.grant),
            by: by.actor.as_str().to_owned(),
            to: to.to_owned(),
            rule: None,
            rule_id: format!("quota {quota}"),
            quota: Some(quota.to_owned()),
            until: from_now(Duration::from_secs(seconds)),
        };
        let data = serde_json::to_value(&grant)
            .map_err(|error| ChangesError::Kept { change: 0, reason: error.to_string() })?;
        self.note_grant(&by.actor, GIVEN, grant.grant, &data)?;
        Ok(grant)
    }

    /// The grant by which a change need not wait.
    pub(crate) fn grant_for(&self, actor: &Actor, ruling: &Ruling) -> Result<Option<u64>, ChangesError> {
        let to = principal(actor.as_str());
        let found = self.grants()?.into_iter().find(|grant| grant.to == to && grant.rule_id == ruling.id);
        Ok(found.map(|grant| grant.grant))
    }

    /// Gives one with a yes to a change or a question.
    pub(crate) fn give(&self, by: &Asked, giving: Giving<'_>, seconds: u64) -> Result<(), ChangesError> {
        let Some(rule_id) = giving.rule_id else { return Ok(()) };
        let grant = Grant {
            grant: giving.number,
            by: by.actor.as_str().to_owned(),
            to: principal(giving.to).to_owned(),
            rule: giving.rule,
            rule_id,
            quota: None,
            until: from_now(Duration::from_secs(seconds)),
        };
        let data = serde_json::to_value(&grant)
            .map_err(|error| ChangesError::Kept { change: giving.number, reason: error.to_string() })?;
        self.note_grant(&by.actor, GIVEN, grant.grant, &data)
    }
}

/// `agent:openclaw` of `agent:openclaw/main`: what stands behind the stroke is what the caller says of itself.
pub(crate) fn principal(actor: &str) -> &str {
    actor.split_once('/').map_or(actor, |(principal, _)| principal)
}
