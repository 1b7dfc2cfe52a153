//! The database of changes cannot be written for a while. What the ledger holds meanwhile is not lost to it: no number is
//! given twice, and what had begun has an end.

use std::path::Path;
use std::sync::Arc;

use agentos_api::change::{ChangeFilter, DecideRequest, Decision, MutateRequest, Status, Step};
use agentos_api::event::{Actor, EventFilter, Order, TypeFilter};
use agentos_changes::{Asked, Changes, ChangesError, Judge, Options, Outcome, Ruling, Verdict};
use agentos_ledger::{Ledger, LedgerOptions};
use agentos_objects::Objects;
use agentos_system::change::Prepared;
use agentos_system::{Machine, MachineOptions};
use rusqlite::Connection;
use serde_json::{Value, json};

struct Fixed(Verdict);

impl Judge for Fixed {
    fn judge(&self, _: &[Step], _: &Prepared) -> Result<Ruling, String> {
        Ok(Ruling { verdict: self.0, rule: None, reason: None, id: "test".to_owned(), operator_only: false })
    }
}

fn open(state: &Path) -> (Arc<Ledger>, Changes) {
    let ledger = Arc::new(Ledger::open(&LedgerOptions::new(state, "ledger.example/test")).unwrap());
    let machine = Arc::new(Machine::new(MachineOptions {
        protected: vec![state.to_owned()],
        ..MachineOptions::default()
    }));
    let objects = Objects::open(&agentos_objects::Options::new(state.join("objects"))).unwrap();
    let changes = Changes::open(Options::new(state), Arc::clone(&ledger), machine, objects).unwrap();
    (ledger, changes)
}

fn asked(name: &str) -> Asked {
    Asked { actor: Actor::new(name).unwrap(), operator: name.starts_with("operator") }
}

fn write(changes: &Changes, path: &Path, verdict: Verdict) -> Result<Outcome, ChangesError> {
    let args = json!({"path": path, "content": "new\n"});
    let request = MutateRequest {
        mutation: Some("file.write".to_owned()),
        args: args.as_object().unwrap().clone(),
        reason: "a test".to_owned(),
        ..MutateRequest::default()
    };
    changes.mutate(&asked("agent:test"), &request, &Fixed(verdict))
}

/// Somebody holds the database: every write of it fails after SQLite's five seconds.
fn held(state: &Path) -> Connection {
    let connection = Connection::open(state.join("changes.db")).unwrap();
    connection.execute_batch("BEGIN IMMEDIATE").unwrap();
    connection
}

/// The numbers of changes that were planned, as the ledger has them.
fn planned(ledger: &Ledger) -> Vec<u64> {
    let filter = EventFilter {
        kind: Some(TypeFilter::Prefix("change.planned".to_owned())),
        order: Some(Order::Oldest),
        ..EventFilter::default()
    };
    let events = ledger.page(&filter).unwrap().events;
    let data = events.iter().map(|event| serde_json::from_str::<Value>(event.payload.get()).unwrap());
    data.map(|payload| payload["data"]["change"].as_u64().unwrap()).collect()
}

#[test]
fn a_number_is_given_once_and_what_had_begun_is_settled() {
    let folder = tempfile::tempdir().unwrap();
    let (state, work) = (folder.path().join("state"), folder.path().join("work"));
    std::fs::create_dir(&state).unwrap();
    std::fs::create_dir(&work).unwrap();
    let (ledger, changes) = open(&state);
    let holder = held(&state);
    write(&changes, &work.join("first"), Verdict::Allow).unwrap_err();
    assert!(!work.join("first").exists(), "what the list does not know was made");
    drop(holder);
    let Outcome::Done(second) = write(&changes, &work.join("second"), Verdict::Allow).unwrap() else {
        panic!("it waits")
    };
    assert_eq!(second.id, 2);
    assert_eq!(planned(&ledger), [1, 2]);
    changes.settle().unwrap();
    let first = changes.get(1).unwrap();
    assert_eq!(first.status, Status::Failed, "{first:?}");
    // Made anew from the ledger it is the same list.
    let list = changes.page(&ChangeFilter::default()).unwrap();
    drop(changes);
    drop(ledger);
    std::fs::remove_file(state.join("changes.db")).unwrap();
    let (_ledger, changes) = open(&state);
    assert_eq!(changes.page(&ChangeFilter::default()).unwrap(), list);
}

#[test]
fn a_grant_that_was_taken_away_is_gone() {
    let folder = tempfile::tempdir().unwrap();
    let (state, work) = (folder.path().join("state"), folder.path().join("work"));
    std::fs::create_dir(&state).unwrap();
    std::fs::create_dir(&work).unwrap();
    let (_ledger, changes) = open(&state);
    let Outcome::Waits(change) = write(&changes, &work.join("first"), Verdict::Ask).unwrap() else {
        panic!("it does not wait")
    };
    let operator = asked("operator:test");
    let yes = DecideRequest {
        decision: Decision::Approve,
        plan_hash: Some(change.plan.hash),
        reason: None,
        for_seconds: Some(agentos_api::Bounded::new(600).unwrap()),
    };
    changes.decide(change.id, &operator, &yes).unwrap();
    assert_eq!(changes.grants().unwrap().len(), 1);
    let holder = held(&state);
    changes.revoke(&operator, 1).unwrap_err();
    drop(holder);
    // It is on the ledger that it was taken away, so it holds no more.
    let next = write(&changes, &work.join("second"), Verdict::Ask).unwrap();
    assert!(matches!(next, Outcome::Waits(_)), "{next:?}");
}
