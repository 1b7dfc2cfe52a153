//! No record, no action: what is read is on the ledger first, and what cannot be recorded is not done.

mod common;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use common::{Daemon, PATIENCE};
use serde_json::json;

#[test]
fn each_query_is_one_event_with_its_principal_and_its_arguments() {
    let directory = tempfile::tempdir().unwrap();
    let daemon = Daemon::start(directory.path());
    assert_eq!(daemon.query("processes", &json!({ "limit": 3 })).status, 200);
    assert_eq!(daemon.query_as_operator("os", &json!({})).status, 200);
    let events = daemon.events("system.query");
    assert_eq!(events.len(), 2);
    assert_eq!(events[0]["payload"]["data"], json!({ "query": "processes", "args": { "limit": 3 } }));
    let user = nix::unistd::User::from_uid(nix::unistd::getuid()).unwrap().unwrap().name;
    assert_eq!(events[0]["actor"], format!("agent:{user}"));
    assert_eq!(events[1]["actor"], format!("operator:{user}"));
}

#[test]
fn reading_health_the_catalogue_and_the_ledger_is_no_event() {
    let directory = tempfile::tempdir().unwrap();
    let daemon = Daemon::start(directory.path());
    let size = || daemon.get("/ledger/checkpoint").json()["size"].as_u64().unwrap();
    let before = size();
    for path in
        ["/health", "/catalog", "/openapi.json", "/events/log", "/events/1/proof", "/ledger/checkpoint"]
    {
        assert_eq!(daemon.get(path).status, 200, "{path}");
    }
    assert_eq!(size(), before);
}

#[test]
fn an_event_can_be_proved_from_what_agentd_answers() {
    let directory = tempfile::tempdir().unwrap();
    let daemon = Daemon::start(directory.path());
    for _ in 0..5 {
        daemon.query("os", &json!({}));
    }
    let proof = daemon.get("/events/3/proof").json();
    assert_eq!(proof["event"]["id"], 3);
    assert_eq!(proof["leaf_index"], 2);
    assert!(proof["checkpoint"]["note"].as_str().unwrap().contains("\n\u{2014} "), "{proof}");
}

