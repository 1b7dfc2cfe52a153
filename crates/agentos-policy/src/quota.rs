//! How much a principal has asked for lately, and whether there is room for more.
//!
//! A window slides in sixty steps: no interval of its length holds more than the limit, and what was counted is free again
//! at most a sixtieth later than to the second. So each quota takes the same memory however large its limit is, and a
//! refused request takes the time of a look at sixty numbers.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;

use crate::request::Role;
use crate::rule::Policy;

/// What is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Quota {
    /// Questions in a minute.
    CallsPerMinute,
    /// Changes in an hour: made, waiting or refused, but not those that are only planned.
    ChangesPerHour,
    /// Bytes of content that changes bring, in a day.
    BytesPerDay,
    /// Changes that wait for a yes.
    WaitingAtOnce,
}

impl Quota {
    /// All of them.
    pub(crate) const EACH: [Self; 4] =
        [Self::CallsPerMinute, Self::ChangesPerHour, Self::BytesPerDay, Self::WaitingAtOnce];

    /// The key in the file.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::CallsPerMinute => "calls_per_minute",
            Self::ChangesPerHour => "changes_per_hour",
            Self::BytesPerDay => "bytes_per_day",
            Self::WaitingAtOnce => "waiting_at_once",
        }
    }

    /// The length of its window, in seconds; nothing where none is counted over time.
    const fn seconds(self) -> Option<u64> {
        match self {
            Self::CallsPerMinute => Some(60),
            Self::ChangesPerHour => Some(3600),
            Self::BytesPerDay => Some(86_400),
            Self::WaitingAtOnce => None,
        }
    }
}

impl fmt::Display for Quota {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

/// The limits of one principal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct QuotaLimits {
    principal: String,
    limits: BTreeMap<Quota, u64>,
}

impl QuotaLimits {
    pub(crate) const fn new(principal: String) -> Self {
        Self { principal, limits: BTreeMap::new() }
    }

    pub(crate) fn set(&mut self, which: Quota, limit: u64) {
        self.limits.insert(which, limit);
    }

    /// `agent` and `agent:openclaw` both count what `agent:openclaw/main` asks for.
    fn counts(&self, role: Role, user: &str) -> bool {
        self.principal == role.as_str() || self.principal == user
    }
}

/// What somebody is about to use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Spend {
    /// One question.
    Call,
    /// One change, which brings so many bytes of content.
    Change {
        /// The bytes.
        bytes: u64,
    },
    /// One more change that waits for a yes, beside so many of the same principal's that wait already.
    Waiting {
        /// How many wait.
        already: u64,
    },
}

/// There is no room for it now.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the quota {which} = {limit} of {principal} is reached")]
pub struct QuotaReached {
    /// Which quota.
    pub which: Quota,
    /// Whose, as the file names them.
    pub principal: String,
    /// How much there is of it.
    pub limit: u64,
    /// In how many seconds there is room again if nothing else is asked for; nothing where no time brings it: a change
    /// that waits has to be decided first, or it brings more bytes than the limit.
    pub retry_after: Option<u64>,
    /// It is the first refusal for at least the length of the window (for [`Quota::WaitingAtOnce`], of an hour): the one
    /// to record.
    pub first: bool,
}

/// What was used lately, by everybody. It goes on to count under another policy.
#[derive(Clone, Debug, Default)]
pub struct Quotas {
    used: BTreeMap<(String, Quota), Used>,
}

#[derive(Clone, Debug, Default)]
struct Used {
    window: Window,
    refused: Option<u64>,
}

