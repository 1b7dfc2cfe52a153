//! agentd as a part of the stack: its configuration and its start.

use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use agentos_client::Client;
use anyhow::{Context, Result};

use super::identity::Identity;
use super::part::Part;
use super::places::Places;

/// Starts agentd and waits until it answers.
///
/// # Errors
/// When it does not: with the end of its log.
pub(crate) async fn start(program: &Path, places: &Places, identity: Identity, chat: bool) -> Result<Part> {
    fs::write(places.agentd_configuration(), configuration(places, identity, chat)?)?;
    // agentd believes no configuration that others could write, whatever the umask here lets them.
    fs::set_permissions(places.agentd_configuration(), fs::Permissions::from_mode(0o600))?;
    let mut command = Command::new(program);
    command.arg("--config").arg(places.agentd_configuration());
    // agentd keeps what it was started as: the identity is the gateway's.
    let mut part =
        Part::start("agentd", command, &places.log("agentd"), Identity::Same, Duration::from_secs(10))?;
    let client = Client::new(places.operator_socket());
    part.wait_for(Duration::from_secs(20), async || client.health().await.ok()).await?;
    Ok(part)
}

/// The configuration: the agent's socket for the gateway's group, the operator's for whoever started this.
fn configuration(places: &Places, identity: Identity, chat: bool) -> Result<String> {
    let mut text = String::new();
    writeln!(text, "state_directory = {}", quoted(&places.agentd_state())?)?;
    writeln!(text, "[sockets]")?;
    let (agent_group, operator_group) = match identity {
        Identity::Separate(number) => (format!(", group = {number}"), ", group = 0"),
        Identity::Same => (String::new(), ""),
    };
    writeln!(text, "agent = {{ path = {}{agent_group}, mode = \"0660\" }}", quoted(&places.agent_socket())?)?;
    writeln!(
        text,
        "operator = {{ path = {}{operator_group}, mode = \"0660\" }}",
        quoted(&places.operator_socket())?
    )?;
    writeln!(text, "[ledger]")?;
    writeln!(text, "checkpoint_file = {}", quoted(&places.checkpoints())?)?;
    writeln!(text, "[approvals]\nchat = {chat}")?;
    writeln!(text, "[memory]")?;
    writeln!(text, "directory = {}", quoted(&places.memory())?)?;
    Ok(text)
}

/// A path as a basic string of TOML. A JSON string is one, for every character that a path can hold.
fn quoted(path: &Path) -> Result<String> {
    let text =
        path.to_str().with_context(|| format!("{} is not UTF-8; use another folder", path.display()))?;
    Ok(serde_json::to_string(text)?)
}
