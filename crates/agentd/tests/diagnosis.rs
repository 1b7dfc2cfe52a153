//! A ledger that is not what was recorded: agentd says so and what to do, shows what can be believed, and writes nothing.

mod common;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use common::{Daemon, Notifications, command, eventually, exchange, post_request, refused};
use serde_json::{Value, json};

/// Everything below a directory: what is in it and when it was written.
fn contents(directory: &Path) -> BTreeMap<PathBuf, (Vec<u8>, SystemTime)> {
    let mut found = BTreeMap::new();
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        let modified = path.symlink_metadata().unwrap().modified().unwrap();
        if path.is_dir() {
            found.insert(path.clone(), (Vec::new(), modified));
            found.extend(contents(&path));
        } else {
            found.insert(path.clone(), (std::fs::read(&path).unwrap(), modified));
        }
    }
    found
}

/// A state directory with a ledger of some events, left in order.
fn recorded(directory: &Path) -> PathBuf {
    let daemon = Daemon::start(directory);
    for _ in 0..9 {
        assert_eq!(daemon.query("os", &json!({})).status, 200);
    }
    let state = directory.join("state");
    assert!(daemon.stop().success());
    state
}

fn edit(state: &Path, sql: &str) {
    let connection = rusqlite::Connection::open(state.join("ledger.db")).unwrap();
    connection.execute_batch(sql).unwrap();
}

/// The diagnosis once all was read.
fn examined(daemon: &Daemon) -> Value {
    eventually("the examination", || {
        let diagnosis = daemon.get("/ledger/diagnosis").json();
        (diagnosis["examination"]["finished"] == true).then_some(diagnosis)
    })
}

fn steps(diagnosis: &Value) -> String {
    diagnosis["next_steps"]
        .as_array()
        .unwrap()
        .iter()
        .map(|step| step.as_str().unwrap())
        .collect::<Vec<_>>()
        .join("\n")
}

