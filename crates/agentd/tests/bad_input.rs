//! What comes in broken gets a clear error, costs nothing, and leaves agentd as it was.

mod common;

use std::io::Write;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use common::{Daemon, PATIENCE, exchange, post_request, read_answer};
use serde_json::json;

#[test]
fn a_body_that_is_not_json_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let daemon = Daemon::start(directory.path());
    for body in ["", "{", "nul", "{\"query\":\"os\"}x", "\u{0}", "{\"query\":\"os\",\"args\":{\"a\":1e999}}"]
    {
        daemon.post("/system/query", body).problem(400, "malformed_request");
    }
    let nested = format!("{{\"query\":\"os\",\"args\":{{\"a\":{}", "[".repeat(500_000));
    daemon.post("/system/query", &nested).problem(400, "malformed_request");
    daemon.post("/system/query", "[\"os\"]").problem(422, "invalid_argument");
    daemon.post("/system/query", "7").problem(422, "invalid_argument");
    let invalid = exchange(&daemon.agent(), &post_request("/system/query", "", b"{\"query\":\"\xff\xfe\"}"));
    invalid.problem(400, "malformed_request");
    assert!(daemon.events("system.query").is_empty(), "nothing was read, so nothing is recorded");
}

#[test]
fn a_body_over_a_mebibyte_is_refused_whether_announced_or_not() {
    let directory = tempfile::tempdir().unwrap();
    let daemon = Daemon::start(directory.path());
    let large = vec![b' '; (1 << 20) + 1];
    exchange(&daemon.agent(), &post_request("/system/query", "", &large)).problem(413, "too_large");
    let announced = b"POST /system/query HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999\r\n\r\n";
    exchange(&daemon.agent(), announced).problem(413, "too_large");
    let mut chunked =
        b"POST /system/query HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
    for _ in 0..17 {
        chunked.extend_from_slice(b"10000\r\n");
        chunked.extend_from_slice(&vec![b' '; 0x10000]);
        chunked.extend_from_slice(b"\r\n");
    }
    chunked.extend_from_slice(b"0\r\n\r\n");
    exchange(&daemon.agent(), &chunked).problem(413, "too_large");
    let exact = format!("{{\"query\":\"os\"}}{}", " ".repeat((1 << 20) - 14));
    assert_eq!(daemon.post("/system/query", &exact).status, 200);
}

#[test]
fn a_body_that_does_not_arrive_is_given_up() {
    let directory = tempfile::tempdir().unwrap();
    let daemon = Daemon::start_with(directory.path(), "[limits]\nrequest_seconds = 1");
    let mut stream = UnixStream::connect(daemon.agent()).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(b"POST /system/query HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\n{").unwrap();
    read_answer(stream).problem(408, "request_timeout");
}

#[test]
fn a_head_that_trickles_in_is_given_up_and_others_are_served_meanwhile() {
    let directory = tempfile::tempdir().unwrap();
    let daemon = Daemon::start_with(directory.path(), "[limits]\nrequest_seconds = 1");
    let slow: Vec<UnixStream> = (0..50)
        .map(|_| {
            let mut stream = UnixStream::connect(daemon.agent()).unwrap();
            stream.write_all(b"GET /heal").unwrap();
            stream
        })
        .collect();
    assert_eq!(daemon.get("/health").status, 200);
    for mut stream in slow {
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut end = Vec::new();
        // Closed, with or without an answer: never left open.
        let _ = std::io::Read::read_to_end(&mut stream, &mut end);
    }
}

#[test]
fn connections_of_the_agent_never_keep_the_operator_out() {
    let directory = tempfile::tempdir().unwrap();
    let daemon = Daemon::start_with(directory.path(), "[limits]\nconnections = 4");
    let held: Vec<UnixStream> = (0..16).map(|_| UnixStream::connect(daemon.agent()).unwrap()).collect();
    let request = b"GET /health HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
    assert_eq!(exchange(&daemon.operator(), request).status, 200);
    drop(held);
    assert_eq!(daemon.get("/health").status, 200);
}

