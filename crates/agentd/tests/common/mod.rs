//! A real agentd on a state directory of its own, and requests to it byte by byte.

#![expect(dead_code, reason = "each test file uses its part of it")]

pub(crate) mod left;

use std::io::{Read, Write};
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

/// How long anything may take before a test gives up on it; never what a test measures.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// A running agentd; killed when dropped.
pub(crate) struct Daemon {
    pub(crate) directory: PathBuf,
    child: Child,
}

/// An answer, taken apart.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    /// The body as JSON.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&self.body)))
    }

    /// The body as a problem with this status and code; checks what every problem has.
    #[track_caller]
    pub(crate) fn problem(&self, status: u16, code: &str) -> Value {
        let json = self.json();
        assert_eq!((self.status, json["code"].as_str()), (status, Some(code)), "{json}");
        assert!(self.head.to_lowercase().contains("application/problem+json"), "{}", self.head);
        assert_eq!(json["status"], status);
        assert!(json["detail"].as_str().is_some_and(|detail| !detail.is_empty()), "{json}");
        json
    }
}

/// A configuration for a daemon whose sockets and state are all below `directory`.
pub(crate) fn configuration(directory: &Path, more: &str) -> String {
    let path = |name: &str| directory.join(name).display().to_string();
    format!(
        "state_directory = {:?}\n[sockets]\nagent = {{ path = {:?} }}\noperator = {{ path = {:?} }}\n{more}\n",
        path("state"),
        path("agent.sock"),
        path("operator.sock")
    )
}

/// Writes that configuration, as only its owner may have written it.
pub(crate) fn configure(directory: &Path, more: &str) -> PathBuf {
    use std::os::unix::fs::PermissionsExt;
    let path = directory.join("agentd.toml");
    std::fs::write(&path, configuration(directory, more)).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
    path
}

/// The command that starts agentd with that configuration.
pub(crate) fn command(directory: &Path, more: &str) -> Command {
    let config = configure(directory, more);
    let mut command = Command::new(env!("CARGO_BIN_EXE_agentd"));
    command.arg("--config").arg(config).env_remove("NOTIFY_SOCKET").env_remove("LISTEN_FDS");
    command
}

/// Writes a policy for that configuration, as only its owner may have written it.
pub(crate) fn policy(directory: &Path, text: &str) -> PathBuf {
    use std::os::unix::fs::PermissionsExt;
    let path = directory.join("policy.toml");
    std::fs::write(&path, text).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
    path
}

/// The command that starts agentd with that configuration and this policy.
pub(crate) fn command_under(directory: &Path, text: &str, more: &str) -> Command {
    let policy = policy(directory, text);
    let command = command(directory, more);
    let file = directory.join("agentd.toml");
    let rest = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, format!("policy = {:?}\n{rest}", policy.display().to_string())).unwrap();
    command
}

impl Daemon {
    /// Starts agentd below `directory` and waits until it answers.
    pub(crate) fn start(directory: &Path) -> Self {
        Self::start_with(directory, "")
    }

    /// The same, with more configuration.
    pub(crate) fn start_with(directory: &Path, more: &str) -> Self {
        Self::spawn(directory, command(directory, more))
    }

