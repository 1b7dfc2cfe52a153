use std::fs;

use serde_json::Value;

use crate::support::{Agentd, Run, agentctl};

fn recorded() -> Agentd {
    let agentd = Agentd::start();
    for query in ["os", "time", "kernel"] {
        agentd.run(&["query", query]).with(0);
    }
    agentd
}

#[test]
fn an_event_is_proved_and_shown() {
    let agentd = recorded();
    let run = agentd.run(&["proof", "2"]).with(0);
    assert!(run.stdout.starts_with("The proof holds: event 2 is in the ledger of "), "{}", run.stdout);
    assert!(run.stderr.contains("The key came with the proof"), "{}", run.stderr);
    let key = agentd.state().join("ledger.vkey").display().to_string();
    let run = agentd.run(&["proof", "2", "--public-key", &key]).with(0);
    assert_eq!(run.stderr, "");
}

#[test]
fn a_kept_proof_is_checked_without_agentd() {
    let mut agentd = recorded();
    agentd.run(&["proof", "2", "--save", "event.json"]).with(0);
    let key = fs::read_to_string(agentd.state().join("ledger.vkey")).unwrap();
    agentd.stop();
    let verify = |file: &str| {
        let arguments = ["proof", "--verify", file, "--public-key", key.trim()];
        Run::of(agentctl().args(arguments).current_dir(agentd.path("")))
    };
    verify("event.json").with(0);

    let mut proof: Value = serde_json::from_slice(&fs::read(agentd.path("event.json")).unwrap()).unwrap();
    proof["event"]["actor"] = "operator/0".into();
    fs::write(agentd.path("forged.json"), proof.to_string()).unwrap();
    let run = verify("forged.json").with(1);
    assert!(run.stdout.starts_with("The proof does NOT hold: "), "{}", run.stdout);

    fs::write(agentd.path("garbage.json"), "{").unwrap();
    let run = verify("garbage.json").with(5);
    assert!(run.stderr.contains("Hint: Make one with"), "{}", run.stderr);
}

#[test]
fn a_proof_by_another_key_does_not_hold() {
    let agentd = recorded();
    let other = Agentd::start();
    let key = other.state().join("ledger.vkey").display().to_string();
    let run = agentd.run(&["proof", "1", "--public-key", &key, "--save", "event.json", "--json"]).with(1);
    assert_eq!(run.json()["holds"], false);
    assert!(!agentd.path("event.json").exists(), "a proof that does not hold is not kept");
}

#[test]
fn an_event_that_is_not_there_has_no_proof() {
    let agentd = recorded();
    let run = agentd.run(&["proof", "4000"]).with(4);
    assert!(run.stderr.contains("4000"), "{}", run.stderr);
    agentd.run(&["proof", "0"]).with(2);
    agentd.run(&["proof"]).with(2);
}
