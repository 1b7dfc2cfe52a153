//! What a decision about a change costs, and a refused call; what masking costs beside a plain copy of the same bytes, and how it grows with the text where it is at its worst.
//!
//! `cargo bench -p agentos-policy --bench mask` (about 10 seconds). It prints ratios; it decides nothing.

use std::fmt::Write as _;
use std::hint::black_box;
use std::time::{Duration, Instant};

use agentos_api::change::Risk;
use agentos_policy::{Moment, Policy, Quotas, Rates, Request, Role, Spend, Subject, mask};
use serde_json::{Map, json};

/// The quickest of several runs, in seconds.
fn quickest(mut run: impl FnMut()) -> f64 {
    let until = Instant::now() + Duration::from_millis(400);
    let mut best = f64::MAX;
    while Instant::now() < until {
        let started = Instant::now();
        run();
        best = best.min(started.elapsed().as_secs_f64());
    }
    best
}

fn main() {
    changes();
    let harmless = processes(false);
    let few = processes(true);
    let journal = journal();
    for (name, answer) in [
        ("processes, no secret", &harmless),
        ("processes, a password in one", &few),
        ("journal, words that speak of secrets", &journal),
    ] {
        #[expect(clippy::cast_precision_loss, reason = "some bytes")]
        let mebibytes = answer.len() as f64 / f64::from(1 << 20);
        let copied = quickest(|| {
            black_box(black_box(answer).clone());
        });
        let masked = quickest(|| {
            black_box(mask::json(black_box(answer).clone()));
        });
        println!(
            "{name:<40} {:>7} bytes  copy {:>8.1} MiB/s  masked {:>8.1} MiB/s  ratio {:>6.1}  {:>7.1} us",
            answer.len(),
            mebibytes / copied,
            mebibytes / masked,
            masked / copied,
            masked * 1e6
        );
    }
    // Eight times the text: in a straight line that is eight times as long.
    let mut worst = (0.0, "");
    for piece in [
        "password",
        "password=",
        "token token ",
        "-----BEGIN PRIVATE KEY-----",
        "://a:",
        "eyJaaaaaaaaa.",
        "mysql ",
        "\\\"",
        "sk-",
        "authorization:",
        "aaaaaaaaaaaaaaaa",
        "curl -u ",
        "<password ",
        "\"password\":\"",
        "-----END PRIVATE KEY-----",
        "://aaaaaaaaaaaaaaaaaaaaaaa",
        "$6$",
        "--password ",
        "machine a login ",
        "cookie: a=",
        "aaaa=\n",
    ] {
        let time = |bytes: usize| {
            let text = piece.repeat(bytes / piece.len());
            quickest(|| {
                black_box(mask::text(text.as_bytes()));
            })
        };
        let (short, long) = (time(1 << 14), time(1 << 17));
        if long / short > worst.0 {
            worst = (long / short, piece);
        }
        println!("128 KiB of {piece:<32?} {:>9.2} ms, {:>5.1} x 16 KiB", long * 1e3, long / short);
    }
    println!("grows at most {:.1} x for 8 x the text ({:?})", worst.0, worst.1);
}

/// An answer as the query processes gives it: fifty rows.
fn processes(with_password: bool) -> Vec<u8> {
    let rows: Vec<_> = (0..50)
        .map(|number| {
            let secret = if with_password && number == 20 { " --password hunter2" } else { "" };
            json!({
                "pid": 1000 + number, "parent_pid": 1, "name": "worker", "state": "sleeping", "user": "www-data", "uid": 33,
                "command": format!("/usr/lib/worker/bin/worker --config /etc/worker/{number}.conf --listen 127.0.0.1:{number}{secret}"),
                "cpu_percent": 0.3, "cpu_seconds": 12.25, "resident_bytes": 10_485_760, "memory_percent": 0.5, "threads": 4,
                "started": "2026-11-25T06:10:36Z", "unit": "worker.service"
            })
        })
        .collect();
    serde_json::to_vec(&json!({ "processes": rows, "total": 50 })).unwrap_or_default()
}

/// Lines of a log in which much is spoken of secrets, and none stands.
fn journal() -> Vec<u8> {
    let mut text = String::new();
    for number in 0..5000 {
        let _ = writeln!(
            text,
            "Nov 25 06:10:36 host sshd[{number}]: Failed password for invalid user admin from 10.0.0.2 port {number} ssh2"
        );
    }
    serde_json::to_vec(&json!({ "content": text })).unwrap_or_default()
}

/// A file that no rule keeps, through all rules; and a caller that is over its quota.
fn changes() {
    let text = include_str!("../../../packaging/policies/autonomous.toml");
    let Ok(policy) = Policy::parse(text) else { return println!("the autonomous policy is none") };
    let (arguments, moment) = (Map::new(), Moment::default());
    for (name, paths) in [
        ("one path", vec![b"/srv/site/index.html".to_vec()]),
        (
            "1,000 paths",
            (0..1000).map(|number| format!("/srv/site/{number}/index.html").into_bytes()).collect(),
        ),
    ] {
        let request = Request {
            role: Role::Agent,
            actor: "agent:openclaw/main",
            subject: Subject::Mutation { name: "file.write", risk: Risk::Medium },
            arguments: &arguments,
            paths: &paths,
            units: &[],
            moment,
        };
        let time = quickest(|| {
            black_box(policy.decide(black_box(&request), &mut Rates::default(), None));
        });
        println!("a decision about a change of {name:<11} {:>9.2} us", time * 1e6);
    }
    let mut quotas = Quotas::default();
    let mut call = |now| quotas.take(&policy, Role::Agent, "agent:openclaw", Spend::Call, now);
    for number in 0..600 {
        let _ = call(number / 10);
    }
    let time = quickest(|| {
        let _ = black_box(call(60));
    });
    println!("a call over its quota                   {:>9.2} us", time * 1e6);
}
