//! Interfaces and their addresses: `RTM_GETLINK` and `RTM_GETADDR` of rtnetlink(7).

use std::collections::HashMap;

use agentos_api::query::network::{Address, Counters, Interface};

use super::netlink::{Netlink, RTM_GETADDR, RTM_GETLINK, address, attributes, text, u16_at, u32_at, u64_at};
use crate::QueryError;

/// Interfaces and addresses that are kept of a table.
const MAX_KEPT: usize = 20_000;

const IFINFOMSG_BYTES: usize = 16;
const IFADDRMSG_BYTES: usize = 8;

/// The interfaces with their addresses, in the kernel's order.
///
/// # Errors
/// Those of [`Netlink::dump`].
pub(super) fn interfaces(netlink: &Netlink) -> Result<Vec<Interface>, QueryError> {
    let mut found: Vec<(Interface, Option<u32>)> = Vec::new();
    netlink.dump(RTM_GETLINK, &[0; IFINFOMSG_BYTES], |payload| {
        if found.len() < MAX_KEPT
            && let Some(link) = link(payload)
        {
            found.push(link);
        }
    })?;
    let mut addresses: HashMap<u32, Vec<Address>> = HashMap::new();
    let mut kept = 0;
    netlink.dump(RTM_GETADDR, &[0; IFADDRMSG_BYTES], |payload| {
        if kept < MAX_KEPT
            && let Some((index, address)) = interface_address(payload)
        {
            kept += 1;
            addresses.entry(index).or_default().push(address);
        }
    })?;
    let names: HashMap<u32, String> = found.iter().map(|(link, _)| (link.index, link.name.clone())).collect();
    Ok(found
        .into_iter()
        .map(|(mut interface, master)| {
            interface.addresses = addresses.remove(&interface.index).unwrap_or_default();
            interface.master = master.and_then(|index| names.get(&index).cloned());
            interface
        })
        .collect())
}

/// A link and the number of the one it is part of. After `struct ifinfomsg` come the attributes `IFLA_…`.
fn link(payload: &[u8]) -> Option<(Interface, Option<u32>)> {
    let (hardware, index, flags) = (u16_at(payload, 2)?, u32_at(payload, 4)?, u32_at(payload, 8)?);
    let mut master = None;
    let mut kind = None;
    let mut interface = Interface {
        name: String::new(),
        index,
        kind: String::new(),
        // `IFF_UP`
        up: flags & 1 != 0,
        state: "unknown".to_owned(),
        hardware_address: None,
        mtu_bytes: None,
        master: None,
        addresses: Vec::new(),
        counters: None,
    };
    for (number, value) in attributes(payload.get(IFINFOMSG_BYTES..)?) {
        match number {
            1 => interface.hardware_address = hardware_address(value),
            3 => interface.name = text(value),
            4 => interface.mtu_bytes = u32_at(value, 0),
            10 => master = u32_at(value, 0),
            16 => interface.state = operational_state(value.first().copied()),
            18 => kind = attributes(value).find(|(number, _)| *number == 1).map(|(_, value)| text(value)),
            23 => interface.counters = counters(value),
            _ => {}
        }
    }
    interface.kind = kind.unwrap_or_else(|| hardware_kind(hardware));
    (!interface.name.is_empty()).then_some((interface, master))
}

/// `ARPHRD_…` of `linux/if_arp.h`.
fn hardware_kind(number: u16) -> String {
    match number {
        1 => "ethernet".to_owned(),
        32 => "infiniband".to_owned(),
        512 => "ppp".to_owned(),
        768 => "ipip".to_owned(),
        769 => "ip6tnl".to_owned(),
        772 => "loopback".to_owned(),
        776 => "sit".to_owned(),
        65_534 => "none".to_owned(),
        other => format!("hardware {other}"),
    }
}

/// Colons between the bytes; none for an interface without one, such as the loopback.
fn hardware_address(value: &[u8]) -> Option<String> {
    if value.iter().all(|&byte| byte == 0) || value.len() > 32 {
        return None;
    }
    Some(value.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().join(":"))
}

/// `IF_OPER_…` (RFC 2863).
fn operational_state(number: Option<u8>) -> String {
    let name = match number {
        Some(1) => "not-present",
        Some(2) => "down",
        Some(3) => "lower-layer-down",
        Some(4) => "testing",
        Some(5) => "dormant",
        Some(6) => "up",
        _ => "unknown",
    };
    name.to_owned()
}

