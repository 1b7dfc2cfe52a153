//! `firewall.*`: rules in a table of AgentOS' own.
//!
//! Whatever one table of nftables accepts, another one may still drop; only dropping is final. So closing and blocking hold
//! whatever else is loaded, and opening says which other tables decide as well.

use std::collections::HashSet;
use std::ffi::OsStr;
use std::net::IpAddr;
use std::os::unix::ffi::OsStrExt;

use agentos_api::change::Risk;
use agentos_api::mutation::firewall as api;

use crate::change::Plan;
use crate::change::entry::{Book, Format, New};
use crate::change::error::ChangeError;
use crate::change::file::Place;
use crate::change::filter::Filter;
use crate::change::planner::Planner;
use crate::change::transition::Transition;
use crate::firewall::own::Own;
use crate::firewall::rule::{Net, Ports, Rule, Verdict, parse_range};
use crate::firewall::{all_tables, legacy_tables};
use crate::network::owners::Owners;
use crate::network::sockets::internet;

/// The rules of the next start of the machine, a line each.
const SAVED: &[u8] = b"/etc/agentos/firewall.rules";
const UNIT_LINK: &[u8] = b"/etc/systemd/system/sysinit.target.wants/agentos-firewall.service";
/// Programs by which people are connected to the machine, by how their names begin.
const SESSIONS: [&str; 1] = ["sshd"];
const ESTABLISHED: u8 = 0x01;
const LISTEN: u8 = 0x0a;

fn rule(verdict: Verdict, args: &api::PortArgs) -> Result<Rule, ChangeError> {
    let source = args.source.as_deref().map(|text| net("source", text)).transpose()?;
    let ports = if args.ports == "all" {
        if verdict == Verdict::Open {
            return Err(ChangeError::invalid(
                "ports",
                "must be a port or a range; firewall.close with the same ports is taken back by its own undo",
            ));
        }
        None
    } else {
        let (first, last) = parse_range(&args.ports).ok_or_else(|| {
            ChangeError::invalid("ports", "must be a port from 1 to 65535, a range such as 8000-8010, or all")
        })?;
        Some(Ports { protocol: args.protocol, first, last })
    };
    let of_source = |source: &Net| if source.address.is_ipv4() { api::Family::Ip } else { api::Family::Ip6 };
    if source
        .as_ref()
        .is_some_and(|source| args.family != api::Family::Inet && args.family != of_source(source))
    {
        return Err(ChangeError::invalid("family", "is not that of the source"));
    }
    // A source says its family by itself.
    let family = if source.is_some() { api::Family::Inet } else { args.family };
    Ok(Rule { verdict, ports, family, source })
}

fn net(field: &str, text: &str) -> Result<Net, ChangeError> {
    text.parse().map_err(|reason: &str| ChangeError::invalid(field, reason))
}

/// Plans that a rule is there, or not, now and, with `persist`, after the next start.
fn set(planner: &mut Planner<'_>, rule: Rule, there: bool, persist: bool) -> Result<(), ChangeError> {
    let earlier = planner.planned().iter().rev().find_map(|transition| match transition {
        Transition::Filter(filter) if filter.rule == rule => Some(filter.there),
        _ => None,
    });
    let is_there = match earlier {
        Some(there) => there,
        None => Own::read()?.has(&rule),
    };
    if is_there != there {
        planner.add(Transition::Filter(Filter { rule, there }))?;
    }
    if persist {
        let book = book(planner)?;
        let line = there.then(|| rule.line());
        planner.change_entry(&book, &rule.to_string(), line.as_deref().map(str::as_bytes))?;
    } else if !there && is_saved(planner, &rule)? {
        planner
            .not_covered("the next start of the machine: the rule is saved, and comes back then (persist)");
    } else if there {
        planner.not_covered("the next start of the machine: the rule is not saved (persist)");
    }
    Ok(())
}

fn is_saved(planner: &Planner<'_>, rule: &Rule) -> Result<bool, ChangeError> {
    // Without the folder nothing is saved.
    let Ok(book) = book(planner) else { return Ok(false) };
    Ok(planner.lines(&book)?.iter().any(|line| book.format.key(line) == Some(rule.to_string())))
}

fn book(planner: &Planner<'_>) -> Result<Book, ChangeError> {
    let path = planner.machine.own_path(SAVED)?;
    let place = Place::of(&path, |_| false).map_err(|_| {
        ChangeError::invalid("persist", "there is no /etc/agentos, from which rules are loaded at the start")
    })?;
    let new = Some(New { mode: 0o644, uid: 0, gid: 0, folder_mode: None });
    Ok(Book { format: Format::Firewall, place, new, owner: None })
}

