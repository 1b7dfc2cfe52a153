//! Who is connected to whom.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Query;
use super::listeners::Owner;
use crate::Bounded;

/// Connections of this machine.
pub struct Connections;

/// Which connections.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Args {
    /// Only connections of this protocol. Left out: both.
    pub protocol: Option<Protocol>,
    /// Only connections in this state.
    pub state: Option<State>,
    /// Only connections with this port at either end.
    pub port: Option<Bounded<1, 65_535, 1>>,
    /// Only connections with this address at either end.
    pub address: Option<String>,
    /// Only connections whose process or unit has this text in its name (case is ignored).
    pub text: Option<String>,
    /// Leave out connections from this machine to itself.
    pub remote_only: bool,
    /// Rows to pass over: `next_offset` of the answer before.
    pub offset: Bounded<0, 1_000_000, 0>,
    /// Rows at most.
    pub limit: Bounded<1, 1000, 100>,
}

/// The protocol of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// TCP over IPv4 or IPv6.
    Tcp,
    /// UDP over IPv4 or IPv6.
    Udp,
}

/// The state of a connection (RFC 9293); UDP knows `established` only.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Open.
    Established,
    /// Being opened from here.
    SynSent,
    /// Being opened from there.
    SynReceived,
    /// Closed here, not yet acknowledged.
    FinWait1,
    /// Closed here and acknowledged; the other end has not closed.
    FinWait2,
    /// Closed; waits for stray packets.
    TimeWait,
    /// The other end closed, this one has not: many of these point at a program that forgets to.
    CloseWait,
    /// Both ends closed, the last acknowledgement is missing.
    LastAck,
    /// Both ends closed at once.
    Closing,
}

/// One page of connections.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Output {
    /// The rows of this page.
    pub connections: Vec<Connection>,
    /// Connections that match, on all pages.
    pub total: u64,
    /// How many of those there are in each state.
    pub states: BTreeMap<State, u64>,
    /// The `offset` of the next page; missing on the last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_offset: Option<u64>,
    /// Every process could be looked at. When not (agentd is not root, or there are too many), a connection without
    /// processes may have some.
    pub all_processes_seen: bool,
    /// The kernel held more sockets than are read for one question; `total` counts those that were.
    pub incomplete: bool,
}

/// One connection.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Connection {
    /// The protocol.
    pub protocol: Protocol,
    /// The state.
    pub state: State,
    /// Who opened it: `inbound` when something here listens on the local port.
    pub direction: Direction,
    /// This end.
    pub local_address: String,
    /// This end.
    pub local_port: u16,
    /// The other end.
    pub remote_address: String,
    /// The other end.
    pub remote_port: u16,
    /// Received and not yet read by the program.
    pub receive_queue_bytes: u64,
    /// Written by the program and not yet acknowledged.
    pub send_queue_bytes: u64,
    /// The user that made it; missing for a connection that no process holds any more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uid: Option<u32>,
    /// The processes that hold it.
    pub processes: Vec<Owner>,
}

/// Who opened a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Direction {
    /// The other end.
    Inbound,
    /// This end.
    Outbound,
}

impl Query for Connections {
    const NAME: &'static str = "connections";
    const SUMMARY: &'static str = "TCP and UDP connections: both ends, state, process and unit";
    type Args = Args;
    type Output = Output;
}
