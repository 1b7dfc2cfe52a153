//! The person locked out, or the network cut.

use serde_json::{Value, json};

use crate::bench::Bench;
use crate::common::eventually;
use crate::incident::{Expected, Found, Incident, Replay, Row};
use crate::{page, replay};

pub(crate) const TITLE: &str = "E. Locked out, network cut";

const INCIDENTS: &[Incident] = &[
    Incident {
        name: "E1",
        what: "a hardened sshd cut the tunnel that was the only way to the surface",
        source: "told in the report of an agent's skill, without a date",
        expected: Expected::RolledBack,
        types: &["file.write"],
        replay: Replay::Own(sshd),
    },
    Incident {
        name: "E3",
        what: "the network was changed on a host that is reached over it alone",
        source: "2026-03, anthropics/claude-code 30052",
        expected: Expected::RolledBack,
        types: &["network.address", "network.link"],
        replay: Replay::Own(link),
    },
    Incident {
        name: "E-a",
        what: "a packet filter that drops all was set, with the session behind it",
        source: "of the class",
        expected: Expected::RolledBack,
        types: &["firewall.close"],
        replay: Replay::Own(filter),
    },
];

#[test]
fn locked_out() {
    page::check(TITLE, INCIDENTS);
}

/// agentd in a network of its own, in which `way0` carries the session.
fn bench() -> Bench {
    let bench = Bench::in_a_network();
    bench.in_its_network(
        "set -e; ip link set lo up; ip link add way0 type veth peer name way1; ip link set way1 up; ip link set way0 up
         ip address add 192.0.2.7/32 dev way0; ip address add 192.0.2.8/32 dev way0; ip route add 198.51.100.0/24 dev way0",
    );
    bench
}

/// A change that waits, and not for the yes to another one; made, nobody confirms it, and it is as it was before.
fn is_rolled_back(bench: &Bench, state: impl Fn() -> String, change: &Value, other: &Value) -> Found {
    let before = state();
    let ask = |body: &Value| {
        let answer = bench.ask(body);
        assert_eq!(answer.status, 202, "{:#}", answer.json());
        answer.json()
    };
    let (change, elsewhere) = (ask(change), ask(other));
    assert!(change["plan"]["steps"].as_array().unwrap().iter().any(|step| step["can_lock_out"] == true));
    let wrong = json!({ "decision": "approve", "plan_hash": elsewhere["plan"]["hash"] });
    bench.decide(&change, &wrong).problem(409, "plan_changed");
    assert_eq!(state(), before, "it was made without a yes");
    let made = bench.approve(&change);
    assert_eq!((made.status, &made.json()["status"]), (200, &json!("unconfirmed")), "{:#}", made.json());
    // A machine that is busy may have taken it back by now.
    let there = state();
    assert!(there != before || bench.change(&change)["status"] == "undone", "it was made");
    // The agent's word is no confirmation.
    bench.daemon.post(&format!("/changes/{}/confirm", change["id"]), "{}").problem(403, "forbidden");
    eventually("it is taken back", || (bench.change(&change)["status"] == "undone").then_some(()));
    assert_eq!(state(), before, "it is not as it was");
    Found::RolledBack
}

/// A command that is after the network: nothing of it happens, and no change of files is planned.
fn does_nothing(bench: &Bench, act: &str, state: impl Fn() -> String) -> (Found, Found) {
    let place = bench.place("network", "true");
    let before = state();
    let one = |command: &str| {
        let observed = bench.observe(command).json();
        let said = observed["stderr"]["content"].as_str().unwrap();
        let refused = ["not permitted", "not implemented"].iter().any(|word| said.contains(word));
        assert!(refused, "it is told that it did not work: {observed:#}");
        let answer = bench.preview(command);
        assert_eq!(
            (answer.status, &answer.json()["status"]),
            (200, &json!("planned")),
            "{:#}",
            answer.json()
        );
        assert_eq!(state(), before, "{command}");
        Found::OutOfReach
    };
    let shell = one(&place.within(act));
    (shell, replay::in_each(|_, hide| one(&hide(&place, act))))
}

fn link() -> Row {
    let bench = bench();
    // Sorted: an address that comes back is the last of its interface's, and which is first of several is not promised.
    let state = || {
        bench.in_its_network(
            "ip -o -4 address | cut -d' ' -f2-7 | sort; ip -o link show way0 | grep -o '[<,]UP'; ip -4 route; ip link show br0 2>&1; true",
        )
    };
    let (shell, hidden) = does_nothing(
        &bench,
        "ip link add br0 type bridge; ip address flush dev way0; ip link set way0 down; nmcli con add type bridge ifname br0",
        state,
    );
    let remove = |address: &str| json!({ "mutation": "network.address", "args": { "interface": "way0", "action": "remove", "address": address } });
    let typed = is_rolled_back(&bench, state, &remove("192.0.2.7/32"), &remove("192.0.2.8/32"));
    let down = json!({ "mutation": "network.link", "args": { "interface": "way0", "state": "down" } });
    assert_eq!(is_rolled_back(&bench, state, &down, &remove("192.0.2.8/32")), typed);
    Row { shell, typed, hidden }
}

fn filter() -> Row {
    let bench = bench();
    let state = || bench.in_its_network("nft list ruleset");
    let act = "nft 'add table inet away { chain in { type filter hook input priority 0; policy drop; }; }'; iptables -P INPUT DROP";
    let (shell, hidden) = does_nothing(&bench, act, state);
    let close = |ports: &str| json!({ "mutation": "firewall.close", "args": { "ports": ports } });
    let typed = is_rolled_back(&bench, state, &close("all"), &close("8443"));
    Row { shell, typed, hidden }
}

/// The configuration of sshd in agentd's own view of the file systems: nothing of it is this machine's.
fn sshd() -> Row {
    let bench = bench();
    let aside = bench.folder.path().join("aside");
    std::fs::create_dir(&aside).unwrap();
    bench.in_its_network(&format!(
        "set -e; mount -t tmpfs none {0}; mkdir {0}/u {0}/w; mount -t overlay -o lowerdir=/etc,upperdir={0}/u,workdir={0}/w none /etc; mkdir -p /etc/ssh
         printf 'PermitRootLogin yes\\nAllowTcpForwarding yes\\n' >/etc/ssh/sshd_config; chmod 640 /etc/ssh/sshd_config",
        aside.display()
    ));
    let state = || bench.in_its_network("cd /etc/ssh; stat -c '%n %a %U:%G' *; cat sshd_config");
    let act = |key: &str| format!("sed -i 's/^{key} .*/{key} no/' /etc/ssh/sshd_config");
    let preview = |command: &str| json!({ "mutation": "shell.preview", "args": { "command": command } });
    let other = preview(&act("PermitRootLogin"));
    let shell = is_rolled_back(&bench, state, &preview(&act("AllowTcpForwarding")), &other);
    let place = bench.place("ssh", "true");
    let hidden = replay::in_each(|_, hide| {
        is_rolled_back(&bench, state, &preview(&hide(&place, &act("AllowTcpForwarding"))), &other)
    });
    let content = "PermitRootLogin yes\nAllowTcpForwarding no\n";
    let typed =
        json!({ "mutation": "file.write", "args": { "path": "/etc/ssh/sshd_config", "content": content } });
    Row { shell, typed: is_rolled_back(&bench, state, &typed, &other), hidden }
}
