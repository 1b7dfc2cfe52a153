//! `network.dns`: the name servers in resolv.conf(5), where that is a file and nobody else writes it; those of an interface
//! where systemd-resolved writes it.

use std::net::IpAddr;

use agentos_api::mutation::network as api;

use super::link_dns;
use crate::change::Plan;
use crate::change::error::ChangeError;
use crate::change::file::{Content, FileState, Place};
use crate::change::planner::Planner;

const MOST_SERVERS: usize = 8;
const MOST_DOMAINS: usize = 16;
/// The resolver of the C library asks no more (`MAXNS`).
const ASKED: usize = 3;
const LARGEST: u64 = 64 << 10;
/// Files of systemd-resolved's to which resolv.conf is a link where it answers (systemd-resolved.service(8)).
const RESOLVED: [&str; 3] =
    ["/run/systemd/resolve/stub-resolv.conf", "/run/systemd/resolve/resolv.conf", "/lib/systemd/resolv.conf"];
/// Words in the file's comments by which its writer names itself.
const WRITERS: [(&str, &str); 4] = [
    ("NetworkManager", "NetworkManager (nmcli connection modify … ipv4.dns …)"),
    ("resolvconf", "resolvconf (/etc/resolvconf or /etc/resolvconf.conf)"),
    ("dhcpcd", "dhcpcd (/etc/dhcpcd.conf)"),
    ("tailscale", "tailscale (tailscale set --accept-dns=false)"),
];

impl Plan for api::Dns {
    fn check(args: &api::DnsArgs) -> Result<(), ChangeError> {
        if args.servers.is_empty() || args.servers.len() > MOST_SERVERS {
            return Err(ChangeError::invalid("servers", format!("must be 1 to {MOST_SERVERS} addresses")));
        }
        if let Some(wrong) = args.servers.iter().position(|server| server.parse::<IpAddr>().is_err()) {
            return Err(ChangeError::invalid(format!("servers.{wrong}"), "must be an address"));
        }
        let domains = args.search.as_deref().unwrap_or_default();
        let plain = |domain: &String| {
            (1..=253).contains(&domain.len())
                && domain
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_'))
        };
        if domains.len() > MOST_DOMAINS || !domains.iter().all(plain) {
            return Err(ChangeError::invalid(
                "search",
                format!("must be at most {MOST_DOMAINS} names of domains"),
            ));
        }
        Ok(())
    }

    fn plan(planner: &mut Planner<'_>, args: api::DnsArgs) -> Result<(), ChangeError> {
        let path = planner.machine.own_path(b"/etc/resolv.conf")?;
        planner.asked_for(path.as_bytes());
        let place = Place::of(&path, |_| false)?;
        let from = planner.state(&place)?;
        let FileState::File { attributes, content } = &from else {
            return match &from {
                FileState::Link { target, .. } if RESOLVED.iter().any(|file| target.ends_with(file)) => {
                    link_dns::plan(planner, &args)
                }
                FileState::Link { target, .. } => Err(ChangeError::refused(format!(
                    "/etc/resolv.conf is a link to {target}, which another program writes; set the servers there"
                ))),
                other => Err(ChangeError::refused(format!(
                    "/etc/resolv.conf is {}",
                    other.text(&planner.machine.accounts)
                ))),
            };
        };
        let before = match planner.batch.get(&content.sha256) {
            Some(bytes) => bytes,
            None => planner.batch.store().get(&content.sha256, LARGEST)?,
        };
        let before = String::from_utf8_lossy(&before).into_owned();
        // A copy of one of its files.
        if before.lines().any(|line| line.starts_with('#') && line.contains("systemd-resolved")) {
            return link_dns::plan(planner, &args);
        }
        let comments = || before.lines().filter(|line| line.starts_with(['#', ';']));
        if let Some((_, who)) = WRITERS.iter().find(|(word, _)| comments().any(|line| line.contains(word))) {
            return Err(ChangeError::refused(format!(
                "/etc/resolv.conf is written by {who}, which would undo this; change it there"
            )));
        }
        let after = rewritten(&before, &args.servers, args.search.as_deref());
        planner.can_lock_out();
        planner.summary(format!("Sets the name servers to {}", args.servers.join(", ")));
        if args.servers.len() > ASKED {
            planner.not_covered(format!("the C library asks the first {ASKED} servers only"));
        }
        planner.not_covered(
            "whether the servers answer; programs that run keep the old ones until they read the file again",
        );
        let sha256 = planner.batch.put(after.as_bytes())?;
        let content = Content { sha256, size: after.len() as u64, not_kept: false, modified: None };
        let to = FileState::File { attributes: attributes.clone(), content };
        planner.change(place, from, to)
    }
}

/// The file with other servers, at the place of the first one; everything else stays as it is.
fn rewritten(before: &str, servers: &[String], search: Option<&[String]>) -> String {
    let keyword = |line: &str| line.split_whitespace().next().map(str::to_owned);
    let replaced = |line: &str| match keyword(line).as_deref() {
        Some("nameserver") => true,
        Some("search" | "domain") => search.is_some(),
        _ => false,
    };
    let mut new: Vec<String> = Vec::new();
    if let Some(domains) = search.filter(|domains| !domains.is_empty()) {
        new.push(format!("search {}", domains.join(" ")));
    }
    new.extend(servers.iter().map(|server| format!("nameserver {server}")));
    let at = before.lines().position(replaced).unwrap_or_else(|| before.lines().count());
    let mut lines: Vec<String> =
        before.lines().take(at).filter(|line| !replaced(line)).map(str::to_owned).collect();
    lines.extend(new);
    lines.extend(before.lines().skip(at).filter(|line| !replaced(line)).map(str::to_owned));
    lines.join("\n") + "\n"
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::change::testing::Bench;

    #[test]
    fn the_servers_are_replaced_and_the_rest_stays() {
        let bench = Bench::new();
        let before =
            "# mine\noptions ndots:2\nnameserver 192.0.2.1\nsearch a.example\nnameserver 192.0.2.2\n";
        bench.write("/etc/resolv.conf", before);
        let made = bench.change("network.dns", json!({"servers": ["2001:db8::1", "9.9.9.9"]}));
        assert_eq!(
            bench.read("/etc/resolv.conf"),
            "# mine\noptions ndots:2\nnameserver 2001:db8::1\nnameserver 9.9.9.9\nsearch a.example\n"
        );
        bench.undo(&made);
        assert_eq!(bench.read("/etc/resolv.conf"), before);
        assert_eq!(rewritten("", &["::1".to_owned()], Some(&["x".to_owned()])), "search x\nnameserver ::1\n");
    }

    #[test]
    fn a_file_that_somebody_else_writes_is_left_to_them() {
        let bench = Bench::new();
        bench.write("/etc/resolv.conf", "# Generated by NetworkManager\nnameserver 192.0.2.1\n");
        let error = bench.plan("network.dns", json!({"servers": ["9.9.9.9"]})).unwrap_err();
        assert!(error.to_string().contains("nmcli"), "{error}");
        let path = bench.path("/etc/resolv.conf");
        std::fs::remove_file(&path).unwrap();
        std::os::unix::fs::symlink("../run/systemd/resolve/stub-resolv.conf", path).unwrap();
        let error = bench.plan("network.dns", json!({"servers": ["9.9.9.9"]})).unwrap_err();
        assert!(error.to_string().starts_with("interface: "), "{error}");
        let error = bench.plan("network.dns", json!({"servers": ["9.9.9.9\nx"]})).unwrap_err();
        assert!(error.to_string().starts_with("servers.0: "), "{error}");
    }
}