/// What else decides about a port, and what listens there.
fn say_what_else(planner: &mut Planner<'_>, rule: &Rule, persist: bool) -> Result<(), ChangeError> {
    for table in all_tables()? {
        if table.family == "inet" && table.name == "agentos" {
            continue;
        }
        for chain in table.chains.iter().filter(|chain| chain.hook.as_deref() == Some("input")) {
            let drops = chain.policy.as_deref() == Some("drop")
                || chain.rules.iter().any(|rule| {
                    let json = rule.json.as_ref().map(ToString::to_string).unwrap_or_default();
                    ["\"drop\"", "\"reject\"", "\"jump\"", "\"goto\""].iter().any(|word| json.contains(word))
                });
            if drops {
                planner.not_covered(format!(
                    "the table {} {} decides as well (chain {}, policy {}): what it drops stays dropped",
                    table.family,
                    table.name,
                    chain.name,
                    chain.policy.as_deref().unwrap_or("accept")
                ));
            }
        }
    }
    for table in legacy_tables() {
        planner.not_covered(format!("the older iptables table {table} decides as well"));
    }
    if let Some(ports) = &rule.ports {
        planner.not_covered(match listening(*ports)? {
            Some(who) => format!("{who} listens there now"),
            None => "nothing listens there now".to_owned(),
        });
    }
    if rule.verdict != Verdict::Open {
        planner.not_covered(
            "what is passed on to others (containers, virtual machines) is not for this machine's own input",
        );
    }
    let link = planner.machine.own_path(UNIT_LINK)?;
    let enabled = std::fs::symlink_metadata(OsStr::from_bytes(link.as_bytes()));
    if persist && enabled.is_err() {
        planner.not_covered("agentos-firewall.service, which loads saved rules at the start, is not enabled");
    }
    Ok(())
}

/// Who listens on one of the ports.
fn listening(ports: Ports) -> Result<Option<String>, ChangeError> {
    let (names, state) = match ports.protocol {
        api::Protocol::Tcp => (["tcp", "tcp6"], Some(LISTEN)),
        api::Protocol::Udp => (["udp", "udp6"], None),
    };
    for name in names {
        let (sockets, _) = internet(name)?;
        let found = sockets.into_iter().find(|socket| {
            (ports.first..=ports.last).contains(&socket.local.1)
                && state.map_or(socket.remote.1 == 0, |state| socket.state == state)
                && !socket.local.0.is_loopback()
        });
        if let Some(socket) = found {
            let owners = Owners::of(&HashSet::from([socket.inode]))?;
            let who = owners.get(socket.inode).first().map_or("a program", |owner| owner.name.as_str());
            return Ok(Some(format!("{who} ({}:{})", socket.local.0, socket.local.1)));
        }
    }
    Ok(None)
}

/// The addresses from which people are connected, by the programs that hold the connections.
pub(super) fn session_addresses(programs: &[&str]) -> Result<Vec<IpAddr>, ChangeError> {
    let mut connected = Vec::new();
    for name in ["tcp", "tcp6"] {
        let (sockets, _) = internet(name)?;
        connected
            .extend(sockets.into_iter().filter(|socket| socket.state == ESTABLISHED && socket.inode != 0));
    }
    let owners = Owners::of(&connected.iter().map(|socket| socket.inode).collect())?;
    let of_session = |inode| {
        owners.get(inode).iter().any(|owner| programs.iter().any(|program| owner.name.starts_with(program)))
    };
    Ok(connected
        .into_iter()
        .filter(|socket| of_session(socket.inode))
        .map(|socket| socket.remote.0.to_canonical())
        .collect())
}

impl Plan for api::Open {
    fn check(args: &api::PortArgs) -> Result<(), ChangeError> {
        rule(Verdict::Open, args).map(|_| ())
    }

    fn plan(planner: &mut Planner<'_>, args: api::PortArgs) -> Result<(), ChangeError> {
        let open = rule(Verdict::Open, &args)?;
        planner.risk(Risk::Medium);
        planner.summary(format!("Lets through {}", words(&open)));
        set(planner, Rule { verdict: Verdict::Close, ..open }, false, args.persist)?;
        set(planner, open, true, args.persist)?;
        say_what_else(planner, &open, args.persist)
    }
}

impl Plan for api::Close {
    fn check(args: &api::PortArgs) -> Result<(), ChangeError> {
        rule(Verdict::Close, args).map(|_| ())
    }

    fn plan(planner: &mut Planner<'_>, args: api::PortArgs) -> Result<(), ChangeError> {
        let close = rule(Verdict::Close, &args)?;
        planner.can_lock_out();
        planner.summary(format!("Drops new connections to {}", words(&close)));
        planner.not_covered("connections that are open go on");
        if close.ports.is_some() {
            set(planner, Rule { verdict: Verdict::Open, ..close }, false, args.persist)?;
        }
        set(planner, close, true, args.persist)?;
        say_what_else(planner, &close, args.persist)
    }
}

