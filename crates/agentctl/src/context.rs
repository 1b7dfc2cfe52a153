//! What every command works with: where agentd is, and where the words go.

use std::path::PathBuf;
use std::time::Duration;

use agentos_client::{ActorDetail, Client, ClientOptions};
use rustix::fs::{Access, AtFlags, CWD, accessat};

use crate::cli::Global;
use crate::output::Output;

/// The person's socket: only here can an approval be given.
const OPERATOR_SOCKET: &str = "/run/agentos/operator.sock";
/// The agent's socket.
const AGENT_SOCKET: &str = "/run/agentos/agentd.sock";

pub(crate) struct Context {
    pub(crate) output: Output,
    socket: Option<PathBuf>,
    timeout: Duration,
}

impl Context {
    pub(crate) fn new(global: &Global) -> Self {
        Self {
            output: Output::new(global.json, global.color),
            socket: global.socket.clone(),
            timeout: Duration::from_secs(global.timeout),
        }
    }

    /// A client of the agentd that was named, or of the one this user may use.
    pub(crate) fn client(&self) -> Client {
        let mut options = ClientOptions::new(self.socket.clone().unwrap_or_else(default_socket));
        options.request_timeout = self.timeout;
        options.actor = ActorDetail::new("agentctl").ok();
        Client::with_options(options)
    }
}

/// The operator's socket if this user may write to it, else the agent's.
fn default_socket() -> PathBuf {
    let operator = accessat(CWD, OPERATOR_SOCKET, Access::WRITE_OK, AtFlags::EACCESS).is_ok();
    PathBuf::from(if operator { OPERATOR_SOCKET } else { AGENT_SOCKET })
}
