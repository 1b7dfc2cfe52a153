use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};

use insta::assert_snapshot;

use crate::support::Agentd;

#[test]
fn a_table_shows_the_columns_a_person_wants() {
    let agentd = Agentd::start();
    let run = agentd.run(&["query", "processes", "sort=pid", "limit=3"]).with(0);
    let mut lines = run.stdout.lines();
    let head: Vec<&str> = lines.next().unwrap().split_whitespace().collect();
    assert_eq!(&head[..8], ["PID", "USER", "CPU", "%", "MEMORY", "%", "RESIDENT", "STATE"]);
    assert!(lines.next().unwrap().split_whitespace().next() == Some("1"), "{}", run.stdout);
    assert!(run.stdout.contains("\ntotal"), "{}", run.stdout);
}

#[test]
fn columns_can_be_chosen() {
    let agentd = Agentd::start();
    let run = agentd.run(&["query", "processes", "sort=pid", "limit=1", "--columns", "name,pid"]).with(0);
    let head: Vec<&str> = run.stdout.lines().next().unwrap().split_whitespace().collect();
    assert_eq!(head, ["NAME", "PID"]);
}

#[test]
fn single_values_stand_beside_their_names_in_the_order_agentd_wrote_them() {
    let agentd = Agentd::start();
    let run = agentd.run(&["query", "os"]).with(0);
    let names: Vec<&str> = run.stdout.lines().map(|line| line.split("  ").next().unwrap()).collect();
    let place = |name: &str| names.iter().position(|found| *found == name);
    assert!(place("hostname").is_some() && place("hostname") < place("kernel"), "{names:?}");
    let json = agentd.run(&["query", "os", "--json"]).with(0);
    assert!(json.stdout.find("\"hostname\"") < json.stdout.find("\"architecture\""), "{}", json.stdout);
}

#[test]
fn a_file_is_shown_as_it_is() {
    let agentd = Agentd::start();
    std::fs::write(agentd.path("poem"), "first line\nsecond\tline\x1b[2J\n").unwrap();
    let path = format!("path={}", agentd.path("poem").display());
    let run = agentd.run(&["query", "file", &path]).with(0);
    assert!(run.stdout.contains("\nfirst line\nsecond\\tline\\u{1b}[2J\n"), "{}", run.stdout);
}

#[test]
fn an_unknown_query_is_answered_with_those_close_to_it() {
    let agentd = Agentd::start();
    let run = agentd.run(&["query", "procesess"]).with(4);
    assert_eq!(run.stdout, "");
    assert!(run.stderr.contains("Close to it: processes"), "{}", run.stderr);
    let json = agentd.run(&["query", "procesess", "--json"]).with(4);
    let error: serde_json::Value = serde_json::from_str(&json.stderr).unwrap();
    assert_eq!(error["error"]["code"], "unknown_query");
}

#[test]
fn a_wrong_argument_is_named() {
    let agentd = Agentd::start();
    let run = agentd.run(&["query", "processes", "limit=1000000000"]).with(4);
    assert!(run.stderr.contains("Field: args.limit"), "{}", run.stderr);
    let run = agentd.run(&["query", "processes", "colour=red"]).with(4);
    assert!(run.stderr.contains("colour"), "{}", run.stderr);
}

#[test]
fn an_argument_without_a_value_is_wrong_usage() {
    let agentd = Agentd::start();
    let run = agentd.run(&["query", "os", "verbose"]).with(2);
    assert_snapshot!(run.stderr, @r#"
    Error: the argument "verbose" has no value
    Hint: os takes no arguments.
    "#);
}

/// A process whose name and arguments would clear the screen and set the title.
struct Hostile(Child);

impl Hostile {
    fn start() -> Self {
        let child = Command::new("sleep")
            .arg0("\x1b[2J\x1b]0;owned\x07\u{9b}31m\u{202e}hostile-name")
            .arg("600")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        Self(child)
    }
}

impl Drop for Hostile {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_process_cannot_write_to_the_terminal_by_its_name() {
    let agentd = Agentd::start();
    let hostile = Hostile::start();
    let pid = format!("pid={}", hostile.0.id());
    for arguments in [
        vec!["query", "processes", "text=hostile-name"],
        vec!["query", "processes", "text=hostile-name", "--json"],
        vec!["query", "process", &pid],
        vec!["query", "process", &pid, "--json"],
        vec!["query", "processes", "text=hostile-name", "--color", "always"],
    ] {
        let run = agentd.run(&arguments).with(0);
        assert!(run.stdout.contains("hostile-name"), "{arguments:?}: {}", run.stdout);
        let own_colours =
            |text: &str| text.replace("\x1b[1m", "").replace("\x1b[2m", "").replace("\x1b[0m", "");
        let unsafe_left =
            |character: char| (character.is_control() && character != '\n') || character == '\u{202e}';
        assert!(!own_colours(&run.stdout).contains(unsafe_left), "{arguments:?}: {:?}", run.stdout);
    }
}
