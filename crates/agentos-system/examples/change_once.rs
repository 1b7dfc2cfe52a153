//! Makes one change of this machine without agentd, or takes it back: for tests in machines that are thrown away.
//!
//! ```text
//! change_once make FOLDER MUTATION ARGUMENTS    plans and makes it, prints the plan, keeps it in FOLDER
//! change_once undo FOLDER                       takes back what was made last there
//! ```

use std::error::Error;
use std::path::Path;

use agentos_api::change::Step;
use agentos_objects::{Objects, Options};
use agentos_system::change::{Context, Made, Script, Undone};
use agentos_system::{Machine, MachineOptions, Viewer};

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["make", folder, mutation, args] => {
            let step = Step { mutation: (*mutation).to_owned(), args: serde_json::from_str(args)? };
            make(Path::new(folder), &step)
        }
        ["undo", folder] => undo(Path::new(folder)),
        _ => Err("change_once make FOLDER MUTATION ARGUMENTS, or change_once undo FOLDER".into()),
    }
}

fn make(folder: &Path, step: &Step) -> Result<(), Box<dyn Error>> {
    let machine = Machine::new(MachineOptions::default());
    let objects = Objects::open(&Options::new(folder.join("objects")))?;
    let viewer = Viewer::default();
    let (prepared, batch) = machine.plan(std::slice::from_ref(step), &viewer, objects.batch())?;
    batch.commit(1)?;
    std::fs::write(folder.join("script.json"), serde_json::to_vec(&prepared.script)?)?;
    println!("{}", serde_json::to_string_pretty(&prepared.plan)?);
    carry_out(&prepared.script, &Context { machine: &machine, objects: &objects })
}

fn undo(folder: &Path) -> Result<(), Box<dyn Error>> {
    let machine = Machine::new(MachineOptions::default());
    let objects = Objects::open(&Options::new(folder.join("objects")))?;
    let script: Script = serde_json::from_slice(&std::fs::read(folder.join("script.json"))?)?;
    let viewer = Viewer::default();
    let (prepared, batch) = machine.plan_undo(&Undone::new(&script, "it"), &viewer, objects.batch())?;
    batch.commit(2)?;
    carry_out(&prepared.script, &Context { machine: &machine, objects: &objects })
}

fn carry_out(script: &Script, context: &Context<'_>) -> Result<(), Box<dyn Error>> {
    match script.make(context, |_| {}) {
        Made::All => Ok(()),
        Made::TakenBack { error } => Err(error.into()),
        Made::Stuck { error, left } => Err(format!("{error}; left: {left:?}").into()),
    }
}