impl Quotas {
    /// Counts what the caller `actor` (as the ledger names it) is about to use at `now` (seconds of a clock that does not go
    /// back), where there is room for it under `policy`.
    ///
    /// # Errors
    /// [`QuotaReached`]; then nothing is counted.
    pub fn take(
        &mut self,
        policy: &Policy,
        role: Role,
        actor: &str,
        spend: Spend,
        now: u64,
    ) -> Result<(), QuotaReached> {
        let caller = actor.split_once('/').map_or(actor, |(user, _)| user);
        let wanted: &[(Quota, u64)] = match spend {
            Spend::Call => &[(Quota::CallsPerMinute, 1)],
            Spend::Change { bytes } => &[(Quota::ChangesPerHour, 1), (Quota::BytesPerDay, bytes)],
            Spend::Waiting { already } => &[(Quota::WaitingAtOnce, already.saturating_add(1))],
        };
        let of_caller = || policy.quotas.iter().filter(|quota| quota.counts(role, caller));
        for quota in of_caller() {
            for &(which, amount) in wanted {
                let Some(&limit) = quota.limits.get(&which) else { continue };
                let used = self.used.entry((quota.principal.clone(), which)).or_default();
                if let Err(retry_after) = used.room(which, amount, limit, now) {
                    let first = used.refuse(which.seconds().unwrap_or(3600), now);
                    let principal = quota.principal.clone();
                    return Err(QuotaReached { which, principal, limit, retry_after, first });
                }
            }
        }
        for quota in of_caller() {
            for &(which, amount) in wanted {
                if let (Some(seconds), true) = (which.seconds(), quota.limits.contains_key(&which)) {
                    let used = self.used.entry((quota.principal.clone(), which)).or_default();
                    used.window.add(amount, seconds, now);
                }
            }
        }
        self.forget(policy);
        Ok(())
    }

    /// Principals that earlier policies named do not pile up.
    fn forget(&mut self, policy: &Policy) {
        if self.used.len() > crate::MAX_QUOTAS * Quota::EACH.len() {
            self.used
                .retain(|(principal, _), _| policy.quotas.iter().any(|quota| quota.principal == *principal));
        }
    }
}

impl Used {
    /// There is room for `amount`, or when there will be.
    fn room(&self, which: Quota, amount: u64, limit: u64, now: u64) -> Result<(), Option<u64>> {
        match which.seconds() {
            None if amount <= limit => Ok(()),
            None => Err(None),
            Some(seconds) => self.window.room(amount, limit, seconds, now),
        }
    }

    fn refuse(&mut self, seconds: u64, now: u64) -> bool {
        let first = self.refused.is_none_or(|at| now.saturating_sub(at) >= seconds);
        if first {
            self.refused = Some(now);
        }
        first
    }
}

/// How many steps a window has.
const STEPS: u64 = 60;

/// Amounts by the step in which they were used, the oldest first.
#[derive(Clone, Debug, Default)]
struct Window {
    steps: VecDeque<(u64, u64)>,
}

impl Window {
    /// Something used at the end of a step counts for the whole window, so each step counts for one more.
    const fn is_over(step: u64, at: u64) -> bool {
        step + STEPS < at
    }

    fn add(&mut self, amount: u64, seconds: u64, now: u64) {
        // A clock that went back all the same counts as one that stood.
        let step = (now / (seconds / STEPS)).max(self.steps.back().map_or(0, |&(step, _)| step));
        while self.steps.front().is_some_and(|&(first, _)| Self::is_over(first, step)) {
            self.steps.pop_front();
        }
        match self.steps.back_mut() {
            Some((last, used)) if *last == step => *used = used.saturating_add(amount),
            _ => self.steps.push_back((step, amount)),
        }
    }

    fn room(&self, amount: u64, limit: u64, seconds: u64, now: u64) -> Result<(), Option<u64>> {
        let each = seconds / STEPS;
        let at = now / each;
        let live = || self.steps.iter().filter(|&&(step, _)| !Self::is_over(step, at));
        let used = live().fold(0_u64, |sum, &(_, used)| sum.saturating_add(used));
        let mut over = used.saturating_add(amount).saturating_sub(limit);
        if over == 0 {
            return Ok(());
        }
        if amount > limit {
            return Err(None);
        }
        for &(step, used) in live() {
            over = over.saturating_sub(used);
            if over == 0 {
                return Err(Some(((step + STEPS + 1) * each).saturating_sub(now).max(1)));
            }
        }
        Err(None)
    }
}
