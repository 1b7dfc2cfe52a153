//! What goes wrong on machines: daemons that end or hang, files that are damaged, disks that are full.

use std::fs;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::json;

use super::gateway;
use super::machine::{Machine, START_TIME};
use crate::vm::ask::{Ask, expect};
use crate::vm::tally::wait_for;

const UNIT: &str = "agentd.service";
const CONFIGURATION: &str = "/etc/agentos/agentd.toml";
const LEDGER: &str = "/var/lib/agentos/ledger.db";

/// agentd's configuration as it is on the machine.
pub(super) fn configuration(machine: &Machine) -> Result<String> {
    machine.read(CONFIGURATION)
}

pub(super) fn stopped_and_started(machine: &mut Machine) -> Result<()> {
    let gateway_before = gateway::process(machine)?;
    let stops = machine.ask()?.events("agentd.stop")?.len();
    machine.guest().run(&["systemctl", "stop", "agentd.socket", "agentd-operator.socket", UNIT])?;
    ensure!(!machine.has("/run/agentos/agentd.sock"), "the socket is still there");
    machine.guest().run(&["systemctl", "start", UNIT])?;
    let ask = machine.agentd_answers()?;
    expect(ask.events("agentd.stop")?.len() == stops + 1, "the stop is recorded", &stops)?;
    expect(gateway::process(machine)? == gateway_before, "the gateway was left alone", &gateway_before)?;
    gateway::say(machine, "What is eating the memory?").map(|_| ())
}

pub(super) fn killed_and_back(machine: &mut Machine) -> Result<()> {
    let ask = machine.ask()?;
    let starts = ask.events("agentd.start")?.len();
    let before = main_process(machine)?;
    machine.guest().run(&["systemctl", "kill", "--signal=KILL", "--kill-whom=main", UNIT])?;
    let after = another_process(machine, before)?;
    let events = ask.events("agentd.start")?;
    expect(events.len() == starts + 1, "the ledger goes on where it was", &events.len())?;
    let named = events.last().and_then(|event| event.payload.to_value().ok()?["data"]["pid"].as_u64());
    expect(named == Some(after.into()), "and names the process that writes it", &named)
}

pub(super) fn hung_and_back(machine: &mut Machine) -> Result<()> {
    // The same watchdog as always, only less patient.
    let folder = "/run/systemd/system/agentd.service.d";
    machine.shell(&format!("mkdir -p {folder}"))?;
    machine.write(&format!("{folder}/impatient.conf"), "[Service]\nWatchdogSec=1s\nTimeoutAbortSec=1s\n")?;
    machine.shell("systemctl daemon-reload; systemctl restart agentd.service")?;
    let before = another_process(machine, 0)?;
    machine.guest().run(&["systemctl", "kill", "--signal=STOP", UNIT])?;
    another_process(machine, before)?;
    machine.shell(&format!("rm -r {folder}; systemctl daemon-reload; systemctl restart agentd.service"))?;
    another_process(machine, 0).map(|_| ())
}

pub(super) fn crash_loop(machine: &mut Machine) -> Result<()> {
    machine.shell("systemctl reset-failed agentd.service")?;
    for _ in 0..20 {
        if machine.property(UNIT, "ActiveState")? == "failed" {
            break;
        }
        let _ = machine.tried("systemctl kill --signal=KILL --kill-whom=main agentd.service 2>&1")?;
        std::thread::sleep(Duration::from_millis(700));
    }
    machine.unit_is(UNIT, "failed", START_TIME)?;
    start_again(machine)?;
    machine.ledger_is_whole()
}

