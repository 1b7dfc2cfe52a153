//! A policy and its rules, as they are once they are understood.

use std::collections::BTreeMap;
use std::fmt;

use crate::decide::Role;
use crate::glob::Globs;
use crate::rate::Rate;

/// What a rule says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Then {
    /// It is answered.
    Allow,
    /// A person would have to say yes.
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
    pub(crate) path: Option<Vec<usize>>,
    pub(crate) unit: Option<Vec<usize>>,
    pub(crate) argument: BTreeMap<String, Vec<usize>>,
    pub(crate) time: Option<Time>,
    pub(crate) rate: Option<Rate>,
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
}

/// The patterns of a file, by what they are compared with, and their automata.
#[derive(Clone, Debug)]
pub(crate) struct Patterns {
    pub(crate) principals: Table,
    pub(crate) queries: Table,
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
}

impl Policy {
    /// How many rules the file has.
    pub fn rules(&self) -> usize {
        self.rules.iter().filter(|rule| rule.name.origin == Origin::File).count()
    }

    /// The paths, as globs, that some rule may keep from callers of this role. Whoever opens a file compares it with these
    /// files, as another name may lead to one of them.
    pub fn kept_paths(&self, role: Role) -> impl Iterator<Item = &str> {
        self.rules
            .iter()
            .filter(move |rule| match rule.then {
                Then::Allow => false,
                // For the operator it is a yes.
                Then::Ask => role == Role::Agent && self.concerns(rule, role),
                Then::Deny => self.concerns(rule, role),
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
