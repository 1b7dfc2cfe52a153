//! Planning: from steps, or from a change that was made, to what would be carried out.

use agentos_api::change::{self, Effect, MAX_SHOWN_EFFECTS, PlannedStep, Risk, Step, Undo};
use agentos_api::mutation::Mutation;
use agentos_api::mutation::shell::Preview;
use agentos_objects::{Batch, Hash};
use serde_json::{Map, Value};

use super::error::ChangeError;
use super::planner::{Draft, Planner};
use super::script::{Prepared, Script, Touched};
use super::transition::{Transit, Transition};
use super::{dispatch, mutations};
use crate::machine::{Machine, Viewer};

/// Arguments that are file contents: a plan shows their size and hash.
const CONTENTS: [&str; 1] = ["content"];

impl Machine {
    /// Plans steps: reads what is there, and changes nothing. Contents that making it and taking it back will need are put
    /// into `batch`, which is handed back for the caller to keep.
    ///
    /// # Errors
    /// [`ChangeError`]; the argument at fault stands below its step (`steps.1.args.path`) where there are several.
    pub fn plan<'p>(
        &'p self,
        steps: &[Step],
        viewer: &'p Viewer,
        batch: Batch<'p>,
    ) -> Result<(Prepared, Batch<'p>), ChangeError> {
        let mut planner = Planner::new(self, viewer, batch);
        let mut parts = Vec::with_capacity(steps.len());
        for step in steps {
            let args = serde_json::to_vec(&step.args)
                .map_err(|error| ChangeError::invalid("args", error.to_string()))?;
            dispatch::plan(&mut planner, &step.mutation, &args)?;
            super::ways_in::watch(&mut planner, &step.mutation);
            parts.push(Part::end(&mut planner, step.mutation.clone(), shown(&step.args)));
        }
        finish(planner, parts, None)
    }

    /// Plans taking back a change that was made.
    ///
    /// # Errors
    /// [`ChangeError::Moved`] where something is not as the change left it, [`ChangeError::Refused`] where a part has no
    /// way back, [`ChangeError::Objects`] where what it replaced is not kept any more.
    pub fn plan_undo<'p>(
        &'p self,
        undone: &Undone<'_>,
        viewer: &'p Viewer,
        batch: Batch<'p>,
    ) -> Result<(Prepared, Batch<'p>), ChangeError> {
        let mut planner = Planner::new(self, viewer, batch);
        let done: Vec<&Transition> = undone.script.transitions().collect();
        planner.reverse(&done)?;
        planner.summary(format!("Takes back: {}", undone.summary));
        // Opening what was closed is no less than closing it.
        planner.risk(undone.risk);
        if undone.can_lock_out {
            planner.can_lock_out();
        }
        let part = Part::end(&mut planner, "change.undo".to_owned(), Map::new());
        finish(planner, vec![part], Some(undone.summary))
    }

    /// Says whether [`Machine::plan`] would accept these arguments, without reading anything of the machine.
    ///
    /// # Errors
    /// [`ChangeError::UnknownMutation`], or the argument at fault.
    pub fn check_mutation(&self, step: &Step) -> Result<(), ChangeError> {
        let args = serde_json::to_vec(&step.args)
            .map_err(|error| ChangeError::invalid("args", error.to_string()))?;
        dispatch::check(&step.mutation, &args)
    }
}

/// A change that is to be taken back.
#[derive(Clone, Copy, Debug)]
pub struct Undone<'u> {
    /// What was carried out.
    pub script: &'u Script,
    /// What it was, in a sentence.
    pub summary: &'u str,
    /// How much harm it could do.
    pub risk: Risk,
    /// It could lock the person out.
    pub can_lock_out: bool,
}

impl<'u> Undone<'u> {
    /// A change that could do little harm.
    pub const fn new(script: &'u Script, summary: &'u str) -> Self {
        Self { script, summary, risk: Risk::Low, can_lock_out: false }
    }
}

/// A step that is planned.
struct Part {
    mutation: String,
    args: Map<String, Value>,
    draft: Draft,
    transitions: Vec<Transition>,
}

impl Part {
    fn end(planner: &mut Planner<'_>, mutation: String, args: Map<String, Value>) -> Self {
        let (draft, transitions) = planner.end_step();
        Self { mutation, args, draft, transitions }
    }
}

