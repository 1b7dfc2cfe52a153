//! What may lock the person out is confirmed from a login that began after it, and from no other.

mod common;

use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use common::{Daemon, command, exchange, post_request};
use serde_json::{Value, json};
use tempfile::TempDir;

/// agentd in a network of its own, whose loopback it may change.
struct Bench {
    daemon: Daemon,
    folder: TempDir,
}

fn start(folder: &Path, more: &str) -> Daemon {
    let plain = command(folder, more);
    let mut command = Command::new("unshare");
    command.arg("--net").arg(plain.get_program()).args(plain.get_args());
    Daemon::spawn(folder, command)
}

impl Bench {
    fn with(more: &str) -> Option<Self> {
        if !rustix::process::geteuid().is_root() {
            eprintln!("confirmations: NOT TESTED, only root has a network of its own");
            return None;
        }
        let folder = tempfile::tempdir().unwrap();
        std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
        let daemon = start(folder.path(), more);
        Some(Self { daemon, folder })
    }

    /// Makes a change that has to be confirmed, and answers its number.
    fn change(&self, address: &str) -> u64 {
        let args = json!({"interface": "lo", "action": "add", "address": address});
        let body = json!({"mutation": "network.address", "args": args, "reason": "a test"});
        let request = post_request("/system/mutate", "", body.to_string().as_bytes());
        let made = exchange(&self.daemon.operator(), &request).json();
        assert_eq!(made["status"], "unconfirmed", "{made}");
        // Process start times are counted in hundredths of a second.
        std::thread::sleep(Duration::from_millis(50));
        made["id"].as_u64().unwrap()
    }

    fn status(&self, change: u64) -> Value {
        self.daemon.get(&format!("/changes/{change}")).json()
    }

    fn operator(&self) -> PathBuf {
        self.daemon.operator()
    }
}

/// A process in a session of its own that confirms a change once it is told which.
struct Login(Child);

impl Login {
    /// `first` is done before it waits.
    fn begin(first: &str, socket: &Path) -> Self {
        let script = format!(
            "{first}\nread change\nexec curl --silent --max-time 30 --unix-socket '{}' --header \
             'Content-Type: application/json' --data '{{}}' \"http://agentd/changes/$change/confirm\"",
            socket.display()
        );
        let mut command = Command::new("setsid");
        command.args(["--wait", "sh", "-ec", &script]).stdin(Stdio::piped()).stdout(Stdio::piped());
        Self(command.spawn().unwrap())
    }

    /// What agentd answers it.
    fn confirm(mut self, change: u64) -> Value {
        writeln!(self.0.stdin.take().unwrap(), "{change}").unwrap();
        let mut said = String::new();
        self.0.stdout.take().unwrap().read_to_string(&mut said).unwrap();
        self.0.wait().unwrap();
        serde_json::from_str(&said).unwrap_or_else(|error| panic!("{error}: {said:?}"))
    }
}

/// This process is in no login session, so that what it starts is told apart by its session of processes.
fn nobody_logged_in() -> bool {
    let unset = std::fs::read_to_string("/proc/self/sessionid")
        .is_ok_and(|text| text == u32::MAX.to_string())
        || !Path::new("/proc/self/sessionid").exists();
    let cgroup = std::fs::read_to_string("/proc/self/cgroup").unwrap();
    // Where logind runs, nobody without a session of it confirms anything.
    let logind =
        Path::new("/run/systemd/seats").exists() && Path::new("/run/dbus/system_bus_socket").exists();
    let outside = unset && !logind && !cgroup.contains("session-") && !cgroup.contains("user@");
    if !outside {
        eprintln!("confirmations without logins: NOT TESTED, this test runs in one");
    }
    outside
}

