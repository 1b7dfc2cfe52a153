//! Starting, stopping, being killed, being started by systemd: what is there afterwards, and what is left alone.

mod common;

use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::process::{Command, Stdio};

use common::{Daemon, Notifications, PATIENCE, command, configuration, refused};
use serde_json::{Value, json};

#[test]
fn start_and_stop_are_on_the_record_and_the_sockets_go_with_it() {
    let directory = tempfile::tempdir().unwrap();
    let daemon = Daemon::start(directory.path());
    let (agent, operator, log) =
        (daemon.agent(), daemon.operator(), daemon.directory.join("state/ledger.db-wal"));
    assert_eq!(daemon.events("agentd.start").len(), 1);
    assert!(daemon.stop().success());
    assert!(!agent.exists() && !operator.exists());
    assert!(!log.exists(), "all is in the database itself");
    let daemon = Daemon::start(directory.path());
    assert_eq!(daemon.events("agentd.start").len(), 2);
    assert_eq!(daemon.events("agentd.stop").len(), 1);
    assert_eq!(daemon.events("agentd.*")[0]["actor"], "agentd");
}

#[test]
fn after_a_kill_the_ledger_goes_on_where_it_was() {
    let directory = tempfile::tempdir().unwrap();
    let daemon = Daemon::start(directory.path());
    daemon.query("os", &json!({}));
    daemon.kill();
    let daemon = Daemon::start(directory.path());
    daemon.query("os", &json!({}));
    let events = daemon.events("*");
    let ids: Vec<u64> = events.iter().map(|event| event["id"].as_u64().unwrap()).collect();
    assert_eq!(ids, (1..=4).collect::<Vec<_>>());
    assert!(events.windows(2).all(|pair| pair[0]["hash"] == pair[1]["prev_hash"]));
}

#[test]
fn a_second_agentd_on_the_same_state_is_refused_and_the_first_goes_on() {
    let directory = tempfile::tempdir().unwrap();
    let daemon = Daemon::start(directory.path());
    let said = refused(directory.path(), "");
    assert!(said.contains("another agentd uses"), "{said}");
    assert_eq!(daemon.get("/health").status, 200);
}

#[test]
fn a_file_at_the_sockets_path_is_left_alone() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("agent.sock");
    std::fs::write(&path, "precious").unwrap();
    let said = refused(directory.path(), "");
    assert!(said.contains("agent.sock") && said.contains("is not a socket that agentd made"), "{said}");
    assert_eq!(std::fs::read_to_string(path).unwrap(), "precious");
}

#[test]
fn a_socket_that_somebody_else_listens_on_is_left_alone() {
    let directory = tempfile::tempdir().unwrap();
    let listener = UnixListener::bind(directory.path().join("agent.sock")).unwrap();
    let said = refused(directory.path(), "");
    assert!(said.contains("somebody listens on"), "{said}");
    drop(UnixStream::connect(directory.path().join("agent.sock")).unwrap());
    drop(listener);
}

#[test]
fn a_state_directory_with_the_wrong_mode_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let state = directory.path().join("state");
    std::fs::create_dir(&state).unwrap();
    std::fs::set_permissions(&state, std::fs::Permissions::from_mode(0o777)).unwrap();
    let said = refused(directory.path(), "");
    assert!(said.contains("0777") && said.contains("chmod 0700"), "{said}");
}

#[test]
fn a_broken_configuration_is_refused_with_its_line() {
    let directory = tempfile::tempdir().unwrap();
    let said = refused(directory.path(), "[limits]\nconnection = 5");
    assert!(said.contains("connection") && said.contains("line"), "{said}");
    let config = directory.path().join("agentd.toml");
    let checked = Command::new(env!("CARGO_BIN_EXE_agentd"))
        .args(["--check-config", "--config"])
        .arg(&config)
        .stderr(Stdio::null())
        .status()
        .unwrap();
    assert_eq!(checked.code(), Some(1));
    std::fs::write(&config, configuration(directory.path(), "")).unwrap();
    let checked = Command::new(env!("CARGO_BIN_EXE_agentd"))
        .args(["--check-config", "--config"])
        .arg(&config)
        .status()
        .unwrap();
    assert_eq!(checked.code(), Some(0));
    assert!(!directory.path().join("state").exists(), "checking makes nothing");
}

