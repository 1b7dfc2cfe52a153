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
    /// Programs that are started for questions and changes, in an hour.
    ProcessesPerHour,
    /// Bytes that agentd keeps for changes, new contents and replaced ones, in a day: hundredths of a percent of the file
    /// system that they are kept on.
    DiskShare,
}

impl Quota {
    /// All of them.
    pub const EACH: [Self; 6] = [
        Self::CallsPerMinute,
        Self::ChangesPerHour,
        Self::BytesPerDay,
        Self::WaitingAtOnce,
        Self::ProcessesPerHour,
        Self::DiskShare,
    ];

    /// That of this key; nothing where there is none.
    pub fn named(name: &str) -> Option<Self> {
        Self::EACH.into_iter().find(|which| which.as_str() == name)
    }

    /// The key in the file.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::CallsPerMinute => "calls_per_minute",
            Self::ChangesPerHour => "changes_per_hour",
            Self::BytesPerDay => "bytes_per_day",
            Self::WaitingAtOnce => "waiting_at_once",
            Self::ProcessesPerHour => "processes_per_hour",
            Self::DiskShare => "disk_share",
        }
    }

    /// A limit as the file has it.
    pub fn written(self, limit: u64) -> String {
        match (self, limit % 100) {
            (Self::DiskShare, 0) => format!("{} %", limit / 100),
            (Self::DiskShare, part) => format!("{}.{part:02} %", limit / 100),
            _ => limit.to_string(),
        }
    }

    /// The length of its window, in seconds; nothing where none is counted over time.
    const fn seconds(self) -> Option<u64> {
        match self {
            Self::CallsPerMinute => Some(60),
            Self::ChangesPerHour | Self::ProcessesPerHour => Some(3600),
            Self::BytesPerDay | Self::DiskShare => Some(86_400),
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

    pub(crate) fn limit(&self, principal: &str, which: Quota) -> Option<u64> {
        if self.principal == principal { self.limits.get(&which).copied() } else { None }
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
    /// A question or a change that starts programs. Whether there is room for one is asked before; how many it were is
    /// counted afterwards.
    Programs {
        /// How many were started.
        started: u64,
    },
    /// What is kept for a change, on a file system of that size.
    Kept {
        /// Bytes.
        bytes: u64,
        /// Bytes of the file system.
        disk: u64,
    },
}

impl Spend {
    /// What there has to be room for.
    fn asks_for(self) -> Vec<(Quota, u64)> {
        match self {
            Self::Call => vec![(Quota::CallsPerMinute, 1)],
            Self::Change { bytes } => vec![(Quota::ChangesPerHour, 1), (Quota::BytesPerDay, bytes)],
            Self::Waiting { already } => vec![(Quota::WaitingAtOnce, already.saturating_add(1))],
            Self::Programs { .. } => vec![(Quota::ProcessesPerHour, 1)],
            Self::Kept { bytes, .. } => vec![(Quota::DiskShare, bytes)],
        }
    }

    /// What is used up.
    fn uses(self) -> Vec<(Quota, u64)> {
        match self {
            Self::Programs { started } => vec![(Quota::ProcessesPerHour, started)],
            other => other.asks_for(),
        }
    }

    /// A limit of the file's, in what is counted.
    fn limit(self, which: Quota, limit: u64) -> u64 {
        match (which, self) {
            (Quota::DiskShare, Self::Kept { disk, .. }) => {
                u64::try_from(u128::from(disk) * u128::from(limit) / 10_000).unwrap_or(u64::MAX)
            }
            _ => limit,
        }
    }
}

/// There is no room for it now.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the quota {which} = {} of {principal} is reached", .which.written(*.limit))]
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
    /// Until when a person lifted which.
    lifted: BTreeMap<(String, Quota), u64>,
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
        for quota in of_caller(policy, role, actor) {
            for (which, amount) in spend.asks_for() {
                let Some(&limit) = quota.limits.get(&which) else { continue };
                if self.is_lifted(&quota.principal, which, now) {
                    continue;
                }
                let used = self.used.entry((quota.principal.clone(), which)).or_default();
                if let Err(retry_after) = used.room(which, amount, spend.limit(which, limit), now) {
                    let first = used.refuse(which.seconds().unwrap_or(3600), now);
                    let principal = quota.principal.clone();
                    return Err(QuotaReached { which, principal, limit, retry_after, first });
                }
            }
        }
        self.count(policy, role, actor, spend, now);
        Ok(())
    }

    /// Counts what was used at `now`, whether or not there was room for it: what is on the record from before, and programs
    /// that were started. Of several, the earliest comes first.
    pub fn count(&mut self, policy: &Policy, role: Role, actor: &str, spend: Spend, now: u64) {
        for quota in of_caller(policy, role, actor) {
            for (which, amount) in spend.uses() {
                if let (Some(seconds), true) = (which.seconds(), quota.limits.contains_key(&which)) {
                    let used = self.used.entry((quota.principal.clone(), which)).or_default();
                    used.window.add(amount, seconds, now);
                }
            }
        }
        self.forget(policy);
    }

    /// A person lifts a quota of a principal, as the file names it, until that moment. What is used meanwhile counts.
    pub fn lift(&mut self, principal: &str, which: Quota, until: u64) {
        if self.lifted.len() >= crate::MAX_QUOTAS * Quota::EACH.len() {
            self.lifted.clear();
        }
        self.lifted.insert((principal.to_owned(), which), until);
    }

    /// It holds again.
    pub fn put_back(&mut self, principal: &str, which: Quota) {
        self.lifted.remove(&(principal.to_owned(), which));
    }

    fn is_lifted(&mut self, principal: &str, which: Quota, now: u64) -> bool {
        if self.lifted.is_empty() {
            return false;
        }
        let key = (principal.to_owned(), which);
        let lifted = self.lifted.get(&key).is_some_and(|until| now < *until);
        if !lifted {
            self.lifted.remove(&key);
        }
        lifted
    }

    /// Principals that earlier policies named do not pile up.
    fn forget(&mut self, policy: &Policy) {
        if self.used.len() > crate::MAX_QUOTAS * Quota::EACH.len() {
            self.used
                .retain(|(principal, _), _| policy.quotas.iter().any(|quota| quota.principal == *principal));
        }
    }
}

/// The quotas that count what a caller uses.
fn of_caller<'p>(policy: &'p Policy, role: Role, actor: &str) -> impl Iterator<Item = &'p QuotaLimits> {
    let caller = actor.split_once('/').map_or(actor, |(user, _)| user).to_owned();
    policy.quotas.iter().filter(move |quota| quota.counts(role, &caller))
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
