//! Starting the real agentd, running agentctl, and making what varies in its output comparable.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

/// agentctl with a fixed zone, without colour, and without the caller's socket.
pub(crate) fn agentctl() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_agentctl"));
    command.env_remove("AGENTOS_SOCKET").env("TZ", "UTC").stdin(Stdio::null());
    command
}

/// What a run of agentctl came to.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Run {
    pub(crate) fn of(command: &mut Command) -> Self {
        Self::from(command.output().unwrap())
    }

    /// Standard output as one JSON document.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// It, having ended with `code`.
    #[track_caller]
    pub(crate) fn with(self, code: i32) -> Self {
        assert_eq!(self.code, code, "{self:?}");
        self
    }
}

impl From<Output> for Run {
    fn from(output: Output) -> Self {
        Self {
            code: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }
}

/// A running agentd, its sockets and its state in a directory that goes with it.
pub(crate) struct Agentd {
    child: Child,
    directory: TempDir,
}

impl Agentd {
    pub(crate) fn start() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name).display().to_string();
        let config = format!(
            "state_directory = {:?}\n[sockets.agent]\npath = {:?}\n[sockets.operator]\npath = {:?}\n\
             [ledger]\norigin = \"test.example/ledger\"\n",
            path("state"),
            path("agent.sock"),
            path("operator.sock"),
        );
        fs::write(path("agentd.toml"), config).unwrap();
        fs::set_permissions(path("agentd.toml"), fs::Permissions::from_mode(0o600)).unwrap();
        let child = spawn(directory.path());
        let agentd = Self { child, directory };
        agentd.wait_until_it_answers();
        agentd
    }

    fn wait_until_it_answers(&self) {
        let begun = Instant::now();
        while UnixStream::connect(self.socket()).is_err() {
            assert!(begun.elapsed() < Duration::from_secs(30), "agentd does not listen:\n{}", self.log());
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    fn log(&self) -> String {
        fs::read_to_string(self.path("agentd.log")).unwrap_or_default()
    }

    /// A file in the directory that holds everything of this agentd.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub(crate) fn state(&self) -> PathBuf {
        self.path("state")
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.path("operator.sock")
    }

    /// agentctl, pointed at this agentd.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = agentctl();
        command.arg("--socket").arg(self.socket()).args(arguments).current_dir(self.directory.path());
        command
    }

    /// agentctl as the agent has it: on the agent's socket.
    pub(crate) fn as_agent(&self, arguments: &[&str]) -> Run {
        let mut command = agentctl();
        command.arg("--socket").arg(self.path("agent.sock")).args(arguments);
        Run::of(command.current_dir(self.directory.path()))
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> Run {
        Run::of(&mut self.command(arguments))
    }

    /// Asks it to stop and waits until it has.
    pub(crate) fn stop(&mut self) {
        let pid = self.child.id().to_string();
        let stopped = Command::new("kill").args(["-TERM", &pid]).status().unwrap();
        assert!(stopped.success());
        let status = self.child.wait().unwrap();
        assert!(status.success(), "agentd ended with {status}:\n{}", self.log());
    }

    /// Starts it again on what it left.
    pub(crate) fn start_again(&mut self) {
        self.child = spawn(self.directory.path());
        self.wait_until_it_answers();
    }

    /// Text with what differs between two runs replaced.
    pub(crate) fn redact(&self, text: &str) -> String {
        redact(&text.replace(&self.directory.path().display().to_string(), "[dir]"))
    }
}

impl Drop for Agentd {
    fn drop(&mut self) {
        // It may have been stopped already; either way it is gone afterwards.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn spawn(directory: &Path) -> Child {
    let agentd = Path::new(env!("CARGO_BIN_EXE_agentctl")).with_file_name("agentd");
    assert!(agentd.exists(), "these tests run the real agentd: build it first with `cargo build -p agentd`");
    let log = fs::File::create(directory.join("agentd.log")).unwrap();
    Command::new(agentd)
        .arg("--config")
        .arg(directory.join("agentd.toml"))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log)
        .spawn()
        .unwrap()
}

/// Replaces hashes, keys and times.
pub(crate) fn redact(text: &str) -> String {
    let mut redacted = String::new();
    for line in text.split_inclusive('\n') {
        let mut word = String::new();
        for character in line.chars() {
            if character.is_ascii_alphanumeric() || "+/=-:.".contains(character) {
                word.push(character);
            } else {
                redacted.push_str(&redact_word(&std::mem::take(&mut word)));
                redacted.push(character);
            }
        }
        redacted.push_str(&redact_word(&word));
    }
    redacted
}

fn redact_word(word: &str) -> String {
    let all = |allowed: fn(&char) -> bool| word.chars().all(|character| allowed(&character));
    let is_time = |separators: &str, length: usize| {
        word.len() == length
            && word.chars().all(|character| character.is_ascii_digit() || separators.contains(character))
            && word.chars().any(|character| separators.contains(character))
    };
    match word {
        _ if word.len() == 64 && all(char::is_ascii_hexdigit) => "[hash]".to_owned(),
        _ if word.starts_with("test.example/ledger+") => "[key]".to_owned(),
        _ if word.len() >= 44 && word.ends_with('=') => "[base64]".to_owned(),
        _ if is_time("-", 10) => "[date]".to_owned(),
        _ if is_time(":", 8) => "[time]".to_owned(),
        _ => word.to_owned(),
    }
}
