//! No record, no action: what is read is on the ledger first, and what cannot be recorded is not done.

mod common;

use common::{Daemon, eventually};
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
    eventually("recovery", || (daemon.query("os", &json!({})).status == 200).then_some(()));
    health_says(&daemon, true);
    let recalled = daemon.post("/memory/recall", r#"{"query":"never written"}"#).json();
    assert_eq!(recalled["chunks"].as_array().unwrap().len(), 0);
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
