//! `approvals` and `grants`: the agent asks, a person decides.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::process::Stdio;

use crate::support::{Agentd, Run};
use crate::terminal::Terminal;

fn ask(agentd: &Agentd, name: &str, content: &str) -> Run {
    let path = format!("path={}", agentd.path(name).display());
    let content = format!("content={content}");
    agentd.as_agent(&["change", "file.write", &path, &content, "--reason", "because", "--yes"])
}

fn read(agentd: &Agentd, name: &str) -> Option<String> {
    fs::read_to_string(agentd.path(name)).ok()
}

#[test]
fn the_agent_waits_and_a_yes_makes_it() {
    let agentd = Agentd::start();
    let asked = ask(&agentd, "a", "one\n").with(6);
    assert!(asked.stdout.contains("Change 1 is waiting\n"), "{asked:?}");
    assert!(asked.stdout.contains("`agentctl approvals approve 1`"), "{asked:?}");
    assert_eq!(read(&agentd, "a"), None);
    let waiting = agentd.run(&["approvals"]).with(0).stdout;
    assert!(waiting.contains("waiting") && waiting.contains("because"), "{waiting}");

    // It cannot say yes to itself.
    let refused = agentd.as_agent(&["approvals", "approve", "1"]).with(4);
    assert!(refused.stderr.contains("only the person"), "{refused:?}");
    assert_eq!(read(&agentd, "a"), None);
    // Nor is it the plan that somebody else looked at.
    agentd.run(&["approvals", "approve", "1", "--plan-hash", &"0".repeat(64)]).with(4);
    assert_eq!(read(&agentd, "a"), None);

    let approved = agentd.run(&["approvals", "approve", "1", "--reason", "fine"]).with(0).stdout;
    assert!(approved.contains("    +one\n") && approved.contains("Change 1 is applied\n"), "{approved}");
    assert_eq!(read(&agentd, "a").as_deref(), Some("one\n"));
    let shown = agentd.run(&["changes", "show", "1"]).with(0).stdout;
    assert!(shown.contains("; fine\n"), "{shown}");
    agentd.run(&["approvals", "approve", "1"]).with(4);
    assert_eq!(agentd.run(&["approvals"]).with(0).stderr, "Nothing waits.\n");
    agentd.run(&["approvals", "confirm", "1"]).with(4);
}

#[test]
fn a_no_is_final_and_says_why() {
    let agentd = Agentd::start();
    ask(&agentd, "a", "one\n").with(6);
    agentd.run(&["approvals", "deny", "1"]).with(2);
    let denied = agentd.run(&["approvals", "deny", "1", "--reason", "not on a Friday"]).with(0).stdout;
    assert!(denied.contains("Change 1 is denied\n"), "{denied}");
    agentd.run(&["approvals", "approve", "1"]).with(4);
    assert_eq!(read(&agentd, "a"), None);
    let shown = agentd.as_agent(&["changes", "show", "1"]).with(0).stdout;
    assert!(shown.contains("not on a Friday"), "{shown}");
}

#[test]
fn a_yes_for_a_while_covers_what_comes_next_until_it_is_revoked() {
    let agentd = Agentd::start();
    ask(&agentd, "a", "one\n").with(6);
    agentd.run(&["approvals", "approve", "1", "--for", "2 weeks"]).with(2);
    agentd.run(&["approvals", "approve", "1", "--for", "25h"]).with(2);
    agentd.run(&["approvals", "approve", "1", "--for", "10m"]).with(0);
    ask(&agentd, "b", "two\n").with(0);
    let grants = agentd.run(&["grants", "--json"]).with(0).json();
    assert_eq!(grants["grants"][0]["grant"], 1, "{grants}");
    assert!(agentd.run(&["grants"]).with(0).stdout.contains("agent:"));
    agentd.as_agent(&["grants", "revoke", "1"]).with(4);
    let revoked = agentd.run(&["grants", "revoke", "1"]).with(0);
    assert_eq!(revoked.stderr, "Grant 1 holds no more.\nNothing is allowed for a while.\n");
    ask(&agentd, "c", "three\n").with(6);
    assert_eq!(read(&agentd, "c"), None);
}

