//! What waits for others to connect: sockets, the processes behind them, and their units.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Query;
use crate::Bounded;

/// Listening sockets.
pub struct Listeners;

/// Which sockets.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Args {
    /// Only sockets of this protocol. Left out: TCP and UDP.
    pub protocol: Option<Protocol>,
    /// Only sockets on this port.
    pub port: Option<Bounded<1, 65_535, 1>>,
    /// Only sockets whose process or unit has this text in its name (case is ignored).
    pub text: Option<String>,
    /// Rows to pass over: `next_offset` of the answer before.
    pub offset: Bounded<0, 100_000, 0>,
    /// Rows at most.
    pub limit: Bounded<1, 1000, 200>,
}

/// The protocol of a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// TCP over IPv4 or IPv6.
    Tcp,
    /// UDP over IPv4 or IPv6.
    Udp,
    /// A socket of this machine only (unix(7)).
    Unix,
}

/// One page of listeners, by protocol and port.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Output {
    /// The rows of this page.
    pub listeners: Vec<Listener>,
    /// Listeners that match, on all pages.
    pub total: u64,
    /// The `offset` of the next page; missing on the last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_offset: Option<u64>,
    /// Every process could be looked at. When not (agentd is not root, or there are too many), a listener without
    /// processes may have some.
    pub all_processes_seen: bool,
}

/// One listening address.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Listener {
    /// The protocol.
    pub protocol: Protocol,
    /// The local address (`0.0.0.0` and `::` are all of them), or the path of a Unix socket (`@` begins an abstract one).
    pub address: String,
    /// The port; missing for a Unix socket.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// From where it can be reached, as far as its address says; a firewall may say otherwise.
    pub reach: Reach,
    /// Sockets that share this address.
    pub sockets: u32,
    /// Connections that wait to be accepted, or bytes that wait to be read for UDP.
    pub queued: u64,
    /// The user that made it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uid: Option<u32>,
    /// The processes that hold it.
    pub processes: Vec<Owner>,
}

/// From where a socket can be reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Reach {
    /// From this machine only.
    ThisMachine,
    /// At one of the machine's addresses.
    OneAddress,
    /// At every address of the machine.
    EveryAddress,
}

/// A process that holds a socket.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub struct Owner {
    /// The process.
    pub pid: u32,
    /// Its name.
    pub name: String,
    /// The systemd unit it belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unit: Option<String>,
}

impl Query for Listeners {
    const NAME: &'static str = "listeners";
    const SUMMARY: &'static str = "Open ports: address, process and unit of each listening socket";
    type Args = Args;
    type Output = Output;
}
