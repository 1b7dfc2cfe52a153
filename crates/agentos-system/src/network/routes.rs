//! Routes: `RTM_GETROUTE` of rtnetlink(7).

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use agentos_api::query::network::Route;

use super::netlink::{Netlink, RTM_GETROUTE, address, attributes, u16_at, u32_at};
use crate::QueryError;

/// Routes that are kept of a table before they are sorted; all are counted.
const MAX_KEPT: usize = 20_000;

const RTMSG_BYTES: usize = 12;

const TABLE_MAIN: u32 = 254;
const TABLE_LOCAL: u32 = 255;
const TABLE_DEFAULT: u32 = 253;

/// `RTM_F_CLONED`: an entry of a cache, not a route.
const CLONED: u32 = 0x200;

/// Which routes are asked for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wanted<'w> {
    /// Those of the kernel and of tables other than the main one, too.
    pub(super) all: bool,
    /// Those through this interface.
    pub(super) interface: Option<&'w str>,
    /// So many.
    pub(super) limit: usize,
}

/// The routes, default routes first, and how many there are.
///
/// # Errors
/// Those of [`Netlink::dump`].
pub(super) fn routes(
    netlink: &Netlink,
    names: &HashMap<u32, String>,
    wanted: Wanted<'_>,
) -> Result<(Vec<Route>, u64), QueryError> {
    let mut routes = Vec::new();
    let mut total = 0;
    netlink.dump(RTM_GETROUTE, &[0; RTMSG_BYTES], |payload| {
        let Some(found) = route(payload, names) else { return };
        let plain = found.kind == "unicast"
            || matches!(found.kind.as_str(), "blackhole" | "unreachable" | "prohibit");
        if !wanted.all && (!plain || found.table != "main") {
            return;
        }
        if wanted.interface.is_some_and(|name| !goes_through(&found, name)) {
            return;
        }
        total += 1;
        if routes.len() < MAX_KEPT {
            routes.push(found);
        }
    })?;
    routes.sort_by_key(|route: &Route| (route.destination != "default", route.family.clone(), route.metric));
    routes.truncate(wanted.limit);
    Ok((routes, total))
}

fn goes_through(route: &Route, name: &str) -> bool {
    route.interface.as_deref() == Some(name)
        || route.next_hops.iter().any(|hop| hop.rsplit(' ').next() == Some(name))
}

/// A route. After `struct rtmsg` come the attributes `RTA_…`.
fn route(payload: &[u8], names: &HashMap<u32, String>) -> Option<Route> {
    let &[family, prefix_length, _, _, table, protocol, _, kind] = payload.get(..8)? else { return None };
    if u32_at(payload, 8)? & CLONED != 0 {
        return None;
    }
    let any = match family {
        2 => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        10 => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
        _ => return None,
    };
    let interface_name = |index: u32| names.get(&index).cloned().unwrap_or_else(|| format!("if{index}"));
    let mut table = u32::from(table);
    let (mut destination, mut gateway, mut interface, mut source, mut metric) = (any, None, None, None, None);
    let mut next_hops = Vec::new();
    for (number, value) in attributes(payload.get(RTMSG_BYTES..)?) {
        match number {
            1 => destination = address(value)?,
            4 => interface = u32_at(value, 0).map(interface_name),
            5 => gateway = address(value),
            6 => metric = u32_at(value, 0),
            7 => source = address(value),
            9 => next_hops = hops(value, interface_name),
            15 => table = u32_at(value, 0)?,
            // `RTA_VIA`: two bytes of family, then an address of the other family.
            18 => gateway = value.get(2..).and_then(address),
            _ => {}
        }
    }
    Some(Route {
        destination: if prefix_length == 0 && destination == any {
            "default".to_owned()
        } else {
            format!("{destination}/{prefix_length}")
        },
        family: if family == 2 { "ipv4" } else { "ipv6" }.to_owned(),
        gateway: gateway.map(|gateway| gateway.to_string()),
        interface,
        next_hops,
        source: source.map(|source| source.to_string()),
        metric,
        protocol: protocol_name(protocol),
        kind: kind_name(kind),
        table: table_name(table),
    })
}

