//! `network.*`: interfaces, addresses and routes by rtnetlink(7); name servers in resolv.conf(5), or with
//! systemd-resolved.
//!
//! The kernel's own messages are used rather than ip(8): they are what is kept for the way back, and an answer is an error
//! number, not a sentence.

mod link_dns;
mod persist;
mod resolver;
#[cfg(test)]
mod tests;

use std::net::IpAddr;

use agentos_api::mutation::network as api;
use agentos_api::mutation::network::Action;
use agentos_api::problem::near_matches;

use crate::QueryError;
use crate::change::Plan;
use crate::change::error::ChangeError;
use crate::change::link::{Address, Dependents, Link, Route};
use crate::change::planner::Planner;
use crate::change::transition::Transition;
use crate::firewall::rule::Net;
use crate::network::changes::{
    AddressKey, Interface, MAIN, Message, RouteKey, addresses, interfaces, metric_of, routes,
};

const RUNTIME: &str = "the next start of the machine, and what a network manager does on its own: this is the kernel's state only";

fn interface(name: &str) -> Result<Interface, ChangeError> {
    let all = interfaces()?;
    let names = || all.iter().map(|interface| interface.name.as_str());
    all.iter().find(|interface| interface.name == name).cloned().ok_or_else(|| {
        let near = near_matches(name, names());
        let what = format!("the interface {}", name.chars().take(64).collect::<String>());
        ChangeError::Reading(QueryError::NotFound { what, near })
    })
}

/// An address with the length of its prefix.
fn prefixed(field: &str, text: &str) -> Result<(IpAddr, u8), ChangeError> {
    let wrong = || {
        ChangeError::invalid(
            field,
            "must be an address with a length, such as 192.0.2.7/24 or 2001:db8::7/64",
        )
    };
    let (address, length) = text.split_once('/').ok_or_else(wrong)?;
    let address: IpAddr = address.parse().map_err(|_| wrong())?;
    let longest = if address.is_ipv4() { 32 } else { 128 };
    let length = length.parse().ok().filter(|&length| length <= longest).ok_or_else(wrong)?;
    Ok((address, length))
}

impl Plan for api::Link {
    fn plan(planner: &mut Planner<'_>, args: api::LinkArgs) -> Result<(), ChangeError> {
        let interface = interface(&args.interface)?;
        let up = args.state == api::LinkState::Up;
        if interface.loopback && !up {
            return Err(ChangeError::refused(format!(
                "{} is the loopback: programs of this machine speak to one another over it",
                interface.name
            )));
        }
        planner.can_lock_out();
        planner.summary(format!("Sets the interface {} {}", interface.name, if up { "up" } else { "down" }));
        planner.not_covered(RUNTIME);
        if interface.up == up {
            return Ok(());
        }
        let mut with = Dependents::default();
        if !up {
            let of_interface = |index: Option<u32>| index == Some(interface.index);
            with.routes = routes()?
                .into_iter()
                .filter(|(key, _)| of_interface(key.index))
                .map(|(_, message)| message)
                .collect();
            // Those of IPv4 stay; the link-local ones the kernel makes itself.
            let goes = |key: &AddressKey| match key.address {
                IpAddr::V6(address) => key.index == interface.index && !address.is_unicast_link_local(),
                IpAddr::V4(_) => false,
            };
            with.addresses =
                addresses()?.into_iter().filter(|(key, _)| goes(key)).map(|(_, message)| message).collect();
            planner.not_covered(format!(
                "{} routes and {} addresses of IPv6 go with it, and come back with it",
                with.routes.len(),
                with.addresses.len()
            ));
        }
        planner.add(Transition::Link(Link { interface: interface.name, up, with }))
    }
}

impl Plan for api::Address {
    fn check(args: &api::AddressArgs) -> Result<(), ChangeError> {
        let (address, _) = prefixed("address", &args.address)?;
        if address.is_unspecified() || address.is_multicast() {
            return Err(ChangeError::invalid("address", "is not one that an interface can have"));
        }
        Ok(())
    }

