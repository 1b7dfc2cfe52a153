//! Sockets, interfaces, routes and the packet filter.

use agentos_api::query::{Connections, Firewall, Listeners, Network, listeners};
use anyhow::Result;
use serde_json::json;

use crate::vm::ask::{Ask, expect};
use crate::vm::nspawn::Guest;

pub(super) fn listeners_have_owners(ask: &Ask, _: &Guest) -> Result<()> {
    let answer = ask.query::<Listeners>(&json!({"port": 7778}))?;
    let [listener] = answer.listeners.as_slice() else { anyhow::bail!("not one: {answer:?}") };
    expect(listener.reach == listeners::Reach::ThisMachine, "its reach", listener)?;
    let units: Vec<_> = listener.processes.iter().filter_map(|owner| owner.unit.as_deref()).collect();
    expect(units == ["fixture-listens.service"], "its unit", listener)?;
    let socket = ask.query::<Listeners>(&json!({"port": 7777}))?;
    expect(
        socket.listeners.iter().any(|listener| listener.reach == listeners::Reach::EveryAddress),
        "a socket unit",
        &socket,
    )?;
    expect(socket.listeners[0].processes.iter().any(|owner| owner.pid == 1), "systemd holds it", &socket)?;
    let unix = ask.query::<Listeners>(&json!({"protocol": "unix", "text": "dbus", "limit": 1000}))?;
    expect(
        unix.listeners.iter().any(|listener| listener.address == "/run/dbus/system_bus_socket"),
        "unix sockets",
        &unix,
    )?;
    expect(answer.all_processes_seen, "as root all are seen", &answer)
}

pub(super) fn connections(ask: &Ask, guest: &Guest) -> Result<()> {
    guest.shell("systemd-run --quiet --unit=fixture-connects bash -c 'exec 3<>/dev/tcp/127.0.0.1/7777; sleep 1000'; sleep 0.5")?;
    let answer = ask.query::<Connections>(&json!({"port": 7777}))?;
    expect(answer.total == 2, "both ends", &answer)?;
    let units: Vec<_> = answer
        .connections
        .iter()
        .flat_map(|one| &one.processes)
        .filter_map(|owner| owner.unit.clone())
        .collect();
    expect(units.iter().any(|unit| unit == "fixture-connects.service"), "the caller", &units)?;
    expect(units.iter().any(|unit| unit.starts_with("fixture-socket@")), "the called", &units)
}

pub(super) fn network(ask: &Ask, guest: &Guest) -> Result<()> {
    guest.shell("ip link add fixture0 type veth peer name fixture1; ip addr add 192.0.2.7/24 dev fixture0; ip addr add 2001:db8::7/64 dev fixture0 nodad; ip link set fixture0 up; ip link set fixture1 up; ip route add default via 192.0.2.1 metric 77")?;
    let answer = ask.query::<Network>(&json!({"interface": "fixture0"}))?;
    let interface = &answer.interfaces[0];
    expect(interface.kind == "veth" && interface.up, "its kind", interface)?;
    expect(
        interface.addresses.iter().any(|one| one.address == "192.0.2.7" && one.prefix_length == 24),
        "its address",
        interface,
    )?;
    expect(
        interface.addresses.iter().any(|one| one.address == "2001:db8::7" && one.prefix_length == 64),
        "its IPv6",
        interface,
    )?;
    let default = &answer.routes[0];
    expect(
        default.destination == "default" && default.gateway.as_deref() == Some("192.0.2.1"),
        "the way out",
        default,
    )?;
    expect(default.metric == Some(77), "its metric", default)?;
    let all = ask.query::<Network>(&json!({"all_routes": true}))?;
    let table = guest.shell("ip route show table all; ip -6 route show table all")?;
    let distinct: std::collections::BTreeSet<&str> = table.lines().collect();
    expect(
        all.routes_total == distinct.len() as u64,
        "as many routes as ip has",
        &(all.routes_total, distinct.len()),
    )?;
    expect(all.hostname == "agentos-test", "the name", &all.hostname)?;
    let problem = ask.problem("network", &json!({"interface": "fixture9"}))?;
    expect(problem.status == 404 && !problem.near.is_empty(), "no such interface", &problem)
}

pub(super) fn firewall(ask: &Ask, _: &Guest) -> Result<()> {
    let answer = ask.query::<Firewall>(&json!({}))?;
    expect(answer.active && answer.tables.len() == 1, "active", &answer)?;
    let chain = &answer.tables[0].chains[0];
    expect(
        chain.policy.as_deref() == Some("drop") && chain.hook.as_deref() == Some("input"),
        "policy",
        chain,
    )?;
    expect(
        chain.rules.iter().any(|rule| rule.comment.as_deref() == Some("ssh") && rule.packets == Some(0)),
        "rule",
        chain,
    )?;
    let text = &chain.rules[1].text;
    expect(text.starts_with("ip saddr @trusted tcp dport 22 counter"), "text", text)?;
    expect(answer.tables[0].sets[0].elements_total == 2, "set", &answer)
}
