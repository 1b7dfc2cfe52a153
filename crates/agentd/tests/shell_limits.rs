//! How much of the machine a command that observes can have, where agentd has no control group to divide, as in this test. Needs
//! root, as agentd does.

mod common;

use std::time::{Duration, Instant};

use common::{Daemon, eventually};
use serde_json::{Value, json};

/// Runs a command line for the agent, with all the time there is.
fn observe(daemon: &Daemon, command: &str) -> Value {
    let asked = Instant::now();
    let answer = daemon.query("shell", &json!({ "command": command, "time_limit_seconds": 25 })).json();
    assert!(asked.elapsed() < Duration::from_secs(25), "it ended by its limits: {command}: {answer:#}");
    answer
}

fn exceeded(answer: &Value) -> Vec<&str> {
    let refused = answer["refused"].as_array().map(Vec::as_slice).unwrap_or_default();
    let exceeded = refused.iter().filter(|one| one["what"] == "exceed");
    exceeded.map(|one| one["on"].as_str().unwrap()).collect()
}

#[test]
fn a_command_that_takes_all_it_can_get_is_ended_and_the_answer_says_why() {
    let directory = tempfile::tempdir().unwrap();
    let daemon = Daemon::start(directory.path());
    let plain = observe(&daemon, "cat /proc/self/oom_score_adj");
    assert_eq!(plain["stdout"]["content"], "1000\n", "it goes first when memory runs out");
    let limits = &plain["limits"];
    assert_eq!(limits["kept_by"], "agentd");
    assert!(exceeded(&plain).is_empty(), "{plain:#}");

    // Each has an end of its own, as other tests run beside this one; without one they are set off in a machine (`xtask/src/vm`).
    for bomb in [
        "perl -e 'for (1..1500) { fork or do { sleep 20; exit } } sleep 20'",
        "i=0; while [ $i -lt 1500 ]; do sleep 8642 & i=$((i+1)); done; wait",
    ] {
        let answer = observe(&daemon, bomb);
        eprintln!("{bomb}: {} ms", answer["milliseconds"]);
        assert_eq!(answer["exit_status"], 137, "{bomb}: {answer:#}");
        assert_eq!(exceeded(&answer), ["limits.processes"], "{bomb}: {answer:#}");
    }
    // One process has no more memory than all may have, and is told so; several are ended together.
    let memory = limits["memory_bytes"].as_u64().unwrap();
    let alone = observe(&daemon, &format!("perl -e '$x = \"a\" x {}; print length $x'", memory * 2));
    assert_ne!(alone["exit_status"], 0, "{alone:#}");
    assert_eq!(alone["stdout"]["bytes"], 0, "{alone:#}");
    let part = memory / 3;
    let together = format!("for i in 1 2 3 4 5; do perl -e '$x = \"a\" x {part}; sleep 24' & done; wait");
    let together = observe(&daemon, &together);
    assert_eq!(exceeded(&together), ["limits.memory_bytes"], "{together:#}");
    assert_eq!(together["exit_status"], 137, "{together:#}");
    eventually("all of it has ended", || {
        let left = std::process::Command::new("pgrep").args(["-fx", "sleep 8642"]).output().unwrap();
        left.stdout.is_empty().then_some(())
    });
    // Many processes one after the other are no bomb.
    let many = observe(&daemon, "i=0; while [ $i -lt 1500 ]; do (:); i=$((i+1)); done; echo done");
    assert_eq!((&many["stdout"]["content"], &many["exit_status"]), (&json!("done\n"), &json!(0)), "{many:#}");
}