#[test]
fn an_unknown_query_is_answered_with_near_names() {
    let directory = tempfile::tempdir().unwrap();
    let daemon = Daemon::start(directory.path());
    let problem = daemon.query("procesess", &json!({})).problem(404, "unknown_query");
    assert_eq!(problem["near"][0], "processes");
    for name in ["", "a'; DROP TABLE events; --", "\u{0}", &"x".repeat(100_000)] {
        daemon.query(name, &json!({})).problem(404, "unknown_query");
    }
}

#[test]
fn a_wrong_argument_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let daemon = Daemon::start(directory.path());
    for (args, field) in [
        (json!({ "limit": -1 }), "args.limit"),
        (json!({ "limit": 0 }), "args.limit"),
        (json!({ "limit": 1_000_000_000 }), "args.limit"),
        (json!({ "limit": "ten" }), "args.limit"),
        (json!({ "sort": "colour" }), "args.sort"),
        (json!({ "colour": 1 }), "args.colour"),
    ] {
        let problem = daemon.query("processes", &args).problem(422, "invalid_argument");
        assert_eq!(problem["field"], field, "{problem}");
    }
    let extra = daemon.post("/system/query", r#"{"query":"os","colour":1}"#).problem(422, "invalid_argument");
    assert_eq!(extra["field"], "colour");
    let missing = daemon.post("/system/query", "{}").problem(422, "invalid_argument");
    assert_eq!(missing["field"], "query");
    let wrong = daemon.post("/system/query", r#"{"query":"os","args":[]}"#).problem(422, "invalid_argument");
    assert_eq!(wrong["field"], "args");
    assert!(daemon.events("system.query").is_empty());
}

#[test]
fn a_wrong_filter_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let daemon = Daemon::start(directory.path());
    for (query, field) in [
        ("limit=0", "limit"),
        ("limit=-1", "limit"),
        ("limit=1000000000", "limit"),
        ("since=yesterday-ish", "since"),
        ("actor=a%00b", "actor"),
        ("type=%7B", "type"),
        ("type=a%0Ab", "type"),
        ("colour=1", "colour"),
    ] {
        let problem = daemon.get(&format!("/events/log?{query}")).problem(422, "invalid_argument");
        assert_eq!(problem["field"], field, "{problem}");
    }
    daemon.get("/events/0/proof").problem(422, "invalid_argument");
    daemon.get("/events/-1/proof").problem(422, "invalid_argument");
    daemon.get("/events/1'/proof").problem(422, "invalid_argument");
    daemon.get("/events/999999/proof").problem(404, "not_found");
}

