//! A policy and its rules, as they are once they are understood.

use std::collections::BTreeMap;
use std::fmt;

use agentos_api::change::Risk;

use crate::glob::Globs;
use crate::quota::{Quota, QuotaLimits};
use crate::rate::Rate;
use crate::request::Role;

/// What a rule says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Then {
    /// It is answered or made.
    Allow,
    /// A person has to say yes.
    Ask,
    /// It is refused.
    Deny,
}

impl Then {
    /// The word in the file.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Allow => "allow",
            Self::Ask => "ask",
            Self::Deny => "deny",
        }
    }
}

/// Where a rule stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// In the program: no file takes it away.
    BuiltIn,
    /// In the file.
    File,
}

/// A rule as it is named to people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuleName {
    /// Where it stands.
    pub origin: Origin,
    /// Which one it is there, from 1.
    pub number: usize,
    /// The line on which it begins.
    pub line: usize,
    /// Its own name, if it has one.
    pub name: Option<String>,
}

impl fmt::Display for RuleName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.name.as_deref().unwrap_or("without a name");
        match self.origin {
            Origin::BuiltIn => write!(formatter, "the built-in rule {name:?}"),
            Origin::File if self.name.is_none() => {
                write!(formatter, "rule {} (line {})", self.number, self.line)
            }
            Origin::File => write!(formatter, "rule {} {name:?} (line {})", self.number, self.line),
        }
    }
}

/// The matchers of one rule. Each holds numbers of patterns in the policy's automata; one that is not given takes all.
#[derive(Clone, Debug, Default)]
pub(crate) struct Matchers {
    pub(crate) principal: Option<Vec<usize>>,
    pub(crate) query: Option<Vec<usize>>,
    pub(crate) mutation: Option<Vec<usize>>,
    pub(crate) risk: Option<Risks>,
    pub(crate) path: Option<Vec<usize>>,
    pub(crate) unit: Option<Vec<usize>>,
    pub(crate) argument: BTreeMap<String, Vec<usize>>,
    pub(crate) time: Option<Time>,
    pub(crate) rate: Option<Rate>,
}

/// Some of the risks: one bit each, `read` the lowest.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Risks(u8);

impl Risks {
    /// All of them, in the order of the bits.
    pub(crate) const EACH: [Risk; 4] = [Risk::Read, Risk::Low, Risk::Medium, Risk::Destructive];

    const fn bit(risk: Risk) -> u8 {
        match risk {
            Risk::Read => 1,
            Risk::Low => 2,
            Risk::Medium => 4,
            Risk::Destructive => 8,
        }
    }

    pub(crate) fn add(&mut self, risk: Risk) {
        self.0 |= Self::bit(risk);
    }

    pub(crate) const fn holds(self, risk: Risk) -> bool {
        self.0 & Self::bit(risk) != 0
    }

    /// Whatever is in `other` is in this one, too.
    pub(crate) const fn covers(self, other: Self) -> bool {
        other.0 & !self.0 == 0
    }
}

/// What a rule is about, by the matchers that it has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum About {
    /// It has `query`; or it allows, and has neither `query` nor what names changes.
    Reads,
    /// It has `mutation` or `risk`.
    Changes,
    /// It keeps (`ask`, `deny`) whatever fits its other matchers.
    Both,
}

/// What decided, by what it says: the first half of a SHA-256 in hexadecimal, or `default` where no rule matched; for a
/// change with its risk behind a colon (`default:low`), so that a yes for a while never grows to a larger risk.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RuleId(String);

impl Default for RuleId {
    fn default() -> Self {
        Self("default".to_owned())
    }
}

impl RuleId {
    /// Of a rule that is written so.
    pub(crate) fn of(text: &[u8]) -> Self {
        let hash = ring::digest::digest(&ring::digest::SHA256, text);
        let digit = |half: u8| char::from_digit(u32::from(half), 16).unwrap_or_default();
        let half = hash.as_ref().iter().take(16);
        Self(half.flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect())
    }

