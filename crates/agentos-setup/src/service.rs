//! The gateway's service: started anew when what it was started with has changed, and waited for until it can take a turn.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::error::SetupError;

/// The gateway's unit.
pub const GATEWAY: &str = "openclaw-gateway.service";

/// The scripted model's unit.
pub const REHEARSAL: &str = "agentos-rehearsal.service";

/// How long a gateway may take. Half a minute of CPU time is usual; the old one may have a turn to end first.
const PATIENCE: Duration = Duration::from_mins(10);

/// How often the unit is looked at.
const LOOK: Duration = Duration::from_secs(2);

/// How often in a row, two seconds apart, it may be found neither running nor about to.
const MOST_IDLE: u32 = 5;

const SYSTEMCTL: &str = "/usr/bin/systemctl";

/// Whether systemd runs this system.
pub fn is_systemd() -> bool {
    Path::new("/run/systemd/system").is_dir()
}

/// What a unit's state is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct State {
    load: String,
    active: String,
    result: String,
    invocation: String,
    reload: bool,
}

impl State {
    /// Asks systemd.
    ///
    /// # Errors
    /// When it does not answer.
    pub fn of(unit: &'static str) -> Result<Self, SetupError> {
        let properties = "--property=LoadState,ActiveState,Result,InvocationID,NeedDaemonReload";
        let text = systemctl(unit, &["show", properties, unit])?;
        let value = |name: &str| {
            let found = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
            found.unwrap_or_default().to_owned()
        };
        Ok(Self {
            load: value("LoadState"),
            active: value("ActiveState"),
            result: value("Result"),
            invocation: value("InvocationID"),
            reload: value("NeedDaemonReload") == "yes",
        })
    }

    /// One word for a person: `active`, `failed`, `not-found`.
    pub fn word(&self) -> &str {
        if self.load == "loaded" { &self.active } else { &self.load }
    }
}

/// Starts the scripted model or stops it.
///
/// # Errors
/// When systemd refuses.
pub fn set_rehearsal(wanted: bool) -> Result<(), SetupError> {
    let verb = if wanted { "start" } else { "stop" };
    // `stop` of a unit that is not there is an error, and nothing to stop.
    if !wanted && State::of(REHEARSAL)?.load != "loaded" {
        return Ok(());
    }
    systemctl(REHEARSAL, &["--no-block", verb, REHEARSAL]).map(drop)
}

/// Starts the gateway, anew if `changed`, and waits until it is ready; `tick` is called meanwhile with the time so far.
///
/// # Errors
/// When it is not installed, fails, or takes too long.
pub fn start_gateway(changed: bool, port: u16, mut tick: impl FnMut(Duration)) -> Result<(), SetupError> {
    let mut before = State::of(GATEWAY)?;
    if before.load != "loaded" {
        return Err(failed(format!("its unit is {}; install the package agentos", before.load)));
    }
    if before.reload {
        systemctl(GATEWAY, &["daemon-reload"])?;
    }
    if before.active == "failed" {
        systemctl(GATEWAY, &["reset-failed", GATEWAY])?;
        before.invocation.clear();
    }
    // Not waiting for the job: systemd waits for the old gateway's last turn, and there is progress to show.
    systemctl(GATEWAY, &["--no-block", if changed { "restart" } else { "start" }, GATEWAY])?;
    let another = changed && !before.invocation.is_empty();
    let started = Instant::now();
    let mut looked = Instant::now();
    let mut anew = !another;
    let mut idle = 0;
    loop {
        let elapsed = started.elapsed();
        tick(elapsed);
        if looked.elapsed() > LOOK {
            looked = Instant::now();
            let state = State::of(GATEWAY)?;
            anew |= state.invocation != before.invocation && !state.invocation.is_empty();
            // Between the end of the old one and the start of the new it is inactive for a moment, and not for longer.
            idle = if state.active == "inactive" { idle + 1 } else { 0 };
            if idle >= MOST_IDLE {
                return Err(failed(format!("it does not start; see: systemctl status {GATEWAY}")));
            }
            if state.active == "failed" {
                return Err(failed(format!(
                    "it failed ({}); see: journalctl -u {GATEWAY} -n 50",
                    state.result
                )));
            }
        }
        if anew && is_ready(port) {
            return Ok(());
        }
        if elapsed > PATIENCE {
            let minutes = PATIENCE.as_secs() / 60;
            return Err(failed(format!(
                "it was not ready in {minutes} min; see: journalctl -u {GATEWAY} -n 50"
            )));
        }
        std::thread::sleep(Duration::from_millis(500));
    }
}

fn failed(message: String) -> SetupError {
    SetupError::Service { unit: GATEWAY, message }
}

/// Whether the gateway on that port says it is ready for a turn.
pub fn is_ready(port: u16) -> bool {
    let ask = || -> std::io::Result<bool> {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let mut stream = TcpStream::connect_timeout(&address, Duration::from_secs(1))?;
        stream.set_read_timeout(Some(Duration::from_secs(2)))?;
        stream.set_write_timeout(Some(Duration::from_secs(2)))?;
        let request = format!("GET /readyz HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes())?;
        let mut head = [0; 12];
        stream.read_exact(&mut head)?;
        Ok(&head == b"HTTP/1.1 200")
    };
    ask().unwrap_or(false)
}

fn systemctl(unit: &'static str, arguments: &[&str]) -> Result<String, SetupError> {
    let output = Command::new(SYSTEMCTL)
        .args(["--no-pager", "--no-ask-password"])
        .args(arguments)
        .env("LC_ALL", "C")
        .stdin(Stdio::null())
        .output()
        .map_err(SetupError::io("start", Path::new(SYSTEMCTL)))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(SetupError::Service { unit, message: format!("systemctl {}: {}", arguments.join(" "), said.trim()) })
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn only_a_yes_is_ready() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let server = std::thread::spawn(move || {
            for answer in ["HTTP/1.1 503 Service Unavailable\r\n\r\n", "", "HTTP/1.1 200 OK\r\n\r\n"] {
                let (mut stream, _) = listener.accept().unwrap();
                let mut request = [0; 512];
                assert!(stream.read(&mut request).unwrap() > 0);
                stream.write_all(answer.as_bytes()).unwrap();
            }
        });
        assert_eq!([is_ready(port), is_ready(port), is_ready(port)], [false, false, true]);
        server.join().unwrap();
        assert!(!is_ready(port));
    }
}