/// The beginning of `struct rtnl_link_stats64`.
fn counters(value: &[u8]) -> Option<Counters> {
    let at = |index: usize| u64_at(value, index * 8);
    Some(Counters {
        received_packets: at(0)?,
        sent_packets: at(1)?,
        received_bytes: at(2)?,
        sent_bytes: at(3)?,
        receive_errors: at(4)?,
        send_errors: at(5)?,
        receive_dropped: at(6)?,
        send_dropped: at(7)?,
    })
}

/// An address and the number of its interface. After `struct ifaddrmsg` come the attributes `IFA_…`.
fn interface_address(payload: &[u8]) -> Option<(u32, Address)> {
    let (prefix_length, short_flags, scope, index) =
        (*payload.get(1)?, *payload.get(2)?, *payload.get(3)?, u32_at(payload, 4)?);
    let (mut own, mut other, mut flags, mut valid_seconds) = (None, None, u32::from(short_flags), None);
    for (number, value) in attributes(payload.get(IFADDRMSG_BYTES..)?) {
        match number {
            1 => other = address(value),
            2 => own = address(value),
            // The second number of `struct ifa_cacheinfo`; the largest says for ever.
            6 => valid_seconds = u32_at(value, 4).filter(|&seconds| seconds != u32::MAX),
            8 => flags = u32_at(value, 0).unwrap_or(flags),
            _ => {}
        }
    }
    // On a point-to-point link `IFA_LOCAL` is this end and `IFA_ADDRESS` the other; else both are this end, or only the
    // latter is there.
    let this = own.or(other)?;
    let address = Address {
        address: this.to_string(),
        prefix_length,
        scope: scope_name(scope),
        peer: other.filter(|other| *other != this).map(|peer| peer.to_string()),
        valid_seconds,
        flags: flag_names(flags),
    };
    Some((index, address))
}

/// `RT_SCOPE_…`
fn scope_name(number: u8) -> String {
    match number {
        0 => "global".to_owned(),
        200 => "site".to_owned(),
        253 => "link".to_owned(),
        254 => "host".to_owned(),
        255 => "nowhere".to_owned(),
        other => other.to_string(),
    }
}

/// `IFA_F_…`, without those that say nothing to a reader.
fn flag_names(flags: u32) -> Vec<String> {
    const NAMES: [(u32, &str); 6] = [
        (0x01, "temporary"),
        (0x04, "optimistic"),
        (0x08, "dadfailed"),
        (0x20, "deprecated"),
        (0x40, "tentative"),
        (0x100, "managed-temporary"),
    ];
    NAMES.iter().filter(|(bit, _)| flags & bit != 0).map(|(_, name)| (*name).to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::netlink::tests::attribute;
    use super::*;

    #[test]
    fn a_link_is_read() {
        let mut payload = vec![0, 0, 1, 0, 7, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0];
        payload.extend(attribute(3, b"br0\0"));
        payload.extend(attribute(1, &[2, 0, 0, 0, 0, 0xfe]));
        payload.extend(attribute(10, &3u32.to_ne_bytes()));
        payload.extend(attribute(16, &[6]));
        payload.extend(attribute(18, &attribute(1, b"bridge\0")));
        let (interface, master) = link(&payload).unwrap();
        assert_eq!((interface.name.as_str(), interface.index, interface.up), ("br0", 7, true));
        assert_eq!((interface.kind.as_str(), interface.state.as_str()), ("bridge", "up"));
        assert_eq!(interface.hardware_address.as_deref(), Some("02:00:00:00:00:fe"));
        assert_eq!(master, Some(3));
    }

    #[test]
    fn the_loopback_of_this_machine_is_found() {
        let interfaces = interfaces(&Netlink::open().unwrap()).unwrap();
        let loopback = interfaces.iter().find(|interface| interface.kind == "loopback").unwrap();
        let mtu = std::fs::read_to_string(format!("/sys/class/net/{}/mtu", loopback.name)).unwrap();
        assert_eq!(loopback.mtu_bytes.unwrap().to_string(), mtu.trim());
    }

    proptest! {
        #[test]
        fn any_message_is_read_without_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = (link(&bytes), interface_address(&bytes));
        }
    }
}
