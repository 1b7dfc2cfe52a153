//! How near the ledger is to what the machine allows: appends against a bare file, verification against a bare scan.
//!
//! `cargo bench -p agentos-ledger` prints one line a figure: name, ratio, what it is of. Both sides of a ratio run in the
//! same process, in turns, and the median over the rounds is taken, so that a busy machine slows both.
//! `AGENTOS_BENCH_EVENTS` sets the length of the long ledger (default 1,000,000).

#![expect(clippy::cast_precision_loss, reason = "counts far below 2^52, for people to read")]

use std::fs::{File, OpenOptions};
use std::io::{Seek as _, Write as _};
use std::path::Path;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::{Duration, Instant};

use agentos_api::event::{Actor, EventType};
use agentos_ledger::{
    Fields, GENESIS, Ledger, LedgerOptions, NewEvent, VerifyOptions, event_hash, to_hex, verify,
};
use rusqlite::Connection;
use tempfile::TempDir;

const CLIENTS: usize = 64;
const SLICE: Duration = Duration::from_millis(700);
const ROUNDS: usize = 5;
/// What one event of the tests weighs as a row.
const RECORD: usize = 500;
const PREWRITTEN: usize = 64 << 20;

fn event() -> NewEvent {
    let data = serde_json::json!({
        "query": "processes", "args": { "sort": "cpu", "limit": 50 }, "result": "ok", "duration_ms": 12,
        "request": "01J9Z6Y7K8M9N0P1Q2R3S4T5V6", "reason": "user asked what is slow",
    });
    NewEvent::new(EventType::new("system.query").unwrap(), Actor::new("agent/main").unwrap(), &data).unwrap()
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn figure(name: &str, ratio: f64, detail: &str) {
    println!("{name:<44} {ratio:>7.2}  {detail}");
}

/// Clients that each wait for their answer before they ask again: operations a second.
fn closed_loop(operation: impl Fn() + Sync) -> f64 {
    let start = Instant::now();
    let count: u64 = std::thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS)
            .map(|_| {
                scope.spawn(|| {
                    let mut count = 0;
                    while start.elapsed() < SLICE {
                        operation();
                        count += 1;
                    }
                    count
                })
            })
            .collect();
        clients.into_iter().map(|client| client.join().unwrap()).sum()
    });
    count as f64 / start.elapsed().as_secs_f64()
}

type Answer = SyncSender<()>;

/// The physical limit: a thread that writes what has queued to a file that is already there, and syncs its data.
struct Raw {
    sender: SyncSender<Answer>,
}

impl Raw {
    fn start(path: &Path) -> Self {
        let mut file: File = OpenOptions::new().create(true).truncate(true).write(true).open(path).unwrap();
        file.write_all(&vec![0; PREWRITTEN]).unwrap();
        file.sync_all().unwrap();
        file.rewind().unwrap();
        let (sender, receiver): (SyncSender<Answer>, Receiver<Answer>) = sync_channel(4096);
        std::thread::spawn(move || {
            let record = vec![b'x'; RECORD * 1024];
            let mut position = 0;
            while let Ok(first) = receiver.recv() {
                let mut group = vec![first];
                while group.len() < 1024
                    && let Ok(answer) = receiver.try_recv()
                {
                    group.push(answer);
                }
                if position + group.len() * RECORD > PREWRITTEN {
                    file.rewind().unwrap();
                    position = 0;
                }
                file.write_all(&record[..group.len() * RECORD]).unwrap();
                position += group.len() * RECORD;
                file.sync_data().unwrap();
                for answer in group {
                    let _ = answer.send(());
                }
            }
        });
        Self { sender }
    }

    fn append(&self) {
        let (answer, answered) = sync_channel(1);
        self.sender.send(answer).unwrap();
        answered.recv().unwrap();
    }
}

/// The limit of verification: every row read and its chain hash computed and compared, nothing else.
fn scan_and_hash(path: &Path) -> u64 {
    let connection = Connection::open_with_flags(
        format!("file:{}?mode=ro&immutable=1", path.display()),
        rusqlite::OpenFlags::SQLITE_OPEN_READ_ONLY | rusqlite::OpenFlags::SQLITE_OPEN_URI,
    )
    .unwrap();
    let mut statement = connection
        .prepare("SELECT id, ts, type, actor, payload, prev_hash, hash FROM events ORDER BY id")
        .unwrap();
    let mut rows = statement.query([]).unwrap();
    let mut previous = GENESIS.as_bytes().to_vec();
    let mut count = 0;
    while let Some(row) = rows.next().unwrap() {
        let bytes = |column: usize| row.get_ref(column).unwrap().as_bytes().unwrap();
        let hash = event_hash(&Fields {
            id: row.get_ref(0).unwrap().as_i64().unwrap().cast_unsigned(),
            ts: bytes(1),
            kind: bytes(2),
            actor: bytes(3),
            payload: bytes(4),
            prev_hash: bytes(5),
        });
        assert!(bytes(5) == previous && bytes(6) == to_hex(&hash).as_bytes());
        previous.copy_from_slice(bytes(6));
        count += 1;
    }
    count
}

fn seconds(operation: impl FnOnce()) -> f64 {
    let start = Instant::now();
    operation();
    start.elapsed().as_secs_f64()
}