pub(super) fn broken_configuration(machine: &mut Machine) -> Result<()> {
    let good = configuration(machine)?;
    let before = main_process(machine)?;
    let line = good.lines().count() + 1;
    machine.write(CONFIGURATION, &format!("{good}strams = 15\n"))?;
    let named = format!("line {line}");
    let (status, _) = machine.tried("systemctl reload agentd.service 2>&1")?;
    expect(status != 0, "the reload fails", &machine.log(UNIT))?;
    expect(machine.log(UNIT).contains(&named), "and the log names the line", &machine.log(UNIT))?;
    // Told directly, it says so itself, on the record.
    machine.guest().run(&["systemctl", "kill", "--signal=HUP", "--kill-whom=main", UNIT])?;
    let ask = machine.ask()?;
    wait_for("the refusal is on the ledger", START_TIME, || {
        let refused = ask.events("config.rejected")?;
        let recorded = format!("\"line\":{line}");
        ensure!(refused.iter().any(|event| event.payload.get().contains(&recorded)), "no event: {refused:?}");
        Ok(())
    })?;
    expect(main_process(machine)? == before, "it is the same daemon", &before)?;
    ask.query::<agentos_api::query::Os>(&json!({}))?;
    // A daemon that is not there yet does not start with it.
    let (status, _) = machine.tried("systemctl restart agentd.service 2>&1")?;
    expect(status != 0, "it does not start", &machine.log(UNIT))?;
    machine.unit_is(UNIT, "failed", START_TIME)?;
    expect(machine.log(UNIT).contains(&named), "and says which line", &machine.log(UNIT))?;
    machine.write(CONFIGURATION, &good)?;
    start_again(machine)?;
    // A change that can be taken over is.
    machine.write(CONFIGURATION, &good.replace("streams = 16", "streams = 17"))?;
    machine.guest().run(&["systemctl", "reload", UNIT])?;
    let ask = machine.ask()?;
    wait_for("the new configuration is on the ledger", START_TIME, || {
        let loaded = ask.events("config.loaded")?;
        ensure!(loaded.iter().any(|event| event.payload.get().contains("streams")), "no event: {loaded:?}");
        Ok(())
    })?;
    machine.write(CONFIGURATION, &good)?;
    machine.guest().run(&["systemctl", "reload", UNIT]).map(|_| ())
}

