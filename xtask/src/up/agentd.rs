//! agentd as a part of the stack: its configuration, its start, and what the ledger says through it.

use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use agentos_api::event::{Event, EventFilter, Order};
use agentos_client::Client;
use anyhow::{Context, Result};

use super::identity::Identity;
use super::part::Part;
use super::places::Places;

/// Most pages of events that are read after a turn.
const MOST_PAGES: usize = 20;

/// Starts agentd and waits until it answers.
///
/// # Errors
/// When it does not: with the end of its log.
pub(crate) async fn start(program: &Path, places: &Places, identity: Identity) -> Result<Part> {
    fs::write(places.agentd_configuration(), configuration(places, identity)?)?;
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
fn configuration(places: &Places, identity: Identity) -> Result<String> {
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

/// The id of the newest event; 0 in an empty ledger.
///
/// # Errors
/// When agentd does not answer.
pub(crate) async fn newest_event(client: &Client) -> Result<u64> {
    let filter = EventFilter { order: Some(Order::Newest), limit: limit(1)?, ..EventFilter::default() };
    let page = client.events_page(&filter).await.map_err(explained)?;
    Ok(page.events.first().map_or(0, |event| event.id))
}

/// The events after `after`, oldest first.
///
/// # Errors
/// When agentd does not answer.
pub(crate) async fn events_after(client: &Client, after: u64) -> Result<Vec<Event>> {
    let mut filter = EventFilter { after: Some(after), limit: limit(1000)?, ..EventFilter::default() };
    let mut events = Vec::new();
    for _ in 0..MOST_PAGES {
        let page = client.events_page(&filter).await.map_err(explained)?;
        events.extend(page.events);
        match page.next {
            Some(next) => filter.after = Some(next),
            None => break,
        }
    }
    Ok(events)
}

fn limit(count: u64) -> Result<agentos_api::event::PageLimit> {
    Ok(serde_json::from_value(count.into())?)
}

fn explained(error: agentos_client::ClientError) -> anyhow::Error {
    match error.hint() {
        Some(hint) => anyhow::Error::new(error).context(hint),
        None => error.into(),
    }
}
