//! Where a running stack keeps what: one folder, with each part's files readable only by whom they are for.

use std::fs::{self, File, TryLockError};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use agentos_setup::folder::{Folder, Owner};
use anyhow::{Context, Result, bail};

use super::identity::Identity;
use crate::project;
use crate::runtime::explained;

/// Longest path of a Unix socket, in bytes (unix(7): `sun_path` with its closing zero is 108).
const LONGEST_SOCKET_PATH: usize = 107;

/// The folders and files of one stack.
#[derive(Debug)]
pub(crate) struct Places {
    root: PathBuf,
    identity: Identity,
    _lock: File,
}

impl Places {
    /// Makes the folders below `root` and takes them for this process.
    ///
    /// # Errors
    /// When another stack runs in them, they cannot be made, or a path is too long for a socket.
    pub(crate) fn take(root: &Path) -> Result<Self> {
        project::make_folder(root)?;
        let root = fs::canonicalize(root).with_context(|| format!("cannot use {}", root.display()))?;
        let owner = fs::metadata(&root)?.uid();
        if owner != rustix::process::geteuid().as_raw() {
            bail!("{} belongs to user {owner}; name a folder of yours with --state", root.display());
        }
        let identity = Identity::choose(&root.join("gateway"))?;
        if matches!(identity, Identity::Separate(_)) {
            project::require_enterable(&root)?;
        }
        let lock =
            File::create(root.join("lock")).with_context(|| format!("cannot write in {}", root.display()))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                bail!(
                    "another AgentOS runs in {}; stop it, or name another folder with --state",
                    root.display()
                );
            }
            Err(TryLockError::Error(error)) => return Err(error).context("cannot lock the state folder"),
        }
        let places = Self { root, identity, _lock: lock };
        let socket = places.agent_socket();
        if socket.as_os_str().len() > LONGEST_SOCKET_PATH {
            bail!("{} is too long for a socket's path; name a shorter folder with --state", socket.display());
        }
        project::make_folder(&places.root.join("log"))?;
        project::make_folder(&places.root.join("sockets"))?;
        for folder in [
            places.gateway(),
            places.home(),
            places.gateway_state(),
            places.temporary(),
            places.gateway_log(),
        ] {
            places.make_own(&folder)?;
        }
        Ok(places)
    }

    /// Whom the gateway runs as.
    pub(crate) fn identity(&self) -> Identity {
        self.identity
    }

    /// agentd's socket for the agent.
    pub(crate) fn agent_socket(&self) -> PathBuf {
        self.root.join("sockets/agentd.sock")
    }

    /// agentd's socket for the operator.
    pub(crate) fn operator_socket(&self) -> PathBuf {
        self.root.join("sockets/operator.sock")
    }

    /// Where the gateway listens and its token, for whoever started the stack: as `agentctl chat` reads it.
    pub(crate) fn operator_access(&self) -> PathBuf {
        self.root.join("operator.json")
    }

    /// agentd's configuration.
    pub(crate) fn agentd_configuration(&self) -> PathBuf {
        self.root.join("agentd.toml")
    }

    /// agentd's state: ledger, key, index.
    pub(crate) fn agentd_state(&self) -> PathBuf {
        self.root.join("agentd")
    }

    /// The file outside of agentd's state that each signed checkpoint is appended to.
    pub(crate) fn checkpoints(&self) -> PathBuf {
        self.root.join("checkpoints")
    }

    /// The memory's markdown files.
    pub(crate) fn memory(&self) -> PathBuf {
        self.root.join("memory")
    }

    /// The plugin as the gateway loads it.
    pub(crate) fn plugin(&self) -> PathBuf {
        self.root.join("plugin").join(crate::plugin::ID)
    }

    /// Programs that run as the gateway's user.
    pub(crate) fn programs(&self) -> PathBuf {
        self.root.join("bin")
    }

    /// The log of the part `name`.
    pub(crate) fn log(&self, name: &str) -> PathBuf {
        self.root.join("log").join(format!("{name}.log"))
    }

    /// The folder of all that is the gateway's.
    pub(crate) fn gateway(&self) -> PathBuf {
        self.root.join("gateway")
    }

    /// The gateway's home.
    pub(crate) fn home(&self) -> PathBuf {
        self.gateway().join("home")
    }

    /// OpenClaw's state: conversations, databases.
    pub(crate) fn gateway_state(&self) -> PathBuf {
        self.gateway().join("state")
    }

    /// OpenClaw's configuration: in a folder that is not the gateway's.
    pub(crate) fn gateway_configuration(&self) -> PathBuf {
        self.root.join("configuration/openclaw.json")
    }

    /// The gateway's folder for temporary files; Node.js keeps compiled code there.
    pub(crate) fn temporary(&self) -> PathBuf {
        self.gateway().join("tmp")
    }

    /// The agent's workspace.
    pub(crate) fn workspace(&self) -> PathBuf {
        self.gateway().join(agentos_setup::workspace::NAME)
    }

    /// The folder of OpenClaw's own log.
    pub(crate) fn gateway_log(&self) -> PathBuf {
        self.root.join("log/openclaw")
    }

    /// The folder with all logs.
    pub(crate) fn logs(&self) -> PathBuf {
        self.root.join("log")
    }

    /// Makes a folder of the gateway's user that nobody else can enter.
    fn make_own(&self, folder: &Path) -> Result<()> {
        let (Some(parent), Some(name)) = (folder.parent(), folder.file_name().and_then(|name| name.to_str()))
        else {
            bail!("{} is no path of a folder", folder.display());
        };
        let owner = self.identity.owner().unwrap_or_else(Owner::caller);
        Folder::open(parent).and_then(|parent| parent.make_folder(name, owner, 0o700)).map_err(explained)?;
        Ok(())
    }
}
