//! Cosignatures of witnesses: who may bring them, which are kept, and what is recorded of them.

mod common;

use std::path::Path;
use std::process::Stdio;

use agentos_ledger::{Cosigner, VerifierKey, digest_from_base64};
use common::{Answer, Daemon, command, eventually, exchange, post_request};
use serde_json::{Value, json};

fn bring(daemon: &Daemon, note: &str) -> Answer {
    let body = json!({ "note": note }).to_string();
    exchange(&daemon.operator(), &post_request("/ledger/cosignatures", "", body.as_bytes()))
}

fn checkpoint(daemon: &Daemon) -> Value {
    daemon.get("/ledger/checkpoint").json()
}

fn text<'a>(value: &'a Value, field: &str) -> &'a str {
    value[field].as_str().unwrap()
}

/// A ledger's key, a witness of it in `directory`, and the configuration that names the witness.
fn witness(directory: &Path) -> (Cosigner, String) {
    let daemon = Daemon::start(directory);
    let key: VerifierKey = text(&checkpoint(&daemon), "public_key").parse().unwrap();
    assert!(daemon.stop().success());
    let witness = Cosigner::create(&directory.join("witness"), "witness.test/a", &key).unwrap();
    let more = format!("[ledger]\nwitnesses = [\"{}\"]", witness.key());
    (witness, more)
}

fn copy_ledger(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for name in ["ledger.db", "ledger.db-wal", "ledger.db-shm"] {
        drop(std::fs::remove_file(to.join(name)));
        if from.join(name).exists() {
            std::fs::copy(from.join(name), to.join(name)).unwrap();
        }
    }
}

#[test]
fn what_a_known_witness_cosigned_is_recorded_once_and_kept() {
    let directory = tempfile::tempdir().unwrap();
    let (witness, more) = witness(directory.path());
    let daemon = Daemon::start_with(directory.path(), &more);
    let first = checkpoint(&daemon);
    let seen = witness.cosign(text(&first, "note"), &[], 1_700_000_000).unwrap();
    let answer = bring(&daemon, &seen.note).json();
    assert_eq!(answer, json!({ "size": seen.head.size, "recorded": ["witness.test/a"] }));
    assert_eq!(bring(&daemon, &seen.note).json()["recorded"], json!([]));
    let events = daemon.events("ledger.cosigned");
    assert_eq!(events.len(), 1);
    assert_eq!(events[0]["payload"]["data"], json!({ "witness": "witness.test/a", "size": seen.head.size }));
    let kept = std::fs::read_to_string(directory.path().join("state/ledger.cosigned")).unwrap();
    assert_eq!(kept, format!("{}\n", seen.note));
    // What witnesses are told is what they can check.
    let later = checkpoint(&daemon);
    let path = format!("/ledger/consistency?from={}&to={}", seen.head.size, later["size"]);
    let proof = daemon.get(&path).json();
    let hashes: Vec<_> = proof["hashes"]
        .as_array()
        .unwrap()
        .iter()
        .map(|hash| digest_from_base64(hash.as_str().unwrap()).unwrap())
        .collect();
    let seen = witness.cosign(text(&later, "note"), &hashes, 1_700_000_001).unwrap();
    assert_eq!(bring(&daemon, &seen.note).json()["recorded"], json!(["witness.test/a"]));
    // Also after a restart it is known.
    assert!(daemon.stop().success());
    let daemon = Daemon::start_with(directory.path(), &more);
    assert_eq!(bring(&daemon, &seen.note).json()["recorded"], json!([]));
}

