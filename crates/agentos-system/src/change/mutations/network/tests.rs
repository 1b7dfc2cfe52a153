use serde_json::json;

use crate::change::testing::{Bench, in_namespace};

fn ip(arguments: &str) -> String {
    let output = std::process::Command::new("ip").args(arguments.split(' ')).output().unwrap();
    assert!(output.status.success(), "ip {arguments}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// What people made, without what counts down or is found anew.
fn state() -> String {
    let routes = ip("route") + &ip("-6 route");
    let mut lines: Vec<String> = (ip("-brief address show dev d0") + &routes)
        .lines()
        .filter(|line| !line.contains("fe80::"))
        .map(|line| line.replace(" linkdown", "").trim().to_owned())
        .collect();
    lines.sort();
    lines.join("\n")
}

fn set_up() {
    ip("link set lo up");
    ip("link add d0 type veth peer name d1");
    ip("link set d1 up");
    ip("link set d0 up");
    // Addresses of IPv6 are usable at once, so that no state changes by itself.
    ip("addr add 192.0.2.1/24 dev d0 label d0:x");
    ip("addr add 192.0.2.2/24 dev d0");
    ip("addr add 2001:db8::1/64 dev d0 nodad");
    ip("route add default via 192.0.2.254");
    ip("route add 198.51.100.0/24 via 192.0.2.253 metric 7 src 192.0.2.1 mtu 1400");
    ip("route add 203.0.113.0/24 via 198.51.100.9 dev d0 onlink");
    ip("-6 route add 2001:db8:9::/48 via 2001:db8::99");
}

#[test]
fn what_goes_with_an_interface_or_an_address_comes_back_with_it() {
    if !in_namespace(
        "change::mutations::network::tests::what_goes_with_an_interface_or_an_address_comes_back_with_it",
        Some("ip"),
    ) {
        return;
    }
    set_up();
    let bench = Bench::new();
    let before = state();
    assert!(before.contains("mtu 1400") && before.contains("2001:db8:9::/48"), "{before}");
    let down = bench.change("network.link", json!({"interface": "d0", "state": "down"}));
    assert!(down.plan.steps[0].can_lock_out);
    assert_eq!(ip("route"), "");
    bench.undo(&down);
    assert_eq!(state(), before);
    // The first address of a network takes the others and the routes with it.
    let removed = bench
        .change("network.address", json!({"interface": "d0", "action": "remove", "address": "192.0.2.1/24"}));
    assert!(!ip("route").contains("192.0.2.253"), "{}", ip("route"));
    bench.undo(&removed);
    assert_eq!(state(), before);
    assert!(ip("addr show dev d0").contains("scope global d0:x"));
    bench.cut_and_recover(&removed);
    assert_eq!(state(), before);
}

#[test]
fn addresses_and_routes_are_made_and_taken_back() {
    if !in_namespace(
        "change::mutations::network::tests::addresses_and_routes_are_made_and_taken_back",
        Some("ip"),
    ) {
        return;
    }
    set_up();
    let bench = Bench::new();
    let before = state();
    let mut made = Vec::new();
    for (mutation, args) in [
        ("network.address", json!({"interface": "d0", "action": "add", "address": "10.7.0.1/16"})),
        ("network.address", json!({"interface": "d0", "action": "add", "address": "2001:db8:7::1/64"})),
        ("network.route", json!({"action": "add", "destination": "10.8.0.0/16", "gateway": "10.7.0.9"})),
        (
            "network.route",
            json!({"action": "add", "destination": "10.9.0.0/16", "interface": "d0", "metric": 5}),
        ),
        (
            "network.route",
            json!({"action": "add", "destination": "2001:db8:8::/48", "gateway": "2001:db8::5"}),
        ),
        ("network.route", json!({"action": "remove", "destination": "0.0.0.0/0", "gateway": "192.0.2.254"})),
        (
            "network.route",
            json!({"action": "remove", "destination": "198.51.100.0/24", "gateway": "192.0.2.253", "metric": 7}),
        ),
        (
            "network.route",
            json!({"action": "remove", "destination": "2001:db8:9::/48", "gateway": "2001:db8::99"}),
        ),
    ] {
        let change = bench.change(mutation, args.clone());
        assert!(!change.script.is_empty(), "{args}");
        // A second time it is so already.
        assert!(bench.plan(mutation, args.clone()).unwrap().script.is_empty(), "{args}");
        made.push(change);
    }
    let now = state();
    for text in ["10.8.0.0/16 via 10.7.0.9", "10.9.0.0/16", "brd 10.7.255.255"] {
        assert!(now.contains(text) || ip("addr show dev d0").contains(text), "{text}: {now}");
    }
    assert!(!now.contains("default") && !now.contains("mtu 1400"));
    for change in made.iter().rev() {
        bench.undo(change);
    }
    assert_eq!(state(), before);
}

#[test]
fn what_cannot_be_is_refused() {
    if !in_namespace("change::mutations::network::tests::what_cannot_be_is_refused", Some("ip")) {
        return;
    }
    set_up();
    let bench = Bench::new();
    for (mutation, args, says) in [
        ("network.link", json!({"interface": "lo", "state": "down"}), "loopback"),
        ("network.link", json!({"interface": "d9", "state": "down"}), "the interface d9"),
        ("network.address", json!({"interface": "d0", "action": "add", "address": "10.0.0.1"}), "address: "),
        (
            "network.address",
            json!({"interface": "d0", "action": "add", "address": "224.0.0.1/4"}),
            "address: ",
        ),
        (
            "network.address",
            json!({"interface": "d0", "action": "add", "address": "10.0.0.1/8", "persist": true}),
            "persist: ",
        ),
        (
            "network.route",
            json!({"action": "add", "destination": "10.0.0.1/8", "interface": "d0"}),
            "destination: ",
        ),
        ("network.route", json!({"action": "add", "destination": "10.0.0.0/8"}), "gateway: "),
        (
            "network.route",
            json!({"action": "add", "destination": "10.0.0.0/8", "gateway": "::1"}),
            "gateway: ",
        ),
        (
            "network.route",
            json!({"action": "add", "destination": "0.0.0.0/0", "gateway": "192.0.2.3"}),
            "another route",
        ),
    ] {
        let error = bench.plan(mutation, args.clone()).unwrap_err().to_string();
        assert!(error.contains(says), "{args}: {error}");
    }
    // One that the kernel refuses is not half made.
    let before = state();
    let far = bench
        .plan("network.route", json!({"action": "add", "destination": "10.0.0.0/8", "gateway": "172.16.0.1"}))
        .unwrap();
    assert!(matches!(far.script.make(&bench.context(), |_| {}), crate::change::Made::TakenBack { .. }));
    assert_eq!(state(), before);
}
