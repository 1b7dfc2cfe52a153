use std::fs;

use insta::assert_snapshot;
use rusqlite::Connection;

use crate::support::{Agentd, Run, agentctl};

/// An agentd that recorded some events and stopped.
fn recorded() -> Agentd {
    let mut agentd = Agentd::start();
    for query in ["os", "time", "kernel", "users", "groups"] {
        agentd.run(&["query", query]).with(0);
    }
    agentd.run(&["checkpoint", "--save", "kept"]).with(0);
    fs::copy(agentd.state().join("ledger.vkey"), agentd.path("kept.vkey")).unwrap();
    agentd.run(&["query", "memory"]).with(0);
    agentd.stop();
    agentd
}

fn verify(agentd: &Agentd, options: &[&str]) -> Run {
    agentd.run(&[&["verify-ledger", "--state-dir", "state"], options].concat())
}

fn tamper(agentd: &Agentd, statement: &str) {
    let database = Connection::open(agentd.state().join("ledger.db")).unwrap();
    assert!(database.execute(statement, []).unwrap() > 0, "{statement} changed nothing");
}

#[test]
fn a_whole_ledger_is_found_whole_while_agentd_runs() {
    let agentd = Agentd::start();
    agentd.run(&["query", "os"]).with(0);
    let run = verify(&agentd, &[]).with(0);
    assert!(run.stdout.starts_with("The ledger is whole.\n"), "{}", run.stdout);
    assert!(run.stderr.contains("--trusted"), "{}", run.stderr);
}

#[test]
fn with_a_trusted_checkpoint_only_what_is_new_is_read() {
    let agentd = recorded();
    let run = verify(&agentd, &["--trusted", "kept", "--public-key", "kept.vkey", "--json"]).with(0);
    let report = &run.json()["report"];
    assert_eq!(report["trusted"], report["size"].as_u64().unwrap() - report["read"].as_u64().unwrap());
    assert_eq!(run.json()["verdict"], "whole_since_trusted");
    let full = verify(&agentd, &["--trusted", "kept", "--full", "--json"]).with(0);
    assert_eq!(full.json()["report"]["read"], report["size"]);
}

#[test]
fn an_edit_below_the_trusted_checkpoint_is_never_called_whole_and_found_by_reading_all() {
    let agentd = recorded();
    tamper(&agentd, "UPDATE events SET payload = replace(payload, 'agentd', 'nobody') WHERE id = 1");
    let quick = verify(&agentd, &["--trusted", "kept"]).with(0);
    assert!(
        quick.stdout.starts_with("The ledger is whole from the trusted checkpoint on.\n"),
        "{}",
        quick.stdout
    );
    assert!(quick.stdout.contains("--full"), "{}", quick.stdout);
    let full = verify(&agentd, &["--trusted", "kept", "--full"]).with(1);
    assert!(full.stdout.contains("event 1"), "{}", full.stdout);
}

#[test]
fn an_edited_event_is_named() {
    let agentd = recorded();
    tamper(&agentd, "UPDATE events SET actor = 'operator/0' WHERE id = 3");
    let run = verify(&agentd, &[]).with(1);
    assert_eq!(run.stdout.lines().next().unwrap().split(':').next().unwrap(), "The ledger is NOT whole");
    assert!(run.stdout.contains("3; all before it are as they were recorded"), "{}", run.stdout);
    assert!(run.stderr.contains("as evidence"), "{}", run.stderr);
    let json = verify(&agentd, &["--json"]).with(1).json();
    assert_eq!((&json["verdict"], &json["violation"]["first"]), (&"tampered".into(), &3.into()));
}

#[test]
fn a_cut_tail_and_an_emptied_table_are_found() {
    let agentd = recorded();
    tamper(&agentd, "DELETE FROM events WHERE id > 4");
    assert!(verify(&agentd, &[]).with(1).stdout.contains("tail_missing"));
    tamper(&agentd, "DELETE FROM events");
    verify(&agentd, &[]).with(1);
}

#[test]
fn a_ledger_begun_anew_does_not_pass_for_the_old_one() {
    let agentd = recorded();
    let other = recorded();
    for name in ["ledger.db", "ledger.db-wal", "ledger.db-shm", "ledger.key", "ledger.vkey"] {
        let (from, to) = (other.state().join(name), agentd.state().join(name));
        if from.exists() {
            fs::copy(from, to).unwrap();
        } else {
            drop(fs::remove_file(to));
        }
    }
    // Whole in itself, and not the one whose checkpoint was kept.
    verify(&agentd, &[]).with(0);
    let run = verify(&agentd, &["--trusted", "kept"]).with(1);
    assert!(run.stdout.contains("the trusted checkpoint in kept is not the ledger's"), "{}", run.stdout);
    verify(&agentd, &["--trusted", "kept", "--public-key", "kept.vkey"]).with(1);
}

#[test]
fn a_missing_ledger_is_tampering_where_there_was_one_and_unknown_where_there_was_none() {
    let agentd = recorded();
    for name in ["ledger.db", "ledger.db-wal", "ledger.db-shm"] {
        drop(fs::remove_file(agentd.state().join(name)));
    }
    let run = verify(&agentd, &[]).with(1);
    assert!(run.stdout.contains("the ledger's database is missing, but"), "{}", run.stdout);
    let nowhere = agentd.run(&["verify-ledger", "--state-dir", "/nonexistent"]).with(5);
    assert_snapshot!(nowhere.stderr, @r"
    Error: there is no ledger at /nonexistent/ledger.db
    Hint: Name the database, or agentd's state directory with --state-dir.
    ");
    assert!(!agentd.state().join("ledger.db").exists(), "verification made a database");
}

#[test]
fn what_cannot_be_checked_is_not_called_tampered() {
    let agentd = recorded();
    fs::write(agentd.path("garbage"), "this is no checkpoint\n\nat all\n").unwrap();
    for options in [
        ["--trusted", "garbage"],
        ["--trusted", "no-such-file"],
        ["--public-key", "no-such-file"],
        ["--public-key", "garbage"],
    ] {
        let run = verify(&agentd, &options).with(5);
        assert!(run.stderr.contains("Hint: "), "{options:?}: {}", run.stderr);
        assert_eq!(run.stdout, "");
    }
}

#[test]
fn a_copy_can_be_verified_by_its_path() {
    let agentd = recorded();
    fs::create_dir(agentd.path("copy")).unwrap();
    for name in ["ledger.db", "ledger.db-wal", "ledger.db-shm"] {
        let from = agentd.state().join(name);
        if from.exists() {
            fs::copy(from, agentd.path("copy").join(name)).unwrap();
        }
    }
    for path in ["copy", "copy/ledger.db"] {
        let run = agentd.run(&["verify-ledger", path]).with(0);
        assert!(run.stdout.contains("signatures not checked: no public key"), "{}", run.stdout);
    }
}

#[test]
fn the_help_says_what_is_found_and_what_is_not() {
    let help = Run::of(agentctl().args(["verify-ledger", "--help"])).with(0).stdout;
    let help = help.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(help.contains("cannot be found: keep one with `agentctl checkpoint --save`"), "{help}");
}
