//! Rules that can never decide, because an earlier one takes all that they would take; and patterns that name nothing.
//!
//! It says nothing wrong, and does not find everything: only what is plain from the words of the two rules.

use agentos_api::change::Risk;
use agentos_api::{mutation, query};

use crate::glob::is_wild;
use crate::rule::{About, Matchers, Origin, Policy, Risks, Rule, Table, Then};

pub(crate) fn warnings(policy: &Policy) -> Vec<String> {
    let mut warnings = Vec::new();
    let of_file = |rule: &&Rule| rule.name.origin == Origin::File;
    for (index, rule) in policy.rules.iter().enumerate().filter(|(_, rule)| of_file(rule)) {
        if let Some(earlier) = policy.rules[..index].iter().find(|earlier| covers(policy, earlier, rule)) {
            warnings.push(format!("{} can never decide: {} takes all of it before", rule.name, earlier.name));
        }
        let no_name = |kind: &str, wanted: &Option<Vec<usize>>, table: &Table, names: &[&str]| {
            wanted
                .iter()
                .flatten()
                .filter(|&&pattern| {
                    !names.iter().any(|name| table.globs.fits(name.as_bytes()).any(&[pattern]))
                })
                .map(|&pattern| format!("{}: no {kind} fits {:?}", rule.name, table.texts[pattern]))
                .collect::<Vec<_>>()
        };
        let (when, patterns) = (&rule.when, &policy.patterns);
        warnings.extend(no_name("query", &when.query, &patterns.queries, query::NAMES));
        warnings.extend(no_name("mutation", &when.mutation, &patterns.mutations, mutation::NAMES));
        warnings.extend(allows_less(rule));
    }
    warnings
}

/// A rule that allows less than it seems to.
fn allows_less(rule: &Rule) -> Option<String> {
    let Matchers { query, mutation, risk, .. } = &rule.when;
    if rule.then != Then::Allow || query.is_some() || risk.is_some() {
        return None;
    }
    Some(match mutation {
        None => format!(
            "{} allows reading alone: a rule allows changes only by mutation or risk. Give it query (\"*\" for all) if that is what it is for",
            rule.name
        ),
        Some(_) => format!(
            "{} allows no destructive change: that takes risk = [\"destructive\"] by name. Give it the risks that it is for",
            rule.name
        ),
    })
}

/// Everything that `later` takes, `earlier` takes.
fn covers(policy: &Policy, earlier: &Rule, later: &Rule) -> bool {
    let (a, b): (&Matchers, &Matchers) = (&earlier.when, &later.when);
    // A rule that allows wants every name of a file to fit. One that keeps is content with one: it may still take a file
    // of which another name is outside.
    let by_all_names = earlier.then == Then::Allow && later.then != Then::Allow;
    if by_all_names && (a.path.is_some() || a.unit.is_some() || !a.argument.is_empty()) {
        return false;
    }
    let about = match (earlier.about(), later.about()) {
        (About::Both, _) => true,
        (one, other) => one == other,
    };
    let patterns = &policy.patterns;
    about
        && risks(earlier, later)
        && within(&patterns.mutations, a.mutation.as_deref(), b.mutation.as_deref())
        && a.rate.is_none()
        && (a.time.is_none() || a.time == b.time)
        && within(&patterns.principals, a.principal.as_deref(), b.principal.as_deref())
        && within(&patterns.queries, a.query.as_deref(), b.query.as_deref())
        && within(&patterns.paths, a.path.as_deref(), b.path.as_deref())
        && within(&patterns.units, a.unit.as_deref(), b.unit.as_deref())
        && a.argument.iter().all(|(name, wanted)| {
            b.argument.get(name).is_some_and(|later| within(&patterns.values, Some(wanted), Some(later)))
        })
}

/// Whatever risk `later` takes, `earlier` takes.
fn risks(earlier: &Rule, later: &Rule) -> bool {
    if later.about() == About::Reads {
        return true;
    }
    taken(earlier).covers(taken(later))
}

/// The risks that a rule takes.
fn taken(rule: &Rule) -> Risks {
    rule.when.risk.unwrap_or_else(|| {
        let mut all = Risks::default();
        for risk in Risks::EACH {
            if rule.then != Then::Allow || risk != Risk::Destructive {
                all.add(risk);
            }
        }
        all
    })
}

/// Whatever fits one of `later` fits one of `earlier`.
fn within(table: &Table, earlier: Option<&[usize]>, later: Option<&[usize]>) -> bool {
    let Some(earlier) = earlier else { return true };
    let Some(later) = later else { return false };
    later.iter().all(|&pattern| {
        let text = &table.texts[pattern];
        let same = earlier.iter().any(|&other| table.texts[other] == *text);
        same || (!is_wild(text) && table.globs.fits(text.as_bytes()).any(earlier))
            || earlier.iter().any(|&other| below(&table.texts[other], text))
    })
}

/// `/etc/ssl/*.key` is below `/etc/**`.
fn below(earlier: &str, later: &str) -> bool {
    earlier
        .strip_suffix("**")
        .is_some_and(|folder| !is_wild(folder) && later.len() > folder.len() && later.starts_with(folder))
}
