//! How the machine is connected: interfaces, addresses, routes, name servers.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Query;
use crate::Bounded;

/// The network as the kernel has it.
pub struct Network;

/// How much of it.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Args {
    /// Only this interface and its routes.
    pub interface: Option<String>,
    /// Also the kernel's own routes (local, broadcast, multicast) and those of other tables than the main one.
    pub all_routes: bool,
    /// Interfaces at most.
    pub interfaces_limit: Bounded<1, 1000, 100>,
    /// Routes at most.
    pub routes_limit: Bounded<0, 1000, 100>,
}

/// The network of this machine.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Output {
    /// The machine's name.
    pub hostname: String,
    /// The interfaces, in the kernel's order.
    pub interfaces: Vec<Interface>,
    /// Interfaces that match, shown or not.
    pub interfaces_total: u64,
    /// The routes: default routes first.
    pub routes: Vec<Route>,
    /// Routes that match, shown or not.
    pub routes_total: u64,
    /// How names are looked up.
    pub dns: Dns,
}

/// One interface.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Interface {
    /// Its name.
    pub name: String,
    /// The kernel's number for it.
    pub index: u32,
    /// What it is: `loopback`, `ethernet`, or the kernel's name of a virtual one (`bridge`, `veth`, `wireguard`, `vlan` …).
    pub kind: String,
    /// It is switched on (`IFF_UP`).
    pub up: bool,
    /// Its operational state (RFC 2863): `up`, `down`, `lower-layer-down`, `dormant`, `testing`, `not-present`, `unknown`.
    pub state: String,
    /// Its hardware address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hardware_address: Option<String>,
    /// The largest packet it carries.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mtu_bytes: Option<u32>,
    /// The bridge, bond or other interface it is part of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub master: Option<String>,
    /// Its addresses.
    pub addresses: Vec<Address>,
    /// What went through it since it exists.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub counters: Option<Counters>,
}

/// One address of an interface.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Address {
    /// The address.
    pub address: String,
    /// Bits of the address that name the network.
    pub prefix_length: u8,
    /// Where it means something: `global`, `link`, `host`, `site`.
    pub scope: String,
    /// The other end, on a point-to-point link.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peer: Option<String>,
    /// It was handed out (DHCP, router advertisement) and expires in so many seconds; missing for one that stays.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub valid_seconds: Option<u32>,
    /// What the kernel says of it: `temporary`, `tentative`, `deprecated`, `dadfailed` …
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub flags: Vec<String>,
}

/// Counters of an interface.
#[derive(Clone, Copy, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Counters {
    /// Received.
    pub received_bytes: u64,
    /// Sent.
    pub sent_bytes: u64,
    /// Received.
    pub received_packets: u64,
    /// Sent.
    pub sent_packets: u64,
    /// Bad packets received.
    pub receive_errors: u64,
    /// Packets that could not be sent.
    pub send_errors: u64,
    /// Received and dropped for want of space or use.
    pub receive_dropped: u64,
    /// Dropped instead of sent.
    pub send_dropped: u64,
}

/// One route.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Route {
    /// Where it leads: `default`, or a network as `10.0.0.0/8`.
    pub destination: String,
    /// `ipv4` or `ipv6`.
    pub family: String,
    /// The next router; missing for a network on the link itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gateway: Option<String>,
    /// Through which interface.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interface: Option<String>,
    /// Next hops, for a route over several: `gateway dev interface`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub next_hops: Vec<String>,
    /// The address packets leave with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// The lower wins.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metric: Option<u32>,
    /// Who made it: `kernel`, `boot`, `static`, `dhcp`, `ra` …
    pub protocol: String,
    /// What happens to a packet: `unicast`, `local`, `broadcast`, `blackhole`, `unreachable`, `prohibit` …
    pub kind: String,
    /// The table it is in: `main`, `local`, `default` or a number.
    pub table: String,
}

/// How names are looked up.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct Dns {
    /// Name servers of `/etc/resolv.conf` (resolv.conf(5)).
    pub servers: Vec<String>,
    /// Domains tried for a short name.
    pub search: Vec<String>,
    /// Options of `/etc/resolv.conf`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub options: Vec<String>,
    /// What systemd-resolved asks, where it runs: the servers behind `127.0.0.53`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resolved: Option<Resolved>,
}

/// The state of systemd-resolved.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct Resolved {
    /// The name servers it uses, each with the interface it belongs to.
    pub servers: Vec<ResolvedServer>,
    /// The domains it knows, each with the interface it belongs to.
    pub domains: Vec<ResolvedDomain>,
}

/// A name server of systemd-resolved.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ResolvedServer {
    /// Its address.
    pub address: String,
    /// The interface; missing for one that is used for all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interface: Option<String>,
}

/// A domain of systemd-resolved.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ResolvedDomain {
    /// The domain.
    pub domain: String,
    /// Only lookups below it go to these servers; it is not tried for short names.
    pub route_only: bool,
    /// The interface; missing for one that is used for all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interface: Option<String>,
}

impl Query for Network {
    const NAME: &'static str = "network";
    const SUMMARY: &'static str = "Interfaces with addresses and counters, routes, name servers";
    type Args = Args;
    type Output = Output;
}