#[test]
fn what_waits_is_decided_on_one_by_one() {
    let agentd = Agentd::start();
    for (name, content) in [("a", "one\n"), ("b", "two\n"), ("c", "three\n"), ("d", "four\n")] {
        ask(&agentd, name, content).with(6);
    }
    let mut terminal = Terminal::of(&agentd.command(&["approvals"]));
    let question = "Agree? [y]es, [n]o, [s]kip, [q]uit:";
    terminal.shows("+one");
    terminal.shows(question);
    // Whatever is no answer is not taken for one.
    terminal.press("\n");
    terminal.shows(question);
    assert_eq!(read(&agentd, "a"), None);
    terminal.press("y\n");
    terminal.shows("Change 1 is applied");
    assert_eq!(read(&agentd, "a").as_deref(), Some("one\n"));
    terminal.shows("+two");
    terminal.shows(question);
    terminal.press("n\n");
    terminal.shows("Why not?");
    terminal.press("too late\n");
    terminal.shows("Change 2 is denied");

    // The machine moves under the third while it is looked at.
    terminal.shows("+three");
    terminal.shows(question);
    fs::write(agentd.path("c"), "mine\n").unwrap();
    terminal.press("y\n");
    terminal.shows("Nothing was changed");
    terminal.shows("-mine");
    terminal.shows("+three");
    terminal.shows(question);
    assert_eq!(read(&agentd, "c").as_deref(), Some("mine\n"));
    terminal.press("y\n");
    terminal.shows("Change 3 is applied");
    assert_eq!(read(&agentd, "c").as_deref(), Some("three\n"));

    terminal.shows("+four");
    terminal.shows(question);
    terminal.press("s\n");
    terminal.shows("Nothing more waits.");
    assert_eq!(terminal.end(), 0);
    let left = agentd.run(&["approvals", "--json"]).with(0).json();
    assert_eq!((&left["changes"][0]["id"], left["changes"].as_array().unwrap().len()), (&4.into(), 1));
    assert_eq!(agentd.run(&["changes", "show", "2", "--json"]).json()["decided"]["reason"], "too late");
}

#[test]
fn who_watches_is_told_of_each_once() {
    let agentd = Agentd::start();
    ask(&agentd, "a", "one\n").with(6);
    let mut watch = agentd
        .command(&["approvals", "watch", "--every", "1", "--json"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(watch.stdout.take().unwrap()).lines();
    let mut next = || {
        let line: serde_json::Value = serde_json::from_str(&lines.next().unwrap().unwrap()).unwrap();
        line["id"].as_u64().unwrap()
    };
    assert_eq!(next(), 1);
    std::thread::sleep(std::time::Duration::from_millis(1200));
    ask(&agentd, "b", "two\n").with(6);
    assert_eq!(next(), 2);
    watch.kill().unwrap();
    watch.wait().unwrap();
}

#[test]
fn a_question_waits_and_a_yes_answers_it_once() {
    let agentd = Agentd::start();
    let ask = |path: &str| agentd.as_agent(&["query", "file", &format!("path={path}")]);
    let asked = ask("/etc/sudoers").with(6);
    assert!(asked.stderr.contains("`agentctl approvals approve 1`"), "{asked:?}");
    let waiting = agentd.run(&["approvals"]).with(0).stdout;
    assert!(waiting.contains("file path=\"/etc/sudoers\""), "{waiting}");
    let shown = agentd.run(&["approvals", "show", "1"]).with(0).stdout;
    assert!(shown.contains("path = \"/etc/sudoers\"") && shown.contains("waiting"), "{shown}");

    agentd.as_agent(&["approvals", "approve", "1"]).with(4);
    agentd.run(&["approvals", "approve", "1", "--plan-hash", &"0".repeat(64)]).with(4);
    let approved = agentd.run(&["approvals", "approve", "1"]).with(0).stdout;
    assert!(
        approved.contains("Question 1 is approved\n") && approved.contains("answered once"),
        "{approved}"
    );
    agentd.run(&["approvals", "approve", "1"]).with(4);
    // Where there is no such file, that is the answer.
    let expected = if fs::exists("/etc/sudoers").unwrap() { 0 } else { 4 };
    ask("/etc/sudoers").with(expected);
    ask("/etc/sudoers").with(6);
    assert!(agentd.run(&["approvals", "show", "1"]).with(0).stdout.contains("used"));

    // Changes and questions are decided on in turn, by one list of numbers.
    let file = format!("path={}", agentd.path("a").display());
    agentd.as_agent(&["change", "file.write", &file, "content=one", "--reason", "because", "--yes"]).with(6);
    let mut terminal = Terminal::of(&agentd.command(&["approvals"]));
    let question = "Agree? [y]es, [n]o, [s]kip, [q]uit:";
    terminal.shows("\"/etc/sudoers\"");
    terminal.shows(question);
    terminal.press("n\n");
    terminal.shows("Why not?");
    terminal.press("it is mine\n");
    terminal.shows("Question 2 is denied");
    terminal.shows("+one");
    terminal.shows(question);
    terminal.press("y\n");
    terminal.shows("Change 3 is applied");
    terminal.shows("Nothing more waits.");
    assert_eq!(terminal.end(), 0);
    let denied = ask("/etc/sudoers").with(4);
    assert!(denied.stderr.contains("it is mine"), "{denied:?}");
    agentd.run(&["approvals", "show", "9"]).with(4);
}
