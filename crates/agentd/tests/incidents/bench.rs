//! A real agentd under the policy that ships, folders in which an incident may happen, and what is asked of both.

use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use agentos_api::query::path::encode;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::common::{Answer, Daemon, command, exchange, post_request};

/// agentd and a folder around it, removed at the end.
pub(crate) struct Bench {
    pub(crate) daemon: Daemon,
    pub(crate) folder: TempDir,
}

impl Bench {
    /// Under the policy that is built in, which is the one that ships.
    pub(crate) fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let command = command(folder.path(), "");
        Self::of(folder, command)
    }

    /// In a network and with mounts of its own. What may lock somebody out is taken back after a second.
    pub(crate) fn in_a_network() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let plain = command(folder.path(), "[changes]\nconfirm_seconds = 1\n");
        let mut command = Command::new("unshare");
        command.args(["--net", "--mount"]).arg(plain.get_program()).args(plain.get_args());
        Self::of(folder, command)
    }

    /// What it says on standard error is kept.
    pub(crate) fn of(folder: TempDir, mut command: Command) -> Self {
        assert!(rustix::process::geteuid().is_root(), "agentd is root, and so is who tests it");
        let said = std::fs::File::create(folder.path().join("stderr")).unwrap();
        command.stderr(said).stdout(Stdio::null());
        let daemon = Daemon::spawn(folder.path(), command);
        Self { daemon, folder }
    }

    /// A new folder with a home, a place to work, and one for programs.
    pub(crate) fn place(&self, name: &str, set_up: &str) -> Place {
        let root = self.folder.path().join(name);
        for part in ["home", "w", "bin"] {
            std::fs::create_dir_all(root.join(part)).unwrap();
        }
        let place = Place(root);
        let made = place.sh(set_up);
        assert!(made, "{name}: it cannot be set up");
        place
    }

    /// Has the agent look: the query `shell`.
    pub(crate) fn observe(&self, command: &str) -> Answer {
        self.daemon.query("shell", &json!({ "command": command, "time_limit_seconds": 20 }))
    }

    /// Has the agent ask for what a command does to files: the mutation `shell.preview`.
    pub(crate) fn preview(&self, command: &str) -> Answer {
        self.mutate("shell.preview", &json!({ "command": command, "time_limit_seconds": 20 }))
    }

    /// Has the agent ask for a change.
    pub(crate) fn mutate(&self, mutation: &str, args: &Value) -> Answer {
        self.ask(&json!({ "mutation": mutation, "args": args }))
    }

    /// Has the agent ask for one change: a mutation, or several steps.
    pub(crate) fn ask(&self, change: &Value) -> Answer {
        let mut body = change.clone();
        body["reason"] = json!("the person asked for something like it");
        self.daemon.post("/system/mutate", &body.to_string())
    }

    /// Asks at the operator's socket.
    pub(crate) fn operator(&self, path: &str, body: &Value) -> Answer {
        exchange(&self.daemon.operator(), &post_request(path, "", body.to_string().as_bytes()))
    }

    /// The person's yes to the plan that the agent was shown.
    pub(crate) fn approve(&self, change: &Value) -> Answer {
        self.decide(change, &json!({ "decision": "approve", "plan_hash": change["plan"]["hash"] }))
    }

    /// What the person says to a change.
    pub(crate) fn decide(&self, change: &Value, word: &Value) -> Answer {
        self.operator(&format!("/approvals/{}", change["id"]), word)
    }

    /// The person takes a change back.
    pub(crate) fn undo(&self, change: &Value) -> Answer {
        self.operator(&format!("/changes/{}/undo", change["id"]), &json!({ "reason": "it was a mistake" }))
    }

    /// How a change is by now.
    pub(crate) fn change(&self, change: &Value) -> Value {
        self.daemon.get(&format!("/changes/{}", change["id"])).json()
    }

    /// How a change is shown at the operator's socket.
    pub(crate) fn seen_by_the_person(&self, change: &Value) -> Value {
        let request =
            format!("GET /changes/{} HTTP/1.1\r\nHost: agentd\r\nConnection: close\r\n\r\n", change["id"]);
        exchange(&self.daemon.operator(), request.as_bytes()).json()
    }

    /// Runs a command in agentd's network, with its view of the file systems.
    pub(crate) fn in_its_network(&self, command: &str) -> String {
        let of = |kind: &str, name: &str| format!("--{kind}=/proc/{}/ns/{name}", self.daemon.pid());
        let (net, mount) = (of("net", "net"), of("mount", "mnt"));
        let output = Command::new("nsenter").args([&net, &mount, "sh", "-c", command]).output().unwrap();
        assert!(output.status.success(), "{command}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }
}

/// A folder in which an incident may happen.
pub(crate) struct Place(PathBuf);

impl Place {
    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    /// Shell text that finds itself in this place.
    pub(crate) fn within(&self, text: &str) -> String {
        let root = self.0.display();
        format!("export R={root} HOME={root}/home PATH={root}/bin:$PATH; cd {root}/w; {text}")
    }

    /// Runs shell text in this place for real: it is of the test itself, not of the agent. Whether it went well.
    pub(crate) fn sh(&self, text: &str) -> bool {
        let ended =
            Command::new("sh").args(["-c", &self.within(text)]).stdin(Stdio::null()).output().unwrap();
        ended.status.success()
    }

    /// All of the home and of where it happens: names, kinds, modes, owners, numbers of names, links, and each byte.
    pub(crate) fn tree(&self) -> Vec<String> {
        let mut lines = Vec::new();
        for part in ["home", "w"] {
            walk(&self.0.join(part), &mut lines);
        }
        lines.sort();
        lines
    }
}

fn walk(path: &Path, lines: &mut Vec<String>) {
    let Ok(found) = std::fs::symlink_metadata(path) else { return };
    let kind = found.file_type();
    let content = if kind.is_symlink() {
        format!("to {}", encode(std::fs::read_link(path).unwrap().as_os_str().as_bytes()))
    } else if kind.is_file() {
        let digest = ring::digest::digest(&ring::digest::SHA256, &std::fs::read(path).unwrap());
        format!("{digest:?}")
    } else {
        String::new()
    };
    // The number of names of a folder is what the file system makes of its content.
    let names = if kind.is_dir() { 0 } else { found.nlink() };
    let (mode, owner, group) = (found.mode(), found.uid(), found.gid());
    let name = encode(path.as_os_str().as_bytes());
    lines.push(format!("{name} {mode:o} {owner}:{group} {names} {content}"));
    if kind.is_dir() {
        for entry in std::fs::read_dir(path).unwrap() {
            walk(&entry.unwrap().path(), lines);
        }
    }
}