#[test]
fn a_header_that_claims_to_be_somebody_else_only_adds_detail() {
    let directory = tempfile::tempdir().unwrap();
    let daemon = Daemon::start(directory.path());
    let asked = |header: &str| {
        exchange(&daemon.agent(), &post_request("/system/query", header, br#"{"query":"os"}"#))
    };
    assert_eq!(asked("X-AgentOS-Actor: operator:root\r\n").status, 200);
    let events = daemon.events("system.query");
    let actor = events[0]["actor"].as_str().unwrap();
    assert!(actor.starts_with("agent:") && actor.ends_with("/operator:root"), "{actor}");
    for bad in [
        "X-AgentOS-Actor: a b\r\n",
        "X-AgentOS-Actor: \x01\r\n",
        "X-AgentOS-Actor: \r\n",
        "X-AgentOS-Actor: {\r\n",
    ] {
        assert_eq!(asked(bad).status, 400, "{bad:?}");
    }
    let long = format!("X-AgentOS-Actor: {}\r\n", "a".repeat(65));
    asked(&long).problem(400, "malformed_request");
    assert_eq!(daemon.events("system.query").len(), 1);
}

#[test]
fn unknown_routes_and_methods_are_problems_too() {
    let directory = tempfile::tempdir().unwrap();
    let daemon = Daemon::start(directory.path());
    let problem = daemon.get("/event/log").problem(404, "unknown_route");
    assert_eq!(problem["near"][0], "/events/log");
    daemon.get("/system/query").problem(405, "method_not_allowed");
    daemon.post("/health", "{}").problem(405, "method_not_allowed");
    let form = exchange(
        &daemon.agent(),
        b"POST /system/query HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Type: text/plain\r\nContent-Length: 2\r\n\r\n{}",
    );
    form.problem(415, "unsupported_media_type");
}

#[test]
fn bytes_that_are_not_http_end_the_connection_and_nothing_else() {
    let directory = tempfile::tempdir().unwrap();
    let daemon = Daemon::start(directory.path());
    let started = Instant::now();
    for garbage in [
        &b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"[..],
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"\0\0\0\0",
        &vec![b'A'; 200_000],
    ] {
        let mut stream = UnixStream::connect(daemon.agent()).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let _ = stream.write_all(garbage);
        let _ = stream.shutdown(std::net::Shutdown::Write);
        let mut rest = Vec::new();
        let _ = std::io::Read::read_to_end(&mut stream, &mut rest);
    }
    assert_eq!(daemon.get("/health").status, 200);
    assert!(started.elapsed() < PATIENCE + Duration::from_secs(30));
}

#[test]
fn operators_and_sql_in_a_recall_are_plain_words() {
    let directory = tempfile::tempdir().unwrap();
    let daemon = Daemon::start(directory.path());
    let stored = daemon.post("/memory/store", r#"{"summary":"nginx listens on 443"}"#);
    assert_eq!(stored.status, 200, "{}", stored.json());
    for query in [
        "nginx OR",
        "\"nginx",
        "nginx*",
        "NEAR(nginx, 2)",
        "nginx'; DROP TABLE chunks; --",
        "nginx AND NOT \u{0}",
    ] {
        let body = json!({ "query": query }).to_string();
        let answer = daemon.post("/memory/recall", &body);
        assert_eq!(answer.status, 200, "{query}: {}", answer.json());
        assert!(!answer.json()["chunks"].as_array().unwrap().is_empty(), "{query}");
    }
    daemon.post("/memory/recall", r#"{"query":"  "}"#).problem(422, "invalid_argument");
    daemon.post("/memory/recall", r#"{"query":"x","max_results":0}"#).problem(422, "invalid_argument");
    assert_eq!(daemon.events("memory.recall").len(), 6, "what was refused was not looked for");
}

#[test]
fn paths_that_lead_elsewhere_are_refused_without_blocking() {
    let directory = tempfile::tempdir().unwrap();
    let daemon = Daemon::start(directory.path());
    let fifo = directory.path().join("fifo");
    rustix::fs::mknodat(rustix::fs::CWD, &fifo, rustix::fs::FileType::Fifo, rustix::fs::Mode::RUSR, 0)
        .unwrap();
    let link = directory.path().join("device");
    std::os::unix::fs::symlink("/dev/zero", &link).unwrap();
    let paths = ["etc/passwd", "", "/proc/kcore", "/dev/zero", "/nonexistent/file", "/etc"];
    for path in paths.into_iter().chain([fifo.to_str().unwrap(), link.to_str().unwrap(), "/etc/passwd\0.txt"])
    {
        let answer = daemon.query("file", &json!({ "path": path }));
        assert!((400..500).contains(&answer.status), "{path:?}: {}", answer.json());
    }
    let key = daemon.directory.join("state");
    for entry in std::fs::read_dir(key).unwrap() {
        let path = entry.unwrap().path();
        if path.is_file() {
            daemon.query("file", &json!({ "path": path })).problem(403, "forbidden");
            // The same file by another name.
            let link = directory.path().join(format!("link-{}", path.file_name().unwrap().display()));
            std::fs::hard_link(&path, &link).unwrap();
            daemon.query("file", &json!({ "path": link })).problem(403, "forbidden");
        }
    }
}
