//! What deleting a folder and taking that back costs, by the number of its files; beside cp(1) and rm(1) of coreutils.
//!
//! `cargo bench --package agentos-system --bench changes`

use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use agentos_api::change::Step;
use agentos_api::query::path::encode;
use agentos_objects::{Objects, Options};
use agentos_system::change::{Context, Made, Script, Undone};
use agentos_system::{Machine, MachineOptions, Viewer};

const SIZES: [u32; 3] = [100, 1_000, 10_000];
const ROUNDS: u32 = 3;

fn main() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let directory = folder.path().join("state");
    let machine =
        Machine::new(MachineOptions { protected: vec![directory.clone()], ..MachineOptions::default() });
    let objects = Objects::open(&Options::new(directory)).expect("a store");
    let context = Context { machine: &machine, objects: &objects, making: None };
    println!("files   plan ms  delete ms  undo ms  per file µs   × rm + cp -a + sync");
    for size in SIZES {
        let tree = folder.path().join(format!("tree-{size}"));
        let mut best = [Duration::MAX; 4];
        for round in 0..ROUNDS {
            fill(&tree, size);
            let copy = folder.path().join("copy");
            let peer = timed(|| {
                run(Command::new("cp").arg("-a").arg(&tree).arg(&copy));
                run(Command::new("sync").arg("-f").arg(&copy));
                run(Command::new("rm").arg("-r").arg(&copy));
            })
            .0;
            let (plan, script) = timed(|| plan(&machine, &objects, &tree, u64::from(size * ROUNDS + round)));
            let (delete, ()) = timed(|| make(&script, &context));
            let (undo, ()) = timed(|| take_back(&machine, &objects, &script, &context));
            for (best, now) in best.iter_mut().zip([plan, delete, undo, peer]) {
                *best = now.min(*best);
            }
            fs::remove_dir_all(&tree).expect("the folder is back");
        }
        let [plan, delete, undo, peer] = best.map(|time| time.as_secs_f64());
        println!(
            "{size:>6} {:>8.1} {:>10.1} {:>8.1} {:>12.1} {:>20.1}",
            plan * 1e3,
            delete * 1e3,
            undo * 1e3,
            (plan + delete + undo) * 1e6 / f64::from(size),
            (plan + delete + undo) / peer
        );
    }
}

fn fill(tree: &Path, size: u32) {
    for number in 0..size {
        let folder = tree.join(format!("{}", number / 100));
        if number % 100 == 0 {
            fs::create_dir_all(&folder).expect("a folder");
        }
        fs::write(folder.join(number.to_string()), format!("content of {number}\n").repeat(20))
            .expect("a file");
    }
}

fn plan(machine: &Machine, objects: &Objects, tree: &Path, holder: u64) -> Script {
    let args = serde_json::json!({"path": encode(tree.as_os_str().as_bytes()), "recursive": true});
    let args = args.as_object().cloned().unwrap_or_default();
    let step = Step { mutation: "file.delete".to_owned(), args };
    let viewer = Viewer::default();
    let (prepared, batch) = machine.plan(&[step], &viewer, objects.batch()).expect("a plan");
    batch.commit(2 * holder).expect("room");
    prepared.script
}

fn make(script: &Script, context: &Context<'_>) {
    let made = script.make(context, |_| {});
    assert!(matches!(made, Made::All), "{made:?}");
}

fn take_back(machine: &Machine, objects: &Objects, script: &Script, context: &Context<'_>) {
    let viewer = Viewer::default();
    let undone = Undone::new(script, "it");
    let (prepared, _) = machine.plan_undo(&undone, &viewer, objects.batch()).expect("a way back");
    make(&prepared.script, context);
}

fn timed<T>(work: impl FnOnce() -> T) -> (Duration, T) {
    let started = Instant::now();
    let result = work();
    (started.elapsed(), result)
}

fn run(command: &mut Command) {
    assert!(command.status().expect("coreutils").success());
}
