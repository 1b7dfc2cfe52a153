//! What systemd-resolved asks over one interface (org.freedesktop.resolve1(5), org.freedesktop.network1(5)).

use std::net::IpAddr;

use serde::{Deserialize, Serialize};
use zbus::{OwnedObjectPath, Variant};

use super::netlink;
use crate::QueryError;
use crate::bus::{BusError, Peer, Properties, text};
use crate::machine::Machine;
use crate::procfs;

const RESOLVED: (&str, &str, &str) =
    ("org.freedesktop.resolve1", "/org/freedesktop/resolve1", "org.freedesktop.resolve1.Manager");
const NETWORKD: (&str, &str, &str) =
    ("org.freedesktop.network1", "/org/freedesktop/network1", "org.freedesktop.network1.Manager");
const LINK: &str = "org.freedesktop.resolve1.Link";
const HINT: &str = "Look at `systemctl status systemd-resolved` and `resolvectl status`.";
/// Entries of one list.
const MAX_ENTRIES: usize = 256;

/// A name server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Server {
    pub(crate) address: IpAddr,
    /// 0 is the usual one.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub(crate) port: u16,
    /// The name in its certificate, for DNS over TLS.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(crate) name: String,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde gives a reference")]
const fn is_zero(port: &u16) -> bool {
    *port == 0
}

/// The servers and domains of an interface.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct LinkNames {
    pub(crate) servers: Vec<Server>,
    /// Each domain, and whether it only says which names are asked for there.
    pub(crate) domains: Vec<(String, bool)>,
}

impl LinkNames {
    /// In words: `192.0.2.1, 2001:db8::1; example.org`.
    pub(crate) fn text(&self) -> String {
        let mut servers: Vec<String> = Vec::new();
        for Server { address, port, name } in &self.servers {
            let port = if *port == 0 { String::new() } else { format!(" port {port}") };
            let name = if name.is_empty() { String::new() } else { format!(" as {name}") };
            servers.push(format!("{address}{port}{name}"));
        }
        let mut text = if servers.is_empty() { "no servers".to_owned() } else { servers.join(", ") };
        let written = |(domain, route_only): &(String, bool)| {
            if *route_only { format!("~{domain}") } else { domain.clone() }
        };
        let domains: Vec<String> = self.domains.iter().map(written).collect();
        if !domains.is_empty() {
            text = format!("{text}; domains {}", domains.join(" "));
        }
        text
    }
}

/// Whether systemd-networkd manages the interface: then only it sets its servers.
pub(crate) fn is_managed(index: u32) -> bool {
    let state = procfs::text(&format!("/run/systemd/netif/links/{index}")).unwrap_or_default();
    let admin = state.lines().find_map(|line| line.strip_prefix("ADMIN_STATE="));
    admin.is_some_and(|admin| !matches!(admin, "pending" | "initialized" | "unmanaged"))
}

/// What systemd-resolved has for the interface. It is not started for the question.
///
/// # Errors
/// `resolved_unavailable` where it does not run or does not answer.
pub(crate) fn of_link(machine: &Machine, index: u32) -> Result<LinkNames, QueryError> {
    match machine.bus.ask(&async |peer| properties(peer, index).await).map_err(unavailable)? {
        Some(properties) => Ok(read(&properties)),
        None => Err(QueryError::unavailable(
            "resolved_unavailable",
            "systemd-resolved does not run".to_owned(),
            HINT,
        )),
    }
}

fn unavailable(error: BusError) -> QueryError {
    error.into_query_error("systemd-resolved", "resolved_unavailable", HINT)
}

async fn properties(peer: &Peer, index: u32) -> Result<Option<Properties>, BusError> {
    let (service, path, manager) = RESOLVED;
    let bus = "org.freedesktop.DBus";
    let runs: bool = peer.call(bus, "/org/freedesktop/DBus", bus, "NameHasOwner", &(service,)).await?;
    if !runs {
        return Ok(None);
    }
    let link: OwnedObjectPath = peer.call(service, path, manager, "GetLink", &(signed(index),)).await?;
    peer.properties(service, link.as_str(), LINK).await.map(Some)
}

/// Interfaces are signed numbers on this bus.
fn signed(index: u32) -> i32 {
    i32::try_from(index).unwrap_or_default()
}

fn read(properties: &Properties) -> LinkNames {
    let servers = properties.rows("DNSEx", MAX_ENTRIES).filter_map(|fields| match fields {
        [_, Variant::Array(address), Variant::U16(port), name] => {
            let byte = |value: &Variant<'_>| if let Variant::U8(byte) = value { Some(*byte) } else { None };
            let bytes: Vec<u8> = address.inner().iter().filter_map(byte).collect();
            Some(Server {
                address: netlink::address(&bytes)?,
                port: *port,
                name: text(name).unwrap_or_default(),
            })
        }
        _ => None,
    });
    let domains = properties.rows("Domains", MAX_ENTRIES).filter_map(|fields| match fields {
        [domain, Variant::Bool(route_only)] => Some((text(domain)?, *route_only)),
        _ => None,
    });
    LinkNames { servers: servers.collect(), domains: domains.collect() }
}

/// Sets the servers and domains of the interface, for the time being: through systemd-networkd where it manages it.
///
/// # Errors
/// What the service says; `resolved_unavailable`.
pub(crate) fn set(machine: &Machine, index: u32, managed: bool, names: &LinkNames) -> Result<(), QueryError> {
    let (service, path, interface) = if managed { NETWORKD } else { RESOLVED };
    let servers: Vec<(i32, Vec<u8>, u16, String)> = names
        .servers
        .iter()
        .map(|server| {
            let (family, bytes) = match server.address {
                IpAddr::V4(address) => (libc::AF_INET, address.octets().to_vec()),
                IpAddr::V6(address) => (libc::AF_INET6, address.octets().to_vec()),
            };
            (family, bytes, server.port, server.name.clone())
        })
        .collect();
    let servers = (signed(index), servers);
    let domains = (signed(index), names.domains.clone());
    let work = machine.bus.tell(&async |peer: &Peer| {
        let () = peer.call(service, path, interface, "SetLinkDNSEx", &servers).await?;
        peer.call(service, path, interface, "SetLinkDomains", &domains).await
    });
    work.map_err(unavailable)
}

/// Has systemd-networkd go back to its own configuration for the interface.
///
/// # Errors
/// As [`set`].
pub(crate) fn revert(machine: &Machine, index: u32) -> Result<(), QueryError> {
    let (service, path, manager) = NETWORKD;
    let work = machine.bus.tell(&async |peer: &Peer| {
        peer.call(service, path, manager, "RevertLinkDNS", &(signed(index),)).await
    });
    work.map_err(unavailable)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_are_said_with_what_belongs_to_them() {
        let server = |address: &str, port, name: &str| Server {
            address: address.parse().unwrap(),
            port,
            name: name.to_owned(),
        };
        let names = LinkNames {
            servers: vec![server("192.0.2.1", 0, ""), server("2001:db8::1", 853, "dns.example")],
            domains: vec![("a.example".to_owned(), false), ("b.example".to_owned(), true)],
        };
        assert_eq!(
            names.text(),
            "192.0.2.1, 2001:db8::1 port 853 as dns.example; domains a.example ~b.example"
        );
        assert_eq!(LinkNames::default().text(), "no servers");
        // What is kept for the way back is the same when it is read.
        let kept = serde_json::to_string(&names).unwrap();
        assert_eq!(serde_json::from_str::<LinkNames>(&kept).unwrap(), names);
    }
}
