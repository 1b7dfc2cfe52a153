//! From a request to a decision.
//!
//! A file may have several names: as it was asked for, as it is called once links are followed, as another mount or a hard
//! link calls it. A rule that keeps it (`ask`, `deny`) takes it by **any** of them; a rule that allows takes it only when
//! **all** of them fit. So no name that somebody makes up for a file opens what a rule keeps.

use agentos_api::query::path::decode;
use serde_json::{Map, Value};

use crate::glob::Fits;
use crate::rate::Rates;
use crate::rule::{Matchers, Policy, Rule, RuleName, Table, Then};

/// Which of the two sockets the request came through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// The agent's.
    Agent,
    /// The person's.
    Operator,
}

impl Role {
    /// The word in the file.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Agent => "agent",
            Self::Operator => "operator",
        }
    }
}

/// When it is, as far as rules ask.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Moment {
    /// The weekday here, Monday 0.
    pub weekday: u8,
    /// Minutes since midnight here.
    pub minute: u16,
    /// Seconds of a clock that does not go back.
    pub seconds: u64,
}

/// A question that somebody wants answered.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// Who.
    pub role: Role,
    /// Who, as the ledger names them: `agent:openclaw/main`.
    pub actor: &'a str,
    /// The query.
    pub query: &'a str,
    /// Its arguments.
    pub arguments: &'a Map<String, Value>,
    /// Every name that is known of the file or folder it asks about; none where it asks about none.
    pub paths: &'a [Vec<u8>],
    /// When.
    pub moment: Moment,
}

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is answered, and with `mask` without the secrets in it.
    Allow {
        /// Secrets in the answer are masked.
        mask: bool,
    },
    /// A person would have to say yes first.
    Ask,
    /// It is refused.
    Deny,
}

/// What is to be done, and which rule says so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    /// What is to be done.
    pub verdict: Verdict,
    /// The rule; nothing where none matched, which allows.
    pub rule: Option<RuleName>,
    /// Why, in the words of the rule.
    pub reason: Option<String>,
    /// The rule in the policy's own list, for a second look at the same request.
    index: Option<usize>,
}

/// The `path` among a query's arguments, as bytes, with empty names and `.` left out: `/etc//./shadow` is `/etc/shadow`.
pub fn path_argument(arguments: &Map<String, Value>) -> Option<Vec<u8>> {
    let bytes = decode(arguments.get("path")?.as_str()?).ok()?.into_owned();
    let mut path = Vec::with_capacity(bytes.len());
    for name in bytes.split(|&byte| byte == b'/').filter(|name| !matches!(*name, b"" | b".")) {
        path.push(b'/');
        path.extend_from_slice(name);
    }
    if path.is_empty() {
        path.push(b'/');
    }
    Some(path)
}

impl Policy {
    /// Decides. A rule with a rate counts what it lets through in `rates`; `before`, the decision on the same request when
    /// less was known of it, is not counted again.
    pub fn decide(&self, request: &Request<'_>, rates: &mut Rates, before: Option<&Decision>) -> Decision {
        let known = Known::of(self, request);
        for (index, rule) in self.rules.iter().enumerate() {
            if !known.fit(rule, request.moment) {
                continue;
            }
            let counted = before.is_some_and(|before| before.index == Some(index));
            if let Some(rate) = rule.when.rate
                && !counted
                && !rates.take(index, rate, request.moment.seconds)
            {
                continue;
            }
            let masked = request.role == Role::Agent;
            let verdict = match rule.then {
                Then::Allow => Verdict::Allow { mask: masked && rule.mask },
                // The person who asks is the one who would be asked.
                Then::Ask if request.role == Role::Operator => Verdict::Allow { mask: false },
                Then::Ask => Verdict::Ask,
                Then::Deny => Verdict::Deny,
            };
            return Decision {
                verdict,
                rule: Some(rule.name.clone()),
                reason: rule.reason.clone(),
                index: Some(index),
            };
        }
        let mask = request.role == Role::Agent;
        Decision { verdict: Verdict::Allow { mask }, rule: None, reason: None, index: None }
    }
}

/// What each part of a request fits, compared once for all rules.
struct Known<'a> {
    policy: &'a Policy,
    request: &'a Request<'a>,
    principals: Vec<Fits>,
    query: Fits,
    paths: Vec<Fits>,
    units: Vec<Vec<Fits>>,
}

impl<'a> Known<'a> {
    fn of(policy: &'a Policy, request: &'a Request<'a>) -> Self {
        let patterns = &policy.patterns;
        // `agent`, `agent:openclaw` and `agent:openclaw/main` all name the caller of the last.
        let user = request.actor.split_once('/').map_or(request.actor, |(user, _)| user);
        let principals = [request.role.as_str(), user, request.actor]
            .map(|name| patterns.principals.globs.fits(name.as_bytes()));
        let paths = request.paths.iter().map(|path| patterns.paths.globs.fits(path)).collect();
        let units = texts(request.arguments.get("unit"))
            .into_iter()
            .map(|unit| {
                // `nginx` is `nginx.service`: systemd's own shorthand.
                let whole = format!("{unit}.service");
                [unit, whole].map(|name| patterns.units.globs.fits(name.as_bytes())).into()
            })
            .collect();
        let query = patterns.queries.globs.fits(request.query.as_bytes());
        Self { policy, request, principals: principals.into(), query, paths, units }
    }

    fn fit(&self, rule: &Rule, moment: Moment) -> bool {
        let Matchers { principal, query, path, unit, argument, time, rate: _ } = &rule.when;
        let all = rule.then == Then::Allow;
        let one_of = |fits: &[Fits], wanted: &[usize]| fits.iter().any(|fits| fits.any(wanted));
        principal.as_ref().is_none_or(|wanted| one_of(&self.principals, wanted))
            && query.as_ref().is_none_or(|wanted| self.query.any(wanted))
            && time.is_none_or(|time| time.holds(moment.weekday, moment.minute))
            && path.as_ref().is_none_or(|wanted| several(&self.paths, all, |fits| fits.any(wanted)))
            && unit.as_ref().is_none_or(|wanted| several(&self.units, all, |names| one_of(names, wanted)))
            && argument.iter().all(|(name, wanted)| self.argument_fits(name, wanted, all))
    }

    fn argument_fits(&self, name: &str, wanted: &[usize], all: bool) -> bool {
        let values: &Table = &self.policy.patterns.values;
        let given = texts(self.request.arguments.get(name));
        several(&given, all, |text| values.globs.fits(text.as_bytes()).any(wanted))
    }
}

/// Some of them fit, or, with `all`, each does and there is one.
fn several<T>(given: &[T], all: bool, fits: impl Fn(&T) -> bool) -> bool {
    if all { !given.is_empty() && given.iter().all(fits) } else { given.iter().any(fits) }
}

/// An argument as texts: one, or those of a list.
fn texts(value: Option<&Value>) -> Vec<String> {
    match value {
        None | Some(Value::Null) => Vec::new(),
        Some(Value::Array(list)) => list.iter().map(text).collect(),
        Some(value) => vec![text(value)],
    }
}

fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}