pub(super) fn full_disk(machine: &mut Machine) -> Result<()> {
    // A small file system of its own in place of the state folder.
    machine.shell(
        "systemctl stop agentd.socket agentd-operator.socket agentd.service
         cp -a /var/lib/agentos /run/copy; mount -t tmpfs -o size=24M,mode=0700 small /var/lib/agentos
         cp -a /run/copy/. /var/lib/agentos/; rm -r /run/copy
         systemctl start agentd.service",
    )?;
    let ask = machine.agentd_answers()?;
    let before = main_process(machine)?;
    let _ = machine.tried("head -c 64M /dev/zero > /var/lib/agentos/filler")?;
    let refused = wait_for("agentd refuses", START_TIME, || ask.problem("os", &json!({})))?;
    expect(
        refused.status == 503 && refused.code.as_str() == "ledger_unavailable",
        "nothing is read that is not recorded",
        &refused,
    )?;
    let health = machine.shell("agentctl health --json || true")?;
    let health: serde_json::Value = serde_json::from_str(&health)?;
    expect(health["ledger"]["writable"] == false, "and its health says so", &health)?;
    machine.shell("rm /var/lib/agentos/filler")?;
    wait_for("agentd goes on by itself", START_TIME, || ask.query::<agentos_api::query::Os>(&json!({})))?;
    expect(main_process(machine)? == before, "without a restart", &before)?;
    machine.ledger_is_whole()?;
    machine.shell(
        "systemctl stop agentd.socket agentd-operator.socket agentd.service
         cp -a /var/lib/agentos /run/copy; umount /var/lib/agentos
         rm -rf /var/lib/agentos/*; cp -a /run/copy/. /var/lib/agentos/; rm -r /run/copy
         systemctl start agentd.service",
    )?;
    machine.agentd_answers()?;
    machine.ledger_is_whole()
}

pub(super) fn state_folder(machine: &mut Machine) -> Result<()> {
    // systemd mends the folder itself (StateDirectory=).
    machine.shell("chmod 0777 /var/lib/agentos; systemctl restart agentd.service")?;
    machine.agentd_answers()?;
    let mode = machine.guest().run(&["stat", "--format=%a %U:%G", "/var/lib/agentos"])?;
    expect(mode.trim() == "700 root:root", "mended", &mode)?;
    // What lies in it is not mended: whoever had it may have read or changed it.
    machine.shell("chown openclaw /var/lib/agentos/ledger.key")?;
    let (status, _) = machine.tried("systemctl restart agentd.service 2>&1")?;
    expect(status != 0, "a key of somebody else is refused", &machine.log(UNIT))?;
    let log = machine.log(UNIT);
    expect(log.contains("ledger.key") && log.contains("chown"), "and the log says how to mend it", &log)?;
    machine.shell("chown root /var/lib/agentos/ledger.key")?;
    start_again(machine)
}

pub(super) fn damaged_ledger(machine: &mut Machine) -> Result<()> {
    machine.shell("systemctl stop agentd.socket agentd-operator.socket agentd.service")?;
    let path = machine.guest().path(LEDGER);
    let whole = fs::read(&path)?;
    let mut damaged = whole.clone();
    let newest = newest_event(&whole).context("no event to damage")?;
    let word = format!("\"id\":{newest},").into_bytes();
    let places = whole.windows(word.len()).enumerate().filter(|(_, window)| *window == word.as_slice());
    for (place, _) in places {
        damaged[place + 1] = b'x';
    }
    fs::write(&path, &damaged)?;
    machine.shell("systemctl start agentd.service")?;
    let ask = machine.agentd_answers()?;
    let refused = ask.problem("os", &json!({}))?;
    expect(
        refused.status == 503 && refused.code.as_str() == "ledger_unavailable" && refused.hint.is_some(),
        "nothing is done, and it says how to go on",
        &refused,
    )?;
    let health: serde_json::Value = serde_json::from_str(&machine.shell("agentctl health --json || true")?)?;
    expect(health["ledger"]["writable"] == false, "its health says so", &health)?;
    let (status, said) = machine.tried("agentctl verify-ledger --full --state-dir /var/lib/agentos 2>&1")?;
    expect(status == 1 && said.contains("NOT whole"), "so does the verification", &said)?;
    machine.shell("systemctl stop agentd.socket agentd-operator.socket agentd.service")?;
    ensure!(fs::read(&path)? == damaged, "the damaged ledger was written to");
    fs::write(&path, &whole)?;
    machine.shell("systemctl start agentd.service")?;
    let ask = machine.agentd_answers()?;
    ask.query::<agentos_api::query::Os>(&json!({}))?;
    machine.ledger_is_whole()
}

/// The highest number of an event that stands in the bytes of a ledger.
fn newest_event(ledger: &[u8]) -> Option<u64> {
    const WORD: &[u8] = b"\"id\":";
    let numbers = ledger.windows(WORD.len()).enumerate().filter(|(_, window)| *window == WORD).filter_map(
        |(place, _)| {
            let digits: Vec<u8> =
                ledger[place + WORD.len()..].iter().copied().take_while(u8::is_ascii_digit).collect();
            String::from_utf8(digits).ok()?.parse().ok()
        },
    );
    numbers.max()
}

pub(super) fn journal_rotation(machine: &mut Machine) -> Result<()> {
    machine
        .shell("logger -t fixture 'before the rotation'; journalctl --sync; journalctl --rotate --quiet")?;
    machine.shell("logger -t fixture 'after the rotation'; journalctl --sync")?;
    let ask = machine.ask()?;
    let lines = |text: &str| -> Result<usize> {
        let answer = ask.query::<agentos_api::query::Journal>(&json!({ "grep": text, "limit": 100 }))?;
        Ok(answer.entries.len())
    };
    expect(lines("before the rotation")? > 0, "the rotated part is read", &())?;
    expect(lines("after the rotation")? > 0, "and the new one", &())?;
    machine.shell("sleep 1; journalctl --quiet --rotate; journalctl --quiet --vacuum-time=1s")?;
    machine.shell("logger -t fixture 'after the cut'; journalctl --sync")?;
    expect(lines("after the cut")? > 0, "what is left after the cut is read", &())
}

/// Lets an agentd that systemd has given up on start again.
fn start_again(machine: &Machine) -> Result<()> {
    machine.shell("systemctl reset-failed agentd.service agentd.socket agentd-operator.socket; systemctl start agentd.service")?;
    machine.agentd_answers().map(|_| ())
}

fn main_process(machine: &Machine) -> Result<u32> {
    let process: u32 = machine.property(UNIT, "MainPID")?.parse()?;
    ensure!(process != 0, "agentd does not run");
    Ok(process)
}

/// Waits until another process than `before` answers.
fn another_process(machine: &Machine, before: u32) -> Result<u32> {
    let ask: Ask = machine.ask()?;
    wait_for("agentd is started again", START_TIME, || {
        let now = main_process(machine)?;
        ensure!(now != before && ask.is_up(), "it is still {before}");
        Ok(now)
    })
}
