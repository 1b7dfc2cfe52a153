//! Addresses, routes and interfaces as the kernel's own messages, which are kept and played back.
//!
//! What is taken away is kept as the kernel listed it, with its flags, life times and labels, and is put back by the same
//! message. `ip route save` and `ip route restore` do so as well.

use std::net::IpAddr;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rustix::io::Errno;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::netlink::{
    Netlink, RTM_GETADDR, RTM_GETLINK, RTM_GETROUTE, address, attribute, attributes, text, u32_at,
};
use crate::QueryError;

const RTM_NEWLINK: u16 = 16;
const RTM_NEWADDR: u16 = 20;
const RTM_DELADDR: u16 = 21;
const RTM_NEWROUTE: u16 = 24;
const RTM_DELROUTE: u16 = 25;
/// `NLM_F_CREATE | NLM_F_EXCL`
const CREATE: u16 = 0x600;

const IFINFOMSG_BYTES: usize = 16;
const IFADDRMSG_BYTES: usize = 8;
const RTMSG_BYTES: usize = 12;
const IFF_UP: u32 = 1;
const IFF_LOOPBACK: u32 = 8;
const TABLE_MAIN: u32 = 254;
/// `RTM_F_CLONED`
const CLONED: u32 = 0x200;
/// `RTNH_F_ONLINK`: the one flag of a route that is asked for, not found.
const ONLINK: u32 = 4;
const RTPROT_KERNEL: u8 = 2;
const RTPROT_STATIC: u8 = 4;
const RTN_UNICAST: u8 = 1;
const SCOPE_LINK: u8 = 253;
/// What the kernel gives a route of IPv6 without a metric (`IP6_RT_PRIO_USER`).
const IPV6_METRIC: u32 = 1024;

/// Messages of one table that are looked at.
const MOST: usize = 50_000;

/// A message's payload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Message(Vec<u8>);

impl Serialize for Message {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&STANDARD.encode(&self.0))
    }
}

impl<'de> Deserialize<'de> for Message {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        STANDARD.decode(String::deserialize(deserializer)?).map(Self).map_err(serde::de::Error::custom)
    }
}

/// An interface, as far as a change is concerned with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Interface {
    pub(crate) name: String,
    pub(crate) index: u32,
    pub(crate) up: bool,
    pub(crate) loopback: bool,
}

/// All interfaces.
///
/// # Errors
/// The kernel's.
pub(crate) fn interfaces() -> Result<Vec<Interface>, QueryError> {
    let mut found = Vec::new();
    Netlink::open()?.dump(RTM_GETLINK, &[0; IFINFOMSG_BYTES], |payload| {
        let (Some(index), Some(flags), Some(rest)) =
            (u32_at(payload, 4), u32_at(payload, 8), payload.get(IFINFOMSG_BYTES..))
        else {
            return;
        };
        let name = attributes(rest).find(|(number, _)| *number == 3).map(|(_, value)| text(value));
        if let Some(name) = name.filter(|_| found.len() < MOST) {
            found.push(Interface {
                name,
                index,
                up: flags & IFF_UP != 0,
                loopback: flags & IFF_LOOPBACK != 0,
            });
        }
    })?;
    Ok(found)
}

fn dump(kind: u16, header: &[u8]) -> Result<Vec<Message>, QueryError> {
    let mut found = Vec::new();
    Netlink::open()?.dump(kind, header, |payload| {
        if found.len() < MOST {
            found.push(Message(payload.to_vec()));
        }
    })?;
    Ok(found)
}

/// What tells an address from the others of its interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct AddressKey {
    pub(crate) index: u32,
    pub(crate) address: IpAddr,
    pub(crate) length: u8,
}

/// All addresses.
///
/// # Errors
/// The kernel's.
pub(crate) fn addresses() -> Result<Vec<(AddressKey, Message)>, QueryError> {
    let found = dump(RTM_GETADDR, &[0; IFADDRMSG_BYTES])?;
    Ok(found.into_iter().filter_map(|message| Some((message.address_key()?, message))).collect())
}

