//! Where everything is on an installed system.

use std::path::{Path, PathBuf};

/// The paths, all below one root.
#[derive(Clone, Debug)]
pub struct Layout {
    root: PathBuf,
}

impl Layout {
    /// The paths below `root`, which is `/` except in tests.
    pub fn below(root: &Path) -> Self {
        Self { root: root.to_owned() }
    }

    /// Whether it is the system that runs.
    pub fn is_this_system(&self) -> bool {
        self.root == Path::new("/")
    }

    fn at(&self, path: &str) -> PathBuf {
        self.root.join(path)
    }

    /// The file `name` of `/etc`.
    pub fn etc(&self, name: &str) -> PathBuf {
        self.at("etc").join(name)
    }

    /// The gateway's configuration as the administrator writes it.
    pub fn configuration(&self) -> PathBuf {
        self.at("etc/agentos/gateway.toml")
    }

    /// The folder of the file with the model's key.
    pub fn keys(&self) -> PathBuf {
        self.at("etc/agentos")
    }

    /// `package.json` and the lock file of what the gateway runs on.
    pub fn pinned(&self) -> PathBuf {
        self.at("usr/share/agentos/runtime")
    }

    /// The plugin.
    pub fn plugin(&self) -> PathBuf {
        self.at("usr/share/agentos/plugins/agentos-bridge")
    }

    /// The texts that the agent is told.
    pub fn templates(&self) -> PathBuf {
        self.at("usr/share/agentos/templates")
    }

    /// The agent's skills.
    pub fn skills(&self) -> PathBuf {
        self.at("usr/share/agentos/skills")
    }

    /// The folder of installed runtimes.
    pub fn runtimes(&self) -> PathBuf {
        self.at("var/lib/agentos-runtime")
    }

    /// What was downloaded, laid out as a registry.
    pub fn downloads(&self) -> PathBuf {
        self.at("var/cache/agentos-setup/npm")
    }

    /// What the gateway is told, written by set-up.
    pub fn gateway(&self) -> PathBuf {
        self.at("var/lib/agentos-gateway")
    }

    /// The folder that the gateway's own is in.
    pub fn state_parent(&self) -> PathBuf {
        self.at("var/lib")
    }

    /// The gateway's own folder.
    pub fn state(&self) -> PathBuf {
        self.at("var/lib/openclaw")
    }

    /// agentd's socket for the agent.
    pub fn agent_socket(&self) -> PathBuf {
        self.at("run/agentos/agentd.sock")
    }
}
