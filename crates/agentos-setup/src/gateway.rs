//! What OpenClaw's gateway is told: agentd's tools are the agent's only way to the machine, and everything stays on
//! loopback. No secret stands in its configuration: the token and the model's key reach it through its environment.

use std::path::Path;

use serde_json::{Value, json};

use crate::model::Model;

/// The plugin's id.
pub const PLUGIN: &str = "agentos-bridge";

/// The variable that tells the gateway the token that its callers must have.
pub const TOKEN: &str = "OPENCLAW_GATEWAY_TOKEN";

/// What the configuration is made of.
#[derive(Clone, Copy, Debug)]
pub struct Gateway<'a> {
    /// Its port on 127.0.0.1.
    pub port: u16,
    /// The model.
    pub model: &'a Model,
    /// The agent's workspace.
    pub workspace: &'a Path,
    /// The plugin's folder.
    pub plugin: &'a Path,
    /// agentd's socket for the agent.
    pub agent_socket: &'a Path,
    /// The file of OpenClaw's own log.
    pub log: &'a Path,
    /// What a heartbeat asks.
    pub heartbeat: &'a str,
}

impl Gateway<'_> {
    /// The content of `openclaw.json`.
    pub fn configuration(&self) -> Value {
        let mut allowed = vec![PLUGIN];
        let mut providers = serde_json::Map::new();
        match &self.model.definition {
            Some(definition) => {
                providers.insert(self.model.provider.clone(), definition.clone());
            }
            // A provider that OpenClaw knows is a plugin of its own.
            None => allowed.push(&self.model.provider),
        }
        json!({
            "gateway": {
                "mode": "local",
                "port": self.port,
                "bind": "loopback",
                "auth": { "mode": "token" },
                "controlUi": { "enabled": false },
                "http": { "endpoints": { "chatCompletions": { "enabled": true } } },
            },
            "agents": { "defaults": {
                "workspace": self.workspace,
                "skipBootstrap": true,
                "model": { "primary": self.model.reference() },
                // Nobody is reached by a heartbeat of a terminal's session; the text is there for who turns them on.
                "heartbeat": { "every": "0m", "prompt": self.heartbeat },
            } },
            "models": { "mode": "merge", "providers": providers },
            "plugins": {
                "allow": allowed,
                "load": { "paths": [self.plugin] },
                // What is remembered is agentd's to keep.
                "slots": { "memory": "none" },
                "entries": { PLUGIN: {
                    "enabled": true,
                    "config": { "socketPath": self.agent_socket },
                } },
            },
            "skills": { "allowBundled": [] },
            "tools": {
                "profile": "minimal",
                // `read`, confined to the workspace, is how a skill is read.
                "alsoAllow": [PLUGIN, "read"],
                "deny": ["group:runtime", "write", "edit", "apply_patch", "group:web", "gateway"],
                "fs": { "workspaceOnly": true },
                "elevated": { "enabled": false },
                // It would hide the plugin's tools behind a search.
                "toolSearch": false,
            },
            "update": { "checkOnStart": false },
            "telemetry": { "enabled": false },
            // OpenClaw keeps five older files beside it.
            "logging": { "file": self.log, "maxFileBytes": 16 << 20 },
        })
    }
}

/// Variables that every gateway of ours gets, besides [`TOKEN`] and the model's key.
pub fn variables<'a>(
    configuration: &'a Path,
    home: &'a Path,
    state: &'a Path,
) -> [(&'static str, &'a Path); 8] {
    let set = Path::new("1");
    [
        ("HOME", home),
        ("OPENCLAW_STATE_DIR", state),
        ("OPENCLAW_CONFIG_PATH", configuration),
        // The configuration belongs to root. Without this the gateway tries to keep a copy beside it.
        ("OPENCLAW_CONFIG_READONLY", set),
        // The project pins the version; the gateway neither looks for another nor starts itself anew.
        ("OPENCLAW_SKIP_UPDATE_CHECK", set),
        ("OPENCLAW_NO_RESPAWN", set),
        ("OPENCLAW_SKIP_CHANNELS", set),
        ("OPENCLAW_DISABLE_BONJOUR", set),
    ]
}
