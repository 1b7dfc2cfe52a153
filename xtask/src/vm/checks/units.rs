//! systemd's units, and what happens when nobody answers for them.

use agentos_api::query::{FailedUnits, Service, Services, Sessions, Timers, sessions};
use anyhow::{Context, Result};
use serde_json::json;

use crate::vm::ask::{Ask, expect};
use crate::vm::nspawn::Guest;

pub(super) fn services_are_listed(ask: &Ask, guest: &Guest) -> Result<()> {
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

pub(super) fn services_are_paged(ask: &Ask, _: &Guest) -> Result<()> {
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

pub(super) fn one_service(ask: &Ask, guest: &Guest) -> Result<()> {
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

pub(super) fn unknown_unit(ask: &Ask, _: &Guest) -> Result<()> {
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

pub(super) fn failed_units(ask: &Ask, _: &Guest) -> Result<()> {
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

pub(super) fn restarts(ask: &Ask, _: &Guest) -> Result<()> {
    let answer = ask.query::<Service>(&json!({"unit": "fixture-restarts"}))?;
    expect(answer.restarts.is_some_and(|restarts| restarts > 0), "restarts", &answer.restarts)
}

pub(super) fn timers(ask: &Ask, _: &Guest) -> Result<()> {
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

/// The list of services through a connection that may have died.
fn listed(ask: &Ask) -> Result<u64> {
    ask.query::<Services>(&json!({"text": "fixture-listens"})).map(|answer| answer.total)
}

pub(super) fn bus_restarts(ask: &Ask, guest: &Guest) -> Result<()> {
    listed(ask)?;
    guest.shell("systemctl restart dbus.service; sleep 0.5")?;
    expect(listed(ask)? == 1, "as before", &"")
}

pub(super) fn no_bus(ask: &Ask, guest: &Guest) -> Result<()> {
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

pub(super) fn systemd_hangs(ask: &Ask, guest: &Guest) -> Result<()> {
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
