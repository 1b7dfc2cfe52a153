//! Questions that a rule asks about, over time and cut off at each step: nothing has an effect that is not on the ledger.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use agentos_api::change::{DecideRequest, Decision};
use agentos_api::event::Actor;
use agentos_api::question::{Question, Standing};
use agentos_changes::{Asked, Asking, Changes, ChangesError, Consent, Options};
use agentos_ledger::{Ledger, LedgerOptions};
use agentos_objects::Objects;
use agentos_system::{Machine, MachineOptions};
use serde_json::{Map, Value, json};

fn open(state: &Path, options: Options) -> Changes {
    let ledger = Arc::new(Ledger::open(&LedgerOptions::new(state, "ledger.example/test")).unwrap());
    let machine = Arc::new(Machine::new(MachineOptions::default()));
    let objects = Objects::open(&agentos_objects::Options::new(state.join("objects"))).unwrap();
    Changes::open(options, ledger, machine, objects).unwrap()
}

fn args() -> Map<String, Value> {
    json!({"path": "/etc/sudoers"}).as_object().unwrap().clone()
}

fn ask(changes: &Changes) -> Result<Consent, ChangesError> {
    let (actor, args) = (Actor::new("agent:test/main").unwrap(), args());
    let asking = Asking {
        actor: &actor,
        query: "file",
        args: &args,
        rules: &["rule".to_owned()],
        rule: None,
        because: None,
        operator_only: false,
        names: &["/etc/sudoers".to_owned()],
    };
    changes.consent(&asking, &|_| Ok(()))
}

fn waits(changes: &Changes) -> Question {
    match ask(changes).unwrap() {
        Consent::Waits { question, .. } => question,
        other => panic!("{other:?}"),
    }
}

fn approve(changes: &Changes, question: &Question) -> Result<Question, ChangesError> {
    let request = DecideRequest {
        decision: Decision::Approve,
        plan_hash: Some(question.hash.clone()),
        reason: None,
        for_seconds: None,
    };
    let by = Asked { actor: Actor::new("operator:test").unwrap(), operator: true };
    changes.decide_question(question.id, &by, &request)
}

#[test]
fn a_yes_that_is_not_used_in_time_is_none() {
    let folder = tempfile::tempdir().unwrap();
    let options = Options { expire_after: Duration::from_secs(1), ..Options::new(folder.path()) };
    let changes = open(folder.path(), options);
    let first = waits(&changes);
    approve(&changes, &first).unwrap();
    std::thread::sleep(Duration::from_millis(1100));
    let second = waits(&changes);
    assert_ne!(first.id, second.id);
    assert_eq!(changes.question(first.id).unwrap().status, Standing::Expired);
    // Nor can what has expired be decided on.
    std::thread::sleep(Duration::from_millis(1100));
    assert!(matches!(approve(&changes, &second), Err(ChangesError::Conflict(_))));
    changes.settle().unwrap();
    assert_eq!(changes.question(second.id).unwrap().status, Standing::Expired);
    assert_eq!(changes.waiting_questions().unwrap(), []);
}

#[test]
fn a_cut_before_a_step_leaves_it_undone() {
    for step in ["question.waiting", "question.approved", "question.used"] {
        let folder = tempfile::tempdir().unwrap();
        let cut: agentos_changes::BeforeStep = Arc::new(move |name| assert_ne!(name, step, "cut"));
        let options = Options { before_step: Some(cut), ..Options::new(folder.path()) };
        let changes = open(folder.path(), options);
        let ended = catch_unwind(AssertUnwindSafe(|| {
            let question = waits(&changes);
            approve(&changes, &question).unwrap();
            ask(&changes).unwrap()
        }));
        assert!(ended.is_err(), "{step} was not reached");
        drop(changes);
        // Another process finds it as the ledger has it.
        let changes = open(folder.path(), Options::new(folder.path()));
        match step {
            "question.used" => assert!(matches!(ask(&changes).unwrap(), Consent::Given(_)), "{step}"),
            _ => assert_eq!(waits(&changes).id, 1, "{step}"),
        }
        assert!(!matches!(ask(&changes).unwrap(), Consent::Given(_)), "{step}: a yes was given twice");
    }
}

#[test]
fn what_has_no_canonical_form_is_not_asked_about() {
    let folder = tempfile::tempdir().unwrap();
    let changes = open(folder.path(), Options::new(folder.path()));
    let actor = Actor::new("agent:test").unwrap();
    // Readers of JSON would take it for another number.
    let args = json!({"path": "/x", "offset": u64::MAX}).as_object().unwrap().clone();
    let asking = Asking {
        actor: &actor,
        query: "file",
        args: &args,
        rules: &["rule".to_owned()],
        rule: None,
        because: None,
        operator_only: false,
        names: &[],
    };
    assert!(matches!(changes.consent(&asking, &|_| Ok(())), Err(ChangesError::Data(_))));
    assert_eq!(changes.waiting_questions().unwrap(), []);
}