impl Plan for api::Block {
    fn check(args: &api::BlockArgs) -> Result<(), ChangeError> {
        let source = net("source", &args.source)?;
        if source.length == 0 {
            return Err(ChangeError::invalid(
                "source",
                "is everybody; firewall.close with ports all is for that",
            ));
        }
        if source.holds(IpAddr::from([127, 0, 0, 1])) || source.address.is_loopback() {
            return Err(ChangeError::invalid("source", "holds this machine's own loopback"));
        }
        Ok(())
    }

    fn plan(planner: &mut Planner<'_>, args: api::BlockArgs) -> Result<(), ChangeError> {
        let source = net("source", &args.source)?;
        let block =
            Rule { verdict: Verdict::Block, ports: None, family: api::Family::Inet, source: Some(source) };
        planner.risk(Risk::Medium);
        if args.remove {
            planner.summary(format!("Listens to {source} again"));
            set(planner, block, false, args.persist)?;
            return say_what_else(planner, &block, args.persist);
        }
        refuse_own_sessions(&source, &SESSIONS)?;
        planner.can_lock_out();
        planner.summary(format!("Drops all that comes from {source}"));
        planner.not_covered("what this machine sends there still goes out; answers to it are dropped");
        set(planner, block, true, args.persist)?;
        say_what_else(planner, &block, args.persist)
    }
}

/// Refuses a block of somebody who is connected: it would cut the hand that could take it back.
pub(super) fn refuse_own_sessions(source: &Net, programs: &[&str]) -> Result<(), ChangeError> {
    match session_addresses(programs)?.into_iter().find(|address| source.holds(*address)) {
        Some(address) => Err(ChangeError::refused(format!(
            "{source} holds {address}, from which somebody is connected over ssh now"
        ))),
        None => Ok(()),
    }
}

