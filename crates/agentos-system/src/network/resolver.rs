//! How names are looked up: resolv.conf(5), and systemd-resolved behind it.

use std::collections::HashMap;
use std::path::Path;

use agentos_api::query::network::{Dns, Resolved, ResolvedDomain, ResolvedServer};
use zbus::Variant;

use super::netlink;
use crate::bus::{BusError, Peer, Properties, text};
use crate::machine::Machine;
use crate::procfs;

const MAX_FILE_BYTES: usize = 64 << 10;

/// Entries of one list.
const MAX_ENTRIES: usize = 256;

const SERVICE: &str = "org.freedesktop.resolve1";
const MANAGER_PATH: &str = "/org/freedesktop/resolve1";
const MANAGER: &str = "org.freedesktop.resolve1.Manager";

/// The resolver's configuration. What is not there is empty: a machine need not resolve names.
pub(super) fn dns(machine: &Machine, names: &HashMap<u32, String>) -> Dns {
    let content = procfs::read_at(rustix::fs::CWD, "/etc/resolv.conf", MAX_FILE_BYTES).unwrap_or_default();
    Dns { resolved: resolved(machine, names), ..resolv_conf(&String::from_utf8_lossy(&content)) }
}

/// `/etc/resolv.conf`: the last `search` or `domain` counts, everything else adds up.
fn resolv_conf(content: &str) -> Dns {
    let mut dns = Dns::default();
    for line in content.lines() {
        // A comment begins with `#` or `;` in the first column; within a line the resolver does not know any.
        let mut words = line.split_whitespace();
        let (Some(keyword), words) = (words.next(), words.map(str::to_owned)) else { continue };
        match keyword {
            "nameserver" => dns.servers.extend(words.take(1)),
            "search" => dns.search = words.take(MAX_ENTRIES).collect(),
            "domain" => dns.search = words.take(1).collect(),
            "options" => dns.options.extend(words),
            _ => {}
        }
    }
    dns.servers.truncate(MAX_ENTRIES);
    dns.options.truncate(MAX_ENTRIES);
    dns
}

/// What systemd-resolved uses, where it runs. It is not started for the question.
fn resolved(machine: &Machine, names: &HashMap<u32, String>) -> Option<Resolved> {
    if !Path::new("/run/systemd/resolve").is_dir() {
        return None;
    }
    let properties = machine.bus.ask(&async |peer| properties(peer).await).ok().flatten()?;
    let interface = |index: &Variant<'_>| match index {
        Variant::I32(index) => u32::try_from(*index)
            .ok()
            .filter(|&index| index > 0)
            .map(|index| names.get(&index).cloned().unwrap_or_else(|| format!("if{index}"))),
        _ => None,
    };
    let servers = properties.rows("DNS", MAX_ENTRIES).filter_map(|fields| match fields {
        [index, _, Variant::Array(address)] => {
            let byte = |value: &Variant<'_>| if let Variant::U8(byte) = value { Some(*byte) } else { None };
            let bytes: Vec<u8> = address.inner().iter().filter_map(byte).collect();
            Some(ResolvedServer {
                address: netlink::address(&bytes)?.to_string(),
                interface: interface(index),
            })
        }
        _ => None,
    });
    let domains = properties.rows("Domains", MAX_ENTRIES).filter_map(|fields| match fields {
        [index, domain, Variant::Bool(route_only)] => Some(ResolvedDomain {
            domain: text(domain)?,
            route_only: *route_only,
            interface: interface(index),
        }),
        _ => None,
    });
    Some(Resolved { servers: servers.collect(), domains: domains.collect() })
}

async fn properties(peer: &Peer) -> Result<Option<Properties>, BusError> {
    let bus = "org.freedesktop.DBus";
    let runs: bool = peer.call(bus, "/org/freedesktop/DBus", bus, "NameHasOwner", &(SERVICE,)).await?;
    if runs { peer.properties(SERVICE, MANAGER_PATH, MANAGER).await.map(Some) } else { Ok(None) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn servers_add_up_and_the_last_search_counts() {
        let dns = resolv_conf(
            "# nameserver 9.9.9.9\n;x\nnameserver 127.0.0.53\nsearch a.example\nnameserver\t::1 x\nsearch b.example c.example\noptions edns0 trust-ad\noptions ndots:2\n",
        );
        assert_eq!(dns.servers, ["127.0.0.53", "::1"]);
        assert_eq!(dns.search, ["b.example", "c.example"]);
        assert_eq!(dns.options, ["edns0", "trust-ad", "ndots:2"]);
        assert_eq!(resolv_conf("search a b\ndomain c\n").search, ["c"]);
    }

    proptest! {
        #[test]
        fn any_text_is_read_without_panic(content in "(nameserver|search|domain|options|[ \\t\\n]|\\PC){0,80}") {
            let dns = resolv_conf(&content);
            prop_assert!(dns.servers.iter().all(|server| !server.contains(char::is_whitespace)));
        }
    }
}
