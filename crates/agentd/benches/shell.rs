//! What a command costs that observes, as ratios within one run: `cargo bench -p agentd --bench shell`.
//!
//! The same command in the same namespaces, begun by unshare(1), is what there is to compare with: it closes nothing else.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use serde_json::json;

#[path = "../tests/common/mod.rs"]
mod common;

use common::left::{Left, memory};

const ROUNDS: usize = 5;
const TURNS: usize = 25;
/// Commands in a row that must leave nothing.
const MANY: usize = 10_000;

fn main() {
    // `cargo test --benches` runs benchmarks too: there is nothing to check there.
    if !std::env::args().any(|argument| argument == "--bench") {
        return;
    }
    let directory = tempfile::tempdir().expect("a temporary directory");
    // Nothing here is about how often the agent may ask.
    let command = common::command_under(directory.path(), "[quota.agent]\ncalls_per_minute = 1000000\n", "");
    let daemon = common::Daemon::spawn(directory.path(), command);
    for (what, words, target) in [
        ("observing true / unshare true", vec!["true"], "≤ 2"),
        ("observing ls of /usr/bin / unshare ls", vec!["ls", "-l", "/usr/bin"], "-"),
        ("observing grep in /etc / unshare grep", vec!["grep", "-rs", "nothing like this", "/etc"], "-"),
    ] {
        let args = json!({ "words": words });
        let rounds: Vec<(f64, f64)> = (0..ROUNDS)
            .map(|_| {
                let observed = milliseconds(|| {
                    assert_eq!(daemon.query("shell", &args).status, 200);
                });
                (observed, milliseconds(|| unshare(&words)))
            })
            .collect();
        report(what, rounds, target);
    }
    previews(&daemon, &directory.path().join("tree"));
    leaves_nothing(&daemon);
}

/// What a preview costs in processor time more than observing, beside many files that it does not touch; and what each file that it
/// writes costs, for few and for many.
fn previews(daemon: &common::Daemon, folder: &Path) {
    let preview = |command: &str| {
        let args = json!({ "command": command, "folder": folder });
        let asked =
            json!({ "mutation": "shell.preview", "args": args, "reason": "a bench", "dry_run": true });
        assert_eq!(daemon.post("/system/mutate", &asked.to_string()).status, 200);
    };
    std::fs::create_dir(folder).expect("a folder");
    let observing = processor(daemon, || {
        assert_eq!(daemon.query("shell", &json!({ "command": "true" })).status, 200);
    });
    let without = processor(daemon, || preview("true"));
    for number in 0..100 {
        let below = folder.join(number.to_string());
        std::fs::create_dir(&below).expect("a folder");
        for file in 0..1000 {
            std::fs::write(below.join(file.to_string()), "unchanged").expect("a file");
        }
    }
    let beside = processor(daemon, || preview("true"));
    println!(
        "previewing true beside 100,000 files: {:.1} ms of processor time more than observing it (≤ 20); {:.1} without the files",
        beside - observing,
        without - observing
    );
    let writing = |files: u32| {
        let command = format!("i=0; while [ $i -lt {files} ]; do echo x >0/$i; i=$((i+1)); done");
        processor(daemon, || preview(&command)) - beside
    };
    let (few, many) = (writing(100), writing(1000));
    println!(
        "each of 1,000 files written beside 100,000 / of 100 {:45.2}: {:.3} ms, {:.3} ms of processor time",
        (many / 1000.0) / (few / 100.0),
        many / 1000.0,
        few / 100.0
    );
}

/// Processor time of one turn, of agentd and all that it started, in milliseconds.
fn processor(daemon: &common::Daemon, mut turn: impl FnMut()) -> f64 {
    let spent = || {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", daemon.pid())).expect("agentd's stat");
        let words = stat.rsplit(')').next().unwrap_or_default();
        // Its own, in user and system mode, and that of what it waited for (proc_pid_stat(5)).
        words
            .split_ascii_whitespace()
            .skip(11)
            .take(4)
            .filter_map(|word| word.parse::<f64>().ok())
            .sum::<f64>()
    };
    turn();
    let before = spent();
    for _ in 0..TURNS {
        turn();
    }
    // Ticks are hundredths of a second (USER_HZ).
    (spent() - before) * 10.0 / f64::from(u32::try_from(TURNS).unwrap_or(1))
}

/// Runs many in a row, and compares what there is of agentd before and after.
fn leaves_nothing(daemon: &common::Daemon) {
    let run = |times: usize| {
        for _ in 0..times {
            assert_eq!(daemon.query("shell", &json!({ "words": ["true"] })).status, 200);
        }
    };
    run(100);
    let (before, memory) = (Left::of(daemon), memory(daemon, "VmRSS"));
    let began = Instant::now();
    run(MANY);
    let took = began.elapsed().as_secs_f64();
    common::eventually("nothing is left of them", || {
        Left::of(daemon).beside(&before).is_empty().then_some(())
    });
    let more = common::left::memory(daemon, "VmRSS").saturating_sub(memory) >> 10;
    println!("{MANY} in a row leave nothing; agentd has {more} KiB more ({took:.0} s)");
}

/// Runs a command in namespaces of its own, and reads what it says.
fn unshare(words: &[&str]) {
    let output = Command::new("unshare")
        .args(["--mount", "--ipc", "--pid", "--fork", "--kill-child", "--"])
        .args(words)
        .stdin(Stdio::null())
        .output()
        .expect("unshare(1), of util-linux");
    assert!(output.status.code().is_some_and(|code| code < 2), "{output:?}");
}

/// The median time of some turns.
fn milliseconds(mut turn: impl FnMut()) -> f64 {
    let mut times: Vec<f64> = (0..TURNS)
        .map(|_| {
            let began = Instant::now();
            turn();
            began.elapsed().as_secs_f64() * 1e3
        })
        .collect();
    times.sort_by(f64::total_cmp);
    times[TURNS / 2]
}

/// The median of the rounds, by their ratio.
fn report(what: &str, mut rounds: Vec<(f64, f64)>, target: &str) {
    rounds.sort_by(|a, b| (a.0 / a.1).total_cmp(&(b.0 / b.1)));
    let (observed, bare) = rounds[ROUNDS / 2];
    println!("{what:45} {:.2} ({target}): {observed:.2} ms, {bare:.2} ms", observed / bare);
}