    pub(crate) fn at(&self, risk: Option<Risk>) -> Self {
        match risk {
            Some(risk) => Self(format!("{}:{}", self.0, risk.as_str())),
            None => self.clone(),
        }
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for RuleId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// A time of day, on some days.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Time {
    /// Minutes from midnight; the end is not in it.
    pub(crate) from: u16,
    pub(crate) to: u16,
    /// One bit a weekday, Monday the lowest.
    pub(crate) days: u8,
}

impl Time {
    /// A window past midnight belongs to the day on which it begins.
    pub(crate) fn holds(self, weekday: u8, minute: u16) -> bool {
        let on = |day: u8| self.days & (1 << (day % 7)) != 0;
        if self.from < self.to {
            on(weekday) && (self.from..self.to).contains(&minute)
        } else {
            (on(weekday) && minute >= self.from) || (on(weekday + 6) && minute < self.to)
        }
    }
}

/// One rule.
#[derive(Clone, Debug)]
pub(crate) struct Rule {
    pub(crate) name: RuleName,
    pub(crate) when: Matchers,
    pub(crate) then: Then,
    pub(crate) reason: Option<String>,
    pub(crate) mask: bool,
    pub(crate) operator_only: bool,
    pub(crate) id: RuleId,
}

impl Rule {
    pub(crate) fn about(&self) -> About {
        let Matchers { query, mutation, risk, .. } = &self.when;
        match (query.is_some(), mutation.is_some() || risk.is_some()) {
            (true, _) => About::Reads,
            (false, true) => About::Changes,
            // Most such rules were written when there were only questions. A change is allowed in so many words.
            (false, false) if self.then == Then::Allow => About::Reads,
            (false, false) => About::Both,
        }
    }
}

/// The patterns of a file, by what they are compared with, and their automata.
#[derive(Clone, Debug)]
pub(crate) struct Patterns {
    pub(crate) principals: Table,
    pub(crate) queries: Table,
    pub(crate) mutations: Table,
    pub(crate) paths: Table,
    pub(crate) units: Table,
    pub(crate) values: Table,
}

/// Patterns with their automaton.
#[derive(Clone, Debug)]
pub(crate) struct Table {
    pub(crate) texts: Vec<String>,
    pub(crate) globs: Globs,
}

/// An ordered list of rules; the first that matches decides.
#[derive(Clone, Debug)]
pub struct Policy {
    pub(crate) rules: Vec<Rule>,
    pub(crate) patterns: Patterns,
    pub(crate) quotas: Vec<QuotaLimits>,
}

impl Policy {
    /// How many rules the file has.
    pub fn rules(&self) -> usize {
        self.rules.iter().filter(|rule| rule.name.origin == Origin::File).count()
    }

    /// A quota of a principal, as the file names them both; nothing where it has none.
    pub fn quota(&self, principal: &str, which: Quota) -> Option<u64> {
        self.quotas.iter().find_map(|quota| quota.limit(principal, which))
    }

    /// Whether anything is counted.
    pub const fn has_quotas(&self) -> bool {
        !self.quotas.is_empty()
    }

    /// The paths, as globs, that some rule may keep from the questions of callers of this role. Whoever opens a file compares
    /// it with these files, as another name may lead to one of them.
    pub fn kept_paths(&self, role: Role) -> impl Iterator<Item = &str> {
        self.kept(role, About::Changes)
    }

    /// The paths, as globs, that some rule may keep from the changes of callers of this role.
    pub fn kept_from_changes(&self, role: Role) -> impl Iterator<Item = &str> {
        self.kept(role, About::Reads)
    }

    fn kept(&self, role: Role, not: About) -> impl Iterator<Item = &str> {
        self.rules
            .iter()
            .filter(move |rule| {
                rule.about() != not
                    && match rule.then {
                        Then::Allow => false,
                        // For the operator it is a yes.
                        Then::Ask => role == Role::Agent && self.concerns(rule, role),
                        Then::Deny => self.concerns(rule, role),
                    }
            })
            .flat_map(|rule| rule.when.path.iter().flatten())
            .filter_map(|&pattern| self.patterns.paths.texts.get(pattern).map(String::as_str))
    }

    /// The rule may be about callers of this role.
    fn concerns(&self, it: &Rule, role: Role) -> bool {
        it.when.principal.as_ref().is_none_or(|patterns| {
            patterns.iter().filter_map(|&pattern| self.patterns.principals.texts.get(pattern)).any(|text| {
                let named = text.split(':').next().unwrap_or_default();
                named == "*" || named == role.as_str()
            })
        })
    }

    /// What is not wrong and not as it was meant: rules that an earlier one leaves nothing to, patterns without effect.
    pub fn warnings(&self) -> Vec<String> {
        crate::shadow::warnings(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_past_midnight_belongs_to_the_day_on_which_it_begins() {
        // Saturday from ten at night to six in the morning.
        let night = Time { from: 22 * 60, to: 6 * 60, days: 1 << 5 };
        assert!(night.holds(5, 23 * 60));
        assert!(night.holds(6, 5 * 60));
        assert!(!night.holds(5, 5 * 60), "that is Friday's night");
        assert!(!night.holds(6, 23 * 60));
        assert!(!night.holds(6, 6 * 60), "the end is not in it");
        let day = Time { from: 480, to: 1020, days: 0x7f };
        assert!(day.holds(0, 480) && !day.holds(0, 1020));
    }
}
