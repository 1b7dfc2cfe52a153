//! From a request to a decision.
//!
//! A file may have several names: as it was asked for, as it is called once links are followed, as another mount or a hard
//! link calls it. A rule that keeps it (`ask`, `deny`) takes it by **any** of them; a rule that allows takes it only when
//! **all** of them fit. So no name that somebody makes up for a file opens what a rule keeps. The same holds for a change
//! that touches several files or units: one of them is enough for a rule that keeps, all are needed for one that allows.
//!
//! A rule that allows lets changes through only when it says so by `mutation` or `risk`, and destructive ones only when
//! its `risk` names them.

use agentos_api::change::Risk;
use serde_json::Value;

use crate::glob::Fits;
use crate::rate::Rates;
use crate::request::{Moment, Request, Role, Subject};
use crate::rule::{About, Matchers, Policy, Rule, RuleId, RuleName, Table, Then};

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is answered or made; with `mask`, what the caller is shown is without the secrets in it.
    Allow {
        /// Secrets in the answer are masked.
        mask: bool,
    },
    /// A person has to say yes first.
    Ask,
    /// It is refused.
    Deny,
}

/// What is to be done, and which rule says so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    /// What is to be done.
    pub verdict: Verdict,
    /// The rule; nothing where none matched, which allows questions, and asks about the agent's changes.
    pub rule: Option<RuleName>,
    /// Why, in the words of the rule.
    pub reason: Option<String>,
    /// A yes must come from the operator's own socket, never through a chat. Only with [`Verdict::Ask`].
    pub operator_only: bool,
    /// What decided, the same for as long as the rule says the same. A yes for a while is a yes to this, and to this
    /// caller; it ends by itself when the rule is changed.
    pub id: RuleId,
    /// The rule in the policy's own list, for a second look at the same request.
    index: Option<usize>,
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
            let operator = request.role == Role::Operator;
            let nothing_changes = request.risk() == Some(Risk::Read);
            let verdict = match rule.then {
                Then::Allow => Verdict::Allow { mask: !operator && rule.mask },
                // The person who asks is the one who would be asked.
                Then::Ask if operator => Verdict::Allow { mask: false },
                // Nobody is asked about nothing.
                Then::Ask if nothing_changes => Verdict::Allow { mask: true },
                Then::Ask => Verdict::Ask,
                Then::Deny => Verdict::Deny,
            };
            return Decision {
                verdict,
                rule: Some(rule.name.clone()),
                reason: rule.reason.clone(),
                operator_only: rule.operator_only && verdict == Verdict::Ask,
                id: rule.id.at(request.risk()),
                index: Some(index),
            };
        }
        Decision::without_a_rule(request.role, request.risk())
    }
}

impl Decision {
    fn without_a_rule(role: Role, risk: Option<Risk>) -> Self {
        let verdict = match (role, risk) {
            (Role::Operator, _) => Verdict::Allow { mask: false },
            (Role::Agent, None | Some(Risk::Read)) => Verdict::Allow { mask: true },
            (Role::Agent, Some(Risk::Low | Risk::Medium | Risk::Destructive)) => Verdict::Ask,
        };
        let id = RuleId::default().at(risk);
        Self { verdict, rule: None, reason: None, operator_only: false, id, index: None }
    }
}

/// What each part of a request fits, compared once for all rules.
struct Known<'a> {
    policy: &'a Policy,
    request: &'a Request<'a>,
    principals: Vec<Fits>,
    subject: Fits,
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
            .chain(request.units.iter().cloned())
            .map(|unit| {
                // `nginx` is `nginx.service`: systemd's own shorthand.
                let whole = format!("{unit}.service");
                [unit, whole].map(|name| patterns.units.globs.fits(name.as_bytes())).into()
            })
            .collect();
        let names = match request.subject {
            Subject::Query(_) => &patterns.queries,
            Subject::Mutation { .. } => &patterns.mutations,
        };
        let subject = names.globs.fits(request.subject.name().as_bytes());
        Self { policy, request, principals: principals.into(), subject, paths, units }
    }

    fn fit(&self, rule: &Rule, moment: Moment) -> bool {
        let Matchers { principal, path, unit, argument, time, .. } = &rule.when;
        let all = rule.then == Then::Allow;
        let one_of = |fits: &[Fits], wanted: &[usize]| fits.iter().any(|fits| fits.any(wanted));
        principal.as_ref().is_none_or(|wanted| one_of(&self.principals, wanted))
            && self.subject_fits(rule)
            && time.is_none_or(|time| time.holds(moment.weekday, moment.minute))
            && path.as_ref().is_none_or(|wanted| several(&self.paths, all, |fits| fits.any(wanted)))
            && unit.as_ref().is_none_or(|wanted| several(&self.units, all, |names| one_of(names, wanted)))
            && argument.iter().all(|(name, wanted)| self.argument_fits(name, wanted, all))
    }

    fn subject_fits(&self, rule: &Rule) -> bool {
        let Matchers { query, mutation, risk: risks, .. } = &rule.when;
        match self.request.subject {
            Subject::Query(_) => {
                rule.about() != About::Changes && query.as_ref().is_none_or(|wanted| self.subject.any(wanted))
            }
            Subject::Mutation { risk, .. } => {
                let named = risks.is_some_and(|risks| risks.holds(risk));
                rule.about() != About::Reads
                    && mutation.as_ref().is_none_or(|wanted| self.subject.any(wanted))
                    && (risks.is_none() || named)
                    && (rule.then != Then::Allow || risk != Risk::Destructive || named)
            }
        }
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