/// `struct rtnexthop` by `struct rtnexthop`: a length, two bytes, an interface, attributes.
fn hops(value: &[u8], interface_name: impl Fn(u32) -> String) -> Vec<String> {
    const HEADER_BYTES: usize = 8;
    let mut rest = value;
    let mut hops = Vec::new();
    while let (Some(length), Some(index)) = (u16_at(rest, 0), u32_at(rest, 4)) {
        let length = usize::from(length);
        let Some(inside) = rest.get(HEADER_BYTES..length) else { break };
        let gateway =
            attributes(inside).find(|(number, _)| *number == 5).and_then(|(_, value)| address(value));
        let interface = interface_name(index);
        hops.push(
            gateway
                .map_or_else(|| format!("dev {interface}"), |gateway| format!("{gateway} dev {interface}")),
        );
        rest = rest.get((length + 3) & !3..).unwrap_or_default();
    }
    hops
}

/// `RTPROT_…`
fn protocol_name(number: u8) -> String {
    let name = match number {
        0 => "unspecified",
        1 => "redirect",
        2 => "kernel",
        3 => "boot",
        4 => "static",
        9 => "ra",
        11 => "zebra",
        12 => "bird",
        16 => "dhcp",
        42 => "babel",
        186 => "bgp",
        187 => "isis",
        188 => "ospf",
        189 => "rip",
        other => return other.to_string(),
    };
    name.to_owned()
}

/// `RTN_…`
fn kind_name(number: u8) -> String {
    let name = match number {
        1 => "unicast",
        2 => "local",
        3 => "broadcast",
        4 => "anycast",
        5 => "multicast",
        6 => "blackhole",
        7 => "unreachable",
        8 => "prohibit",
        9 => "throw",
        10 => "nat",
        other => return other.to_string(),
    };
    name.to_owned()
}

fn table_name(number: u32) -> String {
    match number {
        TABLE_MAIN => "main".to_owned(),
        TABLE_LOCAL => "local".to_owned(),
        TABLE_DEFAULT => "default".to_owned(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::netlink::tests::attribute;
    use super::*;

    fn names() -> HashMap<u32, String> {
        HashMap::from([(2, "eth0".to_owned()), (3, "eth1".to_owned())])
    }

    fn message(family: u8, prefix_length: u8, kind: u8) -> Vec<u8> {
        vec![family, prefix_length, 0, 0, 254, 3, 0, kind, 0, 0, 0, 0]
    }

    #[test]
    fn a_default_route_is_read() {
        let mut payload = message(2, 0, 1);
        payload.extend(attribute(5, &[10, 0, 0, 1]));
        payload.extend(attribute(4, &2u32.to_ne_bytes()));
        payload.extend(attribute(6, &100u32.to_ne_bytes()));
        let route = route(&payload, &names()).unwrap();
        assert_eq!((route.destination.as_str(), route.gateway.as_deref()), ("default", Some("10.0.0.1")));
        assert_eq!(
            (route.interface.as_deref(), route.metric, route.table.as_str()),
            (Some("eth0"), Some(100), "main")
        );
    }

    #[test]
    fn a_route_over_several_hops_is_read() {
        let hop = |index: u32, gateway: [u8; 4]| {
            let inside = attribute(5, &gateway);
            let mut bytes = u16::try_from(8 + inside.len()).unwrap().to_ne_bytes().to_vec();
            bytes.extend_from_slice(&[0, 0]);
            bytes.extend_from_slice(&index.to_ne_bytes());
            bytes.extend(inside);
            bytes
        };
        let mut payload = message(2, 8, 1);
        payload.extend(attribute(1, &[10, 0, 0, 0]));
        payload.extend(attribute(9, &[hop(2, [1, 1, 1, 1]), hop(3, [2, 2, 2, 2])].concat()));
        let route = route(&payload, &names()).unwrap();
        assert_eq!(route.destination, "10.0.0.0/8");
        assert_eq!(route.next_hops, ["1.1.1.1 dev eth0", "2.2.2.2 dev eth1"]);
        assert!(goes_through(&route, "eth1") && !goes_through(&route, "eth2"));
    }

    proptest! {
        #[test]
        fn any_message_is_read_without_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = (route(&bytes, &names()), hops(&bytes, |index| index.to_string()));
        }
    }
}
