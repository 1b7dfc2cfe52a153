use std::io::{BufRead, BufReader, Read};
use std::process::Stdio;

use insta::assert_snapshot;
use serde_json::Value;

use crate::support::Agentd;

/// An agentd that was asked four questions.
fn asked() -> Agentd {
    let agentd = Agentd::start();
    for query in ["os", "time", "kernel"] {
        agentd.run(&["query", query]).with(0);
    }
    agentd.run(&["query", "processes", "limit=2", "sort=pid"]).with(0);
    agentd
}

fn ids(stdout: &str) -> Vec<u64> {
    let event = |line| serde_json::from_str::<Value>(line).unwrap()["id"].as_u64().unwrap();
    stdout.lines().map(event).collect()
}

#[test]
fn what_was_asked_is_listed_with_the_newest_last() {
    let agentd = asked();
    let run = agentd.run(&["events", "--type", "system.query"]).with(0);
    let words: Vec<Vec<String>> =
        run.stdout.lines().map(|line| line.split_whitespace().map(str::to_owned).collect()).collect();
    assert_eq!(words[0].first().unwrap(), "ID");
    assert_eq!(words[1].last().unwrap(), "os");
    assert!(run.stdout.trim_end().ends_with("processes limit=2 sort=pid"), "{}", run.stdout);
}

#[test]
fn json_is_one_event_a_line() {
    let agentd = asked();
    let all = ids(&agentd.run(&["events", "--json"]).with(0).stdout);
    assert!(all.len() >= 4 && all.is_sorted(), "{all:?}");
    let newest_first = ids(&agentd.run(&["events", "--json", "--reverse"]).with(0).stdout);
    assert!(newest_first.iter().rev().eq(&all));
}

#[test]
fn filters_narrow_the_list() {
    let agentd = asked();
    let list = |options: &[&str]| {
        let run = agentd.run(&[&["events", "--json"], options].concat()).with(0);
        ids(&run.stdout)
    };
    let all = list(&[]);
    assert_eq!(list(&["-n", "2"]), all[all.len() - 2..]);
    assert_eq!(list(&["--after", "1", "-n", "1"]), [2]);
    assert_eq!(list(&["--before", "2"]), [1]);
    assert_eq!(list(&["--since", "1h"]), all);
    assert!(list(&["--until", "1h"]).is_empty());
    assert!(list(&["--type", "nothing.*"]).is_empty());
}

#[test]
fn a_longer_list_is_read_over_several_pages_and_says_where_more_is() {
    let agentd = asked();
    let run = agentd.run(&["events", "-n", "2"]).with(0);
    assert_eq!(run.stdout.lines().count(), 3);
    assert!(run.stderr.contains("There are more: go on with --before "), "{}", run.stderr);
}

#[test]
fn an_empty_list_says_so() {
    let agentd = Agentd::start();
    let run = agentd.run(&["events", "--type", "no.such"]).with(0);
    assert_eq!(run.stderr, "No event matches.\n");
}

#[test]
fn what_is_no_filter_is_wrong_usage() {
    let agentd = Agentd::start();
    let run = agentd.run(&["events", "--since", "soonish"]).with(2);
    assert_snapshot!(run.stderr, @r#"Error: --since: "soonish" is not a moment: use 2h (ago), today, yesterday, 2026-01-31, "2026-01-31 14:00" or 2026-01-31T14:00:00Z"#);
    agentd.run(&["events", "--type", "Not A Type"]).with(2);
    agentd.run(&["events", "-n", "0"]).with(2);
}

#[test]
fn following_shows_new_events_and_survives_a_restart_of_agentd() {
    let mut agentd = Agentd::start();
    agentd.run(&["query", "os"]).with(0);
    let mut follower = agentd
        .command(&["events", "--follow", "--json", "--type", "system.query"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(follower.stdout.take().unwrap()).lines();
    let mut next = || -> Value { serde_json::from_str(&lines.next().unwrap().unwrap()).unwrap() };
    assert_eq!(next()["payload"]["data"]["query"], "os");
    agentd.run(&["query", "time"]).with(0);
    assert_eq!(next()["payload"]["data"]["query"], "time");
    agentd.stop();
    agentd.start_again();
    // Recorded while the follower was away, or just after: it comes either way, once.
    agentd.run(&["query", "kernel"]).with(0);
    agentd.run(&["query", "users"]).with(0);
    assert_eq!(next()["payload"]["data"]["query"], "kernel");
    assert_eq!(next()["payload"]["data"]["query"], "users");
    follower.kill().unwrap();
    follower.wait().unwrap();
    let mut notes = String::new();
    follower.stderr.take().unwrap().read_to_string(&mut notes).unwrap();
    assert_snapshot!(notes, @r"
    agentd went away; waiting for it to come back (Ctrl-C ends)
    agentd is back
    ");
}