    /// Runs `command` and waits until agentd answers on its sockets below `directory`.
    pub(crate) fn spawn(directory: &Path, mut command: Command) -> Self {
        let child = command.stdin(Stdio::null()).spawn().unwrap();
        let mut daemon = Self { directory: directory.to_owned(), child };
        let started = Instant::now();
        while UnixStream::connect(daemon.agent()).is_err() || UnixStream::connect(daemon.operator()).is_err()
        {
            assert!(started.elapsed() < PATIENCE, "agentd does not answer");
            if let Some(status) = daemon.child.try_wait().unwrap() {
                panic!("agentd ended with {status}");
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        daemon
    }

    /// The agent's socket.
    pub(crate) fn agent(&self) -> PathBuf {
        self.directory.join("agent.sock")
    }

    /// The operator's socket.
    pub(crate) fn operator(&self) -> PathBuf {
        self.directory.join("operator.sock")
    }

    /// The ledger's database.
    pub(crate) fn database(&self) -> PathBuf {
        self.directory.join("state/ledger.db")
    }

    /// The process's number.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// `GET path` as the agent.
    pub(crate) fn get(&self, path: &str) -> Answer {
        exchange(
            &self.agent(),
            format!("GET {path} HTTP/1.1\r\nHost: agentd\r\nConnection: close\r\n\r\n").as_bytes(),
        )
    }

    /// `POST path` with a JSON body as the agent.
    pub(crate) fn post(&self, path: &str, body: &str) -> Answer {
        exchange(&self.agent(), &post_request(path, "", body.as_bytes()))
    }

    /// A query as the agent.
    pub(crate) fn query(&self, query: &str, args: &Value) -> Answer {
        self.post("/system/query", &serde_json::json!({ "query": query, "args": args }).to_string())
    }

    /// A query as the operator.
    pub(crate) fn query_as_operator(&self, query: &str, args: &Value) -> Answer {
        let body = serde_json::json!({ "query": query, "args": args }).to_string();
        exchange(&self.operator(), &post_request("/system/query", "", body.as_bytes()))
    }

    /// The events of one type, oldest first.
    pub(crate) fn events(&self, kind: &str) -> Vec<Value> {
        let page = self.get(&format!("/events/log?type={kind}&order=oldest&limit=1000"));
        assert_eq!(page.status, 200, "{}", page.json());
        page.json()["events"].as_array().unwrap().clone()
    }

    /// Sends a signal.
    pub(crate) fn signal(&self, signal: rustix::process::Signal) {
        rustix::process::kill_process(rustix::process::Pid::from_child(&self.child), signal).unwrap();
    }

    /// Sends SIGTERM and waits for the end.
    pub(crate) fn stop(mut self) -> ExitStatus {
        self.signal(rustix::process::Signal::TERM);
        wait(&mut self.child)
    }

    /// Sends SIGKILL and waits for the end.
    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Where agentd tells systemd how it is, in a test: what it sends, one message after another.
pub(crate) struct Notifications(UnixDatagram);

impl Notifications {
    pub(crate) fn listen(directory: &Path, command: &mut Command) -> Self {
        let path = directory.join("notify");
        let socket = UnixDatagram::bind(&path).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        command.env("NOTIFY_SOCKET", &path);
        Self(socket)
    }

    /// The next message: its lines.
    pub(crate) fn next(&self) -> Vec<String> {
        let mut buffer = [0; 4096];
        let count = self.0.recv(&mut buffer).unwrap();
        String::from_utf8_lossy(&buffer[..count]).lines().map(str::to_owned).collect()
    }

    /// The first message from now on that has a line which begins so.
    pub(crate) fn until(&self, line: &str) -> Vec<String> {
        loop {
            let message = self.next();
            if message.iter().any(|found| found.starts_with(line)) {
                return message;
            }
        }
    }
}

/// Tries until `attempt` answers something.
pub(crate) fn eventually<T>(what: &str, mut attempt: impl FnMut() -> Option<T>) -> T {
    let started = Instant::now();
    loop {
        if let Some(found) = attempt() {
            return found;
        }
        assert!(started.elapsed() < PATIENCE, "{what}: not within {PATIENCE:?}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Waits for a child to end by itself.
pub(crate) fn wait(child: &mut Child) -> ExitStatus {
    let started = Instant::now();
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return status;
        }
        assert!(started.elapsed() < PATIENCE, "the process does not end");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Starts agentd where it cannot start, and answers what it said on standard error.
pub(crate) fn refused(directory: &Path, more: &str) -> String {
    let mut child = command(directory, more).stdin(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let mut stderr = child.stderr.take().unwrap();
    let status = wait(&mut child);
    let mut said = String::new();
    stderr.read_to_string(&mut said).unwrap();
    assert_eq!(status.code(), Some(1), "{said}");
    said
}

/// A whole `POST` request with a JSON body; `headers` are lines ending in CR LF.
pub(crate) fn post_request(path: &str, headers: &str, body: &[u8]) -> Vec<u8> {
    let mut request = format!(
        "POST {path} HTTP/1.1\r\nHost: agentd\r\nConnection: close\r\nContent-Type: application/json\r\n{headers}\
         Content-Length: {}\r\n\r\n",
        body.len()
    )
    .into_bytes();
    request.extend_from_slice(body);
    request
}

/// Sends `request` on a connection of its own and reads the answer to its end.
pub(crate) fn exchange(socket: &Path, request: &[u8]) -> Answer {
    let mut stream = UnixStream::connect(socket).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    // agentd may answer and close before it has taken everything: that is not a failure of the request.
    let _ = stream.write_all(request);
    read_answer(stream)
}

/// Reads one answer to the end of the connection.
pub(crate) fn read_answer(mut stream: UnixStream) -> Answer {
    let mut bytes = Vec::new();
    let mut buffer = vec![0; 65536];
    loop {
        match stream.read(&mut buffer) {
            Ok(0) => break,
            Ok(count) => bytes.extend_from_slice(&buffer[..count]),
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => break,
            Err(error) => panic!("{error}"),
        }
    }
    let end = bytes.windows(4).position(|window| window == b"\r\n\r\n").expect("a whole head");
    let head = String::from_utf8(bytes[..end].to_vec()).unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    let mut body = bytes[end + 4..].to_vec();
    if head.to_lowercase().contains("transfer-encoding: chunked") {
        body = unchunk(&body);
    }
    Answer { status, head, body }
}

fn unchunk(mut rest: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    while let Some(end) = rest.windows(2).position(|window| window == b"\r\n") {
        let size = usize::from_str_radix(std::str::from_utf8(&rest[..end]).unwrap(), 16).unwrap();
        if size == 0 {
            break;
        }
        body.extend_from_slice(&rest[end + 2..end + 2 + size]);
        rest = &rest[end + 2 + size + 2..];
    }
    body
}
