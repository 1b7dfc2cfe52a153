//! Makes changes of this machine without agentd, and takes them back: for tests in machines that are thrown away. Asks as
//! the agent does. What is planned is kept in a folder, so that each act is a run of its own.
//!
//! ```text
//! change_once plan FOLDER MUTATION ARGUMENTS …   plans steps, prints the plan, keeps it in FOLDER
//! change_once apply FOLDER [NUMBER]              makes what was planned; with a number, is killed before that transition
//! change_once make FOLDER MUTATION ARGUMENTS …   plans and makes
//! change_once progress FOLDER                    prints how far what was planned was made
//! change_once recover FOLDER                     as progress, and takes back what was made of it
//! change_once undo FOLDER                        takes back what was made
//! ```

use std::error::Error;
use std::path::Path;

use agentos_api::change::Step;
use agentos_objects::{Objects, Options};
use agentos_system::change::{Context, Made, Progress, Script, Undone};
use agentos_system::{Machine, MachineOptions, Viewer};
use rustix::process::{Signal, getpid, kill_process};

type Outcome = Result<(), Box<dyn Error>>;

fn main() -> Outcome {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let ["plan" | "apply" | "make" | "progress" | "recover" | "undo", folder, rest @ ..] = words.as_slice()
    else {
        return Err("change_once plan|apply|make|progress|recover|undo FOLDER [MUTATION ARGUMENTS …]".into());
    };
    let folder = Path::new(folder);
    let machine = Machine::new(MachineOptions::default());
    let objects = Objects::open(&Options::new(folder.join("objects")))?;
    let context = Context { machine: &machine, objects: &objects, making: None };
    match (words[0], rest) {
        ("plan", steps) => plan(folder, steps, &context),
        ("make", steps) => {
            plan(folder, steps, &context)?;
            apply(&planned(folder)?, None, &context)
        }
        ("apply", []) => apply(&planned(folder)?, None, &context),
        ("apply", [number]) => apply(&planned(folder)?, Some(number.parse()?), &context),
        ("progress", []) => {
            println!("{:?}", planned(folder)?.progress(&context)?);
            Ok(())
        }
        ("recover", []) => recover(&planned(folder)?, &context),
        ("undo", []) => undo(&planned(folder)?, &context),
        _ => Err("too many arguments".into()),
    }
}

fn plan(folder: &Path, words: &[&str], context: &Context<'_>) -> Outcome {
    let mut steps = Vec::new();
    for step in words.chunks(2) {
        let [mutation, args] = step else { return Err("a mutation without arguments".into()) };
        steps.push(Step { mutation: (*mutation).to_owned(), args: serde_json::from_str(args)? });
    }
    let viewer = Viewer::default();
    let (prepared, batch) = context.machine.plan(&steps, &viewer, context.objects.batch())?;
    batch.commit(1)?;
    std::fs::write(folder.join("script.json"), serde_json::to_vec(&prepared.script)?)?;
    println!("{}", serde_json::to_string_pretty(&prepared.plan)?);
    Ok(())
}

fn planned(folder: &Path) -> Result<Script, Box<dyn Error>> {
    Ok(serde_json::from_slice(&std::fs::read(folder.join("script.json"))?)?)
}

fn apply(script: &Script, killed_before: Option<usize>, context: &Context<'_>) -> Outcome {
    script.check(context)?;
    carry_out(script, killed_before, context)
}

fn recover(script: &Script, context: &Context<'_>) -> Outcome {
    let progress = script.progress(context)?;
    println!("{progress:?}");
    let left = match progress {
        Progress::Nothing => Vec::new(),
        Progress::Part(count) => script.take_back(count, context),
        Progress::Scattered(made) => script.take_back_these(&made, context),
        Progress::All => script.take_back(script.len(), context),
        Progress::UnderWay(what) => return Err(what.into()),
        Progress::Unclear(found) => return Err(found.join("; ").into()),
    };
    if left.is_empty() { Ok(()) } else { Err(left.join("; ").into()) }
}

fn undo(script: &Script, context: &Context<'_>) -> Outcome {
    let viewer = Viewer::default();
    let (prepared, batch) =
        context.machine.plan_undo(&Undone::new(script, "it"), &viewer, context.objects.batch())?;
    batch.commit(2)?;
    apply(&prepared.script, None, context)
}

fn carry_out(script: &Script, killed_before: Option<usize>, context: &Context<'_>) -> Outcome {
    let before_each = |number| {
        if killed_before == Some(number) {
            let _ = kill_process(getpid(), Signal::KILL);
        }
    };
    match script.make(context, before_each) {
        Made::All => Ok(()),
        Made::TakenBack { error } => Err(format!("taken back: {error}").into()),
        Made::Stuck { error, left } => Err(format!("stuck: {error}; left: {left:?}").into()),
    }
}
