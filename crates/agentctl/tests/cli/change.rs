//! `change`, `changes` and `undo`: a plan is shown, and what was shown is made.

use std::fs;

use insta::assert_snapshot;

use crate::support::{Agentd, Run};
use crate::terminal::Terminal;

fn write(agentd: &Agentd, content: &str, more: &[&str]) -> Run {
    let path = format!("path={}", agentd.path("motd").display());
    let content = format!("content={content}");
    agentd.run(&[&["change", "file.write", &path, &content, "--reason", "greet people"], more].concat())
}

#[test]
fn a_change_is_planned_shown_made_and_listed() {
    let agentd = Agentd::start();
    let planned = write(&agentd, "hello\n", &["--dry-run"]).with(0);
    assert_snapshot!(agentd.redact(&planned.stdout).replace("root:root", "[owner]"), @r"
    plan        Makes [dir]/motd (6 bytes)
    risk        low
    undo        exactly

      file [dir]/motd: absent → regular file, 6 bytes, 0644 [owner]
        @@ -0,0 +1 @@
        +hello
    ");
    assert!(!agentd.path("motd").exists());
    let made = write(&agentd, "hello\n", &["--yes"]).with(0);
    assert!(
        made.stdout.ends_with("Change 1 is applied\nIt is taken back with `agentctl undo 1`.\n"),
        "{made:?}"
    );
    assert_eq!(fs::read_to_string(agentd.path("motd")).unwrap(), "hello\n");

    let on = format!("file {}", agentd.path("motd").display());
    let list = agentd.run(&["changes", "--on", &on, "--status", "applied", "--json"]).with(0).json();
    assert_eq!((&list["changes"][0]["id"], &list["changes"][1]), (&1.into(), &serde_json::Value::Null));
    assert_eq!(agentd.run(&["changes", "--on", "file /no/such"]).with(0).stderr, "No change matches.\n");
    let shown = agentd.run(&["changes", "show", "1"]).with(0).stdout;
    assert!(shown.contains("reason      greet people\n") && shown.contains("    +hello\n"), "{shown}");
    agentd.run(&["changes", "show", "9"]).with(4);
}

#[test]
fn what_is_so_already_is_no_change() {
    let agentd = Agentd::start();
    fs::write(agentd.path("motd"), "hello\n").unwrap();
    let run = write(&agentd, "hello\n", &["--yes"]).with(0);
    assert!(run.stderr.contains("nothing to do"), "{run:?}");
    assert_eq!(agentd.run(&["changes", "--json"]).json()["changes"], serde_json::json!([]));
}

#[test]
fn what_a_command_wrote_is_shown_beside_how_it_ended() {
    let agentd = Agentd::start();
    let command = "command=echo said; printf 'a \\033[2Jtrouble\\n' >&2; exit 3";
    let made = agentd.run(&["change", "shell.apply", command, "--reason", "a test", "--yes"]).with(0);
    assert!(made.stdout.contains("risk        destructive\n"), "{made:?}");
    assert!(made.stdout.ends_with("What it wrote is shown with `agentctl changes output 1`.\n"), "{made:?}");
    for arguments in [&["changes", "output", "1"][..], &["changes", "output", "1", "--follow"]] {
        let output = agentd.run(arguments).with(0);
        assert!(output.stdout.starts_with("said\na ") && !output.stdout.contains('\u{1b}'), "{output:?}");
        assert_eq!(output.stderr, "It exited with 3.\n");
    }
    let json = agentd.run(&["changes", "output", "1", "--json"]).with(0).json();
    assert_eq!((&json["ran"]["exit_status"], &json["stdout"]["content"]), (&3.into(), &"said\n".into()));
    let shown = agentd.run(&["changes", "show", "1"]).with(0).stdout;
    assert!(shown.contains("it exited with 3 after "), "{shown}");
    agentd.run(&["changes", "output", "9"]).with(4);
    agentd.run(&["changes", "output", "1", "--command", "2"]).with(4);
}

#[test]
fn nothing_is_made_where_nobody_agrees() {
    let agentd = Agentd::start();
    let run = write(&agentd, "hello\n", &[]).with(2);
    assert!(run.stderr.contains("--yes"), "{run:?}");
    assert!(!agentd.path("motd").exists());

    let path = format!("path={}", agentd.path("motd").display());
    let arguments = ["change", "file.write", &path, "content=hello", "--reason", "greet"];
    let mut terminal = Terminal::of(&agentd.command(&arguments));
    terminal.shows("Make this change? [y/N]");
    terminal.press("\n");
    terminal.shows("Nothing was changed.");
    assert_eq!(terminal.end(), 1);
    assert!(!agentd.path("motd").exists());
    let mut terminal = Terminal::of(&agentd.command(&arguments));
    // Green, as an added line.
    terminal.shows("\u{1b}[32m    +hello");
    terminal.shows("Make this change? [y/N]");
    terminal.press("y\n");
    terminal.shows("Change 1 is applied");
    assert_eq!(terminal.end(), 0);
    assert_eq!(fs::read_to_string(agentd.path("motd")).unwrap(), "hello");
}

#[test]
fn content_comes_from_a_file_and_steps_from_a_list() {
    let agentd = Agentd::start();
    let motd = agentd.path("motd").display().to_string();
    let path = format!("path={motd}");
    let change =
        |content: &str| agentd.run(&["change", "file.write", &path, content, "--reason", "r", "--yes"]);
    fs::write(agentd.path("source"), b"\xff\x00raw").unwrap();
    change("content=@source").with(0);
    assert_eq!(fs::read(&motd).unwrap(), b"\xff\x00raw");
    change("content=@@home").with(0);
    assert_eq!(fs::read(&motd).unwrap(), b"@home");
    assert!(change("content=@missing").with(5).stderr.contains("cannot read missing"));
    assert!(change("contents=x").with(4).stderr.contains("agentctl tools file.write"));

    let folder = agentd.path("folder").display().to_string();
    let steps = serde_json::json!([
        { "mutation": "file.mkdir", "args": { "path": folder } },
        { "mutation": "file.delete", "args": { "path": motd } },
    ]);
    fs::write(agentd.path("steps.json"), steps.to_string()).unwrap();
    let run = agentd.run(&["change", "--steps", "steps.json", "--reason", "move", "--yes"]).with(0);
    assert!(run.stdout.contains("Step 2 of 2: "), "{run:?}");
    assert!(agentd.path("folder").is_dir() && !agentd.path("motd").exists());
    agentd.run(&["undo", "3", "--yes"]).with(0);
    assert!(!agentd.path("folder").exists() && agentd.path("motd").exists());

    fs::write(agentd.path("steps.json"), "{}").unwrap();
    agentd.run(&["change", "--steps", "steps.json", "--reason", "move", "--yes"]).with(2);
}

#[test]
fn a_change_is_taken_back_and_what_builds_on_it_first() {
    let agentd = Agentd::start();
    fs::write(agentd.path("motd"), "before\n").unwrap();
    write(&agentd, "first\n", &["--yes"]).with(0);
    write(&agentd, "second\n", &["--yes"]).with(0);
    let refused = agentd.run(&["undo", "1", "--dry-run"]).with(4);
    assert!(refused.stderr.contains("agentctl undo 1 --with-dependents"), "{refused:?}");
    let planned = agentd.run(&["undo", "1", "--with-dependents", "--dry-run"]).with(0).stdout;
    assert!(planned.contains("    +before\n"), "{planned}");
    assert_eq!(fs::read_to_string(agentd.path("motd")).unwrap(), "second\n");
    let undone = agentd.run(&["undo", "1", "--with-dependents", "--yes"]).with(0).stdout;
    assert!(undone.contains("Change 3, which takes back change 1, is applied\n"), "{undone}");
    assert_eq!(fs::read_to_string(agentd.path("motd")).unwrap(), "before\n");
    let again = agentd.run(&["undo", "1", "--yes"]).with(4);
    assert!(again.stderr.contains("undone"), "{again:?}");

    // The agent's own undo waits as any other change of the agent's.
    write(&agentd, "third\n", &["--yes"]).with(0);
    let waits = agentd.as_agent(&["undo", "4", "--yes", "--json"]).with(6).json();
    assert_eq!((&waits["status"], &waits["undoes"]), (&"waiting".into(), &4.into()));
    assert_eq!(fs::read_to_string(agentd.path("motd")).unwrap(), "third\n");
}

#[test]
fn what_the_agent_wrote_reaches_no_terminal_raw() {
    let agentd = Agentd::start();
    let name = "m\u{1b}[2J\u{202e}otd";
    let path = format!("path={}", agentd.path(name).display());
    let evil = "content=a\u{1b}]0;owned\u{7}\r\n\tb\u{9b}2J\u{2066}\n";
    let arguments =
        ["change", "file.write", &path, evil, "--reason", "x\u{1b}[1A\u{202e}\nrisk        none", "--yes"];
    let asked = agentd.as_agent(&arguments).with(6);
    let shown = agentd.run(&["approvals", "show", "1"]).with(0);
    let listed = agentd.run(&["approvals"]).with(0);
    let json = agentd.run(&["approvals", "show", "1", "--json"]).with(0);
    for run in [&asked, &shown, &listed, &json] {
        let raw = |character: char| {
            (character.is_control() && !['\n', '\t'].contains(&character))
                || ['\u{202e}', '\u{2066}'].contains(&character)
        };
        assert!(!run.stdout.contains(raw) && !run.stderr.contains(raw), "{run:?}");
    }
    assert!(shown.stdout.contains(r"    +a\u{1b}]0;owned\u{7}\r"), "{}", shown.stdout);
    assert!(shown.stdout.contains("    +\tb\\u{9b}2J\\u{2066}\n"), "{}", shown.stdout);
    // A reason cannot write a line of its own.
    assert!(shown.stdout.contains(r"reason      x\u{1b}[1A\u{202e}\nrisk        none"), "{}", shown.stdout);
    assert!(json.json()["reason"].as_str().unwrap().contains('\u{202e}'));
}
