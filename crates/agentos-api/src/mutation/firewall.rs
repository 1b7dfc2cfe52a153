//! Changes of the packet filter: rules in a table of AgentOS' own (`inet agentos`).

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

mutation! {
    /// An address that is not listened to.
    Block(BlockArgs) = "firewall.block", "Drops all that comes from an address or network; `remove` takes such a block away"
}
mutation! {
    /// A port that is shut.
    Close(PortArgs) = "firewall.close", "Drops new connections to a port, or to all ports that are not opened"
}
mutation! {
    /// A port that is let through.
    Open(PortArgs) = "firewall.open", "Takes away the rule of AgentOS that closes a port, or lets a port through where all are closed"
}

/// What is matched.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Protocol {
    /// TCP.
    #[default]
    Tcp,
    /// UDP.
    Udp,
}

/// For which family of addresses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Family {
    /// IPv4 and IPv6.
    #[default]
    Inet,
    /// IPv4.
    Ip,
    /// IPv6.
    Ip6,
}

/// Arguments of `firewall.open` and `firewall.close`.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PortArgs {
    /// The port `443`, a range `8000-8010`, or `all`: for `firewall.close`, every port and protocol that is not opened.
    pub ports: String,
    /// The protocol; not with `all`.
    #[serde(default)]
    pub protocol: Protocol,
    /// IPv4, IPv6 or both. A source decides by itself.
    #[serde(default)]
    pub family: Family,
    /// Only what comes from this address or network: `10.0.0.0/8`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// Also after the next start of the machine.
    #[serde(default)]
    pub persist: bool,
}

/// Arguments of `firewall.block`.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BlockArgs {
    /// The address or network: `192.0.2.7`, `2001:db8::/32`.
    pub source: String,
    /// Take the block away.
    #[serde(default)]
    pub remove: bool,
    /// Also after the next start of the machine.
    #[serde(default)]
    pub persist: bool,
}
