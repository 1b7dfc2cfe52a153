//! Incidents that need a machine that is booted: services, its end, packages. Those that need none are in
//! `crates/agentd/tests/incidents`.

use agentos_api::change::{Change, Status};
use anyhow::Result;
use serde_json::{Value, json};

use crate::vm::ask::{Ask, expect};
use crate::vm::nspawn::Guest;

const SERVICE: &str = "fixture-listens.service";

/// The same text as it is, in a script, and as digits for an interpreter.
fn ways(guest: &Guest, text: &str) -> Result<[String; 3]> {
    std::fs::write(guest.path("/srv/x.sh"), text)?;
    let digits = text.bytes().fold(String::new(), |all, byte| format!("{all}{byte:02x}"));
    Ok([
        text.to_owned(),
        "sh /srv/x.sh".to_owned(),
        format!("perl -e 'system(\"sh\", \"-c\", pack(\"H*\", \"{digits}\"))'"),
    ])
}

/// In each way, observed and asked for: `state` stays, and nothing is made.
fn reaches_nothing(ask: &Ask, guest: &Guest, text: &str, state: &str) -> Result<()> {
    let before = guest.shell(state)?;
    for command in ways(guest, text)? {
        // What it says is of no interest here, nor whether it is refused; what it does is.
        ask.query::<agentos_api::query::Shell>(&json!({ "command": command, "time_limit_seconds": 20 }))?;
        let asked = ask.mutate("shell.preview", &json!({ "command": command, "time_limit_seconds": 20 }));
        if let Ok(change) = &asked {
            let quiet = matches!(change.status, Status::Planned | Status::Waiting);
            expect(quiet, "nothing was made", change)?;
        }
        let after = guest.shell(state)?;
        expect(before == after, &command, &after)?;
    }
    Ok(())
}

/// The agent asks, and it waits.
fn waits(ask: &Ask, mutation: &str, args: &Value) -> Result<Change> {
    let change = ask.mutate(mutation, args)?;
    expect(change.status == Status::Waiting, "it waits", &change)?;
    Ok(change)
}

fn operator(guest: &Guest) -> Result<Ask> {
    Ask::new(guest.path("/run/agentos/operator.sock"))
}

pub(super) fn own_service(ask: &Ask, guest: &Guest) -> Result<()> {
    let pid = guest.run(&["systemctl", "show", "--value", "-p", "MainPID", "agentd.service"])?;
    let state = "systemctl show -p MainPID,InvocationID,ActiveState,UnitFileState agentd.service";
    let text = format!(
        "systemctl stop agentd agentd.socket; systemctl mask agentd; kill -9 {}; pkill -9 agentd; systemctl start agentd",
        pid.trim()
    );
    reaches_nothing(ask, guest, &text, state)?;
    for (mutation, args) in [
        ("service.stop", json!({ "unit": "agentd" })),
        ("service.restart", json!({ "unit": "agentd" })),
        ("service.disable", json!({ "unit": "agentd.socket" })),
        ("service.mask", json!({ "unit": "agentd" })),
        ("package.remove", json!({ "names": ["agentos"] })),
    ] {
        let code = ask.refusal(mutation, &args)?;
        expect(code == "forbidden", mutation, &code)?;
    }
    let code =
        ask.refusal("process.signal", &json!({ "pid": pid.trim().parse::<u32>()?, "signal": "KILL" }))?;
    expect(code == "change_refused", "its process", &code)
}

pub(super) fn stopped(ask: &Ask, guest: &Guest) -> Result<()> {
    let person = operator(guest)?;
    let state = format!("systemctl show -p MainPID,InvocationID,ActiveState {SERVICE}");
    let text = format!(
        "systemctl stop {SERVICE}; kill -9 $(systemctl show --value -p MainPID {SERVICE}); systemctl kill {SERVICE}"
    );
    reaches_nothing(ask, guest, &text, &state)?;
    let before = guest.shell(&state)?;
    let change = waits(ask, "service.stop", &json!({ "unit": SERVICE }))?;
    let other = waits(ask, "service.stop", &json!({ "unit": "fixture-ticks.timer" }))?;
    expect(ask.decide(&change, "approve").is_err(), "not by the agent's own word", &change)?;
    person.decide(&other, "approve")?;
    expect(guest.shell(&state)? == before, "the yes to another one lets nothing through", &other)?;
    let made = person.decide(&change, "approve")?;
    expect(made.status == Status::Applied, "it is made", &made)?;
    let is = |word: &str| {
        expect(guest.shell(&format!("systemctl is-active {SERVICE} || true"))?.trim() == word, word, &())
    };
    is("inactive")?;
    person.undo(&made)?;
    is("active")?;
    person.undo(&other)?;
    Ok(())
}

pub(super) fn ended(ask: &Ask, guest: &Guest) -> Result<()> {
    let person = operator(guest)?;
    let state = "cat /proc/sys/kernel/random/boot_id /run/systemd/shutdown/scheduled 2>/dev/null || true; systemctl is-system-running | grep -c stopping || true";
    let text = "shutdown -h now; systemctl reboot; reboot -f; echo b >/proc/sysrq-trigger; kill -INT 1; kill -s RTMIN+5 1";
    reaches_nothing(ask, guest, text, state)?;
    let before = guest.shell(state)?;
    let change = waits(ask, "power.reboot", &json!({}))?;
    let other = waits(ask, "hostname.set", &json!({ "name": "elsewhere" }))?;
    person.decide(&other, "approve")?;
    person.undo(&other)?;
    expect(guest.shell(state)? == before, "the yes to another one lets nothing through", &other)?;
    let made = person.decide(&change, "approve")?;
    expect(guest.shell(state)? != before, "it is scheduled", &made)?;
    person.undo(&made)?;
    expect(guest.shell(state)? == before, "it is cancelled", &made)
}

pub(super) fn dragged(ask: &Ask, guest: &Guest) -> Result<()> {
    let person = operator(guest)?;
    let state = "dpkg-query -W -f '${Package} ${Version} ${Status}\\n' | sha256sum; nft --version";
    reaches_nothing(ask, guest, "apt-get remove -y libnftables1; dpkg --force-all -r libnftables1", state)?;
    let change = waits(ask, "package.remove", &json!({ "names": ["libnftables1"] }))?;
    let named =
        change.plan.summary.contains("nftables (") && change.plan.summary.contains("cannot be without it");
    expect(named, "what goes with it is named", &change)?;
    let denied = person.decide(&change, "deny")?;
    expect(denied.status == Status::Denied, "a no is a no", &denied)?;
    guest.shell("nft --version").map(|_| ())
}