#[test]
fn an_edited_ledger_is_diagnosed_and_nothing_in_its_directory_is_written() {
    let directory = tempfile::tempdir().unwrap();
    let state = recorded(directory.path());
    edit(&state, "UPDATE events SET payload = replace(payload, '\"os\"', '\"ps\"') WHERE id = 8");
    let before = contents(&state);
    let mut command = command(directory.path(), "");
    let notified = Notifications::listen(directory.path(), &mut command);
    let daemon = Daemon::spawn(directory.path(), command);
    let said = notified.next();
    assert_eq!(said[0], "READY=1");
    assert!(
        said[1].starts_with("STATUS=the ledger is not whole") && said[1].contains("agentctl health"),
        "{said:?}"
    );

    let health = daemon.get("/health").json();
    assert_eq!((&health["status"], &health["ledger"]["writable"]), (&json!("degraded"), &json!(false)));
    assert!(health["ledger"]["reason"].as_str().unwrap().contains("event 8"), "{health}");
    let diagnosis = examined(&daemon);
    assert_eq!(diagnosis["state"], "not_whole");
    assert_eq!(diagnosis["damage"]["kind"], "hash_mismatch");
    assert_eq!(diagnosis["damage"]["first"], 8);
    assert_eq!(diagnosis["examination"]["damage"]["first"], 8);
    assert_eq!(diagnosis["examination"]["readable"], 7);
    let steps = steps(&diagnosis);
    for named in ["as evidence", "agentctl verify-ledger --full", "whole copy", "new ledger, on purpose"] {
        assert!(steps.contains(named), "{named}: {steps}");
    }
    // What stands before the edit is shown; the edit, and what follows it, is not.
    let ids = |path: &str| {
        let page = daemon.get(path).json();
        page["events"]
            .as_array()
            .unwrap()
            .iter()
            .map(|event| event["id"].as_u64().unwrap())
            .collect::<Vec<_>>()
    };
    assert_eq!(ids("/events/log?order=oldest"), (1..=7).collect::<Vec<_>>());
    assert_eq!(ids("/events/log?after=7"), Vec::<u64>::new());
    assert_eq!(ids("/events/log?type=agentd.start"), [1]);

    // Everything else is refused, and says where to look.
    for path in [
        "/catalog",
        "/openapi.json",
        "/events/stream",
        "/events/3/proof",
        "/ledger/checkpoint",
        "/memory/health",
        "/changes",
        "/changes/1",
        "/approvals",
        "/grants",
    ] {
        let problem = daemon.get(path).problem(503, "ledger_unavailable");
        assert!(problem["hint"].as_str().unwrap().contains("/ledger/diagnosis"), "{path}: {problem}");
    }
    daemon.query("os", &json!({})).problem(503, "ledger_unavailable");
    daemon.query_as_operator("os", &json!({})).problem(503, "ledger_unavailable");
    for path in [
        "/memory/store",
        "/memory/ingest",
        "/memory/recall",
        "/system/mutate",
        "/changes/1/undo",
        "/approvals/1",
        "/grants/1/revoke",
    ] {
        let request = post_request(path, "", br#"{"summary":"never written","query":"x","event":"x"}"#);
        exchange(&daemon.operator(), &request).problem(503, "ledger_unavailable");
    }
    daemon.get("/nowhere").problem(404, "unknown_route");

    daemon.signal(rustix::process::Signal::HUP);
    notified.until("RELOADING=1");
    notified.until("READY=1");
    assert!(daemon.stop().success());
    assert!(before == contents(&state), "the state directory was written to");
}

#[test]
fn damage_after_a_crash_changes_neither_log_nor_index() {
    let directory = tempfile::tempdir().unwrap();
    let daemon = Daemon::start(directory.path());
    for _ in 0..9 {
        daemon.query("os", &json!({}));
    }
    let state = directory.path().join("state");
    daemon.kill();
    for with_index in [true, false] {
        let log = state.join("ledger.db-wal");
        let mut bytes = std::fs::read(&log).unwrap();
        // Whoever edits the log itself must get its checksums right: an edit through SQLite, that is killed, does.
        if with_index {
            let connection = rusqlite::Connection::open(state.join("ledger.db")).unwrap();
            connection.execute_batch("DELETE FROM events WHERE id = 9").unwrap();
            bytes = std::fs::read(&log).unwrap();
            let index = std::fs::read(state.join("ledger.db-shm")).unwrap();
            let database = std::fs::read(state.join("ledger.db")).unwrap();
            drop(connection);
            std::fs::write(state.join("ledger.db"), database).unwrap();
            std::fs::write(state.join("ledger.db-shm"), index).unwrap();
        } else {
            std::fs::remove_file(state.join("ledger.db-shm")).unwrap();
        }
        std::fs::write(&log, bytes).unwrap();
        let before = contents(&state);
        let daemon = Daemon::start(directory.path());
        let diagnosis = examined(&daemon);
        assert_eq!(diagnosis["examination"]["damage"]["kind"], "event_missing", "{diagnosis}");
        assert_eq!(diagnosis["examination"]["readable"], 8, "{diagnosis}");
        assert_eq!(daemon.get("/events/log").json()["events"].as_array().unwrap().len(), 8);
        assert!(daemon.stop().success());
        assert!(before == contents(&state), "index: {with_index}");
    }
}

#[test]
fn what_is_missing_or_foreign_is_diagnosed_and_not_made_anew() {
    type Damage = fn(&Path);
    let cases: [(&str, Damage, u64); 6] = [
        ("database_missing", |state| std::fs::remove_file(state.join("ledger.db")).unwrap(), 0),
        ("schema_changed", |state| std::fs::write(state.join("ledger.db"), "").unwrap(), 0),
        ("key_missing", |state| std::fs::remove_file(state.join("ledger.key")).unwrap(), 11),
        ("key_foreign", |state| std::fs::write(state.join("ledger.key"), "no key").unwrap(), 11),
        ("tail_missing", |state| edit(state, "DELETE FROM events WHERE id > 6"), 6),
        ("schema_changed", |state| edit(state, "CREATE TABLE mine (a)"), 0),
    ];
    for (kind, damage, readable) in cases {
        let directory = tempfile::tempdir().unwrap();
        let state = recorded(directory.path());
        damage(&state);
        let before = contents(&state);
        let daemon = Daemon::start(directory.path());
        let diagnosis = examined(&daemon);
        assert_eq!(diagnosis["damage"]["kind"], kind, "{diagnosis}");
        assert_eq!(diagnosis["examination"]["readable"], readable, "{kind}: {diagnosis}");
        let log = daemon.get("/events/log");
        if readable == 0 {
            log.problem(503, "ledger_unavailable");
        } else {
            assert_eq!(log.json()["events"].as_array().unwrap().len() as u64, readable);
        }
        daemon.query("os", &json!({})).problem(503, "ledger_unavailable");
        assert!(daemon.stop().success());
        assert!(before == contents(&state), "{kind}: the state directory was written to");
    }
}

#[test]
fn a_checkpoint_kept_outside_speaks_for_a_ledger_that_was_taken_away_whole() {
    let directory = tempfile::tempdir().unwrap();
    let more = format!("[ledger]\ncheckpoint_file = {:?}", directory.path().join("checkpoints"));
    let daemon = Daemon::start_with(directory.path(), &more);
    daemon.query("os", &json!({}));
    assert!(daemon.stop().success());
    let state = directory.path().join("state");
    for entry in std::fs::read_dir(&state).unwrap() {
        let path = entry.unwrap().path();
        if path.is_file() {
            std::fs::remove_file(path).unwrap();
        }
    }
    let daemon = Daemon::start_with(directory.path(), &more);
    let diagnosis = examined(&daemon);
    assert_eq!(diagnosis["damage"]["kind"], "database_missing", "{diagnosis}");
    assert!(
        steps(&diagnosis).contains("checkpoints"),
        "the file that keeps a new one from being made is named"
    );
    assert!(!state.join("ledger.db").exists());
}

#[test]
fn a_whole_ledger_that_was_put_back_is_served_after_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    let state = recorded(directory.path());
    let copy = std::fs::read(state.join("ledger.db")).unwrap();
    edit(&state, "DELETE FROM events WHERE id > 6");
    let daemon = Daemon::start(directory.path());
    examined(&daemon);
    std::fs::write(state.join("ledger.db"), copy).unwrap();
    let problem = daemon.get("/events/log").problem(503, "ledger_unavailable");
    assert!(problem["hint"].as_str().unwrap().contains("restart"), "{problem}");
    daemon.query("os", &json!({})).problem(503, "ledger_unavailable");
    assert!(daemon.stop().success());
    let daemon = Daemon::start(directory.path());
    assert_eq!(daemon.query("os", &json!({})).status, 200);
    assert_eq!(daemon.events("agentd.start").len(), 2);
    assert_eq!(daemon.get("/ledger/diagnosis").json(), json!({ "state": "writable", "next_steps": [] }));
}

