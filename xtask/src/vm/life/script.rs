//! `scripts/install.sh` with the package itself, on a machine that has neither it nor a gateway.

use anyhow::{Result, ensure};

use super::Check;
use super::machine::Machine;
use crate::vm::ask::expect;

/// All of it, in the order of an administrator's day.
pub(super) const CHECKS: &[Check] = &[
    ("the script puts the package, its gateway and an operator on a Debian, and verifies them", installs),
    ("run again, the script finds all done", again),
    ("the script takes the package off, keeps the record, and goes on with it", comes_back),
    ("told to purge, the script leaves the ledger and the memory alone", purges),
];

const INSTALL: &str =
    "sh /install.sh --package /package.deb --yes --operator dana --registry file:///mirror 2>&1";

fn installs(machine: &mut Machine) -> Result<()> {
    machine.shell("useradd --create-home dana")?;
    let said = script(machine, INSTALL)?;
    for line in [
        "Node, OpenClaw and the model are set up",
        "agentd answers /health",
        "The ledger is whole",
        "The gateway is ready",
        "agentctl chat",
    ] {
        expect(said.contains(line), line, &said)?;
    }
    expect(said.contains("SCRIPTED"), "it says that no real model answers", &said)?;
    // Not as root: what the group may do is what the person can do from the next login on.
    let health = machine.guest().run(&["runuser", "--user", "dana", "--", "agentctl", "health", "--json"])?;
    let health: serde_json::Value = serde_json::from_str(&health)?;
    expect(health["status"] == "ok", "the operator reaches agentd", &health)?;
    machine.shell("runuser --user dana -- agentctl memory store 'the printer is in the cellar'")?;
    let failed = machine.guest().run(&["systemctl", "--failed", "--no-legend", "--plain"])?;
    expect(failed.trim().is_empty(), "no unit failed", &failed)
}

fn again(machine: &mut Machine) -> Result<()> {
    let pid = machine.property("agentd.service", "MainPID")?;
    let said = script(machine, INSTALL)?;
    expect(said.contains("is installed already"), "nothing is installed", &said)?;
    let after = machine.property("agentd.service", "MainPID")?;
    expect(pid == after, "agentd was not restarted", &(pid, after))
}

fn comes_back(machine: &mut Machine) -> Result<()> {
    let said = script(machine, "sh /install.sh --uninstall --yes 2>&1")?;
    ensure!(!machine.has("/usr/bin/agentd"), "agentd is still there:\n{said}");
    ensure!(machine.has("/var/lib/agentos/ledger.db"), "the ledger is gone:\n{said}");
    let said = script(machine, INSTALL)?;
    expect(said.contains("The gateway is ready"), "the gateway is back", &said)?;
    let ask = machine.agentd_answers()?;
    ensure!(ask.events("agentd.start")?.len() > 1, "the ledger does not go on");
    let recalled = machine.shell("agentctl memory recall 'where is the printer'")?;
    expect(recalled.contains("cellar"), "the memory is there", &recalled)?;
    machine.ledger_is_whole()
}

fn purges(machine: &mut Machine) -> Result<()> {
    let said = script(machine, "sh /install.sh --uninstall --purge --yes 2>&1")?;
    for kept in ["/var/lib/agentos/ledger.db", "/var/lib/agentos/ledger.key", "/var/lib/agentos/memory"] {
        ensure!(machine.has(kept), "{kept} is gone:\n{said}");
    }
    for gone in ["/etc/agentos", "/var/lib/agentos-runtime", "/var/lib/openclaw", "/usr/bin/agentctl"] {
        ensure!(!machine.has(gone), "{gone} is still there:\n{said}");
    }
    Ok(())
}

/// Runs it, and answers what it said when it found nothing wrong.
fn script(machine: &Machine, command: &str) -> Result<String> {
    let (status, said) = machine.tried(command)?;
    expect(status == 0 && !said.contains('✗'), command, &said)?;
    Ok(said)
}
