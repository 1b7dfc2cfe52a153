//! Plans, makes and takes back a change, without agentd: what the tests of a booted machine drive the library with.
//!
//! Reads one JSON object from standard input: `{"steps": [{"mutation": …, "args": …}], "do": …}` with `do` one of `plan`,
//! `make` (the default), `make_and_undo`. Prints one JSON object: the plan, and what became of it. The store is in a
//! temporary folder, which goes at the end. Runs as an operator.

use std::error::Error;
use std::io::Read as _;

use agentos_api::change::Step;
use agentos_objects::{Objects, Options};
use agentos_system::change::{Context, Made, Undone};
use agentos_system::{Machine, MachineOptions, Viewer};
use serde::Deserialize;
use serde_json::{Value, json};

#[derive(Deserialize)]
struct Request {
    steps: Vec<Step>,
    #[serde(default, rename = "do")]
    act: Act,
    /// Ask as the agent does.
    #[serde(default)]
    agent: bool,
}

#[derive(Default, Deserialize, PartialEq)]
#[serde(rename_all = "snake_case")]
enum Act {
    Plan,
    #[default]
    Make,
    MakeAndUndo,
}

fn made(made: &Made) -> Value {
    match made {
        Made::All => json!("all"),
        Made::TakenBack { error } => json!({ "taken_back": error.to_string() }),
        Made::Stuck { error, left } => json!({ "stuck": error.to_string(), "left": left }),
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut text = String::new();
    std::io::stdin().take(8 << 20).read_to_string(&mut text)?;
    let request: Request = serde_json::from_str(&text)?;
    let folder = std::env::temp_dir().join(format!("agentos-change-{}", std::process::id()));
    let answer = run(&request, &folder);
    let _ = std::fs::remove_dir_all(&folder);
    println!("{}", answer?);
    Ok(())
}

fn run(request: &Request, folder: &std::path::Path) -> Result<Value, Box<dyn Error>> {
    let machine = Machine::new(MachineOptions::default());
    let viewer = Viewer { operator: !request.agent, rules: None };
    let objects = Objects::open(&Options::new(folder))?;
    let context = Context { machine: &machine, objects: &objects };
    let (prepared, batch) = match machine.plan(&request.steps, &viewer, objects.batch()) {
        Ok(planned) => planned,
        Err(error) => return Ok(json!({ "refused": error.to_string() })),
    };
    batch.commit(1)?;
    let mut answer = json!({ "plan": prepared.plan });
    if request.act == Act::Plan {
        return Ok(answer);
    }
    let all = prepared.script.make(&context, |_| {});
    answer["made"] = made(&all);
    answer["progress"] = json!(format!("{:?}", prepared.script.progress(&context)?));
    if request.act == Act::MakeAndUndo && matches!(all, Made::All) {
        let (undo, batch) = match machine.plan_undo(
            &Undone::new(&prepared.script, &prepared.plan.summary),
            &viewer,
            objects.batch(),
        ) {
            Ok(planned) => planned,
            Err(error) => {
                answer["undo_refused"] = json!(error.to_string());
                return Ok(answer);
            }
        };
        batch.commit(2)?;
        answer["undo_plan"] = json!(undo.plan);
        answer["undone"] = made(&undo.script.make(&context, |_| {}));
    }
    Ok(answer)
}
