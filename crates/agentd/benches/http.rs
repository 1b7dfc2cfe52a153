//! What agentd costs over its socket, as ratios within one run: `cargo bench -p agentd --bench http`.
//!
//! The real program in a process of its own; its CPU time is read from `/proc/PID/stat`. What it is compared with runs
//! in the same run, in turn with it, because absolute times mean nothing on a shared machine.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use agentos_api::event::{Actor, EventType};
use agentos_ledger::{Ledger, LedgerOptions, NewEvent};

#[path = "../tests/common/mod.rs"]
mod common;

const ROUNDS: usize = 5;
const EVENTS: u64 = 1_000_000;

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    // The same program is the empty handler that /health is compared with.
    if let Some(at) = arguments.iter().position(|argument| argument == "--serve-empty") {
        return serve_empty(Path::new(&arguments[at + 1]));
    }
    // `cargo test --benches` runs benchmarks too: there is nothing to check there.
    if !arguments.iter().any(|argument| argument == "--bench") {
        return;
    }
    let directory = tempfile::tempdir().expect("a temporary directory");
    let names = ["appends", "health", "processes", "start", "ready"];
    let wanted = |name: &str| {
        !arguments.iter().any(|given| names.contains(&given.as_str()))
            || arguments.iter().any(|given| given == name)
    };
    if wanted("appends") {
        appends(&directory.path().join("appends"));
    }
    if wanted("health") {
        health(&directory.path().join("health"));
    }
    if wanted("processes") {
        processes(&directory.path().join("processes"));
    }
    if wanted("start") {
        start(&directory.path().join("start"));
    }
    if wanted("ready") {
        ready(&directory.path().join("ready"));
    }
}

