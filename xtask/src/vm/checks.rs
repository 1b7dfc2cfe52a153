//! What agentd must answer about the machine that [`super::fixtures`] set up.

use agentos_api::query::{
    Boots, Connections, FailedUnits, Firewall, Journal, Listeners, Network, Packages, Service, Services,
    Sessions, Timers, journal, listeners, sessions,
};
use anyhow::{Context, Result};
use serde_json::{Value, json};

use super::ask::{Ask, expect};
use super::fixtures::LOG_LINES;
use super::nspawn::Guest;

/// A statement about the answers, and the test of it.
pub(super) type Check = (&'static str, fn(&Ask, &Guest) -> Result<()>);

/// All of them.
pub(super) const CHECKS: &[Check] = &[
    ("the services are listed with their states", services_are_listed),
    ("services are sorted, paged and filtered", services_are_paged),
    ("one service is given in full", one_service),
    ("a unit that is not there is told from its neighbours", unknown_unit),
    ("a failed unit says why and what it said last", failed_units),
    ("restarts are counted", restarts),
    ("timers say when next", timers),
    ("the journal is paged without gap or repetition", journal_pages),
    ("the journal is filtered by severity, text, time and boot", journal_filters),
    ("log lines with any bytes are given", journal_bytes),
    ("wrong questions to the journal name the argument", journal_refuses),
    ("listeners have their process and unit", listeners_have_owners),
    ("connections are found at both ends", connections),
    ("the network is as ip says", network),
    ("the firewall is as nft says", firewall),
    ("a session is known to logind", sessions_of_logind),
    ("the packages are as dpkg says", packages),
    ("the boots are as journalctl says", boots),
    ("a bus that was started again is found again", bus_restarts),
    ("without a bus the answer says what is missing", no_bus),
    ("a systemd that hangs is given up on, and asked again when it is back", systemd_hangs),
];

fn services_are_listed(ask: &Ask, guest: &Guest) -> Result<()> {
    let answer = ask.query::<Services>(&json!({"limit": 500}))?;
    let listed =
        guest.run(&["systemctl", "list-units", "--type=service", "--all", "--plain", "--no-legend"])?;
    let expected = listed.lines().filter(|line| !line.contains(" not-found ")).count() as u64;
    // Units come and go between the two.
    expect(answer.total.abs_diff(expected) <= 2, "as many as systemctl lists", &(answer.total, expected))?;
    expect(answer.system_state == "degraded", "the system is degraded", &answer.system_state)?;
    let running = answer
        .services
        .iter()
        .find(|service| service.unit == "fixture-listens.service")
        .context("fixture-listens")?;
    expect(running.active_state == "active" && running.sub_state == "running", "it runs", running)?;
    expect(running.main_pid.is_some() && running.since.is_some(), "it has a process and a time", running)?;
    expect(running.enabled.as_deref() == Some("enabled"), "it is enabled", running)
}

fn services_are_paged(ask: &Ask, _: &Guest) -> Result<()> {
    let all = ask.query::<Services>(&json!({"limit": 500}))?;
    let mut paged = Vec::new();
    let mut offset = Some(0);
    while let Some(at) = offset {
        let page = ask.query::<Services>(&json!({"limit": 7, "offset": at}))?;
        paged.extend(page.services.into_iter().map(|service| service.unit));
        offset = page.next_offset;
    }
    let names: Vec<String> = all.services.into_iter().map(|service| service.unit).collect();
    expect(paged == names, "the pages together are the whole", &paged)?;
    let failed = ask.query::<Services>(&json!({"state": "failed"}))?;
    expect(
        failed.services.iter().all(|service| service.active_state == "failed") && failed.total > 0,
        "only failed",
        &failed,
    )?;
    let text = ask.query::<Services>(&json!({"text": "FAILS ON"}))?;
    expect(text.total == 1, "found by its description", &text)?;
    let unloaded = ask.query::<Services>(&json!({"unloaded": true, "limit": 500}))?;
    expect(
        unloaded.services.iter().any(|service| service.load_state == "unloaded"),
        "installed ones too",
        &unloaded.total,
    )?;
    for sort in ["memory", "cpu", "since"] {
        ask.query::<Services>(&json!({"sort": sort, "limit": 3}))?;
    }
    Ok(())
}

fn one_service(ask: &Ask, guest: &Guest) -> Result<()> {
    let answer = ask.query::<Service>(&json!({"unit": "fixture-listens"}))?;
    let pid =
        guest.run(&["systemctl", "show", "--property=MainPID", "--value", "fixture-listens.service"])?;
    expect(
        answer.main_pid.map(|pid| pid.to_string()).as_deref() == Some(pid.trim()),
        "its process",
        &answer,
    )?;
    expect(
        answer.fragment_path.as_deref() == Some("/etc/systemd/system/fixture-listens.service"),
        "its file",
        &answer,
    )?;
    expect(
        answer.drop_ins == ["/etc/systemd/system/fixture-listens.service.d/limits.conf"],
        "its drop-in",
        &answer,
    )?;
    expect(answer.memory_limit_bytes == Some(64 << 20), "its limit", &answer)?;
    expect(answer.commands[0][0] == "/usr/bin/systemd-socket-activate", "its command", &answer)?;
    expect(answer.restart_policy.as_deref() == Some("no"), "its policy", &answer)?;
    expect(!answer.log.is_empty() && answer.log_unavailable.is_none(), "its log", &answer)?;
    expect(!serde_json::to_string(&answer)?.contains("hunter2"), "no value of its environment", &"")?;
    let socket = ask.query::<Service>(&json!({"unit": "fixture-socket.socket"}))?;
    expect(socket.sub_state == "listening", "a socket is a unit too", &socket)
}

fn unknown_unit(ask: &Ask, _: &Guest) -> Result<()> {
    let problem = ask.problem("service", &json!({"unit": "fixture-listen"}))?;
    expect(
        problem.status == 404 && problem.near.contains(&"fixture-listens.service".to_owned()),
        "near names",
        &problem,
    )?;
    for unit in ["--version", "-H", "a b", "", "../etc/passwd", "fixture-socket@"] {
        let problem = ask.problem("service", &json!({"unit": unit}))?;
        expect(
            problem.status == 422 && problem.field.as_deref().is_some_and(|field| field.ends_with("unit")),
            unit,
            &problem,
        )?;
    }
    Ok(())
}

fn failed_units(ask: &Ask, _: &Guest) -> Result<()> {
    let answer = ask.query::<FailedUnits>(&json!({}))?;
    let unit =
        answer.units.iter().find(|unit| unit.unit == "fixture-fails.service").context("fixture-fails")?;
    expect(unit.result.as_deref() == Some("exit-code"), "its result", unit)?;
    expect(
        unit.exit.as_ref().is_some_and(|exit| exit.status == 3 && exit.kind == "exited"),
        "its exit",
        unit,
    )?;
    expect(unit.log.iter().any(|entry| entry.message == "the disk is made of cheese"), "its last words", unit)
}

fn restarts(ask: &Ask, _: &Guest) -> Result<()> {
    let answer = ask.query::<Service>(&json!({"unit": "fixture-restarts"}))?;
    expect(answer.restarts.is_some_and(|restarts| restarts > 0), "restarts", &answer.restarts)
}

fn timers(ask: &Ask, _: &Guest) -> Result<()> {
    let answer = ask.query::<Timers>(&json!({}))?;
    let timer =
        answer.timers.iter().find(|timer| timer.unit == "fixture-ticks.timer").context("fixture-ticks")?;
    expect(timer.activates == "fixture-fails.service" && timer.persistent, "what it starts", timer)?;
    expect(timer.schedule.contains(&"OnCalendar=*-*-* 04:00:00".to_owned()), "its calendar", timer)?;
    expect(timer.schedule.contains(&"OnBootSec=10h".to_owned()), "its span", timer)?;
    let seconds = timer.next_in_seconds.context("no next")?;
    expect(seconds > 0.0 && seconds <= 36_000.0, "not later than ten hours from boot", timer)?;
    let order: Vec<_> = answer.timers.iter().filter_map(|timer| timer.next.clone()).collect();
    expect(order.is_sorted(), "the next one first", &order)
}

fn log_of(ask: &Ask, args: Value) -> Result<journal::Output> {
    let mut all = json!({"unit": "fixture-log"});
    if let (Some(all), Value::Object(args)) = (all.as_object_mut(), args) {
        all.extend(args);
    }
    ask.query::<Journal>(&all)
}

fn lines(answer: &journal::Output) -> Vec<&str> {
    answer
        .entries
        .iter()
        .map(|entry| entry.message.as_str())
        .filter(|message| message.starts_with("line number"))
        .collect()
}

fn journal_pages(ask: &Ask, _: &Guest) -> Result<()> {
    let expected: Vec<String> = (1..=LOG_LINES).map(|number| format!("line number {number}")).collect();
    // Backwards from the newest, a page at a time.
    let (mut collected, mut before) = (Vec::new(), None);
    loop {
        let page = log_of(
            ask,
            before
                .as_ref()
                .map_or(json!({"limit": 7}), |cursor: &String| json!({"limit": 7, "before_cursor": cursor})),
        )?;
        let mut messages: Vec<String> = lines(&page).into_iter().map(str::to_owned).collect();
        messages.append(&mut collected);
        collected = messages;
        before.clone_from(&page.first_cursor);
        if !page.more {
            break;
        }
    }
    expect(collected == expected, "backwards", &collected)?;
    // Forwards from the oldest.
    let mut page = log_of(ask, json!({"limit": 7, "oldest_first": true}))?;
    let mut collected: Vec<String> = lines(&page).into_iter().map(str::to_owned).collect();
    while page.more {
        page = log_of(ask, json!({"limit": 7, "after_cursor": page.last_cursor.context("no cursor")?}))?;
        collected.extend(lines(&page).into_iter().map(str::to_owned));
    }
    expect(collected == expected, "forwards", &collected)?;
    let nothing_new = log_of(ask, json!({"after_cursor": log_of(ask, json!({}))?.last_cursor}))?;
    expect(nothing_new.entries.is_empty() && !nothing_new.more, "nothing after the last", &nothing_new)
}

fn journal_filters(ask: &Ask, _: &Guest) -> Result<()> {
    let grave = log_of(ask, json!({"priority": "err"}))?;
    expect(grave.entries.iter().any(|entry| entry.message == "a grave Error"), "by severity", &grave)?;
    expect(
        grave.entries.iter().all(|entry| entry.priority.is_some_and(|priority| priority <= 3)),
        "only grave",
        &grave,
    )?;
    expect(grave.entries[0].priority_name.as_deref() == Some("err"), "with its name", &grave)?;
    let found = log_of(ask, json!({"grep": "number (7|8)$"}))?;
    expect(lines(&found) == ["line number 7", "line number 8"], "by text", &found)?;
    expect(log_of(ask, json!({"grep": "Grave"}))?.entries.is_empty(), "a capital letter counts", &"Grave")?;
    let middle = &found.entries[0].timestamp;
    let later = log_of(ask, json!({"since": middle, "oldest_first": true, "limit": 1}))?;
    expect(later.entries[0].timestamp >= *middle, "since", &later)?;
    let earlier = log_of(ask, json!({"until": middle, "limit": 1}))?;
    expect(earlier.entries[0].timestamp <= *middle, "until", &earlier)?;
    expect(log_of(ask, json!({"until": "-1d"}))?.entries.is_empty(), "nothing yesterday", &"")?;
    expect(
        lines(&log_of(ask, json!({"since": "-1h", "boot": "0", "limit": 1000}))?).len() == LOG_LINES,
        "this boot",
        &"",
    )?;
    let kernel = ask.query::<Journal>(&json!({"identifier": "systemd", "limit": 1}))?;
    expect(kernel.entries.len() == 1, "by identifier", &kernel)?;
    let pid = found.entries[0].pid.context("no process")?;
    let by_pid = ask.query::<Journal>(&json!({"pid": pid, "limit": 1000}))?;
    expect(
        by_pid.entries.iter().all(|entry| entry.pid == Some(pid)) && !by_pid.entries.is_empty(),
        "by process",
        &pid,
    )
}

fn journal_bytes(ask: &Ask, _: &Guest) -> Result<()> {
    let answer = log_of(ask, json!({"limit": 1000, "message_bytes": 100}))?;
    let lossy = answer.entries.iter().find(|entry| entry.message.starts_with("caf")).context("no café")?;
    expect(lossy.lossy && lossy.message == "caf\u{fffd} is latin", "not UTF-8", lossy)?;
    expect(
        answer.entries.iter().any(|entry| entry.message == "red \u{1b}[31m text"),
        "an escape sequence",
        &"",
    )?;
    let long =
        answer.entries.iter().find(|entry| entry.message.starts_with("xxx")).context("no long line")?;
    expect(long.truncated && long.message.len() == 100, "cut", long)?;
    expect(
        answer.entries.iter().all(|entry| entry.timestamp.ends_with('Z') && !entry.cursor.is_empty()),
        "moments",
        &"",
    )
}

fn journal_refuses(ask: &Ask, _: &Guest) -> Result<()> {
    for (args, status, field) in [
        (json!({"unit": "--output=verbose"}), 422, Some("unit")),
        (json!({"grep": "("}), 422, Some("grep")),
        (json!({"since": "yesterday"}), 422, Some("since")),
        (json!({"limit": 0}), 422, Some("limit")),
        (json!({"limit": -1}), 422, Some("limit")),
        (json!({"limit": 1_000_000_000}), 422, Some("limit")),
        (json!({"after_cursor": "s=0"}), 422, Some("after_cursor")),
        (json!({"boot": "-5000"}), 404, None),
    ] {
        let problem = ask.problem("journal", &args)?;
        let named =
            field.is_none_or(|field| problem.field.as_deref().is_some_and(|named| named.ends_with(field)));
        expect(problem.status == status && named, &args.to_string(), &problem)?;
    }
    Ok(())
}

fn listeners_have_owners(ask: &Ask, _: &Guest) -> Result<()> {
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

fn connections(ask: &Ask, guest: &Guest) -> Result<()> {
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

fn network(ask: &Ask, guest: &Guest) -> Result<()> {
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

fn firewall(ask: &Ask, _: &Guest) -> Result<()> {
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

fn sessions_of_logind(ask: &Ask, guest: &Guest) -> Result<()> {
    let answer = ask.query::<Sessions>(&json!({}))?;
    expect(answer.source == sessions::Source::Logind, "from logind", &answer)?;
    let session =
        answer.sessions.iter().find(|session| session.user == "nobody").context("no session of nobody")?;
    expect(session.uid == Some(65_534) && session.since.is_some(), "its user", session)?;
    let leader = guest.run(&["loginctl", "show-session", "--property=Leader", "--value", &session.id])?;
    expect(
        session.leader_pid.map(|pid| pid.to_string()).as_deref() == Some(leader.trim()),
        "its leader",
        session,
    )?;
    let nobody_else = ask.query::<Sessions>(&json!({"user": "somebody"}))?;
    expect(nobody_else.total == 0, "by user", &nobody_else)
}

fn packages(ask: &Ask, guest: &Guest) -> Result<()> {
    let listed = guest.run(&["dpkg-query", "-W", "-f", "${Package} ${Version}\n"])?;
    let answer = ask.query::<Packages>(&json!({"limit": 1000}))?;
    let mut expected: Vec<&str> = listed.lines().collect();
    expected.sort_unstable();
    let mut given: Vec<String> =
        answer.packages.iter().map(|package| format!("{} {}", package.name, package.version)).collect();
    given.sort();
    expect(given == expected, "as dpkg lists", &(given.len(), expected.len()))?;
    let exact = ask.query::<Packages>(&json!({"exact": "systemd"}))?;
    expect(exact.total == 1 && exact.packages[0].size_bytes.is_some(), "one of them", &exact)
}

fn boots(ask: &Ask, guest: &Guest) -> Result<()> {
    let answer = ask.query::<Boots>(&json!({}))?;
    let id = guest.run(&["cat", "/proc/sys/kernel/random/boot_id"])?.trim().replace('-', "");
    let current = answer.boots.iter().find(|boot| boot.current).context("no current boot")?;
    expect(current.boot_id == id && current.last_entry.is_some(), "this boot", current)?;
    expect(answer.history_unavailable.is_none(), "its history", &answer)
}

/// The list of services through a connection that may have died.
fn listed(ask: &Ask) -> Result<u64> {
    ask.query::<Services>(&json!({"text": "fixture-listens"})).map(|answer| answer.total)
}

fn bus_restarts(ask: &Ask, guest: &Guest) -> Result<()> {
    listed(ask)?;
    guest.shell("systemctl restart dbus.service; sleep 0.5")?;
    expect(listed(ask)? == 1, "as before", &"")
}

fn no_bus(ask: &Ask, guest: &Guest) -> Result<()> {
    guest.shell(
        "systemctl stop dbus.socket dbus.service 2>/dev/null; sleep 0.2; rm -f /run/dbus/system_bus_socket",
    )?;
    let problem = ask.problem("services", &json!({}));
    // logind is on the bus only; without it, and without utmp, nobody knows who is logged in.
    let sessions = ask.query::<Sessions>(&json!({}));
    guest.shell("systemctl start dbus.socket; sleep 0.5")?;
    let problem = problem?;
    let named = problem.detail.contains("/run/dbus/system_bus_socket");
    expect(
        problem.status == 503 && problem.code.as_str() == "systemd_unavailable" && named,
        "it says so",
        &problem,
    )?;
    let from_logind = sessions.is_ok_and(|answer| answer.source == sessions::Source::Logind);
    expect(!from_logind, "sessions do not come from logind", &from_logind)?;
    expect(listed(ask)? == 1, "and answers again", &"")
}

fn systemd_hangs(ask: &Ask, guest: &Guest) -> Result<()> {
    listed(ask)?;
    let stopped = guest.pause()?;
    let started = std::time::Instant::now();
    let problem = ask.problem("services", &json!({}));
    let waited = started.elapsed();
    drop(stopped);
    let problem = problem?;
    expect(problem.status == 504 && problem.code.as_str() == "timed_out", "it says so", &problem)?;
    expect(waited.as_secs() < 12, "in bounded time", &waited)?;
    expect(listed(ask)? == 1, "and answers again", &"")
}
