//! `network.dns` with systemd-resolved: there the servers are those of an interface.

use std::path::Path;

use agentos_api::mutation::network as api;

use super::{interface, persist};
use crate::change::error::ChangeError;
use crate::change::link_names::LinkDns;
use crate::change::planner::Planner;
use crate::change::transition::{Transit, Transition};
use crate::network::resolved::{self, LinkNames, Server};

/// Plans the servers of the interface, for the time being and with `persist` for good.
pub(super) fn plan(planner: &mut Planner<'_>, args: &api::DnsArgs) -> Result<(), ChangeError> {
    let name = args.interface.as_deref().ok_or_else(|| {
        ChangeError::invalid(
            "interface",
            "must be given: with systemd-resolved servers belong to an interface (the query network names them)",
        )
    })?;
    let interface = interface(name)?;
    if interface.loopback {
        return Err(ChangeError::invalid(
            "interface",
            "is the loopback, which systemd-resolved asks nobody over",
        ));
    }
    let from = resolved::of_link(planner.machine, interface.index)?;
    let servers = args.servers.iter().filter_map(|server| server.parse().ok());
    let to = LinkNames {
        servers: servers.map(|address| Server { address, port: 0, name: String::new() }).collect(),
        domains: match &args.search {
            Some(domains) => {
                domains.iter().map(|domain| (domain.trim_end_matches('.').to_owned(), false)).collect()
            }
            None => from.domains.clone(),
        },
    };
    planner.can_lock_out();
    planner.summary(format!("Sets the name servers of {name} to {}", args.servers.join(", ")));
    planner.not_covered("whether the servers answer; those of other interfaces are asked as well");
    let managed = resolved::is_managed(interface.index);
    if args.persist {
        persist::file(planner, &interface, true, true, "dns", &section(args))?;
    } else {
        planner.not_covered(if managed {
            "the servers are set until systemd-networkd configures the interface anew"
        } else {
            "the servers are set until the interface or systemd-resolved goes away, or whoever configures the interface sets others"
        });
    }
    if !managed && Path::new("/run/NetworkManager").is_dir() {
        planner.not_covered(format!(
            "where NetworkManager manages {name} it sets its own servers again: nmcli connection modify … ipv4.dns … keeps these"
        ));
    }
    let change =
        LinkDns { interface: interface.name, index: interface.index, from, to, managed, reverts: false };
    if planner.is_planned(&change.on()) {
        return Err(ChangeError::refused(format!(
            "an earlier step of this change sets the {} already",
            change.on()
        )));
    }
    if change.from == change.to { Ok(()) } else { planner.add(Transition::LinkDns(change)) }
}

/// What the file of systemd-networkd gets: these servers and no others.
fn section(args: &api::DnsArgs) -> String {
    let mut text =
        format!("# Set by agentd (network.dns).\n[Network]\nDNS=\nDNS={}\n", args.servers.join(" "));
    if let Some(domains) = &args.search {
        text = format!("{text}Domains=\nDomains={}\n", domains.join(" "));
    }
    for lease in ["DHCPv4", "DHCPv6", "IPv6AcceptRA"] {
        text = format!("{text}\n[{lease}]\nUseDNS=no\n");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_names_these_servers_and_no_others() {
        let args = api::DnsArgs {
            servers: vec!["192.0.2.1".to_owned(), "::1".to_owned()],
            search: Some(vec!["a.example".to_owned()]),
            interface: None,
            persist: true,
        };
        assert_eq!(
            section(&args),
            "# Set by agentd (network.dns).\n[Network]\nDNS=\nDNS=192.0.2.1 ::1\nDomains=\nDomains=a.example\n\n\
             [DHCPv4]\nUseDNS=no\n\n[DHCPv6]\nUseDNS=no\n\n[IPv6AcceptRA]\nUseDNS=no\n"
        );
    }
}
