//! Making a change, and finding out how far one was made.

use std::collections::HashMap;

use agentos_api::change::Ran;

use super::context::{Context, Making};
use super::error::ChangeError;
use super::file::together::{self, Ahead, Failed, Replaced};
use super::reverse;
use super::script::Script;
use super::transition::{Position, Transit, Transition};

/// What became of a change that was made.
#[derive(Debug)]
pub enum Made {
    /// All of it was made.
    All,
    /// It was not; what had been made was taken back.
    TakenBack {
        /// Why.
        error: ChangeError,
    },
    /// It was not, and what had been made could not be taken back.
    Stuck {
        /// Why it was not made.
        error: ChangeError,
        /// What is left, and why it could not be taken back.
        left: Vec<String>,
    },
}

/// How far a change was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Progress {
    /// Nothing of it.
    Nothing,
    /// The first so many transitions.
    Part(usize),
    /// These transitions, by their numbers: paths of one folder, which are made durable together.
    Scattered(Vec<usize>),
    /// All of it.
    All,
    /// What is there fits none of these; with what was found.
    Unclear(Vec<String>),
    /// It is still being made, by something that outlived whoever began it; with what that is.
    UnderWay(String),
}

impl Script {
    /// Makes all of it, in order; takes back what was made where one transition fails. `before_each` is told the number of
    /// the transition that is made next.
    pub fn make(&self, context: &Context<'_>, before_each: impl FnMut(usize)) -> Made {
        self.make_after(Ahead::default(), &mut Replaced::default(), context, before_each)
    }

    /// Writes the new contents of its first transitions to files without names. Nothing of the machine is changed, and
    /// dropping them leaves nothing: so this may be done while the intent is being recorded.
    pub fn write_ahead(&self, context: &Context<'_>) -> Ahead {
        let transitions: Vec<&Transition> = self.transitions().take(together::MOST).collect();
        let first = together::length(&transitions);
        Ahead::write(transitions.get(..first).unwrap_or_default(), context)
    }

    /// As [`Script::make`], with what [`Script::write_ahead`] wrote. Files that it replaces are freed with `replaced`.
    pub fn make_after(
        &self,
        mut ahead: Ahead,
        replaced: &mut Replaced,
        context: &Context<'_>,
        mut before_each: impl FnMut(usize),
    ) -> Made {
        let transitions: Vec<&Transition> = self.transitions().collect();
        let mut first = 0;
        while let Some(next) = transitions.get(first) {
            let together = together::length(transitions.get(first..).unwrap_or_default());
            let mut made = 0;
            let mut before = |number| {
                made = number;
                before_each(first + number);
            };
            let result = if together == 0 {
                before(0);
                next.apply(context).map_err(Failed::At)
            } else {
                let run = transitions.get(first..first + together).unwrap_or_default();
                together::make(run, std::mem::take(&mut ahead), replaced, context, before)
            };
            if let Err(failed) = result {
                // Where the sync behind the last of them failed, that one was made too.
                let done = first + made + usize::from(matches!(failed, Failed::Sync(_)));
                let mut left = take_back(transitions.get(..done).unwrap_or_default(), context);
                let error = failed.into();
                left.extend(still_under_way(next, &error, context));
                return if left.is_empty() { Made::TakenBack { error } } else { Made::Stuck { error, left } };
            }
            first += together.max(1);
        }
        Made::All
    }

    /// Whether the machine is as it was when this was planned.
    ///
    /// # Errors
    /// [`ChangeError::Moved`] names the first thing that is not; what cannot be read.
    pub fn check(&self, context: &Context<'_>) -> Result<(), ChangeError> {
        let mut seen = std::collections::HashSet::new();
        for transition in self.transitions() {
            let thing = transition.on();
            if !seen.insert(thing.clone()) {
                continue;
            }
            let found = match transition.position(context)? {
                Position::Before | Position::Unknowable => continue,
                Position::After if transition.is_act() => continue,
                Position::After => transition.effect(context).after,
                Position::Elsewhere(found) => found,
            };
            return Err(ChangeError::Moved {
                what: thing,
                planned: transition.effect(context).before,
                found,
            });
        }
        Ok(())
    }

