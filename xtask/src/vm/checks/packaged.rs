//! agentd as its own unit: who reaches it, and what systemd does when it ends or hangs.

use std::fs;
use std::time::{Duration, Instant};

use agentos_api::query::Service;
use anyhow::{Context, Result, bail};
use serde_json::json;

use crate::vm::ask::{Ask, expect};
use crate::vm::nspawn::Guest;

/// How long systemd may take to start agentd again.
const RESTART_TIME: Duration = Duration::from_secs(30);

pub(super) fn reached_by_the_right_users(_: &Ask, guest: &Guest) -> Result<()> {
    for (path, expected) in [
        ("/run/agentos/agentd.sock", "660 root:agentos"),
        ("/run/agentos/operator.sock", "660 root:agentos-operators"),
        ("/var/lib/agentos", "700 root:root"),
        ("/var/lib/agentos/ledger.key", "600 root:root"),
    ] {
        let found = guest.run(&["stat", "--format=%a %U:%G", path])?;
        expect(found.trim() == expected, path, &found)?;
    }
    let may_connect = |path: &str| -> Result<bool> {
        Ok(guest.command(&["runuser", "-u", "openclaw", "--", "test", "-w", path]).status()?.success())
    };
    expect(may_connect("/run/agentos/agentd.sock")?, "the gateway's user reaches the agent's socket", &())?;
    expect(!may_connect("/run/agentos/operator.sock")?, "and not the operator's", &())
}

pub(super) fn killed_and_back(ask: &Ask, guest: &Guest) -> Result<()> {
    let starts = ask.events("agentd.start")?.len();
    let before = main_process(ask)?;
    guest.run(&["systemctl", "kill", "--signal=KILL", "agentd.service"])?;
    let after = another_process(ask, before)?;
    let events = ask.events("agentd.start")?;
    expect(events.len() == starts + 1, "the ledger goes on where it was", &events.len())?;
    let named = events.last().and_then(|event| event.payload.to_value().ok()?["data"]["pid"].as_u64());
    expect(named == Some(after.into()), "and names the process that writes it", &named)
}

pub(super) fn hung_and_back(ask: &Ask, guest: &Guest) -> Result<()> {
    // The same watchdog as always, only less patient.
    let folder = guest.path("/run/systemd/system/agentd.service.d");
    fs::create_dir_all(&folder)?;
    fs::write(folder.join("impatient.conf"), "[Service]\nWatchdogSec=1s\nTimeoutAbortSec=1s\n")?;
    guest.run(&["systemctl", "daemon-reload"])?;
    guest.run(&["systemctl", "restart", "agentd.service"])?;
    let before = another_process(ask, 0)?;
    guest.run(&["systemctl", "kill", "--signal=STOP", "agentd.service"])?;
    another_process(ask, before)?;
    fs::remove_dir_all(&folder)?;
    guest.run(&["systemctl", "daemon-reload"])?;
    guest.run(&["systemctl", "restart", "agentd.service"])?;
    another_process(ask, 0).map(|_| ())
}

fn main_process(ask: &Ask) -> Result<u32> {
    let answer = ask.query::<Service>(&json!({ "unit": "agentd.service" }))?;
    expect(answer.active_state == "active", "agentd is active", &answer.active_state)?;
    answer.main_pid.context("agentd has a main process")
}

/// Waits until another process than `before` answers.
fn another_process(ask: &Ask, before: u32) -> Result<u32> {
    let deadline = Instant::now() + RESTART_TIME;
    while Instant::now() < deadline {
        match main_process(ask) {
            Ok(now) if now != before => return Ok(now),
            // Cut off by the end of the old one, or not yet ready.
            _ => std::thread::sleep(Duration::from_millis(100)),
        }
    }
    bail!("agentd was not started again within {} s", RESTART_TIME.as_secs())
}
