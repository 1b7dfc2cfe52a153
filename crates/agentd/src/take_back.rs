//! `agentd --take-back N`: what systemd starts when the time of a change that may have locked the person out is over.
//!
//! The agentd that runs takes it back by itself. This only looks that it did, starts it anew where it hangs, and does it alone
//! where nothing else is left.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use agentos_changes::take_back_alone;
use agentos_system::{Machine, MachineOptions};
use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::config::Config;
use crate::state::StateDirectory;
use crate::work::open_objects;

/// How long the running agentd gets, and then the one that is started anew.
const PATIENCE: [Duration; 2] = [Duration::from_secs(15), Duration::from_secs(45)];
/// How long one answer may take, and how large it may be.
const ANSWER_TIME: Duration = Duration::from_secs(5);
const LARGEST_ANSWER: u64 = 4 << 20;
const UNIT: &str = "agentd.service";

/// Sees to it that a change is taken back, if nobody confirmed it.
///
/// # Errors
/// When it could not be taken back, with what is left.
pub(crate) fn run(config: &Config, change: u64) -> Result<()> {
    let socket = &config.sockets.operator.path;
    for (attempt, patience) in PATIENCE.into_iter().enumerate() {
        if attempt > 0 {
            tracing::warn!("agentd does not take change {change} back; it is started anew");
            restart();
        }
        let started = Instant::now();
        while started.elapsed() < patience {
            match status(socket, change) {
                Ok(status) if status != "unconfirmed" => {
                    tracing::info!("change {change} is {status}");
                    return Ok(());
                }
                Ok(_) | Err(_) => std::thread::sleep(Duration::from_millis(500)),
            }
        }
    }
    tracing::error!("agentd cannot be reached; change {change} is taken back without it");
    systemctl(&["kill", "--signal=KILL", UNIT]);
    let state = StateDirectory::open(&config.state_directory).context("agentd still holds its state")?;
    let machine = Machine::new(MachineOptions {
        protected: vec![state.path().to_owned()],
        ..MachineOptions::default()
    });
    let objects = open_objects(config, &state)?;
    let options = agentos_changes::Options::new(state.path());
    let left = take_back_alone(&options, &machine, &objects, change)?;
    if left.is_empty() {
        tracing::warn!("change {change} was taken back; it is recorded when agentd runs again");
        return Ok(());
    }
    bail!("this of change {change} could not be taken back: {}", left.join("; "))
}

/// How a change stands, as the running agentd says.
fn status(socket: &Path, change: u64) -> Result<String> {
    let mut stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(ANSWER_TIME))?;
    stream.set_write_timeout(Some(ANSWER_TIME))?;
    write!(stream, "GET /changes?before={} HTTP/1.0\r\nHost: agentd\r\n\r\n", change.saturating_add(1))?;
    let mut answer = Vec::new();
    stream.take(LARGEST_ANSWER).read_to_end(&mut answer)?;
    let body =
        answer.windows(4).position(|window| window == b"\r\n\r\n").map(|at| at + 4).context("no answer")?;
    let page: Value = serde_json::from_slice(answer.get(body..).unwrap_or_default())?;
    let first = page.pointer("/changes/0").context("no such change")?;
    if first.get("id").and_then(Value::as_u64) != Some(change) {
        bail!("no such change");
    }
    Ok(first.get("status").and_then(Value::as_str).unwrap_or_default().to_owned())
}

fn restart() {
    // One that hangs does not stop in order.
    systemctl(&["kill", "--signal=KILL", UNIT]);
    systemctl(&["reset-failed", UNIT]);
    systemctl(&["start", "--no-block", UNIT]);
}

fn systemctl(arguments: &[&str]) {
    let status = Command::new("/usr/bin/systemctl")
        .args(arguments)
        .env_clear()
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .status();
    if let Err(error) = status {
        tracing::warn!("systemctl cannot be started: {error}");
    }
}