#[test]
fn what_was_stored_is_recalled_and_the_ledger_keeps_no_copy_of_it() {
    let directory = tempfile::tempdir().unwrap();
    let daemon = Daemon::start(directory.path());
    let body = json!({ "summary": "the backup runs at four", "detail": "canary-5512", "category": "fact", "tags": ["backup"] });
    let stored = daemon.post("/memory/store", &body.to_string());
    assert_eq!(stored.status, 200, "{}", stored.json());
    let recalled = daemon.post("/memory/recall", r#"{"query":"when does the backup run"}"#).json();
    assert!(recalled["chunks"][0]["text"].as_str().unwrap().contains("canary-5512"), "{recalled}");
    assert_eq!(daemon.events("memory.recall")[0]["payload"]["data"]["query"], "when does the backup run");
    let event = daemon.events("memory.store")[0].to_string();
    assert!(event.contains("sha256") && !event.contains("canary-5512") && !event.contains("four"), "{event}");
}

#[test]
fn a_memory_is_kept_under_the_machines_own_day() {
    // Fourteen hours ahead of UTC and twelve behind it: at any moment at least one of them has another day than UTC.
    for (zone, hours) in [("AAA-14", 14), ("BBB12", -12)] {
        let directory = tempfile::tempdir().unwrap();
        let mut command = common::command(directory.path(), "");
        command.env("TZ", zone);
        let daemon = Daemon::spawn(directory.path(), command);
        let day = || jiff::tz::offset(hours).to_datetime(jiff::Timestamp::now()).date().to_string();
        let before = day();
        let stored = daemon.post("/memory/store", r#"{"summary":"what day is it"}"#).json();
        let file = stored["file"].as_str().unwrap();
        assert!([before, day()].iter().any(|day| *file == format!("memory/{day}.md")), "{zone}: {file}");
    }
}

/// Asks until the answer has this status: the ledger recovers by itself, at its own pace.
fn eventually(daemon: &Daemon, status: u16) {
    let started = Instant::now();
    loop {
        let answer = daemon.query("os", &json!({}));
        if answer.status == status {
            return;
        }
        assert!(started.elapsed() < PATIENCE, "still {}: {}", answer.status, answer.json());
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn health_says(daemon: &Daemon, writable: bool) {
    let health = daemon.get("/health").json();
    assert_eq!(health["ledger"]["writable"], writable, "{health}");
    assert_eq!(health["status"], if writable { "ok" } else { "degraded" });
    assert_eq!(health["ledger"]["reason"].is_string(), !writable, "{health}");
}

#[test]
fn a_locked_database_means_503_and_nothing_read_until_it_is_free() {
    let directory = tempfile::tempdir().unwrap();
    let daemon = Daemon::start(directory.path());
    let other = rusqlite::Connection::open(daemon.database()).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    daemon.query("os", &json!({})).problem(503, "ledger_unavailable");
    daemon.post("/memory/store", r#"{"summary":"never written"}"#).problem(503, "ledger_unavailable");
    health_says(&daemon, false);
    assert_eq!(daemon.get("/events/log").status, 200, "the ledger can still be read");
    other.execute_batch("ROLLBACK").unwrap();
    eventually(&daemon, 200);
    health_says(&daemon, true);
    let recalled = daemon.post("/memory/recall", r#"{"query":"never written"}"#).json();
    assert_eq!(recalled["chunks"].as_array().unwrap().len(), 0);
}

/// A file system of a few megabytes for agentd's state, mounted for one test. Needs root, as agentd itself does.
struct SmallFileSystem(PathBuf);

impl SmallFileSystem {
    fn below(directory: &Path) -> Self {
        let state = directory.join("state");
        std::fs::create_dir(&state).unwrap();
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=2m,mode=0700", "tmpfs"])
            .arg(&state)
            .status();
        assert!(mounted.unwrap().success());
        Self(state)
    }

    fn make_read_only(&self) {
        let mounted = Command::new("mount").args(["-o", "remount,ro"]).arg(&self.0).status();
        assert!(mounted.unwrap().success());
    }
}

impl Drop for SmallFileSystem {
    fn drop(&mut self) {
        let _ = Command::new("umount").args(["--lazy"]).arg(&self.0).status();
    }
}

/// Whether this test can mount; says so where it cannot, so that nobody takes it for passed.
fn can_mount(test: &str) -> bool {
    let root = nix::unistd::geteuid().is_root();
    if !root {
        eprintln!("{test}: NOT RUN, it mounts a small file system and needs root");
    }
    root
}

#[test]
fn a_full_disk_means_503_until_there_is_room_and_nothing_acknowledged_is_lost() {
    if !can_mount("a_full_disk") {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let small = SmallFileSystem::below(directory.path());
    let daemon = Daemon::start(directory.path());
    let mut acknowledged = 0_u32;
    let ballast = small.0.join("ballast");
    std::fs::write(&ballast, vec![0; 1 << 20]).unwrap();
    let refused = loop {
        let answer = daemon.query("os", &json!({}));
        match answer.status {
            200 => acknowledged += 1,
            _ => break answer,
        }
        assert!(acknowledged < 100_000, "the disk never fills");
    };
    refused.problem(503, "ledger_unavailable");
    health_says(&daemon, false);
    std::fs::remove_file(&ballast).unwrap();
    eventually(&daemon, 200);
    health_says(&daemon, true);
    let events = rusqlite::Connection::open(daemon.database())
        .unwrap()
        .query_row("SELECT count(*) FROM events WHERE type = 'system.query'", [], |row| row.get::<_, i64>(0))
        .unwrap();
    assert_eq!(events, i64::from(acknowledged) + 1);
    assert!(daemon.stop().success());
    drop(small);
}

#[test]
fn on_a_read_only_file_system_nothing_is_served() {
    if !can_mount("on_a_read_only_file_system") {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let small = SmallFileSystem::below(directory.path());
    let daemon = Daemon::start(directory.path());
    assert_eq!(daemon.query("os", &json!({})).status, 200);
    assert!(daemon.stop().success());
    small.make_read_only();
    let said = common::refused(directory.path(), "");
    assert!(said.contains("Read-only file system"), "{said}");
    assert!(!directory.path().join("agent.sock").exists());
}

#[test]
fn many_callers_at_once_are_all_recorded_and_answered() {
    let directory = tempfile::tempdir().unwrap();
    let daemon = Daemon::start(directory.path());
    std::thread::scope(|scope| {
        for _ in 0..32 {
            scope.spawn(|| {
                for _ in 0..10 {
                    assert_eq!(daemon.query("os", &json!({})).status, 200);
                }
            });
        }
    });
    assert_eq!(daemon.events("system.query").len(), 320);
}