/// Durable events over HTTP from 64 clients, against one commit an event into SQLite.
fn appends(directory: &Path) {
    let daemon = Daemon::start(directory);
    let request = post("/system/query", r#"{"query":"time"}"#);
    let commits = rusqlite::Connection::open(directory.join("one.db")).expect("a database");
    commits
        .execute_batch(
            "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL;
             CREATE TABLE events(id INTEGER PRIMARY KEY AUTOINCREMENT, payload TEXT NOT NULL)",
        )
        .expect("a table");
    let mut ratios = Vec::new();
    for _ in 0..ROUNDS {
        let over_http = closed_loop(&daemon.socket, &request, 64, Duration::from_secs(2));
        let started = Instant::now();
        let mut count = 0_u32;
        while started.elapsed() < Duration::from_secs(1) {
            commits
                .prepare_cached("INSERT INTO events(payload) VALUES (?1)")
                .and_then(|mut insert| insert.execute([&"x".repeat(300)]))
                .expect("an insert");
            count += 1;
        }
        let one = f64::from(count) / started.elapsed().as_secs_f64();
        ratios.push((over_http / one, over_http, one));
    }
    let (ratio, over_http, one) = median(ratios);
    report(
        "durable events over HTTP, 64 clients / one commit an event",
        ratio,
        "≥ 20",
        &format!("{over_http:.0}/s, {one:.0}/s"),
    );
}

/// CPU of `/health`, against an empty handler on the same HTTP stack.
fn health(directory: &Path) {
    let daemon = Daemon::start(directory);
    let empty = Daemon::empty(&directory.join("empty.sock"));
    let request = b"GET /health HTTP/1.1\r\nHost: a\r\n\r\n".to_vec();
    let mut ratios = Vec::new();
    for _ in 0..ROUNDS {
        let health = daemon.cpu_a_request(&request, 20_000);
        let nothing = empty.cpu_a_request(&request, 20_000);
        ratios.push((health / nothing, health, nothing));
    }
    let (ratio, health, nothing) = median(ratios);
    report("CPU of /health / empty handler", ratio, "≤ 1.3", &format!("{health:.1} µs, {nothing:.1} µs"));
}

/// CPU of the processes query over HTTP, against a loop over `/proc` that reads the same fields.
fn processes(directory: &Path) {
    let idle: Vec<Daemon> = (0..400)
        .map(|_| Daemon {
            child: Command::new("sleep").arg("600").spawn().expect("a sleep"),
            socket: PathBuf::new(),
        })
        .collect();
    let daemon = Daemon::start(directory);
    let request = post("/system/query", r#"{"query":"processes","args":{"limit":1000}}"#);
    let mut ratios = Vec::new();
    for _ in 0..ROUNDS {
        let over_http = daemon.cpu_a_request(&request, 50);
        let before = own_cpu();
        let mut listed = 0;
        for _ in 0..50 {
            listed = raw_process_list();
        }
        let raw = (own_cpu() - before) / 50.0;
        ratios.push((over_http / raw, over_http / f64::from(listed), raw / f64::from(listed)));
    }
    let (ratio, over_http, raw) = median(ratios);
    report(
        "CPU of processes over HTTP / raw /proc loop",
        ratio,
        "≤ 2",
        &format!("{over_http:.1} µs, {raw:.1} µs a process"),
    );
    drop(idle);
}

/// Start and memory with a million events, against an empty ledger.
fn start(directory: &Path) {
    let (empty, full) = (directory.join("empty"), directory.join("full"));
    fill(&full.join("state"));
    Daemon::start(&empty);
    let mut ratios = Vec::new();
    let mut resident = (0, 0);
    for _ in 0..ROUNDS {
        let began = Instant::now();
        let daemon = Daemon::start(&full);
        let large = began.elapsed().as_secs_f64() * 1e3;
        resident.1 = daemon.resident_kib();
        drop(daemon);
        let began = Instant::now();
        let daemon = Daemon::start(&empty);
        let small = began.elapsed().as_secs_f64() * 1e3;
        resident.0 = daemon.resident_kib();
        drop(daemon);
        ratios.push((large / small, large, small));
    }
    let (ratio, large, small) = median(ratios);
    report("start with 1M events / empty ledger", ratio, "≤ 1.5", &format!("{large:.0} ms, {small:.0} ms"));
    report_ready("1M events", median_of((0..=2 * ROUNDS).map(|_| Daemon::ready(&full).1).collect()));
    println!(
        "{:60} {:.1} MiB (≤ 12 MiB)",
        "resident memory at rest, empty ledger",
        f64::from(resident.0) / 1024.0
    );
    println!(
        "{:60} {:.1} MiB (≤ 32 MiB)",
        "resident memory at rest, 1M events",
        f64::from(resident.1) / 1024.0
    );
}

/// CPU of a start until agentd tells systemd that it is ready: after an orderly end, and after a kill under load, when
/// SQLite reads the log that was left.
fn ready(directory: &Path) {
    std::fs::create_dir_all(directory).expect("a directory");
    Daemon::ready(directory);
    report_ready("empty ledger", median_of((0..=2 * ROUNDS).map(|_| Daemon::ready(directory).1).collect()));
    let mut after_kills = Vec::new();
    for _ in 0..ROUNDS {
        let (mut daemon, _) = Daemon::ready(directory);
        closed_loop(
            &daemon.socket,
            &post("/system/query", r#"{"query":"time"}"#),
            32,
            Duration::from_secs(2),
        );
        daemon.child.kill().expect("killed");
        daemon.child.wait().expect("gone");
        let log = std::fs::metadata(directory.join("state/ledger.db-wal")).expect("a log").len();
        after_kills.push((Daemon::ready(directory).1, log >> 20));
    }
    after_kills.sort_by(|a, b| a.0.total_cmp(&b.0));
    let (milliseconds, log) = after_kills[ROUNDS / 2];
    report_ready(&format!("after a kill, {log} MiB of log"), milliseconds);
}

fn report_ready(what: &str, milliseconds: f64) {
    println!("{:60} {milliseconds:.1} ms (≤ 50 ms)", format!("CPU from exec to READY, {what}"));
}

fn median_of(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn fill(state: &Path) {
    use std::os::unix::fs::DirBuilderExt;
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(state).expect("the state directory");
    let ledger = Ledger::open(&LedgerOptions::new(state, "bench.example/host")).expect("a ledger");
    std::thread::scope(|scope| {
        for _ in 0..64 {
            let ledger = &ledger;
            scope.spawn(move || {
                for number in 0..EVENTS / 64 {
                    let data = serde_json::json!({ "query": "processes", "args": { "limit": 50 }, "number": number });
                    let kind = EventType::new("system.query").expect("a type");
                    let actor = Actor::new("agent:bench").expect("an actor");
                    ledger.append_blocking(NewEvent::new(kind, actor, &data).expect("an event")).expect("durable");
                }
            });
        }
    });
}

struct Daemon {
    child: Child,
    socket: PathBuf,
}

/// The policy that ships, without its quotas: a benchmark is the loop that they hold up.
fn without_quotas(directory: &Path) {
    let shipped = include_str!("../../../packaging/etc/policy.toml");
    let (rules, _) = shipped.split_once("[quota.agent]").expect("quotas at its end");
    let policy = directory.join("policy.toml");
    std::fs::write(&policy, rules).expect("a policy");
    let file = directory.join("agentd.toml");
    let rest = std::fs::read_to_string(&file).expect("a configuration");
    std::fs::write(&file, format!("policy = \"{}\"\n{rest}", policy.display())).expect("a configuration");
}

impl Daemon {
    fn start(directory: &Path) -> Self {
        std::fs::create_dir_all(directory).expect("a directory");
        let mut command = common::command(directory, "");
        without_quotas(directory);
        command.env("AGENTD_LOG", "error");
        Self::spawn(command, directory.join("agent.sock"))
    }

    fn empty(socket: &Path) -> Self {
        let mut command = Command::new(std::env::current_exe().expect("this program"));
        command.arg("--serve-empty").arg(socket);
        Self::spawn(command, socket.to_owned())
    }

    fn spawn(mut command: Command, socket: PathBuf) -> Self {
        let child = command.stdin(Stdio::null()).spawn().expect("a server");
        let daemon = Self { child, socket };
        let started = Instant::now();
        while UnixStream::connect(&daemon.socket).is_err() {
            assert!(started.elapsed() < Duration::from_mins(1), "the server does not answer");
            std::thread::sleep(Duration::from_micros(200));
        }
        daemon
    }

    /// A start below `directory`, and the milliseconds of CPU that it took until agentd was ready.
    fn ready(directory: &Path) -> (Self, f64) {
        let path = directory.join("notify");
        let _ = std::fs::remove_file(&path);
        let notify = std::os::unix::net::UnixDatagram::bind(&path).expect("a socket");
        notify.set_read_timeout(Some(Duration::from_mins(1))).expect("a time limit");
        let mut command = common::command(directory, "");
        command.env("NOTIFY_SOCKET", &path).stdin(Stdio::null()).stderr(Stdio::null());
        let child = command.spawn().expect("a server");
        let daemon = Self { child, socket: directory.join("agent.sock") };
        notify.recv(&mut [0; 512]).expect("READY=1");
        let used = cpu_of(daemon.child.id()) / 1e3;
        (daemon, used)
    }

    /// Microseconds of the server's CPU for each of `count` requests on one connection.
    fn cpu_a_request(&self, request: &[u8], count: u32) -> f64 {
        let mut client = Client::connect(&self.socket);
        client.exchange(request);
        let before = cpu_of(self.child.id());
        for _ in 0..count {
            client.exchange(request);
        }
        (cpu_of(self.child.id()) - before) / f64::from(count)
    }

    fn resident_kib(&self) -> u32 {
        std::thread::sleep(Duration::from_millis(500));
        let status =
            std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).expect("its status");
        let line = status.lines().find(|line| line.starts_with("VmRSS")).expect("VmRSS");
        line.split_whitespace().nth(1).and_then(|number| number.parse().ok()).expect("a number")
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let pid = rustix::process::Pid::from_child(&self.child);
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        let _ = self.child.wait();
    }
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

    fn exchange(&mut self, request: &[u8]) {
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
            assert!(head.starts_with("http/1.1 200"), "{head}");
            let length: usize = head
                .split("content-length: ")
                .nth(1)
                .and_then(|rest| rest.lines().next())
                .expect("a length")
                .parse()
                .expect("a number");
            if filled >= end + 4 + length {
                return;
            }
        }
    }
}

/// Requests a second that `clients` get answered, each asking again when it has its answer.
fn closed_loop(socket: &Path, request: &[u8], clients: usize, time: Duration) -> f64 {
    let started = Instant::now();
    let total: u32 = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..clients)
            .map(|_| {
                scope.spawn(|| {
                    let mut client = Client::connect(socket);
                    let mut count = 0;
                    while started.elapsed() < time {
                        client.exchange(request);
                        count += 1;
                    }
                    count
                })
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().expect("a client")).sum()
    });
    f64::from(total) / started.elapsed().as_secs_f64()
}

