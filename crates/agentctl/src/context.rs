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

/// The agent's socket if this user may write to it and not to the operator's; else the operator's, which is what an
/// error should name to a person who may use neither.
fn default_socket() -> PathBuf {
    let may_use = |socket| accessat(CWD, socket, Access::WRITE_OK, AtFlags::EACCESS).is_ok();
    let agent = !may_use(OPERATOR_SOCKET) && may_use(AGENT_SOCKET);
    PathBuf::from(if agent { AGENT_SOCKET } else { OPERATOR_SOCKET })
}