#[test]
fn systemd_is_told_when_agentd_is_ready_and_that_it_is_alive() {
    let directory = tempfile::tempdir().unwrap();
    let mut command = command(directory.path(), "");
    let notified = Notifications::listen(directory.path(), &mut command);
    command.env("WATCHDOG_USEC", "200000");
    let daemon = Daemon::spawn(directory.path(), command);
    assert_eq!(notified.next(), ["READY=1", "STATUS=1 event; asking allowed"]);
    assert_eq!(notified.next(), ["WATCHDOG=1"]);
    assert_eq!(notified.next(), ["WATCHDOG=1"]);
    daemon.query("os", &json!({}));
    assert_eq!(notified.until("STATUS="), ["STATUS=2 events; asking allowed"]);
    assert!(daemon.stop().success());
    assert_eq!(notified.until("STOPPING"), ["STOPPING=1"]);
}

#[test]
fn sockets_that_systemd_passes_are_used_and_not_removed() {
    let directory = tempfile::tempdir().unwrap();
    let config = directory.path().join("agentd.toml");
    // Paths that agentd cannot use: it must take those it is given.
    std::fs::write(&config, configuration(&directory.path().join("elsewhere"), "")).unwrap();
    let mut command = Command::new("systemd-socket-activate");
    command
        .arg("--fdname=agent:operator")
        .arg("-l")
        .arg(directory.path().join("agent.sock"))
        .arg("-l")
        .arg(directory.path().join("operator.sock"))
        .arg(env!("CARGO_BIN_EXE_agentd"))
        .arg("--config")
        .arg(&config);
    let daemon = Daemon::spawn(directory.path(), command);
    assert_eq!(daemon.get("/health").status, 200);
    assert_eq!(daemon.query_as_operator("os", &json!({})).status, 200);
    let events = daemon.events("system.query");
    assert!(events[0]["actor"].as_str().unwrap().starts_with("operator:"));
    assert!(!directory.path().join("elsewhere/agent.sock").exists());
    let agent = daemon.agent();
    assert!(daemon.stop().success());
    assert!(agent.exists(), "systemd's socket is systemd's to remove");
}

#[test]
fn a_stream_shows_events_as_they_are_recorded_and_ends_when_agentd_stops() {
    let directory = tempfile::tempdir().unwrap();
    let daemon = Daemon::start(directory.path());
    daemon.query("os", &json!({}));
    let mut stream = UnixStream::connect(daemon.agent()).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(b"GET /events/stream?type=system.* HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    let mut lines = BufReader::new(stream).lines().map_while(Result::ok);
    assert!(lines.by_ref().any(|line| line == ": agentos"), "the stream stands");
    daemon.post("/memory/store", r#"{"summary":"of another type"}"#);
    daemon.query("kernel", &json!({}));
    let data = lines.by_ref().find_map(|line| line.strip_prefix("data: ").map(str::to_owned)).unwrap();
    let event: Value = serde_json::from_str(&data).unwrap();
    assert_eq!(event["payload"]["data"]["query"], "kernel", "what was before the stream is not in it");
    assert!(daemon.stop().success());
    assert!(lines.all(|line| !line.starts_with("data:")), "and then it ends");
}

#[test]
fn a_stream_goes_on_after_the_event_its_reader_saw_last() {
    let directory = tempfile::tempdir().unwrap();
    let daemon = Daemon::start(directory.path());
    for _ in 0..3 {
        daemon.query("os", &json!({}));
    }
    let mut stream = UnixStream::connect(daemon.agent()).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(b"GET /events/stream HTTP/1.1\r\nHost: a\r\nLast-Event-ID: 2\r\n\r\n").unwrap();
    let ids: Vec<String> = BufReader::new(stream)
        .lines()
        .map_while(Result::ok)
        .filter_map(|line| line.strip_prefix("id: ").map(str::to_owned))
        .take(2)
        .collect();
    assert_eq!(ids, ["3", "4"]);
}

#[test]
fn environment_values_are_for_the_operator() {
    let directory = tempfile::tempdir().unwrap();
    let mut command = command(directory.path(), "");
    command.env("AGENTD_TEST_SECRET", "canary-9184");
    let daemon = Daemon::spawn(directory.path(), command);
    let args = json!({ "pid": daemon.pid(), "environment": true });
    let agent = daemon.query("process", &args);
    assert!(!String::from_utf8_lossy(&agent.body).contains("canary-9184"));
    let operator = daemon.query_as_operator("process", &args);
    assert!(String::from_utf8_lossy(&operator.body).contains("canary-9184"), "{}", operator.json());
}
