//! The chat of `up` is agentctl's, pointed at this stack; it ends when a part of the stack does.

use std::fs::{self, OpenOptions};
use std::io::{ErrorKind, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::json;

use super::binaries::Binaries;
use super::stack::Stack;

/// What agentctl ends with on Ctrl-C, which reaches it as it reaches us.
const INTERRUPTED: i32 = 130;

/// Talks until the person ends it, or has one turn with `say`.
///
/// # Errors
/// When a part of the stack ends, or the turn that was asked for fails.
pub(crate) async fn run(stack: &mut Stack, binaries: &Binaries, say: Option<&str>) -> Result<()> {
    let mut command = command(stack, binaries)?;
    if let Some(text) = say {
        // In one, so that a text that begins with a dash is no option.
        command.arg(format!("--say={text}"));
    }
    let mut command = tokio::process::Command::from(command);
    let mut chat = command.kill_on_drop(true).spawn().context("cannot start agentctl")?;
    let mut watch = tokio::time::interval(Duration::from_secs(1));
    let status = loop {
        tokio::select! {
            status = chat.wait() => break status?,
            _ = watch.tick() => stack.check()?,
        }
    };
    if status.success() || status.code() == Some(INTERRUPTED) {
        return Ok(());
    }
    stack.check()?;
    bail!("the chat ended with {status}")
}

/// `agentctl chat` with this stack's agent, as whoever started the stack.
///
/// # Errors
/// When the file for it cannot be written.
pub(crate) fn command(stack: &Stack, binaries: &Binaries) -> Result<Command> {
    write_access(stack)?;
    let mut command = Command::new(binaries.agentctl());
    command
        .args(["chat", "--socket"])
        .arg(stack.places().operator_socket())
        .arg("--gateway")
        .arg(stack.places().operator_access());
    Ok(command)
}

/// Writes where the gateway is and its token, for nobody but whoever started the stack.
fn write_access(stack: &Stack) -> Result<()> {
    let path = stack.places().operator_access();
    let gateway = stack.gateway();
    let access = json!({ "url": format!("http://{}", gateway.address), "token": gateway.token });
    let written = (|| {
        match fs::remove_file(&path) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?;
        file.write_all(access.to_string().as_bytes())
    })();
    written.with_context(|| format!("cannot write {}", path.display()))
}
