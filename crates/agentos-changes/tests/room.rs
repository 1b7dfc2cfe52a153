//! What a change needs that is not at its end stays in the store, however much else wants the room.

use std::path::Path;
use std::sync::Arc;

use agentos_api::change::{DecideRequest, Decision, MutateRequest, Status, Step, UndoRequest};
use agentos_api::event::Actor;
use agentos_changes::{Asked, Changes, Judge, Options, Outcome, Ruling, Verdict};
use agentos_ledger::{Ledger, LedgerOptions};
use agentos_objects::Objects;
use agentos_system::change::Prepared;
use agentos_system::{Machine, MachineOptions};
use serde_json::json;

struct Fixed(Verdict);

impl Judge for Fixed {
    fn judge(&self, _: &[Step], _: &Prepared) -> Result<Ruling, String> {
        Ok(Ruling { verdict: self.0, rule: None, reason: None, id: "test".to_owned(), operator_only: false })
    }
}

fn open(state: &Path) -> Changes {
    let ledger = Arc::new(Ledger::open(&LedgerOptions::new(state, "ledger.example/test")).unwrap());
    let machine = Arc::new(Machine::new(MachineOptions::default()));
    let mut options = agentos_objects::Options::new(state.join("objects"));
    options.quota_bytes = 400_000;
    let objects = Objects::open(&options).unwrap();
    Changes::open(Options::new(state), ledger, machine, objects).unwrap()
}

fn asked() -> Asked {
    Asked { actor: Actor::new("agent:test").unwrap(), operator: false }
}

/// Writes 30,000 bytes, another content each time.
fn write(changes: &Changes, path: &Path, number: usize, verdict: Verdict) -> Outcome {
    let args = json!({"path": path, "content": format!("{number:030000}")});
    let request = MutateRequest {
        mutation: Some("file.write".to_owned()),
        args: args.as_object().unwrap().clone(),
        reason: "a test".to_owned(),
        ..MutateRequest::default()
    };
    changes.mutate(&asked(), &request, &Fixed(verdict)).unwrap()
}

#[test]
fn what_waits_makes_no_room_also_after_a_new_start() {
    let folder = tempfile::tempdir().unwrap();
    let (state, file) = (folder.path().join("state"), folder.path().join("file"));
    std::fs::create_dir(&state).unwrap();
    let Outcome::Waits(waits) = write(&open(&state), &file, 0, Verdict::Ask) else {
        panic!("it did not wait")
    };
    let changes = open(&state);
    let mut made = Vec::new();
    for number in 1..=6 {
        let other = folder.path().join("other");
        let Outcome::Done(done) = write(&changes, &other, number, Verdict::Allow) else { panic!("it waits") };
        made.push(done.id);
    }
    // The oldest of what is made gave its place; what waits did not.
    let undo = UndoRequest { reason: "a test".to_owned(), with_dependents: true, ..UndoRequest::default() };
    assert!(changes.undo(made[0], &asked(), &undo, &Fixed(Verdict::Allow)).is_err());
    let yes = DecideRequest {
        decision: Decision::Approve,
        plan_hash: Some(waits.plan.hash),
        reason: None,
        for_seconds: None,
    };
    assert_eq!(changes.decide(waits.id, &asked(), &yes).unwrap().status, Status::Applied);
    assert_eq!(std::fs::read_to_string(&file).unwrap(), format!("{:030000}", 0));
}