fn finish<'p>(
    planner: Planner<'p>,
    parts: Vec<Part>,
    undone: Option<&str>,
) -> Result<(Prepared, Batch<'p>), ChangeError> {
    let context = planner.context();
    let mut steps = Vec::with_capacity(parts.len());
    let (mut script, mut touched) = (Script::default(), Vec::with_capacity(parts.len()));
    for part in parts {
        let Part { mutation, args, draft, transitions } = part;
        let Draft { mut summary, mut risk, undo, can_lock_out, not_covered, asked, said, .. } = draft;
        if transitions.is_empty() {
            risk = Risk::Read;
            summary.push_str(" (it is so already: nothing would change)");
        } else if risk == Risk::Read {
            risk = Risk::Low;
        }
        let effects: Vec<Effect> = transitions
            .iter()
            .take(MAX_SHOWN_EFFECTS)
            .map(|transition| super::diff::complete(transition.effect(&context), transition, &planner.batch))
            .collect();
        touched.push(touches(&mutation, &transitions, asked));
        steps.push(PlannedStep {
            mutation,
            args,
            summary,
            risk,
            undo,
            effects,
            effects_total: transitions.len() as u64,
            can_lock_out: can_lock_out && !transitions.is_empty(),
            not_covered,
            said,
        });
        script.steps.push(transitions);
    }
    let risk = steps.iter().map(|step| step.risk).max().unwrap_or(Risk::Read);
    let summary = match (undone, steps.as_slice()) {
        (Some(summary), _) => format!("Takes back: {summary}"),
        (None, [only]) => only.summary.clone(),
        (None, several) => several.iter().map(|step| step.summary.as_str()).collect::<Vec<_>>().join("; "),
    };
    let hash = hash(&steps, &script)?;
    let plan = change::Plan { summary, risk, undo: least(&steps), steps, hash };
    let batch = planner.into_batch();
    Ok((Prepared { plan, script, touched, bytes: batch.bytes() }, batch))
}

/// The arguments as they are shown and recorded: contents of files by their size and hash.
fn shown(args: &Map<String, Value>) -> Map<String, Value> {
    args.iter()
        .map(|(name, value)| match value.as_str() {
            Some(text) if CONTENTS.contains(&name.as_str()) => {
                let hash = Hash::of(text.as_bytes());
                (name.clone(), Value::from(format!("{} bytes, sha256 {hash}", text.len())))
            }
            _ => (name.clone(), value.clone()),
        })
        .collect()
}

fn touches(mutation: &str, transitions: &[Transition], asked: Vec<Vec<u8>>) -> Touched {
    let mut touched = Touched { paths: asked, ..Touched::default() };
    if mutation == Preview::NAME {
        touched.effects = transitions.iter().filter_map(mutations::like).collect();
    }
    for transition in transitions {
        touched.paths.extend(transition.paths());
        touched.units.extend(transition.units());
    }
    touched.paths.sort();
    touched.paths.dedup();
    touched.units.sort();
    touched.units.dedup();
    touched
}

fn least(steps: &[PlannedStep]) -> Undo {
    let rank = |undo: &Undo| match undo {
        Undo::Exact => 0,
        Undo::Partial { .. } => 1,
        Undo::Impossible { .. } => 2,
    };
    steps.iter().map(|step| &step.undo).max_by_key(|undo| rank(undo)).cloned().unwrap_or(Undo::Exact)
}

/// Binds an approval to what was shown and to the state it was shown for.
fn hash(steps: &[PlannedStep], script: &Script) -> Result<String, ChangeError> {
    let failed = |error| ChangeError::failed("writing the plan", error);
    let text = if steps.iter().any(|step| step.said.is_some()) {
        // A command that is run again says when, and writes files at another time: the same effects are the same plan.
        let steps: Vec<PlannedStep> =
            steps.iter().map(|step| PlannedStep { said: None, ..step.clone() }).collect();
        serde_json::to_vec(&(steps, script.without_times())).map_err(failed)?
    } else {
        serde_json::to_vec(&(steps, script)).map_err(failed)?
    };
    Ok(Hash::of(&text).to_string())
}
