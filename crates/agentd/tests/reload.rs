//! SIGHUP: a good file is put in force as far as that goes, a bad one changes nothing, and both are on the record.

mod common;

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;

use common::{Daemon, Notifications, PATIENCE, command, configure, eventually};
use rustix::process::Signal;
use serde_json::{Value, json};

fn start(directory: &std::path::Path, more: &str) -> (Daemon, Notifications) {
    let mut command = command(directory, more);
    let notified = Notifications::listen(directory, &mut command);
    let daemon = Daemon::spawn(directory, command);
    notified.until("READY=1");
    (daemon, notified)
}

/// Has the configuration read again, and answers what systemd was told when that was done.
fn reload(daemon: &Daemon, notified: &Notifications) -> String {
    daemon.signal(Signal::HUP);
    let begun = notified.until("RELOADING=1");
    let time: u64 = begun[1].strip_prefix("MONOTONIC_USEC=").expect("in the same message").parse().unwrap();
    assert!(time > 0);
    let done = notified.next();
    assert_eq!(done[0], "READY=1");
    done[1].clone()
}

/// An event stream that stands; nothing where there is no place for one.
fn stream(daemon: &Daemon) -> Option<UnixStream> {
    let mut stream = UnixStream::connect(daemon.agent()).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(b"GET /events/stream HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    let mut status = [0; 12];
    stream.read_exact(&mut status).unwrap();
    match &status {
        b"HTTP/1.1 200" => Some(stream),
        b"HTTP/1.1 503" => None,
        other => panic!("{}", String::from_utf8_lossy(other)),
    }
}

fn data(event: &Value) -> Value {
    event["payload"]["data"].clone()
}

#[test]
fn limits_are_in_force_at_once_and_what_waits_for_a_restart_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let (daemon, notified) = start(directory.path(), "[limits]\nstreams = 1");
    let held = stream(&daemon).unwrap();
    assert!(stream(&daemon).is_none());
    let file = configure(
        directory.path(),
        "[limits]\nstreams = 2\nrunning_queries = 3\n[ledger]\norigin = \"secret.example/name\"",
    );
    let said = reload(&daemon, &notified);
    assert!(said.ends_with("; restart needed for ledger.origin"), "{said}");
    let second = stream(&daemon).unwrap();
    assert!(stream(&daemon).is_none());
    let mut loaded = data(&daemon.events("config.loaded")[0]);
    let started = data(&daemon.events("agentd.start")[0]);
    assert_eq!(loaded.as_object_mut().unwrap().remove("policy"), Some(started["policy"].clone()));
    assert_eq!(
        loaded,
        json!({
            "file": file,
            "applied": { "limits.running_queries": 3, "limits.streams": 2 },
            "needs_restart": ["ledger.origin"]
        })
    );
    assert_eq!(daemon.events("config.*")[0]["actor"], "agentd");
    assert!(!daemon.events("*").iter().any(|event| event.to_string().contains("secret.example")));
    // Fewer: nobody is cut off, and nobody gets in until there is room again.
    configure(directory.path(), "[limits]\nstreams = 1");
    assert!(reload(&daemon, &notified).ends_with("asking allowed"), "all of it is in force");
    drop(second);
    drop(held);
    let _third = eventually("a place", || stream(&daemon));
    assert!(stream(&daemon).is_none());
    assert_eq!(daemon.query("os", &json!({})).status, 200);
}

#[test]
fn a_file_that_cannot_be_used_changes_nothing_and_is_on_the_record_without_what_is_in_it() {
    let directory = tempfile::tempdir().unwrap();
    let (daemon, notified) = start(directory.path(), "[limits]\nstreams = 1");
    for (more, problem, line, key) in [
        ("[limits]\nstreams = \"hunter2\"", "not_understood", Some(6), None),
        ("[limits]\n\nstreams = 0", "out_of_range", Some(7), Some("limits.streams")),
        ("api_key_hunter2 = 1", "not_understood", Some(5), None),
    ] {
        let file = configure(directory.path(), more);
        let said = reload(&daemon, &notified);
        let expected = format!(", line {}: not loaded, the configuration from before holds", line.unwrap());
        assert!(said.ends_with(&expected), "{said}");
        let event = data(daemon.events("config.rejected").last().unwrap());
        assert_eq!(event["file"], json!(file));
        assert_eq!((&event["problem"], &event["line"]), (&json!(problem), &json!(line)), "{event}");
        assert_eq!(event.get("key").and_then(Value::as_str), key);
        assert!(!event.to_string().contains("hunter2"), "{event}");
    }
    let _held = stream(&daemon).unwrap();
    assert!(stream(&daemon).is_none(), "the limit from before holds");
    // Put right, it is loaded, and the status says so.
    configure(directory.path(), "[limits]\nstreams = 4");
    assert!(reload(&daemon, &notified).ends_with("asking allowed"));
    assert_eq!(daemon.events("config.loaded").len(), 1);
}

#[test]
fn a_file_that_is_gone_or_that_others_could_write_is_not_loaded() {
    use std::os::unix::fs::PermissionsExt;
    let directory = tempfile::tempdir().unwrap();
    let (daemon, notified) = start(directory.path(), "");
    let file = configure(directory.path(), "[limits]\nstreams = 4");
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o666)).unwrap();
    assert!(reload(&daemon, &notified).contains("not loaded"));
    std::fs::remove_file(&file).unwrap();
    assert!(reload(&daemon, &notified).contains("not loaded"));
    let problems: Vec<Value> =
        daemon.events("config.rejected").iter().map(|event| data(event)["problem"].clone()).collect();
    assert_eq!(problems, [json!("writable_by_others"), json!("not_readable")]);
}

#[test]
fn without_a_record_no_limit_changes() {
    let directory = tempfile::tempdir().unwrap();
    let (daemon, notified) = start(directory.path(), "[limits]\nstreams = 1");
    let other = rusqlite::Connection::open(daemon.database()).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    configure(directory.path(), "[limits]\nstreams = 4");
    daemon.signal(Signal::HUP);
    notified.until("RELOADING=1");
    let done = notified.until("READY=1");
    assert!(done[1].contains("not loaded"), "{done:?}");
    let _held = stream(&daemon).unwrap();
    assert!(stream(&daemon).is_none(), "the limit from before holds");
    other.execute_batch("ROLLBACK").unwrap();
}

#[test]
fn many_signals_in_a_row_do_no_harm() {
    let directory = tempfile::tempdir().unwrap();
    let daemon = Daemon::start(directory.path());
    for number in 0..500 {
        daemon.signal(Signal::HUP);
        if number % 50 == 0 {
            assert_eq!(daemon.query("os", &json!({})).status, 200);
        }
    }
    // The last signal is not lost: what it was sent for is in force in the end.
    configure(directory.path(), "[limits]\nstreams = 9");
    daemon.signal(Signal::HUP);
    eventually("the last signal", || {
        let events = daemon.events("config.loaded");
        assert!(events.len() < 50, "{} reloads", events.len());
        events.iter().any(|event| data(event)["applied"] == json!({ "limits.streams": 9 })).then_some(())
    });
    assert!(daemon.stop().success());
}