#[test]
fn only_one_agentd_looks_at_a_ledger_that_is_not_whole() {
    let directory = tempfile::tempdir().unwrap();
    let state = recorded(directory.path());
    std::fs::remove_file(state.join("ledger.db")).unwrap();
    let daemon = Daemon::start(directory.path());
    let said = refused(directory.path(), "");
    assert!(said.contains("another agentd uses"), "{said}");
    // Its sockets are its own after a kill as well.
    daemon.kill();
    examined(&Daemon::start(directory.path()));
}

#[test]
fn damage_that_comes_while_agentd_runs_is_refused_and_diagnosed_as_well() {
    let directory = tempfile::tempdir().unwrap();
    let daemon = Daemon::start(directory.path());
    for _ in 0..9 {
        daemon.query("os", &json!({}));
    }
    let state = directory.path().join("state");
    edit(&state, "DELETE FROM events WHERE id > 6; UPDATE sqlite_sequence SET seq = 6");
    daemon.query("os", &json!({})).problem(503, "ledger_unavailable");
    let diagnosis = daemon.get("/ledger/diagnosis").json();
    assert_eq!(diagnosis["state"], "unwritable", "{diagnosis}");
    assert!(diagnosis["reason"].as_str().unwrap().contains("the end was deleted"), "{diagnosis}");
    assert!(steps(&diagnosis).contains("as evidence"), "{diagnosis}");
    assert_eq!(daemon.get("/health").json()["status"], "degraded");
}
