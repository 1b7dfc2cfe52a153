//! What changes cost over the socket, as ratios within one run: `cargo bench -p agentd --bench changes`.
//!
//! A small change against the ledger's commits that it cannot do without; and what a query and a list cost while a
//! thousand changes wait, against none.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Instant;

use serde_json::json;

#[path = "../tests/common/mod.rs"]
mod common;

const ROUNDS: usize = 5;
const WAITING: usize = 1000;
const ALLOW: &str = "[[rule]]\nrisk = \"low\"\nthen = \"allow\"\n";
const ASK: &str = "[[rule]]\nrisk = \"low\"\nthen = \"ask\"\n";

fn main() {
    // `cargo test --benches` runs benchmarks too: there is nothing to check there.
    if !std::env::args().any(|argument| argument == "--bench") {
        return;
    }
    let directory = tempfile::tempdir().expect("a temporary directory");
    small_change(&directory.path().join("small"));
    waiting(&directory.path().join("waiting"));
}

/// Plan and apply of a small `file.write`, durable, against two commits of one event each.
fn small_change(directory: &Path) {
    let daemon = start(directory, ALLOW);
    let mut client = Client::connect(&daemon.agent());
    let database = rusqlite::Connection::open(directory.join("one.db")).expect("a database");
    database
        .execute_batch(
            "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL;
             CREATE TABLE events(id INTEGER PRIMARY KEY AUTOINCREMENT, payload TEXT NOT NULL)",
        )
        .expect("a table");
    let payload = "x".repeat(300);
    let mut number = 0;
    let commit = |bytes: &str| {
        database
            .prepare_cached("INSERT INTO events(payload) VALUES (?1)")
            .and_then(|mut insert| insert.execute([bytes]))
            .expect("an insert");
    };
    let folder = std::fs::File::open(directory).expect("the folder");
    std::fs::write(directory.join("bare"), "content").expect("a file");
    let (mut changes, mut bare) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let change = milliseconds(100, || {
            number += 1;
            client.exchange(&write(&directory.join("file"), number), 200);
        });
        let two = milliseconds(100, || (0..2).for_each(|_| commit(&payload)));
        changes.push((change, two));
        // What is asked for, what is kept, the intent, the file, the outcome: each durable before the next.
        let least = milliseconds(100, || {
            commit(&payload);
            commit(&payload.repeat(12));
            commit(&payload.repeat(3));
            exchange(&folder);
            commit(&payload);
        });
        bare.push((least, two));
    }
    report("a small file.write, planned and made / two commits", changes, "≤ 3");
    report("its commits and file operations alone / two commits", bare, "-");
}

/// A file is replaced whole: written, synced, exchanged, removed, the folder synced.
fn exchange(folder: &std::fs::File) {
    use rustix::fs::{AtFlags, Mode, OFlags, RenameFlags, fsync, linkat, openat, renameat_with, unlinkat};
    let flags = OFlags::WRONLY | OFlags::TMPFILE | OFlags::CLOEXEC;
    let file = openat(folder, c".", flags, Mode::from_raw_mode(0o644)).expect("a file without a name");
    rustix::io::write(&file, b"content\n").expect("written");
    fsync(&file).expect("synced");
    linkat(&file, c"", folder, c".aside", AtFlags::EMPTY_PATH).expect("a name");
    renameat_with(folder, c".aside", folder, c"bare", RenameFlags::EXCHANGE).expect("exchanged");
    unlinkat(folder, c".aside", AtFlags::empty()).expect("removed");
    fsync(folder).expect("synced");
}

