//! OpenClaw's gateway as a part of the stack: its configuration, its environment, its start.

use std::fs::File;
use std::io::Read as _;
use std::net::{Ipv4Addr, SocketAddr};
use std::process::Command;
use std::time::Duration;

use agentos_client::gateway::ready;
use anyhow::{Context, Result};
use serde_json::{Value, json};

use super::identity::Identity;
use super::model::Model;
use super::part::Part;
use super::places::Places;
use super::workspace;
use crate::runtime::Runtime;
use crate::{plugin, project};

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
    let token = token()?;
    let configuration = serde_json::to_vec_pretty(&configuration(places, model, port, &token)?)?;
    places.write_own(&places.gateway_configuration(), &configuration, 0o600)?;
    let mut command = command(runtime, places);
    command.args(["gateway", "run"]);
    if let Some((variable, key)) = &model.key {
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
        .env("HOME", places.home())
        .env("TMPDIR", places.temporary())
        .env("OPENCLAW_STATE_DIR", places.gateway_state())
        .env("OPENCLAW_CONFIG_PATH", places.gateway_configuration())
        // The project pins the version; the gateway neither looks for another nor starts itself anew.
        .env("OPENCLAW_SKIP_UPDATE_CHECK", "1")
        .env("OPENCLAW_NO_RESPAWN", "1")
        .env("OPENCLAW_SKIP_CHANNELS", "1")
        .env("OPENCLAW_DISABLE_BONJOUR", "1");
    for name in PASSED_ON {
        if let Some(value) = std::env::var_os(name) {
            command.env(name, value);
        }
    }
    command
}

/// What OpenClaw is told: agentd's tools are the agent's only way to the machine, and everything stays on loopback.
fn configuration(places: &Places, model: &Model, port: u16, token: &str) -> Result<Value> {
    let mut allowed = vec![plugin::ID];
    let mut providers = serde_json::Map::new();
    match &model.definition {
        Some(definition) => {
            providers.insert(model.provider.clone(), definition.clone());
        }
        // A provider that OpenClaw knows is a plugin of its own.
        None => allowed.push(&model.provider),
    }
    Ok(json!({
        "gateway": {
            "mode": "local",
            "port": port,
            "bind": "loopback",
            "auth": { "mode": "token", "token": token },
            "controlUi": { "enabled": false },
            "http": { "endpoints": { "chatCompletions": { "enabled": true } } },
        },
        "agents": { "defaults": {
            "workspace": places.workspace(),
            "skipBootstrap": true,
            "model": { "primary": model.reference() },
            // Nobody is reached by a heartbeat of a terminal's session; the text is there for who turns them on.
            "heartbeat": { "every": "0m", "prompt": workspace::heartbeat()? },
        } },
        "models": { "mode": "merge", "providers": providers },
        "plugins": {
            "allow": allowed,
            "load": { "paths": [places.plugin()] },
            // What is remembered is agentd's to keep.
            "slots": { "memory": "none" },
            "entries": { plugin::ID: {
                "enabled": true,
                "config": { "socketPath": places.agent_socket() },
            } },
        },
        "skills": { "allowBundled": [] },
        "tools": {
            "profile": "minimal",
            // `read`, confined to the workspace, is how a skill is read.
            "alsoAllow": [plugin::ID, "read"],
            "deny": ["group:runtime", "write", "edit", "apply_patch", "group:web", "gateway"],
            "fs": { "workspaceOnly": true },
            "elevated": { "enabled": false },
            // It would hide the plugin's tools behind a search.
            "toolSearch": false,
        },
        "update": { "checkOnStart": false },
        "telemetry": { "enabled": false },
        "logging": { "file": places.gateway_log().join("openclaw.log") },
    }))
}

/// 256 random bits in hexadecimal digits, new for each start.
fn token() -> Result<String> {
    let mut bytes = [0_u8; 32];
    File::open("/dev/urandom")
        .and_then(|mut file| file.read_exact(&mut bytes))
        .context("cannot read /dev/urandom")?;
    Ok(project::hexadecimal(&bytes))
}