/// Most memory this process has had resident, in MiB, since it was last asked to forget.
fn peak_mib() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<f64>().unwrap() / 1024.0
}

fn appends() {
    let directory = TempDir::new().unwrap();
    let raw = Raw::start(&directory.path().join("raw"));
    let ledger = Ledger::open(&LedgerOptions::new(directory.path(), "bench.test/append")).unwrap();
    let template = event();
    let (mut of_raw, mut of_ledger) = (Vec::new(), Vec::new());
    for round in 0..=ROUNDS {
        let (bare, durable) = (
            closed_loop(|| raw.append()),
            closed_loop(|| drop(ledger.append_blocking(template.clone()).unwrap())),
        );
        // The first round fills the log and the caches.
        if round > 0 {
            of_raw.push(bare);
            of_ledger.push(durable);
        }
    }
    let ratios = of_raw.iter().zip(&of_ledger).map(|(bare, durable)| durable / bare).collect();
    let (bare, durable) = (median(of_raw), median(of_ledger));
    figure(
        "durable appends, 64 clients",
        median(ratios),
        &format!("of a raw group-fdatasync file ({durable:.0}/s of {bare:.0}/s)"),
    );
}

fn fill(directory: &Path, events: u64) {
    let ledger = Ledger::open(&LedgerOptions::new(directory, "bench.test/long")).unwrap();
    let template = event();
    let (sender, receiver) = sync_channel(4096);
    let mut waiting = 0;
    for _ in 0..events {
        if waiting == 4000 {
            receiver.recv().unwrap();
            waiting -= 1;
        }
        let sender = sender.clone();
        ledger.append(template.clone(), move |result| {
            result.unwrap();
            let _ = sender.send(());
        });
        waiting += 1;
    }
    ledger.close();
}

fn long_ledger(events: u64) {
    let [long, short, empty] = std::array::from_fn(|_| TempDir::new().unwrap());
    let filled = seconds(|| fill(long.path(), events));
    fill(short.path(), 300);
    fill(empty.path(), 0);
    println!("# a ledger of {events} events, appended in {filled:.1} s without waiting for each");
    let path = long.path().join(agentos_ledger::DATABASE_FILE);

    let open = |directory: &Path| {
        let options = LedgerOptions::new(directory, "bench.test/long");
        let start = Instant::now();
        let ledger = Ledger::open(&options).unwrap();
        let elapsed = start.elapsed().as_secs_f64();
        drop(ledger);
        elapsed
    };
    let mut opens = [Vec::new(), Vec::new(), Vec::new()];
    for _ in 0..21 {
        for (opens, directory) in opens.iter_mut().zip([&long, &short, &empty]) {
            opens.push(open(directory.path()));
        }
    }
    let [long_open, short_open, empty_open] = opens.map(median);
    for (name, other) in [("one of 300 events", short_open), ("an empty one", empty_open)] {
        figure(
            "open the long ledger",
            long_open / other,
            &format!("of opening {name} ({:.2} ms of {:.2} ms)", long_open * 1e3, other * 1e3),
        );
    }

    // What verifying adds to the memory, before the bare scan could raise the peak itself.
    let before = peak_mib();
    verify(&path, VerifyOptions::default()).unwrap();
    let after = peak_mib();
    figure("memory of a verification", after, &format!("MiB resident at most (before it {before:.1})"));

    let (mut bare, mut whole) = (Vec::new(), Vec::new());
    for _ in 0..3 {
        bare.push(seconds(|| assert_eq!(scan_and_hash(&path), events)));
        whole.push(seconds(|| assert_eq!(verify(&path, VerifyOptions::default()).unwrap().size, events)));
    }
    let ratios = bare.iter().zip(&whole).map(|(bare, whole)| bare / whole).collect();
    let rate = |seconds: f64| events as f64 / seconds;
    let (bare, whole) = (median(bare), median(whole));
    figure(
        "verification",
        median(ratios),
        &format!("of a bare scan and hash ({:.0}/s of {:.0}/s)", rate(whole), rate(bare)),
    );

    let ledger = Ledger::open(&LedgerOptions::new(long.path(), "bench.test/long")).unwrap();
    let note = ledger.checkpoint_blocking().unwrap().note;
    let new = events / 100;
    for _ in 0..new {
        ledger.append(event(), |_| ());
        if ledger.head().id.is_multiple_of(1000) {
            ledger.append_blocking(event()).unwrap();
        }
    }
    drop(ledger);
    let mut read = 0;
    let again = median(
        (0..5)
            .map(|_| seconds(|| read = verify(&path, VerifyOptions::default().trusting(&note)).unwrap().read))
            .collect(),
    );
    figure(
        "verification from a trusted checkpoint",
        again / whole,
        &format!(
            "of a whole one, for {:.4} of the events ({:.1} ms)",
            read as f64 / events as f64,
            again * 1e3
        ),
    );
}

fn main() {
    // `cargo test --benches` runs this too, to see that it can run.
    let events = if std::env::args().any(|argument| argument == "--bench") {
        std::env::var("AGENTOS_BENCH_EVENTS").ok().and_then(|events| events.parse().ok()).unwrap_or(1_000_000)
    } else {
        println!("not measuring: run with `cargo bench -p agentos-ledger`");
        return;
    };
    appends();
    long_ledger(events);
}
