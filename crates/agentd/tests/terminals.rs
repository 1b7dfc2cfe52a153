//! When something waits, those who may say yes get a line on their terminals; nobody else does, and nothing else is written to.

mod common;

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use common::{Daemon, PATIENCE, command_under};
use serde_json::json;
use tempfile::TempDir;

/// A terminal with a program on it that only waits, and what is written on it.
struct Terminal {
    child: Child,
    name: String,
    lines: Receiver<String>,
}

impl Terminal {
    /// One that takes messages.
    fn open() -> Self {
        Self::after("chmod g+w $(tty)")
    }

    /// One on which this was done first.
    fn after(done: &str) -> Self {
        let program = format!("{done}; tty; exec sleep 60");
        let mut command = Command::new("script");
        command.args(["--quiet", "--flush", "--return", "--command", &program, "/dev/null"]);
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
        let mut read = BufReader::new(child.stdout.take().unwrap());
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            let mut line = Vec::new();
            while read.read_until(b'\n', &mut line).is_ok_and(|count| count > 0) {
                let text = String::from_utf8_lossy(&line).trim().to_owned();
                if !text.is_empty() && sender.send(text).is_err() {
                    return;
                }
                line.clear();
            }
        });
        let name = lines.recv_timeout(PATIENCE).unwrap();
        let name = name.strip_prefix("/dev/").unwrap().to_owned();
        Self { child, name, lines }
    }

    fn shows(&self) -> String {
        self.lines.recv_timeout(PATIENCE).unwrap_or_else(|_| panic!("{} shows nothing", self.name))
    }

    fn shows_nothing(&self) {
        assert_eq!(self.lines.try_recv().ok(), None, "{}", self.name);
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A record of utmp(5) of somebody who is logged in.
fn record(line: &str, user: &str) -> Vec<u8> {
    let mut bytes = vec![0; 384];
    bytes[..2].copy_from_slice(&7u16.to_ne_bytes());
    bytes[4..8].copy_from_slice(&i32::try_from(std::process::id()).unwrap().to_ne_bytes());
    bytes[8..8 + line.len()].copy_from_slice(line.as_bytes());
    bytes[44..44 + user.len()].copy_from_slice(user.as_bytes());
    bytes
}

/// agentd with a `/run` of its own, in which these are logged in; nothing where that cannot be.
fn start(records: &[Vec<u8>], more: &str) -> Option<(Daemon, TempDir)> {
    if !rustix::process::geteuid().is_root() || Command::new("script").arg("--version").output().is_err() {
        eprintln!(
            "lines on terminals: NOT TESTED, only root has a /run of its own, and script(1) makes terminals"
        );
        return None;
    }
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("work")).unwrap();
    std::fs::write(folder.path().join("utmp"), records.concat()).unwrap();
    let plain = command_under(folder.path(), "[[rule]]\nquery = \"*\"\nthen = \"ask\"\n", more);
    let script = "mount -t tmpfs none /run && cp \"$1\" /run/utmp && shift && exec \"$@\"";
    let mut command = Command::new("unshare");
    command.args(["--mount", "sh", "-ec", script, "sh"]).arg(folder.path().join("utmp"));
    command.arg(plain.get_program()).args(plain.get_args());
    Some((Daemon::spawn(folder.path(), command), folder))
}

fn ask(daemon: &Daemon, folder: &Path, name: &str) {
    let path = folder.join("work").join(name);
    let body = json!({"mutation": "file.write", "args": {"path": path, "content": "x"}, "reason": "a test"});
    let answer = daemon.post("/system/mutate", &body.to_string());
    assert_eq!(answer.status, 202, "{}", answer.json());
}

const ON: &str = "[approvals]\nnotify_terminals = true\n";

#[test]
fn who_may_say_yes_and_takes_messages_gets_one_plain_line() {
    let (takes, others) = (Terminal::open(), Terminal::open());
    let silent = Terminal::after("chmod g-w $(tty)");
    let given_away = Terminal::after("chmod g+w $(tty); chown 65534 $(tty)");
    let records = [
        record(&takes.name, "root"),
        record(&silent.name, "root"),
        record(&given_away.name, "root"),
        // Whoever this is: the terminal is root's, and they may say nothing.
        record(&others.name, "nobody"),
        // Names that lead elsewhere.
        record("../etc/passwd", "root"),
        record("null", "root"),
        record("pts/999999", "root"),
    ];
    let Some((daemon, folder)) = start(&records, ON) else { return };
    ask(&daemon, folder.path(), "a\u{1b}]0;x\u{7}\u{202e}\u{9b}ä");
    let line = takes.shows();
    assert!(line.contains("AgentOS: change 1 (") && line.contains("agentctl approvals show 1"), "{line:?}");
    assert!(line.bytes().all(|byte| (b' '..=b'~').contains(&byte)), "{line:?}");
    // More within ten seconds is told together.
    ask(&daemon, folder.path(), "b");
    daemon.query("os", &json!({})).problem(403, "approval_required");
    std::thread::sleep(Duration::from_millis(300));
    takes.shows_nothing();
    let more = takes.shows();
    assert!(more.contains("more waits for your yes"), "{more:?}");
    takes.shows_nothing();
    silent.shows_nothing();
    given_away.shows_nothing();
    others.shows_nothing();
    // A question is told like a change.
    std::thread::sleep(Duration::from_secs(10));
    daemon.query("time", &json!({})).problem(403, "approval_required");
    let question = takes.shows();
    assert!(question.contains("question 4 waits") && question.contains("time {}"), "{question:?}");
}

#[test]
fn it_is_off_unless_it_is_switched_on() {
    let takes = Terminal::open();
    let Some((daemon, folder)) = start(&[record(&takes.name, "root")], "") else { return };
    ask(&daemon, folder.path(), "a");
    std::thread::sleep(Duration::from_millis(500));
    takes.shows_nothing();
}
