//! Rules that can never decide, because an earlier one takes all that they would take; and patterns that name nothing.
//!
//! It says nothing wrong, and does not find everything: only what is plain from the words of the two rules.

use agentos_api::query::NAMES;

use crate::glob::is_wild;
use crate::rule::{Matchers, Origin, Policy, Rule, Table, Then};

pub(crate) fn warnings(policy: &Policy) -> Vec<String> {
    let mut warnings = Vec::new();
    let of_file = |rule: &&Rule| rule.name.origin == Origin::File;
    for (index, rule) in policy.rules.iter().enumerate().filter(|(_, rule)| of_file(rule)) {
        if let Some(earlier) = policy.rules[..index].iter().find(|earlier| covers(policy, earlier, rule)) {
            warnings.push(format!("{} can never decide: {} takes all of it before", rule.name, earlier.name));
        }
        for &pattern in rule.when.query.iter().flatten() {
            let names_nothing =
                !NAMES.iter().any(|name| policy.patterns.queries.globs.fits(name.as_bytes()).any(&[pattern]));
            if names_nothing {
                let text = &policy.patterns.queries.texts[pattern];
                warnings.push(format!("{}: no query fits {text:?}", rule.name));
            }
        }
    }
    warnings
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
    let patterns = &policy.patterns;
    a.rate.is_none()
        && (a.time.is_none() || a.time == b.time)
        && within(&patterns.principals, a.principal.as_deref(), b.principal.as_deref())
        && within(&patterns.queries, a.query.as_deref(), b.query.as_deref())
        && within(&patterns.paths, a.path.as_deref(), b.path.as_deref())
        && within(&patterns.units, a.unit.as_deref(), b.unit.as_deref())
        && a.argument.iter().all(|(name, wanted)| {
            b.argument.get(name).is_some_and(|later| within(&patterns.values, Some(wanted), Some(later)))
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