/// What tells a route from others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RouteKey {
    pub(crate) destination: IpAddr,
    pub(crate) length: u8,
    pub(crate) table: u32,
    pub(crate) metric: u32,
    pub(crate) tos: u8,
    pub(crate) gateway: Option<IpAddr>,
    /// The interface; nothing where the kernel chooses, or there are several next hops.
    pub(crate) index: Option<u32>,
}

impl RouteKey {
    /// The other one is this, as far as this one says.
    pub(crate) fn matches(&self, other: &Self) -> bool {
        let index = self.index.is_none() || self.index == other.index;
        Self { index: None, ..*self } == Self { index: None, ..*other } && index
    }
}

/// The routes that somebody made: those of the main table that are not the kernel's own.
///
/// # Errors
/// The kernel's.
pub(crate) fn routes() -> Result<Vec<(RouteKey, Message)>, QueryError> {
    let found = dump(RTM_GETROUTE, &[0; RTMSG_BYTES])?;
    Ok(found
        .into_iter()
        .filter(|message| message.0.get(5) != Some(&RTPROT_KERNEL))
        .filter_map(|message| Some((message.route_key()?, message)))
        .filter(|(key, _)| key.table == TABLE_MAIN)
        .collect())
}

impl Message {
    /// A new address of an interface.
    pub(crate) fn address(key: &AddressKey) -> Self {
        let (family, bytes) = parts(key.address);
        let mut payload = vec![family, key.length, 0, 0];
        payload.extend_from_slice(&key.index.to_ne_bytes());
        payload.extend(attribute(2, &bytes));
        payload.extend(attribute(1, &bytes));
        if let IpAddr::V4(address) = key.address
            && key.length < 31
        {
            let hosts = u32::MAX.checked_shr(key.length.into()).unwrap_or(0);
            payload.extend(attribute(4, &(address.to_bits() | hosts).to_be_bytes()));
        }
        Self(payload)
    }

    /// A new route of the main table.
    pub(crate) fn route(key: &RouteKey) -> Self {
        let (family, bytes) = parts(key.destination);
        let scope = if key.gateway.is_none() && family == 2 { SCOPE_LINK } else { 0 };
        let mut payload = vec![family, key.length, 0, 0, 254, RTPROT_STATIC, scope, RTN_UNICAST];
        payload.extend_from_slice(&[0; 4]);
        payload.extend(attribute(1, &bytes));
        if let Some(gateway) = key.gateway {
            payload.extend(attribute(5, &parts(gateway).1));
        }
        if let Some(index) = key.index {
            payload.extend(attribute(4, &index.to_ne_bytes()));
        }
        if key.metric != 0 {
            payload.extend(attribute(6, &key.metric.to_ne_bytes()));
        }
        Self(payload)
    }

    pub(crate) fn address_key(&self) -> Option<AddressKey> {
        let (length, index) = (*self.0.get(1)?, u32_at(&self.0, 4)?);
        let (mut own, mut other) = (None, None);
        for (number, value) in attributes(self.0.get(IFADDRMSG_BYTES..)?) {
            match number {
                1 => other = address(value),
                2 => own = address(value),
                _ => {}
            }
        }
        Some(AddressKey { index, address: own.or(other)?, length })
    }

    pub(crate) fn route_key(&self) -> Option<RouteKey> {
        let &[family, length, _, tos, table, ..] = self.0.as_slice() else { return None };
        if u32_at(&self.0, 8)? & CLONED != 0 {
            return None;
        }
        let any: IpAddr = match family {
            2 => [0; 4].into(),
            10 => [0; 16].into(),
            _ => return None,
        };
        let mut key = RouteKey {
            destination: any,
            length,
            table: table.into(),
            metric: 0,
            tos,
            gateway: None,
            index: None,
        };
        for (number, value) in attributes(self.0.get(RTMSG_BYTES..)?) {
            match number {
                1 => key.destination = address(value)?,
                4 => key.index = u32_at(value, 0),
                5 => key.gateway = address(value),
                6 => key.metric = u32_at(value, 0)?,
                15 => key.table = u32_at(value, 0)?,
                _ => {}
            }
        }
        Some(key)
    }