    /// How far it was made, from what is there: for after a cut. Removes what a cut left half made beside it.
    ///
    /// # Errors
    /// What cannot be read.
    pub fn progress(&self, context: &Context<'_>) -> Result<Progress, ChangeError> {
        let transitions: Vec<&Transition> = self.transitions().collect();
        for transition in &transitions {
            if let Some(what) = transition.under_way(context)? {
                return Ok(Progress::UnderWay(what));
            }
        }
        for transition in &transitions {
            transition.clean(context);
        }
        let mut by_thing: HashMap<String, Vec<usize>> = HashMap::new();
        for (number, transition) in transitions.iter().enumerate() {
            by_thing.entry(transition.on()).or_default().push(number);
        }
        let mut done = vec![None; transitions.len()];
        let mut unclear = Vec::new();
        for (thing, numbers) in &by_thing {
            match count_done(&transitions, numbers, context)? {
                Count::Done(count) => {
                    for (nth, &number) in numbers.iter().enumerate() {
                        if let Some(slot) = done.get_mut(number) {
                            *slot = Some(nth < count);
                        }
                    }
                }
                Count::Unknowable => {}
                Count::Elsewhere(found) => unclear.push(format!("{thing} is {found}")),
            }
        }
        if !unclear.is_empty() {
            unclear.sort();
            return Ok(Progress::Unclear(unclear));
        }
        Ok(prefix(&transitions, &done))
    }

    /// Takes back the first `count` transitions, the last of them first. What is left, and why.
    pub fn take_back(&self, count: usize, context: &Context<'_>) -> Vec<String> {
        let transitions: Vec<&Transition> = self.transitions().take(count).collect();
        take_back(&transitions, context)
    }

    /// Takes back these transitions, by their numbers in rising order.
    pub fn take_back_these(&self, numbers: &[usize], context: &Context<'_>) -> Vec<String> {
        let transitions: Vec<&Transition> = self.transitions().collect();
        let done: Vec<&Transition> =
            numbers.iter().filter_map(|number| transitions.get(*number).copied()).collect();
        take_back(&done, context)
    }
}

impl Script {
    /// How the commands of a change ended, as far as that was noted: for after a cut.
    pub fn ran(&self, making: &Making) -> Vec<Ran> {
        let commands = self.transitions().filter_map(|transition| match transition {
            Transition::Shell(run) => run.ended(making),
            _ => None,
        });
        commands.collect()
    }
}

enum Count {
    /// The first so many of a thing's transitions were made.
    Done(usize),
    Unknowable,
    Elsewhere(String),
}

fn count_done(
    transitions: &[&Transition],
    numbers: &[usize],
    context: &Context<'_>,
) -> Result<Count, ChangeError> {
    let mut found = String::new();
    for (nth, &number) in numbers.iter().enumerate().rev() {
        let Some(transition) = transitions.get(number) else { continue };
        match transition.position(context)? {
            Position::After => return Ok(Count::Done(nth + 1)),
            Position::Before => return Ok(Count::Done(nth)),
            Position::Unknowable => return Ok(Count::Unknowable),
            Position::Elsewhere(state) => found = state,
        }
    }
    Ok(Count::Elsewhere(found))
}

/// Transitions are made in order, so what is done is a beginning of the list; one that cannot be told is as its neighbours.
fn prefix(transitions: &[&Transition], done: &[Option<bool>]) -> Progress {
    let count = done.iter().rposition(|done| *done == Some(true)).map_or(0, |last| last + 1);
    let (first, rest) = done.split_at(count.min(done.len()));
    let name = |number: usize| transitions.get(number).map_or_else(String::new, |it| it.on());
    if let Some(gap) = first.iter().position(|done| *done == Some(false)) {
        let around = transitions.get(gap..count).unwrap_or_default();
        if together::are_beside(around) {
            let made = first.iter().enumerate().filter(|(_, done)| **done == Some(true));
            return Progress::Scattered(made.map(|(number, _)| number).collect());
        }
        return Progress::Unclear(vec![format!(
            "{} is as before, though what follows it was done",
            name(gap)
        )]);
    }
    // Where the next one cannot be told, it may have been done.
    if rest.first() == Some(&None) {
        return Progress::Unclear(vec![format!("whether {} was done cannot be told", name(count))]);
    }
    match count {
        0 => Progress::Nothing,
        all if all == done.len() => Progress::All,
        part => Progress::Part(part),
    }
}

fn take_back(done: &[&Transition], context: &Context<'_>) -> Vec<String> {
    let mut left = Vec::new();
    for back in reverse::way_back(done) {
        let (thing, reason) = match back {
            Ok(back) => match back.apply(context) {
                Ok(()) => continue,
                Err(error) => (back.on(), crate::text::chain(&error)),
            },
            Err((thing, reason)) => (thing, reason.0),
        };
        left.push(format!("{thing}: {reason}"));
    }
    left
}

/// What a transition that failed left neither as it was nor as it should be: a service that does not end in time goes on
/// ending.
fn still_under_way(transition: &Transition, error: &ChangeError, context: &Context<'_>) -> Option<String> {
    // The others are made whole or not at all.
    let lingers = matches!(
        transition,
        Transition::UnitRun(_) | Transition::UnitAct(_) | Transition::Packages(_) | Transition::Shell(_)
    );
    if !lingers || !matches!(error, ChangeError::Failed { .. }) {
        return None;
    }
    match transition.position(context) {
        Ok(Position::Elsewhere(found)) => Some(format!("{} is {found}", transition.on())),
        _ => None,
    }
}