/// Reads what the query reads of each process (stat, owner, command line, control group), and makes nothing of it.
fn raw_process_list() -> u32 {
    let mut count = 0;
    for entry in std::fs::read_dir("/proc").expect("/proc").flatten() {
        let name = entry.file_name();
        let Some(name) = name.to_str().filter(|name| name.bytes().all(|byte| byte.is_ascii_digit())) else {
            continue;
        };
        let mut buffer = [0; 4096];
        let mut read = |file: &str| {
            std::fs::File::open(format!("/proc/{name}/{file}"))
                .and_then(|mut file| file.read(&mut buffer))
                .unwrap_or(0)
        };
        if read("stat") > 0 {
            std::hint::black_box(std::fs::metadata(format!("/proc/{name}")).is_ok());
            std::hint::black_box(read("cmdline"));
            std::hint::black_box(read("cgroup"));
            count += 1;
        }
    }
    count
}

fn serve_empty(socket: &Path) {
    use axum::{Router, routing::get};
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.block_on(async {
        let listener = tokio::net::UnixListener::bind(socket).expect("a socket");
        axum::serve(listener, Router::new().route("/health", get(|| async {}))).await.expect("a server");
    });
}

fn post(path: &str, body: &str) -> Vec<u8> {
    format!("POST {path} HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}", body.len())
        .into_bytes()
}

/// Microseconds of CPU that a process has used.
fn cpu_of(pid: u32) -> f64 {
    let schedule = std::fs::read_dir(format!("/proc/{pid}/task")).expect("its threads");
    let nanoseconds: u64 = schedule
        .flatten()
        .filter_map(|task| std::fs::read_to_string(task.path().join("schedstat")).ok())
        .filter_map(|text| text.split_whitespace().next()?.parse::<u64>().ok())
        .sum();
    #[expect(clippy::cast_precision_loss, reason = "a time for people")]
    let microseconds = nanoseconds as f64 / 1e3;
    microseconds
}

fn own_cpu() -> f64 {
    cpu_of(std::process::id())
}

fn median(mut rounds: Vec<(f64, f64, f64)>) -> (f64, f64, f64) {
    rounds.sort_by(|a, b| a.0.total_cmp(&b.0));
    rounds[rounds.len() / 2]
}

fn report(what: &str, ratio: f64, wanted: &str, detail: &str) {
    println!("{what:60} {ratio:.2} ({wanted})  {detail}");
}