/// A query, and the list of what waits, with a thousand changes that wait, against none.
fn waiting(directory: &Path) {
    let (none, full) = (directory.join("none"), directory.join("full"));
    let (none, full) = (start(&none, ASK), start(&full, ASK));
    let mut one = Client::connect(&none.agent());
    let mut other = Client::connect(&full.agent());
    let path = |number: usize| directory.join(format!("waiting-{number}"));
    for number in 0..WAITING {
        other.exchange(&write(&path(number), number), 202);
    }
    // One more is refused, and says why.
    other.exchange(&write(&path(WAITING), WAITING), 503);
    for (what, request, target) in [
        ("a query with 1,000 changes waiting / none", post("/system/query", r#"{"query":"time"}"#), "≤ 1.1"),
        ("a dry run with 1,000 changes waiting / none", dry_run(&directory.join("dry")), "≤ 1.1"),
        ("the first 50 of 1,000 that wait / of none", get("/changes?status=waiting"), "-"),
    ] {
        let rounds = (0..ROUNDS).map(|_| {
            let with = milliseconds(200, || other.exchange(&request, 200));
            (with, milliseconds(200, || one.exchange(&request, 200)))
        });
        report(what, rounds.collect(), target);
    }
}

/// The median of the rounds, by their ratio.
fn report(what: &str, mut rounds: Vec<(f64, f64)>, target: &str) {
    rounds.sort_by(|a, b| (a.0 / a.1).total_cmp(&(b.0 / b.1)));
    let (changes, commits) = rounds[rounds.len() / 2];
    println!("{what:60} {:.2} ({target}): {changes:.3} ms, {commits:.3} ms", changes / commits);
}

/// The median time of so many turns.
fn milliseconds(turns: usize, mut turn: impl FnMut()) -> f64 {
    let mut times: Vec<f64> = (0..turns)
        .map(|_| {
            let began = Instant::now();
            turn();
            began.elapsed().as_secs_f64() * 1e3
        })
        .collect();
    times.sort_by(f64::total_cmp);
    times[turns / 2]
}

/// agentd under a policy without quotas.
fn start(directory: &Path, policy: &str) -> common::Daemon {
    std::fs::create_dir_all(directory).expect("a directory");
    let mut command = common::command(directory, "");
    let path = directory.join("policy.toml");
    std::fs::write(&path, policy).expect("a policy");
    let file = directory.join("agentd.toml");
    let rest = std::fs::read_to_string(&file).expect("a configuration");
    std::fs::write(&file, format!("policy = \"{}\"\n{rest}", path.display())).expect("a configuration");
    command.env("AGENTD_LOG", "error");
    common::Daemon::spawn(directory, command)
}

fn write(path: &Path, number: usize) -> Vec<u8> {
    let args = json!({"path": path, "content": format!("content {number}\n")});
    post("/system/mutate", &json!({"mutation": "file.write", "args": args, "reason": "a bench"}).to_string())
}

fn dry_run(path: &Path) -> Vec<u8> {
    let args = json!({"path": path, "content": "content\n"});
    let body = json!({"mutation": "file.write", "args": args, "reason": "a bench", "dry_run": true});
    post("/system/mutate", &body.to_string())
}

fn post(path: &str, body: &str) -> Vec<u8> {
    let length = body.len();
    let head = format!(
        "POST {path} HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n"
    );
    [head.as_bytes(), body.as_bytes()].concat()
}

fn get(path: &str) -> Vec<u8> {
    format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n").into_bytes()
}

/// A connection that is kept, and just enough HTTP to read an answer.
struct Client {
    stream: UnixStream,
    buffer: Vec<u8>,
}

impl Client {
    fn connect(socket: &Path) -> Self {
        Self { stream: UnixStream::connect(socket).expect("a connection"), buffer: vec![0; 1 << 20] }
    }

    fn exchange(&mut self, request: &[u8], status: u16) {
        self.stream.write_all(request).expect("sent");
        let mut filled = 0;
        loop {
            let count = self.stream.read(&mut self.buffer[filled..]).expect("an answer");
            assert!(count > 0, "the server closed the connection");
            filled += count;
            let Some(end) = self.buffer[..filled].windows(4).position(|window| window == b"\r\n\r\n") else {
                continue;
            };
            let head = std::str::from_utf8(&self.buffer[..end]).expect("a head").to_lowercase();
            let length = head
                .split("content-length: ")
                .nth(1)
                .and_then(|rest| rest.lines().next())
                .and_then(|length| length.parse::<usize>().ok())
                .expect("a length");
            if filled >= end + 4 + length {
                let body = String::from_utf8_lossy(&self.buffer[end + 4..filled]);
                assert!(head.starts_with(&format!("http/1.1 {status}")), "{head}\n{body}");
                return;
            }
        }
    }
}
