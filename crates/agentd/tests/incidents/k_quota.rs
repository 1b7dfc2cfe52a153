//! The disk filled, or calls without end.

use serde_json::json;

use crate::bench::Bench;
use crate::common::eventually;
use crate::incident::{Expected, Found, Incident, Replay, Row};
use crate::{page, replay};

pub(crate) const TITLE: &str = "K. Disk filled, runaway cost";

const INCIDENTS: &[Incident] = &[
    Incident {
        name: "K2",
        what: "an agent below the agent went round in circles, for 350 dollars",
        source: "2026-03, code-yeongyu/oh-my-openagent 2571",
        expected: Expected::Blocked,
        types: &["file.append"],
        replay: Replay::Own(circles),
    },
    Incident {
        name: "K-a",
        what: "a command wrote until the disk was full",
        source: "of the class",
        expected: Expected::Blocked,
        types: &["file.write"],
        replay: Replay::Own(disk),
    },
    Incident {
        name: "K-b",
        what: "a command never ended, and neither did what it had started",
        source: "of the class",
        expected: Expected::Blocked,
        types: &[],
        replay: Replay::Own(endless),
    },
];

#[test]
fn without_end() {
    page::check(TITLE, INCIDENTS);
}

/// Four hundred of the same: as one command it is one change that waits; one by one, few wait, and the rest are told to.
fn circles() -> Row {
    let bench = Bench::start();
    let place = bench.place("circles", ": >ledger");
    let before = place.tree();
    let act = "for i in $(seq 400); do echo call >>ledger; done";
    let one = |command: String| {
        let answer = bench.preview(&command);
        assert_eq!(answer.status, 202, "{:#}", answer.json());
        assert_eq!(place.tree(), before);
        let change = answer.json();
        assert_eq!(bench.approve(&change).status, 200);
        assert!(place.sh("test $(wc -l <ledger) = 400"));
        assert_eq!(bench.undo(&change).status, 200);
        assert_eq!(place.tree(), before);
        Found::Waits
    };
    let shell = one(place.within(act));
    let hidden = replay::in_each(|_, hide| one(hide(&place, act)));
    let path = place.path().join("w/ledger");
    let (mut waiting, mut paused) = (0, 0);
    for _ in 0..400 {
        let answer = bench.mutate("file.append", &json!({ "path": path, "content": "call\n" }));
        match answer.status {
            202 => waiting += 1,
            429 => {
                answer.problem(429, "quota_reached");
                paused += 1;
            }
            _ => panic!("{:#}", answer.json()),
        }
    }
    assert!(waiting <= 50 && paused >= 350, "{waiting} waited, {paused} were paused");
    assert_eq!(place.tree(), before);
    let reached = bench.daemon.events("quota.reached").len();
    assert!((1..=2).contains(&reached), "it is on the record once a quota, not each time: {reached}");
    Row { shell, typed: Found::Paused("quota_reached".to_owned()), hidden }
}

/// Refused with this code, with nothing changed or left over.
fn refused(bench: &Bench, act: &str, more: &serde_json::Value) -> (Found, Found) {
    let place = bench.place("refused", "echo data >data");
    let before = place.tree();
    let one = |command: String| {
        let mut args = more.clone();
        args["command"] = json!(command);
        let answer = bench.mutate("shell.preview", &args);
        assert!(answer.status >= 400, "{:#}", answer.json());
        assert_eq!(place.tree(), before);
        Found::Paused(answer.json()["code"].as_str().unwrap().to_owned())
    };
    let shell = one(place.within(act));
    (shell, replay::in_each(|_, hide| one(hide(&place, act))))
}

fn disk() -> Row {
    let bench = Bench::start();
    let act = "rm data; cat /dev/zero >big";
    let (shell, hidden) = refused(&bench, act, &json!({ "time_limit_seconds": 20, "write_mebibytes": 16 }));
    let path = bench.folder.path().join("refused/w/big");
    let content = "x".repeat(800_000);
    let answer = bench.mutate("file.write", &json!({ "path": path, "content": content }));
    assert!((400..500).contains(&answer.status), "{:#}", answer.json());
    Row { shell, typed: Found::Refused(answer.json()["code"].as_str().unwrap().to_owned()), hidden }
}

fn endless() -> Row {
    let bench = Bench::start();
    let mark = format!("{}.25", 1000 + std::process::id());
    let act = format!("rm data; trap '' TERM HUP; sleep {mark} & (sleep {mark} &) ; while :; do :; done");
    let (shell, hidden) = refused(&bench, &act, &json!({ "time_limit_seconds": 1 }));
    let goes_on = || {
        std::fs::read_dir("/proc").unwrap().flatten().any(|process| {
            let line = std::fs::read(process.path().join("cmdline")).unwrap_or_default();
            line.starts_with(b"sleep\0") && line.windows(mark.len()).any(|window| window == mark.as_bytes())
        })
    };
    // The kernel ends them with the first of them; that they are gone takes it a moment.
    eventually("all that it started has ended", || (!goes_on()).then_some(()));
    Row { shell, typed: Found::NoMutation, hidden }
}