fn words(rule: &Rule) -> String {
    let text = rule.to_string();
    text.split_once(' ').map_or_else(|| text.clone(), |(_, rest)| rest.to_owned())
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};

    use serde_json::json;

    use super::*;
    use crate::change::testing::{Bench, in_namespace, text_of};

    fn ruleset() -> String {
        let output = std::process::Command::new("/usr/sbin/nft").args(["list", "ruleset"]).output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    }

    #[test]
    fn rules_come_and_go_in_a_table_of_their_own() {
        if !in_namespace(
            "change::mutations::firewall::tests::rules_come_and_go_in_a_table_of_their_own",
            Some("nft"),
        ) {
            return;
        }
        let bench = Bench::new();
        std::fs::create_dir_all(bench.path("/etc/agentos")).unwrap();
        let closed = bench.change("firewall.close", json!({"ports": "all"}));
        assert!(closed.plan.steps[0].can_lock_out);
        let opened = bench
            .change("firewall.open", json!({"ports": "8000-8010", "source": "10.1.2.3/8", "persist": true}));
        let blocked = bench.change("firewall.block", json!({"source": "2001:db8::7"}));
        let now = ruleset();
        for line in [
            "ip saddr 10.0.0.0/8 tcp dport 8000-8010 accept comment \"open tcp 8000-8010 from 10.0.0.0/8\"",
            "ip6 saddr 2001:db8::7 drop",
            "drop comment \"close all\"",
        ] {
            assert!(now.contains(line), "{line}: {now}");
        }
        assert_eq!(
            bench.read("/etc/agentos/firewall.rules"),
            "add rule inet agentos opened ip saddr 10.0.0.0/8 tcp dport 8000-8010 accept comment \"open tcp 8000-8010 from 10.0.0.0/8\"\n"
        );
        // Out of order: each rule is a thing of its own.
        bench.undo(&opened);
        assert!(!bench.path("/etc/agentos/firewall.rules").exists());
        bench.undo(&closed);
        assert!(ruleset().contains("2001:db8::7"));
        bench.undo(&blocked);
        assert_eq!(ruleset(), "");
        bench.cut_and_recover(&opened);
    }

    #[test]
    fn a_closed_port_is_closed_until_it_is_taken_back() {
        if !in_namespace(
            "change::mutations::firewall::tests::a_closed_port_is_closed_until_it_is_taken_back",
            Some("nft"),
        ) {
            return;
        }
        // The other end of the cable is in a namespace of its own: from an own address packets come over the loopback.
        let mut other = std::process::Command::new("unshare").args(["--net", "sleep", "60"]).spawn().unwrap();
        let own = std::fs::read_link("/proc/self/ns/net").unwrap();
        let theirs = format!("/proc/{}/ns/net", other.id());
        while std::fs::read_link(&theirs).unwrap() == own {
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        let shell = |script: &str| {
            std::process::Command::new("sh")
                .args(["-c", script, "sh", &other.id().to_string()])
                .status()
                .unwrap()
                .success()
        };
        assert!(shell(
            "ip link add v0 type veth peer name v1 netns $1 && ip addr add 192.0.2.1/24 dev v0 && ip link set v0 up \
             && nsenter -t $1 -n sh -c 'ip addr add 192.0.2.2/24 dev v1 && ip link set v1 up'"
        ));
        let connects = || shell("nsenter -t $1 -n timeout 1 bash -c '</dev/tcp/192.0.2.1/8080' 2>/dev/null");
        let bench = Bench::new();
        let listener = TcpListener::bind("192.0.2.1:8080").unwrap();
        assert!(connects());
        let plan = bench.plan("firewall.close", json!({"ports": "8080"})).unwrap();
        assert!(text_of(&plan).contains("192.0.2.1:8080"), "{}", text_of(&plan));
        bench.make(&plan);
        assert!(!connects());
        // Opening takes the closing rule away, and undo brings it back.
        let opened = bench.change("firewall.open", json!({"ports": "8080"}));
        assert!(connects());
        bench.undo(&opened);
        assert!(!connects());
        bench.undo(&plan);
        assert!(connects());
        let all = bench.change("firewall.close", json!({"ports": "all"}));
        assert!(!connects());
        bench.undo(&all);
        let blocked = bench.change("firewall.block", json!({"source": "192.0.2.0/25"}));
        assert!(!connects());
        bench.undo(&blocked);
        assert!(connects());
        drop(listener);
        other.kill().unwrap();
        other.wait().unwrap();
    }

    #[test]
    fn other_tables_that_drop_are_named() {
        if !in_namespace("change::mutations::firewall::tests::other_tables_that_drop_are_named", Some("nft"))
        {
            return;
        }
        let loaded = std::process::Command::new("/usr/sbin/nft")
            .arg("add table inet filter; add chain inet filter input { type filter hook input priority 0; policy drop; }")
            .status()
            .unwrap();
        assert!(loaded.success());
        let bench = Bench::new();
        let plan = bench.plan("firewall.open", json!({"ports": "443"})).unwrap();
        let text = text_of(&plan);
        assert!(text.contains("inet filter decides as well (chain input, policy drop)"), "{text}");
        assert!(text.contains("nothing listens there now"), "{text}");
    }

    #[test]
    fn somebody_who_is_connected_is_not_blocked() {
        if !in_namespace("change::mutations::firewall::tests::somebody_who_is_connected_is_not_blocked", None)
        {
            return;
        }
        let status = std::process::Command::new("sh")
            .args(["-c", "ip link set lo up; ip addr add 192.0.2.1/24 dev lo"])
            .status()
            .unwrap();
        assert!(status.success());
        let listener = TcpListener::bind("192.0.2.1:2222").unwrap();
        let _client = TcpStream::connect("192.0.2.1:2222").unwrap();
        let (_server, _) = listener.accept().unwrap();
        // This test is the program that holds the connection.
        let own = std::fs::read_to_string("/proc/self/comm").unwrap();
        let within = |text: &str| refuse_own_sessions(&text.parse().unwrap(), &[own.trim()]);
        assert!(matches!(within("192.0.2.0/24"), Err(ChangeError::Refused { .. })));
        within("198.51.100.0/24").unwrap();
        refuse_own_sessions(&"192.0.2.0/24".parse().unwrap(), &["sshd"]).unwrap();
    }

    #[test]
    fn what_is_no_rule_is_refused() {
        let bench = Bench::new();
        for (mutation, args, field) in [
            ("firewall.open", json!({"ports": "0"}), "ports"),
            ("firewall.open", json!({"ports": "all"}), "ports"),
            ("firewall.close", json!({"ports": "80; flush ruleset"}), "ports"),
            ("firewall.close", json!({"ports": "90-80"}), "ports"),
            ("firewall.close", json!({"ports": "80", "source": "10.0.0.0/8", "family": "ip6"}), "family"),
            ("firewall.block", json!({"source": "0.0.0.0/0"}), "source"),
            ("firewall.block", json!({"source": "127.0.0.0/8"}), "source"),
            ("firewall.block", json!({"source": "::1"}), "source"),
            ("firewall.block", json!({"source": "example.org"}), "source"),
        ] {
            let error = bench.plan(mutation, args.clone()).unwrap_err();
            assert!(error.to_string().starts_with(&format!("{field}: ")), "{args}: {error}");
        }
    }
}
