//! The network: interfaces and routes from the kernel, name servers, and the sockets of this machine.

pub(crate) mod changes;
pub(crate) mod connections;
mod links;
pub(crate) mod listeners;
mod netlink;
pub(crate) mod owners;
pub(crate) mod resolved;
mod resolver;
mod routes;
pub(crate) mod sockets;

use std::collections::HashMap;

use agentos_api::problem::near_matches;
use agentos_api::query::Network;
use agentos_api::query::network::{Args, Output};

use self::netlink::Netlink;
use self::routes::Wanted;
use crate::QueryError;
use crate::dispatch::Read;
use crate::machine::{Machine, Viewer};

impl Read for Network {
    fn read(machine: &Machine, _viewer: Viewer, args: Args) -> Result<Output, QueryError> {
        let netlink = Netlink::open()?;
        let mut interfaces = links::interfaces(&netlink)?;
        let names: HashMap<u32, String> =
            interfaces.iter().map(|interface| (interface.index, interface.name.clone())).collect();
        if let Some(wanted) = &args.interface {
            if !interfaces.iter().any(|interface| interface.name == *wanted) {
                let near = near_matches(wanted, interfaces.iter().map(|interface| interface.name.as_str()));
                let shown: String = wanted.chars().take(64).collect();
                return Err(QueryError::NotFound { what: format!("the interface {shown}"), near });
            }
            interfaces.retain(|interface| interface.name == *wanted);
        }
        let interfaces_total = interfaces.len() as u64;
        interfaces.truncate(args.interfaces_limit.as_usize());
        let wanted = Wanted {
            all: args.all_routes,
            interface: args.interface.as_deref(),
            limit: args.routes_limit.as_usize(),
        };
        let (routes, routes_total) = routes::routes(&netlink, &names, wanted)?;
        Ok(Output {
            hostname: rustix::system::uname().nodename().to_string_lossy().into_owned(),
            interfaces,
            interfaces_total,
            routes,
            routes_total,
            dns: resolver::dns(machine, &names),
        })
    }
}
