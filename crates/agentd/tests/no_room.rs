//! A disk that is full or read-only, at the start and later: nothing is read or done, nothing acknowledged is lost, and
//! agentd goes on by itself once there is room.

mod common;

use std::path::{Path, PathBuf};
use std::process::Command;

use common::{Daemon, Notifications, command, eventually, exchange, post_request};
use serde_json::json;

/// A file system of a few megabytes for agentd's state, mounted for one test. Needs root, as agentd itself does.
struct SmallFileSystem(PathBuf);

impl SmallFileSystem {
    /// Nothing, with a word about it, where this test cannot mount, so that nobody takes it for passed.
    fn below(directory: &Path) -> Option<Self> {
        if !nix::unistd::geteuid().is_root() {
            eprintln!("NOT RUN: this test mounts a small file system and needs root");
            return None;
        }
        let state = directory.join("state");
        std::fs::create_dir(&state).unwrap();
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=3m,mode=0700", "tmpfs"])
            .arg(&state)
            .status();
        assert!(mounted.unwrap().success());
        Some(Self(state))
    }

    fn remount(&self, how: &str) {
        let mounted = Command::new("mount").args(["-o", &format!("remount,{how}")]).arg(&self.0).status();
        assert!(mounted.unwrap().success());
    }

    /// Fills all that is left, and answers by what.
    fn fill(&self) -> PathBuf {
        let ballast = self.0.join("ballast");
        let filled = std::fs::write(&ballast, vec![0; 8 << 20]);
        assert!(filled.is_err(), "it has no end");
        ballast
    }
}

impl Drop for SmallFileSystem {
    fn drop(&mut self) {
        let _ = Command::new("umount").args(["--lazy"]).arg(&self.0).status();
    }
}

fn answers_again(daemon: &Daemon) {
    eventually("recovery", || (daemon.query("os", &json!({})).status == 200).then_some(()));
    let health = daemon.get("/health").json();
    assert_eq!((&health["status"], &health["ledger"]["writable"]), (&json!("ok"), &json!(true)), "{health}");
    assert_eq!(daemon.get("/ledger/diagnosis").json()["state"], "writable");
}