#[test]
fn nobody_else_is_believed_and_nothing_is_kept() {
    let directory = tempfile::tempdir().unwrap();
    let (witness, more) = witness(directory.path());
    let daemon = Daemon::start_with(directory.path(), &more);
    let own = checkpoint(&daemon);
    let note = text(&own, "note");
    let key: VerifierKey = text(&own, "public_key").parse().unwrap();
    let seen = witness.cosign(note, &[], 1_700_000_000).unwrap();
    let body = json!({ "note": seen.note }).to_string();
    daemon.post("/ledger/cosignatures", &body).problem(403, "forbidden");
    let stranger = Cosigner::create(&directory.path().join("stranger"), "witness.test/a", &key).unwrap();
    let strange = stranger.cosign(note, &[], 1_700_000_000).unwrap();
    for bad in [strange.note.as_str(), note, "", "no note", &seen.note.replace("\n\n", "\n1\n\n")] {
        let problem = bring(&daemon, bad).problem(422, "invalid_argument");
        assert_eq!(problem["field"], "note", "{problem}");
    }
    bring(&daemon, &format!("{}{}", "x".repeat(20_000), seen.note)).problem(413, "too_large");
    assert!(daemon.events("ledger.cosigned").is_empty());
    assert_eq!(daemon.events("ledger.cosigning_refused").len(), 1);
    assert!(!directory.path().join("state/ledger.cosigned").exists());
    for bad in ["", "?from=x", "?from=99999", "?from=2&to=1", "?from=1&size=2"] {
        daemon.get(&format!("/ledger/consistency{bad}")).problem(422, "invalid_argument");
    }
}

#[test]
fn a_ledger_that_was_put_back_is_noticed_by_what_it_signed_before() {
    let directory = tempfile::tempdir().unwrap();
    let (witness, more) = witness(directory.path());
    let (state, copy) = (directory.path().join("state"), directory.path().join("copy"));
    copy_ledger(&state, &copy);
    let daemon = Daemon::start_with(directory.path(), &more);
    for _ in 0..8 {
        assert_eq!(daemon.query("os", &json!({})).status, 200);
    }
    let seen = witness.cosign(text(&checkpoint(&daemon), "note"), &[], 1_700_000_000).unwrap();
    assert!(daemon.stop().success());
    copy_ledger(&copy, &state);
    let daemon = Daemon::start_with(directory.path(), &more);
    bring(&daemon, &seen.note).problem(409, "checkpoint_mismatch");
    assert!(daemon.events("ledger.cosigned").is_empty());
}

#[test]
fn a_checkpoint_is_written_into_the_log_and_not_at_each_request() {
    let directory = tempfile::tempdir().unwrap();
    let log = directory.path().join("log");
    let mut command = command(directory.path(), "");
    command.stderr(std::fs::File::create(&log).unwrap()).stdout(Stdio::null());
    let daemon = Daemon::spawn(directory.path(), command);
    let first = checkpoint(&daemon);
    for _ in 0..5 {
        daemon.query("os", &json!({}));
        checkpoint(&daemon);
    }
    let line = text(&first, "note").trim_end().replace('\n', "|");
    let said = eventually("the checkpoint in the log", || {
        let said = std::fs::read_to_string(&log).unwrap();
        said.contains(&line).then_some(said)
    });
    assert_eq!(said.matches("|\u{2014} ").count(), 1, "{said}");
}

#[test]
fn a_witness_is_believed_after_a_reload_and_no_longer_after_another() {
    let directory = tempfile::tempdir().unwrap();
    let (witness, more) = witness(directory.path());
    let daemon = Daemon::start(directory.path());
    let offered = checkpoint(&daemon);
    let seen = witness.cosign(text(&offered, "note"), &[], 1_700_000_000).unwrap();
    bring(&daemon, &seen.note).problem(422, "invalid_argument");
    let loaded = |count: usize| {
        daemon.signal(rustix::process::Signal::HUP);
        eventually("the configuration is loaded", || {
            let events = daemon.events("config.loaded");
            (events.len() == count).then(|| events[count - 1]["payload"]["data"].clone())
        })
    };
    common::configure(directory.path(), &more);
    let event = loaded(1);
    assert_eq!(event["applied"], json!({ "ledger.witnesses": [witness.key().to_string()] }));
    assert_eq!(event["needs_restart"], json!([]));
    let answer = eventually("it is believed", || {
        let answer = bring(&daemon, &seen.note);
        (answer.status == 200).then(|| answer.json())
    });
    assert_eq!(answer["recorded"], json!(["witness.test/a"]));
    common::configure(directory.path(), "");
    loaded(2);
    eventually("it is believed no longer", || (bring(&daemon, &seen.note).status == 422).then_some(()));
}
