//! Killed without warning under load, again and again: every acknowledged event is there, chain and tree are whole.

mod common;

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc::channel;
use std::time::Duration;

use agentos_ledger::{VerifyOptions, verify};
use common::{event, open};
use tempfile::TempDir;

const CHILD: &str = "AGENTOS_LEDGER_TEST_CHILD";
const ROUNDS: u32 = 20;

/// Runs in the child: appends from several threads and prints an id only once it is acknowledged.
fn append_until_killed(directory: &Path) -> ! {
    let ledger = open(directory);
    std::thread::scope(|scope| {
        for thread in 0..8 {
            let ledger = &ledger;
            scope.spawn(move || {
                for number in 0.. {
                    let appended = ledger.append_blocking(event(thread * 1_000_000 + number)).unwrap();
                    // One write for each line, so that a line is there whole or not at all.
                    let line = format!("ack {} {}\n", appended.id, appended.hash_hex());
                    std::io::stdout().write_all(line.as_bytes()).unwrap();
                }
            });
        }
    });
    unreachable!("the child only ends by being killed")
}

#[test]
fn nothing_acknowledged_is_lost_when_the_process_is_killed_under_load() {
    if let Some(directory) = std::env::var_os(CHILD) {
        append_until_killed(Path::new(&directory));
    }
    let directory = TempDir::new().unwrap();
    let mut acknowledged: Vec<(u64, String)> = Vec::new();
    for round in 0..ROUNDS {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args([
                "--exact",
                "nothing_acknowledged_is_lost_when_the_process_is_killed_under_load",
                "--nocapture",
            ])
            .env(CHILD, directory.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        let (sender, receiver) = channel();
        let reader = std::thread::spawn(move || {
            for line in output.lines() {
                let line = line.unwrap();
                let mut words = line.split(' ');
                // The test harness prints lines of its own.
                if let (Some("ack"), Some(id), Some(hash)) = (words.next(), words.next(), words.next())
                    && sender.send((id.parse::<u64>().unwrap(), hash.to_owned())).is_err()
                {
                    break;
                }
            }
        });
        // Under load, then killed at another moment each time.
        let first = receiver.recv_timeout(Duration::from_mins(1)).expect("the child appends");
        std::thread::sleep(Duration::from_millis(u64::from(20 + 17 * (round % 7))));
        child.kill().unwrap();
        child.wait().unwrap();
        reader.join().unwrap();
        let in_this_round: Vec<_> = std::iter::once(first).chain(receiver.try_iter()).collect();
        assert!(in_this_round.len() > 1, "no load in round {round}");
        acknowledged.extend(in_this_round);

        // As it lies there, with its log, before anybody opens it for writing.
        let path = common::database(directory.path());
        verify(&path, VerifyOptions::default()).unwrap();
        let ledger = open(directory.path());
        let report = verify(&path, VerifyOptions::default()).unwrap();
        for (id, hash) in &acknowledged {
            let event =
                ledger.get(*id).unwrap().unwrap_or_else(|| panic!("event {id} was acknowledged and is lost"));
            assert_eq!(&event.hash, hash, "event {id} is another one");
        }
        assert!(report.size >= acknowledged.len() as u64);
    }
    assert!(acknowledged.len() > ROUNDS as usize * 2);
}