fn refuses(daemon: &Daemon, state: &str) {
    daemon.query("os", &json!({})).problem(503, "ledger_unavailable");
    daemon.post("/memory/store", r#"{"summary":"never written"}"#).problem(503, "ledger_unavailable");
    changes_nothing(daemon);
    let health = daemon.get("/health").json();
    assert_eq!(health["status"], "degraded", "{health}");
    assert!(health["ledger"]["reason"].is_string(), "{health}");
    let diagnosis = daemon.get("/ledger/diagnosis").json();
    assert_eq!(diagnosis["state"], state, "{diagnosis}");
    assert!(diagnosis["damage"].is_null(), "no room is no damage: {diagnosis}");
    assert!(!diagnosis["next_steps"].as_array().unwrap().is_empty());
}

/// Not for the person either, who need not wait for anybody's yes.
fn changes_nothing(daemon: &Daemon) {
    let path = daemon.directory.join("never-made");
    let args = json!({"path": path, "content": "x"});
    let body = json!({"mutation": "file.write", "args": args, "reason": "a test"}).to_string();
    for socket in [daemon.agent(), daemon.operator()] {
        let request = post_request("/system/mutate", "", body.as_bytes());
        exchange(&socket, &request).problem(503, "ledger_unavailable");
    }
    assert!(!path.exists(), "a change without a record");
}

#[test]
fn a_disk_that_fills_means_503_until_there_is_room_and_nothing_acknowledged_is_lost() {
    let directory = tempfile::tempdir().unwrap();
    let Some(small) = SmallFileSystem::below(directory.path()) else { return };
    let mut command = command(directory.path(), "");
    let notified = Notifications::listen(directory.path(), &mut command);
    let daemon = Daemon::spawn(directory.path(), command);
    assert_eq!(notified.next(), ["READY=1", "STATUS=1 event; asking allowed"]);
    let mut acknowledged = 0_u32;
    let ballast = small.0.join("ballast");
    std::fs::write(&ballast, vec![0; 2 << 20]).unwrap();
    let refused = loop {
        let answer = daemon.query("os", &json!({}));
        match answer.status {
            200 => acknowledged += 1,
            _ => break answer,
        }
        assert!(acknowledged < 100_000, "the disk never fills");
    };
    refused.problem(503, "ledger_unavailable");
    refuses(&daemon, "unwritable");
    let said = notified.until("STATUS=nothing is read or changed");
    assert!(said[0].contains("until the ledger can be written"), "{said:?}");
    assert_eq!(daemon.get("/events/log").status, 200, "the ledger can still be read");
    std::fs::remove_file(&ballast).unwrap();
    answers_again(&daemon);
    let said = notified.until("STATUS=");
    assert!(said[0].ends_with("events; asking allowed"), "{said:?}");
    assert_eq!(daemon.events("agentd.start").len(), 1, "without a restart");
    let events = rusqlite::Connection::open(daemon.database())
        .unwrap()
        .query_row("SELECT count(*) FROM events WHERE type = 'system.query'", [], |row| row.get::<_, i64>(0))
        .unwrap();
    assert_eq!(events, i64::from(acknowledged) + 1);
    assert!(daemon.stop().success());
}

#[test]
fn a_full_disk_at_the_start_is_waited_out_and_is_no_damage() {
    let directory = tempfile::tempdir().unwrap();
    let Some(small) = SmallFileSystem::below(directory.path()) else { return };
    let daemon = Daemon::start(directory.path());
    assert_eq!(daemon.query("os", &json!({})).status, 200);
    // As after a crash: what was acknowledged is in the log, and the index beside it.
    daemon.kill();
    let ballast = small.fill();
    let mut command = command(directory.path(), "");
    let notified = Notifications::listen(directory.path(), &mut command);
    let daemon = Daemon::spawn(directory.path(), command);
    let said = notified.next();
    assert_eq!(said[0], "READY=1");
    assert!(said[1].starts_with("STATUS=nothing is read or changed until"), "{said:?}");
    refuses(&daemon, "waiting");
    daemon.get("/events/log").problem(503, "ledger_unavailable");
    std::fs::remove_file(ballast).unwrap();
    answers_again(&daemon);
    let said = notified.until("STATUS=");
    assert!(said[0].ends_with("events; asking allowed"), "{said:?}");
    assert_eq!(daemon.events("system.query").len(), 2, "what was acknowledged before is there");
    assert_eq!(daemon.events("agentd.start").len(), 2);
    assert!(daemon.stop().success());
}

#[test]
fn a_disk_that_is_full_before_there_is_a_ledger_gets_one_when_there_is_room() {
    let directory = tempfile::tempdir().unwrap();
    let Some(small) = SmallFileSystem::below(directory.path()) else { return };
    let ballast = small.fill();
    let daemon = Daemon::start(directory.path());
    refuses(&daemon, "waiting");
    std::fs::remove_file(ballast).unwrap();
    answers_again(&daemon);
    assert!(daemon.stop().success());
}

#[test]
fn a_read_only_file_system_at_the_start_is_waited_out() {
    let directory = tempfile::tempdir().unwrap();
    let Some(small) = SmallFileSystem::below(directory.path()) else { return };
    let daemon = Daemon::start(directory.path());
    assert_eq!(daemon.query("os", &json!({})).status, 200);
    assert!(daemon.stop().success());
    small.remount("ro");
    let daemon = Daemon::start(directory.path());
    refuses(&daemon, "waiting");
    let step = daemon.get("/ledger/diagnosis").json()["next_steps"][0].as_str().unwrap().to_owned();
    assert!(step.contains("remount,rw"), "{step}");
    small.remount("rw");
    answers_again(&daemon);
    assert_eq!(daemon.events("agentd.start").len(), 2);
}

#[test]
fn a_damaged_ledger_on_a_full_or_read_only_disk_is_found_damaged() {
    let directory = tempfile::tempdir().unwrap();
    let Some(small) = SmallFileSystem::below(directory.path()) else { return };
    let daemon = Daemon::start(directory.path());
    let database = daemon.database();
    for _ in 0..3 {
        daemon.query("os", &json!({}));
    }
    assert!(daemon.stop().success());
    rusqlite::Connection::open(database)
        .unwrap()
        .execute_batch(
            "PRAGMA journal_mode = DELETE; DELETE FROM events WHERE id > 2; PRAGMA journal_mode = WAL",
        )
        .unwrap();
    small.fill();
    let daemon = Daemon::start(directory.path());
    assert_eq!(daemon.get("/ledger/diagnosis").json()["state"], "not_whole");
    assert!(daemon.stop().success());
    small.remount("ro");
    let daemon = Daemon::start(directory.path());
    assert_eq!(daemon.get("/ledger/diagnosis").json()["damage"]["kind"], "tail_missing");
}
