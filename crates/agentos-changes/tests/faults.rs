//! agentd is killed at every step of a change's life. Afterwards the ledger, the list and the files agree, and nothing is
//! half done.

use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use agentos_api::change::{ChangeFilter, DecideRequest, Decision, MutateRequest, Status, Step, UndoRequest};
use agentos_api::event::Actor;
use agentos_changes::{Asked, BeforeStep, Changes, Judge, Options, Outcome, Ruling, Verdict};
use agentos_ledger::{Ledger, LedgerOptions, VerifyOptions, verify};
use agentos_objects::Objects;
use agentos_system::change::Prepared;
use agentos_system::{Machine, MachineOptions};
use serde_json::json;

/// Where the child is to work, and at which step it is to end.
const FOLDER: &str = "AGENTOS_TEST_FOLDER";
const END_AT: &str = "AGENTOS_TEST_END_AT";

struct Fixed(Verdict);

impl Judge for Fixed {
    fn judge(&self, _: &[Step], _: &Prepared) -> Result<Ruling, String> {
        Ok(Ruling { verdict: self.0, rule: None, reason: None, id: "test".to_owned(), operator_only: false })
    }
}

fn open(folder: &Path, before_step: Option<BeforeStep>) -> (Arc<Ledger>, Changes) {
    let state = folder.join("state");
    std::fs::create_dir_all(&state).unwrap();
    let ledger = Arc::new(Ledger::open(&LedgerOptions::new(&state, "ledger.example/test")).unwrap());
    let machine = Arc::new(Machine::new(MachineOptions {
        protected: vec![state.clone()],
        ..MachineOptions::default()
    }));
    let objects = Objects::open(&agentos_objects::Options::new(state.join("objects"))).unwrap();
    let mut options = Options::new(&state);
    options.before_step = before_step;
    let changes = Changes::open(options, Arc::clone(&ledger), machine, objects).unwrap();
    (ledger, changes)
}

fn asked(operator: bool) -> Asked {
    let actor = Actor::new(if operator { "operator:test" } else { "agent:test" }).unwrap();
    Asked { actor, operator }
}

/// A life: a change that waits and is approved; one of several steps that is made at once; both taken back.
fn live(changes: &Changes, work: &Path) {
    let step = |mutation: &str, args: serde_json::Value| Step {
        mutation: mutation.to_owned(),
        args: args.as_object().unwrap().clone(),
    };
    let request =
        |steps: Vec<Step>| MutateRequest { steps, reason: "a test".to_owned(), ..MutateRequest::default() };
    let write = step("file.write", json!({"path": work.join("first"), "content": "new\n"}));
    let waits = changes.mutate(&asked(false), &request(vec![write]), &Fixed(Verdict::Ask)).unwrap();
    let Outcome::Waits(waits) = waits else { panic!("it did not wait") };
    let yes = DecideRequest {
        decision: Decision::Approve,
        plan_hash: Some(waits.plan.hash),
        reason: None,
        for_seconds: Some(agentos_api::Bounded::new(60).unwrap()),
    };
    changes.decide(waits.id, &asked(true), &yes).unwrap();
    let several = vec![
        step("file.mkdir", json!({"path": work.join("folder")})),
        step("file.write", json!({"path": work.join("folder/inside"), "content": "inside\n"})),
        step("file.delete", json!({"path": work.join("second")})),
        step("file.chmod", json!({"path": work.join("third"), "mode": "0600"})),
    ];
    let made = changes.mutate(&asked(false), &request(several), &Fixed(Verdict::Allow)).unwrap();
    let Outcome::Done(made) = made else { panic!("it waits") };
    let undo = UndoRequest { reason: "a test".to_owned(), ..UndoRequest::default() };
    for change in [made.id, waits.id] {
        changes.undo(change, &asked(true), &undo, &Fixed(Verdict::Allow)).unwrap();
    }
}

/// What the parent runs itself as; nothing when it is run as a test among others.
#[test]
fn child() {
    let (Ok(folder), Ok(end_at)) = (std::env::var(FOLDER), std::env::var(END_AT)) else { return };
    let end_at: usize = end_at.parse().unwrap();
    let folder = Path::new(&folder);
    let steps = AtomicUsize::new(0);
    let before_step = move |_: &str| {
        if steps.fetch_add(1, Ordering::Relaxed) == end_at {
            // As kill -9 would: nothing is flushed, dropped or told.
            std::process::abort();
        }
    };
    let (_ledger, changes) = open(folder, Some(Arc::new(before_step)));
    live(&changes, &folder.join("work"));
}

#[test]
fn a_cut_at_any_step_leaves_nothing_half_done() {
    let mut cuts = 0;
    let mut ends = std::collections::BTreeSet::new();
    for end_at in 0.. {
        let folder = tempfile::tempdir().unwrap();
        let work = folder.path().join("work");
        std::fs::create_dir(&work).unwrap();
        std::fs::write(work.join("first"), "old\n").unwrap();
        std::fs::write(work.join("second"), "second\n").unwrap();
        std::fs::write(work.join("third"), "third\n").unwrap();
        let output = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "child", "--nocapture"])
            .env(FOLDER, folder.path())
            .env(END_AT, end_at.to_string())
            .output()
            .unwrap();
        let whole = output.status.success();
        if !whole {
            assert_eq!(output.status.signal(), Some(6), "{}", String::from_utf8_lossy(&output.stderr));
            cuts += 1;
        }
        let (ledger, changes) = open(folder.path(), None);
        ends.insert(agrees(&changes, &work, &format!("cut at step {end_at}")));
        drop(changes);
        let path = ledger.path().to_owned();
        drop(ledger);
        verify(&path, VerifyOptions::default()).unwrap();
        if whole {
            break;
        }
    }
    assert!(cuts > 20, "only {cuts} steps were cut at");
    // The cuts led to different ends: before, between and after.
    assert!(ends.len() >= 4, "{ends:?}");
}

/// What is listed is what is there. Answers how everything stands.
fn agrees(changes: &Changes, work: &Path, when: &str) -> String {
    let page = changes.page(&ChangeFilter::default()).unwrap();
    let status = |id: u64| page.changes.iter().find(|change| change.id == id).map(|change| change.status);
    let first = std::fs::read_to_string(work.join("first")).unwrap();
    let made = |status: Option<Status>| status == Some(Status::Applied);
    assert_eq!(first == "new\n", made(status(1)), "{when}: first is {first:?}, and {page:?}");
    let second = made(status(2));
    assert_eq!(work.join("folder/inside").exists(), second, "{when}: {page:?}");
    assert_eq!(work.join("folder").exists(), second, "{when}: {page:?}");
    assert_eq!(work.join("second").exists(), !second, "{when}: {page:?}");
    let rights = std::fs::metadata(work.join("third")).unwrap().permissions().mode() & 0o777;
    assert_eq!(rights == 0o600, second, "{when}: {rights:o}, {page:?}");
    for entry in std::fs::read_dir(work).unwrap() {
        let name = entry.unwrap().file_name();
        assert!(!name.to_string_lossy().starts_with('.'), "{when}: {} was left behind", name.display());
    }
    for change in &page.changes {
        assert!(change.status.is_final() || change.status == Status::Waiting, "{when}: {change:?}");
        assert_ne!(change.status, Status::Unknown, "{when}: {change:?}");
        if change.status == Status::Undone {
            assert!(made(change.undone_by.and_then(status)), "{when}: {page:?}");
        }
    }
    let mut all: Vec<String> = page.changes.iter().map(|change| change.status.as_str().to_owned()).collect();
    all.reverse();
    all.join(" ")
}