    /// Puts the address there. It is that of the interface which has this number now.
    ///
    /// # Errors
    /// The kernel's.
    pub(crate) fn add_address(&self, index: u32) -> Result<(), Errno> {
        change(RTM_NEWADDR, CREATE, &self.address_at(index))
    }

    /// Takes the address away.
    ///
    /// # Errors
    /// The kernel's.
    pub(crate) fn remove_address(&self, index: u32) -> Result<(), Errno> {
        change(RTM_DELADDR, 0, &self.address_at(index))
    }

    fn address_at(&self, index: u32) -> Vec<u8> {
        let mut payload = self.0.clone();
        if let Some(bytes) = payload.get_mut(4..8) {
            bytes.copy_from_slice(&index.to_ne_bytes());
        }
        payload
    }

    /// Puts the route there.
    ///
    /// # Errors
    /// The kernel's.
    pub(crate) fn add_route(&self) -> Result<(), Errno> {
        change(RTM_NEWROUTE, CREATE, &self.asked_route())
    }

    /// Takes the route away.
    ///
    /// # Errors
    /// The kernel's.
    pub(crate) fn remove_route(&self) -> Result<(), Errno> {
        change(RTM_DELROUTE, 0, &self.asked_route())
    }

    /// Without the flags that the kernel only finds.
    fn asked_route(&self) -> Vec<u8> {
        let mut payload = self.0.clone();
        let flags = u32_at(&payload, 8).unwrap_or(0) & ONLINK;
        if let Some(bytes) = payload.get_mut(8..12) {
            bytes.copy_from_slice(&flags.to_ne_bytes());
        }
        payload
    }
}

/// Sets an interface up or down.
///
/// # Errors
/// The kernel's.
pub(crate) fn set_link(index: u32, up: bool) -> Result<(), Errno> {
    let mut payload = vec![0; 4];
    payload.extend_from_slice(&index.to_ne_bytes());
    payload.extend_from_slice(&if up { IFF_UP } else { 0 }.to_ne_bytes());
    payload.extend_from_slice(&IFF_UP.to_ne_bytes());
    change(RTM_NEWLINK, 0, &payload)
}

/// The metric that the kernel gives a route.
pub(crate) fn metric_of(destination: IpAddr, asked: Option<u32>) -> u32 {
    match asked {
        Some(metric) if metric > 0 || destination.is_ipv4() => metric,
        _ if destination.is_ipv6() => IPV6_METRIC,
        _ => 0,
    }
}

/// The main table.
pub(crate) const MAIN: u32 = TABLE_MAIN;

fn change(kind: u16, flags: u16, payload: &[u8]) -> Result<(), Errno> {
    Netlink::open().map_err(|_| Errno::PROTONOSUPPORT)?.change(kind, flags, payload)
}

fn parts(address: IpAddr) -> (u8, Vec<u8>) {
    match address {
        IpAddr::V4(address) => (2, address.octets().to_vec()),
        IpAddr::V6(address) => (10, address.octets().to_vec()),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn keys_are_read_from_what_is_asked_for(address: IpAddr, gateway: IpAddr, index in 1u32..9999, metric in 1u32..99, length in 0u8..=32) {
            let key = AddressKey { index, address, length };
            prop_assert_eq!(Message::address(&key).address_key(), Some(key));
            let gateway = (gateway.is_ipv4() == address.is_ipv4()).then_some(gateway);
            let key = RouteKey { destination: address, length, table: MAIN, metric, tos: 0, gateway, index: Some(index) };
            prop_assert_eq!(Message::route(&key).route_key(), Some(key));
        }

        #[test]
        fn any_message_is_read_without_panic(bytes: Vec<u8>) {
            let message = Message(bytes);
            let _ = (message.address_key(), message.route_key(), message.address_at(1), message.asked_route());
        }
    }
}
