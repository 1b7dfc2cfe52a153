//! Commands that observe, with what programs and callers do that is out of the ordinary. Needs root, as agentd does.

mod common;

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use base64::Engine;
use common::Daemon;
use serde_json::{Value, json};

fn words(daemon: &Daemon, words: &[&str]) -> Value {
    daemon.query("shell", &json!({ "words": words })).json()
}

fn stdout(answer: &Value) -> &str {
    answer["stdout"]["content"].as_str().unwrap_or_else(|| panic!("{answer:#}"))
}

/// A file that may be executed.
fn script(folder: &Path, name: &str, text: &str) -> PathBuf {
    let path = folder.join(name);
    std::fs::write(&path, text).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    path
}

#[test]
fn many_arguments_arrive_and_too_many_bytes_are_refused() {
    let directory = tempfile::tempdir().unwrap();
    let daemon = Daemon::start(directory.path());
    let mut many = vec!["sh", "-c", "echo $#; for last; do :; done; echo \"$last\"", "sh"];
    many.resize(9_999, "x");
    many.push("the last");
    assert_eq!(many.len(), 10_000);
    assert_eq!(stdout(&words(&daemon, &many)), "9996\nthe last\n");
    let long = "x".repeat(59_000);
    assert_eq!(stdout(&words(&daemon, &["sh", "-c", "echo ${#1}", "sh", &long])), "59000\n");
    // What would have no room on the record is no command, however it comes to be that long there.
    for longer in ["x".repeat(61_000), "\u{1}".repeat(11_000), "\"".repeat(31_000)] {
        let answer = daemon.query("shell", &json!({ "words": ["true", longer] }));
        let problem = answer.problem(422, "invalid_argument");
        assert!(problem["detail"].as_str().unwrap().contains("at most 10000 and 60000"), "{problem:#}");
    }
    let megabytes = "x".repeat(3_000_000);
    let answer = daemon.query("shell", &json!({ "words": ["true", megabytes] }));
    let problem = answer.problem(413, "too_large");
    assert!(problem["detail"].as_str().unwrap().contains("1048576 bytes"), "{problem:#}");
    assert_eq!(words(&daemon, &["true"])["exit_status"], 0, "it goes on after it");
}

#[test]
fn a_nul_is_refused_wherever_it_stands() {
    let directory = tempfile::tempdir().unwrap();
    let daemon = Daemon::start(directory.path());
    for args in [
        json!({ "command": "echo a\u{0}b" }),
        json!({ "words": ["\u{0}"] }),
        json!({ "words": ["echo", "\u{0}"] }),
        json!({ "command": "true", "shell": "sh\u{0}" }),
        json!({ "command": "true", "folder": "/etc\u{0}" }),
    ] {
        let problem = daemon.query("shell", &args).problem(422, "invalid_argument");
        assert!(problem["field"].is_string(), "{problem:#}");
    }
}

#[test]
fn scripts_run_as_a_shell_would_run_them() {
    let directory = tempfile::tempdir().unwrap();
    let daemon = Daemon::start(directory.path());
    let folder = directory.path();
    let plain = script(folder, "plain", "echo \"without a first line: $1\"\n");
    assert_eq!(stdout(&words(&daemon, &[plain.to_str().unwrap(), "a b"])), "without a first line: a b\n");
    let named = script(folder, "named", "#!/usr/bin/env sh\necho named\n");
    assert_eq!(stdout(&words(&daemon, &[named.to_str().unwrap()])), "named\n");
    let empty = script(folder, "empty", "");
    assert_eq!(words(&daemon, &[empty.to_str().unwrap()])["exit_status"], 0);

    let missing = script(folder, "missing", "#!/no/such/interpreter\n");
    let itself = script(folder, "itself", &format!("#!{}\n", folder.join("itself").display()));
    let forbidden = folder.join("forbidden");
    std::fs::write(&forbidden, "echo x\n").unwrap();
    std::fs::set_permissions(&forbidden, std::fs::Permissions::from_mode(0o644)).unwrap();
    for program in [missing.as_path(), &itself, &forbidden, folder, Path::new("/dev/null")] {
        let program = program.to_str().unwrap();
        let problem = daemon.query("shell", &json!({ "words": [program] })).problem(422, "invalid_argument");
        assert!(problem["detail"].as_str().unwrap().contains(program), "{problem:#}");
        // From a shell it is that shell which says so.
        let answer = daemon.query("shell", &json!({ "command": program })).json();
        let status = answer["exit_status"].as_u64().unwrap();
        assert!((126..=127).contains(&status), "{program}: {answer:#}");
    }
}

#[test]
fn a_command_that_stops_or_closes_its_outputs_has_its_time_and_no_more() {
    let directory = tempfile::tempdir().unwrap();
    let daemon = Daemon::start(directory.path());
    for command in [
        "perl -e 'kill STOP => $$; print 1'",
        "perl -e 'kill STOP => getppid; kill STOP => $$'",
        "exec >&- 2>&-; sleep 6428",
        "exec >&- 2>&- <&-; while :; do :; done",
        "perl -e 'close STDOUT; close STDERR; fork; sleep 6428'",
    ] {
        let asked = Instant::now();
        let answer = daemon.query("shell", &json!({ "command": command, "time_limit_seconds": 1 })).json();
        assert!(answer["timed_out"] == true && answer["exit_status"].is_null(), "{command}: {answer:#}");
        let took = asked.elapsed();
        assert!(took > Duration::from_secs(1) && took < Duration::from_secs(10), "{command}: {took:?}");
    }
    // What still runs when the command has ended keeps no output open.
    let closed = daemon.query("shell", &json!({ "command": "exec >&- 2>&-; exit 7" })).json();
    assert_eq!((&closed["exit_status"], &closed["stdout"]["bytes"]), (&json!(7), &json!(0)), "{closed:#}");
}

#[test]
fn floods_are_counted_and_bytes_are_as_they_were() {
    let directory = tempfile::tempdir().unwrap();
    let daemon = Daemon::start(directory.path());
    let both = "head -c 30000000 /dev/zero | tr '\\0' x & head -c 20000000 /dev/zero >&2; wait";
    let answer = daemon.query("shell", &json!({ "command": both, "time_limit_seconds": 25 })).json();
    let bytes = |output: &str| answer[output]["bytes"].as_u64().unwrap();
    assert_eq!((bytes("stdout"), bytes("stderr")), (30_000_000, 20_000_000), "{}", answer["refused"]);
    assert_eq!(stdout(&answer), "x".repeat(32_768));
    assert!(answer["stdout"]["cut"] == true && answer["stderr"]["cut"] == true);

    let flood = json!({ "command": "yes", "time_limit_seconds": 1 });
    let flood = daemon.query("shell", &flood).json();
    assert!(flood["timed_out"] == true && flood["stdout"]["bytes"].as_u64().unwrap() > 1_000_000);
    assert!(stdout(&flood).starts_with("y\ny\n"), "what it said until then is there");

    let answer = words(&daemon, &["perl", "-e", "print pack 'C*', 0..255"]);
    assert_eq!(answer["stdout"]["encoding"], "base64");
    let decoded = base64::engine::general_purpose::STANDARD.decode(stdout(&answer)).unwrap();
    assert_eq!(decoded, (0..=255).collect::<Vec<u8>>());
}