    fn plan(planner: &mut Planner<'_>, args: api::AddressArgs) -> Result<(), ChangeError> {
        let interface = interface(&args.interface)?;
        let (address, length) = prefixed("address", &args.address)?;
        let key = AddressKey { index: interface.index, address, length };
        let all = addresses()?;
        let found = all.iter().find(|(known, _)| *known == key).map(|(_, message)| message.clone());
        let there = args.action == Action::Add;
        planner.can_lock_out();
        planner.summary(format!(
            "{} the address {address}/{length} {} {}",
            if there { "Adds" } else { "Removes" },
            if there { "to" } else { "from" },
            interface.name
        ));
        planner.not_covered(if there {
            "whether somebody else in the network has this address"
        } else {
            "connections from and to this address, which end"
        });
        persist::file(
            planner,
            &interface,
            args.persist,
            there,
            &format!("address-{address}-{length}"),
            &format!("[Network]\nAddress={address}/{length}\n"),
        )?;
        let mut with = Dependents::default();
        if !there {
            if !all.iter().any(|(known, _)| *known == key) {
                return Ok(());
            }
            // The routes through the network of the address go with it.
            with.routes = routes()?
                .into_iter()
                .filter(|(known, _)| {
                    known.index == Some(interface.index) && known.destination.is_ipv4() == address.is_ipv4()
                })
                .map(|(_, message)| message)
                .collect();
            // Other addresses of the same network may: the kernel takes the later ones with the first.
            let net = network_of(address, length);
            with.addresses = all
                .iter()
                .filter(|(known, _)| {
                    *known != key
                        && known.index == key.index
                        && known.length == length
                        && net.holds(known.address)
                })
                .map(|(_, message)| message.clone())
                .collect();
        } else if found.is_some() {
            return Ok(());
        }
        let message = found.unwrap_or_else(|| Message::address(&key));
        let written = format!("{address}/{length}");
        planner.add(Transition::Address(Address { interface: interface.name, written, message, there, with }))
    }
}

fn network_of(address: IpAddr, length: u8) -> Net {
    format!("{address}/{length}").parse().unwrap_or(Net { address, length })
}

fn route_key(args: &api::RouteArgs) -> Result<RouteKey, ChangeError> {
    let (destination, length) = prefixed("destination", &args.destination)?;
    if network_of(destination, length).address != destination {
        return Err(ChangeError::invalid("destination", "has bits beyond its length"));
    }
    let gateway = match &args.gateway {
        Some(gateway) => {
            let gateway: IpAddr =
                gateway.parse().map_err(|_| ChangeError::invalid("gateway", "must be an address"))?;
            if gateway.is_ipv4() != destination.is_ipv4() {
                return Err(ChangeError::invalid("gateway", "is not of the destination's family"));
            }
            Some(gateway)
        }
        None if args.interface.is_none() => {
            return Err(ChangeError::invalid("gateway", "gateway or interface must be given"));
        }
        None => None,
    };
    let metric = metric_of(destination, args.metric);
    Ok(RouteKey { destination, length, table: MAIN, metric, tos: 0, gateway, index: None })
}

impl Plan for api::Route {
    fn check(args: &api::RouteArgs) -> Result<(), ChangeError> {
        route_key(args).map(|_| ())
    }

    fn plan(planner: &mut Planner<'_>, args: api::RouteArgs) -> Result<(), ChangeError> {
        let there = args.action == Action::Add;
        let through = args.interface.as_deref().map(interface).transpose()?;
        let key = RouteKey { index: through.as_ref().map(|interface| interface.index), ..route_key(&args)? };
        let all = routes()?;
        let found = all.iter().find(|(known, _)| key.matches(known));
        let mut text = format!("{}/{}", key.destination, key.length);
        for (word, value) in [
            ("via", key.gateway.map(|gateway| gateway.to_string())),
            ("dev", args.interface.clone()),
            ("metric", (key.metric > 0).then(|| key.metric.to_string())),
        ] {
            if let Some(value) = value {
                text = format!("{text} {word} {value}");
            }
        }
        planner.can_lock_out();
        planner.summary(format!("{} the route {text}", if there { "Adds" } else { "Removes" }));
        if args.persist {
            let through = through.as_ref().ok_or_else(|| {
                ChangeError::invalid("interface", "must be given, to save the route with it")
            })?;
            let mut section = format!("[Route]\nDestination={}/{}\n", key.destination, key.length);
            if let Some(gateway) = key.gateway {
                section = format!("{section}Gateway={gateway}\n");
            }
            if args.metric.is_some() {
                section = format!("{section}Metric={}\n", key.metric);
            }
            let name = format!("route-{}-{}-{}", key.destination, key.length, key.metric);
            persist::file(planner, through, true, there, &name, &section)?;
        } else {
            planner.not_covered(RUNTIME);
        }
        let same = all.iter().find(|(known, _)| {
            (known.destination, known.length, known.metric) == (key.destination, key.length, key.metric)
        });
        match (there, found, same) {
            (true, Some(_), _) | (false, None, _) => Ok(()),
            (true, None, Some(_)) => Err(ChangeError::refused(format!(
                "there is another route to {}/{} with the metric {}; remove it first, or give another metric",
                key.destination, key.length, key.metric
            ))),
            (true, None, None) => {
                planner.add(Transition::Route(Route { written: text, message: Message::route(&key), there }))
            }
            (false, Some((_, message)), _) => {
                planner.add(Transition::Route(Route { written: text, message: message.clone(), there }))
            }
        }
    }
}
