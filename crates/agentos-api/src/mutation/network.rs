//! Changes of interfaces, addresses, routes and name servers.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

mutation! {
    /// An address of an interface.
    Address(AddressArgs) = "network.address", "Adds an address to an interface or takes one away"
}
mutation! {
    /// Who resolves names.
    Dns(DnsArgs) = "network.dns", "Sets the name servers: in resolv.conf, or those of an interface with systemd-resolved"
}
mutation! {
    /// An interface up or down.
    Link(LinkArgs) = "network.link", "Sets an interface up or down"
}
mutation! {
    /// A route.
    Route(RouteArgs) = "network.route", "Adds a route or takes one away"
}

/// Adding, or taking away.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// It shall be there.
    Add,
    /// It shall not be there.
    Remove,
}

/// Up or down.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum LinkState {
    /// It takes part.
    Up,
    /// It does not.
    Down,
}

/// Arguments of `network.link`.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LinkArgs {
    /// The interface: `eth0`.
    pub interface: String,
    /// Up or down.
    pub state: LinkState,
}

/// Arguments of `network.address`.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AddressArgs {
    /// The interface: `eth0`.
    pub interface: String,
    /// Add or remove.
    pub action: Action,
    /// The address with the length of its prefix: `192.0.2.7/24`.
    pub address: String,
    /// Also after the next start of the machine. Only where systemd-networkd has a file for the interface, and only for `add`.
    #[serde(default)]
    pub persist: bool,
}

/// Arguments of `network.route`.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RouteArgs {
    /// Add or remove.
    pub action: Action,
    /// The destination: `192.0.2.0/24`, or `0.0.0.0/0` and `::/0` for all that has no other route.
    pub destination: String,
    /// The gateway.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gateway: Option<String>,
    /// The interface. It may be left out where there is a gateway.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interface: Option<String>,
    /// The metric: of two routes to one destination the smaller one is used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metric: Option<u32>,
    /// Also after the next start of the machine. Only where systemd-networkd has a file for the interface, and only for `add`.
    #[serde(default)]
    pub persist: bool,
}

/// Arguments of `network.dns`.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DnsArgs {
    /// The addresses of the name servers, the preferred one first.
    #[schemars(length(max = 8))]
    pub servers: Vec<String>,
    /// The domains that are tried for short names. Left out, they stay.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 16))]
    pub search: Option<Vec<String>>,
    /// The interface whose servers these are: needed with systemd-resolved, without meaning for resolv.conf.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interface: Option<String>,
    /// With systemd-resolved: also after the next start of the machine. Only where systemd-networkd has a file for the
    /// interface. What stands in resolv.conf stays by itself.
    #[serde(default)]
    pub persist: bool,
}