#[test]
fn without_logins_a_session_of_processes_from_before_the_change_confirms_nothing() {
    if !nobody_logged_in() {
        return;
    }
    let Some(bench) = Bench::with("") else { return };
    let before = Login::begin("", &bench.operator());
    std::thread::sleep(Duration::from_millis(50));
    let change = bench.change("127.9.9.1/32");
    let refused = before.confirm(change);
    assert_eq!(refused["code"], "not_fresh", "{refused}");
    assert!(refused["detail"].as_str().unwrap().contains("began before the change"), "{refused}");
    assert!(refused["hint"].as_str().unwrap().contains("Log in anew"), "{refused}");
    assert_eq!(bench.status(change)["status"], "unconfirmed");
    let confirmed = Login::begin("", &bench.operator()).confirm(change);
    assert_eq!(confirmed["status"], "applied", "{confirmed}");
    let event = &bench.daemon.events("change.confirmed")[0]["payload"]["data"];
    assert!(event["login"].as_str().unwrap().contains("session of processes"), "{event}");
    let again = Login::begin("", &bench.operator()).confirm(change);
    assert_eq!(again["code"], "change_stands", "{again}");
}

#[test]
fn an_audit_session_from_before_the_change_confirms_nothing_however_new_its_processes_are() {
    let log_in = "echo 0 > /proc/self/loginuid";
    let can = Command::new("sh").args(["-c", log_in]).stderr(Stdio::null()).status();
    if !can.is_ok_and(|status| status.success()) || !nobody_logged_in() {
        eprintln!("audit sessions: NOT TESTED, none can be begun here");
        return;
    }
    let Some(bench) = Bench::with("") else { return };
    // A session of processes inside it that is newer than the change is no new login.
    let again = format!("{log_in}\nread _");
    let socket = bench.operator();
    let inner = format!(
        "{again}\nexec setsid --wait sh -c 'read change; exec curl --silent --max-time 30 --unix-socket {} --header \
         \"Content-Type: application/json\" --data \"{{}}\" http://agentd/changes/$change/confirm'",
        socket.display()
    );
    let mut before = Login::begin(&inner, &socket);
    std::thread::sleep(Duration::from_millis(100));
    let change = bench.change("127.9.9.2/32");
    before.0.stdin.as_mut().unwrap().write_all(b"go on\n").unwrap();
    std::thread::sleep(Duration::from_millis(100));
    let refused = before.confirm(change);
    assert_eq!(refused["code"], "not_fresh", "{refused}");
    assert!(refused["detail"].as_str().unwrap().contains("audit session"), "{refused}");
    let confirmed = Login::begin(log_in, &bench.operator()).confirm(change);
    assert_eq!(confirmed["status"], "applied", "{confirmed}");
    assert!(confirmed["outcome"].as_str().unwrap().contains("audit session"), "{confirmed}");
}

#[test]
fn a_restart_of_agentd_makes_no_login_a_new_one() {
    if !nobody_logged_in() {
        return;
    }
    let Some(bench) = Bench::with("") else { return };
    let before = Login::begin("", &bench.operator());
    std::thread::sleep(Duration::from_millis(50));
    let change = bench.change("127.9.9.3/32");
    let Bench { daemon, folder } = bench;
    daemon.kill();
    let bench = Bench { daemon: start(folder.path(), ""), folder };
    assert_eq!(bench.status(change)["status"], "unconfirmed");
    let refused = before.confirm(change);
    assert_eq!(refused["code"], "not_fresh", "{refused}");
    let confirmed = Login::begin("", &bench.operator()).confirm(change);
    assert_eq!(confirmed["status"], "applied", "{confirmed}");
}

#[test]
fn where_the_owner_asks_for_less_a_new_connection_is_enough() {
    let Some(bench) = Bench::with("[changes]\nconfirm = \"new_connection\"\n") else { return };
    let before = Login::begin("", &bench.operator());
    std::thread::sleep(Duration::from_millis(50));
    let change = bench.change("127.9.9.4/32");
    // The agent has no say in it, whatever it comes from.
    let socket = bench.daemon.agent();
    assert_eq!(Login::begin("", &socket).confirm(change)["code"], "forbidden");
    assert_eq!(before.confirm(change)["status"], "applied");
}

#[test]
fn what_nobody_confirms_is_taken_back() {
    let Some(bench) = Bench::with("[changes]\nconfirm_seconds = 1\n") else { return };
    let change = bench.change("127.9.9.5/32");
    common::eventually("it is taken back", || (bench.status(change)["status"] == "undone").then_some(()));
    assert_eq!(Login::begin("", &bench.operator()).confirm(change)["code"], "change_stands");
}
