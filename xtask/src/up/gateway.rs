//! OpenClaw's gateway as a part of the stack: its configuration, its environment, its start.

use std::net::{Ipv4Addr, SocketAddr};
use std::process::Command;
use std::time::Duration;

use agentos_client::gateway::ready;
use agentos_setup::folder::{Folder, Owner};
use agentos_setup::gateway::{TOKEN, variables};
use agentos_setup::model::Model;
use agentos_setup::system::new_token;
use agentos_setup::workspace::{self, Texts};
use anyhow::{Result, bail};

use super::identity::Identity;
use super::part::Part;
use super::places::Places;
use crate::command::root;
use crate::runtime::{Runtime, explained};

/// How long a gateway may take to start. Half a minute of CPU time is usual; a busy machine needs a multiple.
const START: Duration = Duration::from_mins(5);

/// Variables of the caller that the gateway needs to reach a provider through a proxy.
const PASSED_ON: [&str; 7] =
    ["HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy", "NO_PROXY", "no_proxy", "NODE_EXTRA_CA_CERTS"];

/// A running gateway.
#[derive(Debug)]
pub(crate) struct Gateway {
    pub(crate) part: Part,
    /// Where it listens.
    pub(crate) address: SocketAddr,
    /// What a caller has to know.
    pub(crate) token: String,
}

/// Starts the gateway on that port and waits until it is ready for a turn.
///
/// # Errors
/// When it does not start: with the end of its log.
pub(crate) async fn start(
    runtime: &Runtime,
    places: &Places,
    identity: Identity,
    model: &Model,
    port: u16,
) -> Result<Gateway> {
    let token = new_token().map_err(explained)?;
    configure(places, model, port)?;
    let mut command = command(runtime, places);
    command.args(["gateway", "run"]).env(TOKEN, &token);
    if let Some(variable) = model.key
        && let Some(key) = std::env::var_os(variable)
    {
        command.env(variable, key);
    }
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let mut process =
        Part::start("the gateway", command, &places.log("gateway"), identity, Duration::from_secs(15))?;
    process
        .wait_for(START, async || {
            // Asking more often would take CPU time from the start itself.
            tokio::time::sleep(Duration::from_millis(200)).await;
            ready(address).await.then_some(())
        })
        .await?;
    Ok(Gateway { part: process, address, token })
}

/// OpenClaw's command line in the stack's own environment: nothing of the caller's home or variables is in it.
pub(crate) fn command(runtime: &Runtime, places: &Places) -> Command {
    let mut command = Command::new(runtime.node());
    command
        .arg(runtime.openclaw())
        .current_dir(places.workspace())
        .env_clear()
        .env("PATH", format!("{}:/usr/bin:/bin:/run/current-system/sw/bin", runtime.node_folder().display()))
        .env("LANG", "C.UTF-8")
        .env("TMPDIR", places.temporary())
        .envs(variables(&places.gateway_configuration(), &places.home(), &places.gateway_state()));
    for name in PASSED_ON {
        if let Some(value) = std::env::var_os(name) {
            command.env(name, value);
        }
    }
    command
}

/// What OpenClaw is told, in a file that it can read and not change.
fn configure(places: &Places, model: &Model, port: u16) -> Result<()> {
    let heartbeat = texts().heartbeat().map_err(explained)?;
    let gateway = agentos_setup::gateway::Gateway {
        port,
        model,
        workspace: &places.workspace(),
        plugin: &places.plugin(),
        agent_socket: &places.agent_socket(),
        log: &places.gateway_log().join("openclaw.log"),
        heartbeat: &heartbeat,
    };
    let content = serde_json::to_vec_pretty(&gateway.configuration())?;
    let owner = match places.identity().owner() {
        Some(gateway) => Owner { gid: gateway.gid, ..Owner::caller() },
        None => Owner::caller(),
    };
    let path = places.gateway_configuration();
    let (Some(folder), Some(name)) = (path.parent(), path.file_name().and_then(|name| name.to_str())) else {
        bail!("{} is no path of a file", path.display());
    };
    Folder::make(folder).and_then(|folder| folder.write(name, &content, owner, 0o640)).map_err(explained)?;
    Ok(())
}

/// Where the texts are that the agent is told.
fn texts() -> Texts {
    Texts { templates: root().join("templates"), skills: root().join("skills") }
}

/// Fills the agent's workspace.
///
/// # Errors
/// When a text is missing or too long, or a file cannot be written.
pub(crate) fn fill_workspace(places: &Places) -> Result<()> {
    let parent = Folder::open(&places.gateway()).map_err(explained)?;
    workspace::fill(&parent, &texts(), places.identity().owner()).map_err(explained)?;
    Ok(())
}
