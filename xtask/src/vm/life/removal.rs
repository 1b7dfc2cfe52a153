//! The package goes.

use anyhow::{Result, ensure};

use super::machine::Machine;
use crate::vm::ask::expect;

const UNITS: [&str; 5] = [
    "agentd.service",
    "agentd.socket",
    "agentd-operator.socket",
    "openclaw-gateway.service",
    "agentos-rehearsal.service",
];

pub(super) fn keeps(machine: &mut Machine) -> Result<()> {
    machine.shell("agentctl memory store 'the backup disk is the blue one'")?;
    let (status, said) = machine.tried("dpkg --remove agentos 2>&1")?;
    expect(status == 0, "dpkg", &said)?;
    for unit in UNITS {
        let (_, state) = machine.tried(&format!("systemctl is-active {unit}"))?;
        expect(state.trim() != "active", unit, &state)?;
    }
    for kept in [
        "/etc/agentos/agentd.toml",
        "/var/lib/agentos/ledger.db",
        "/var/lib/agentos/ledger.key",
        "/var/lib/agentos/memory",
        "/var/lib/agentos-runtime/current",
    ] {
        ensure!(machine.has(kept), "{kept} is gone");
    }
    for gone in ["/usr/bin/agentd", "/usr/lib/systemd/system/agentd.service", "/run/agentos/agentd.sock"] {
        ensure!(!machine.has(gone), "{gone} is still there");
    }
    let failed = machine.guest().run(&["systemctl", "--failed", "--no-legend", "--plain"])?;
    expect(failed.trim().is_empty(), "no unit failed", &failed)
}

pub(super) fn installed_again(machine: &mut Machine) -> Result<()> {
    let (status, said) = machine.tried("dpkg --install /package.deb 2>&1 </dev/null")?;
    expect(status == 0, "dpkg", &said)?;
    let ask = machine.agentd_answers()?;
    ensure!(ask.events("agentd.start")?.len() > 3, "the ledger does not go on");
    let recalled = machine.shell("agentctl memory recall 'which backup disk'")?;
    expect(recalled.contains("the blue one"), "the memory is there", &recalled)?;
    machine.ledger_is_whole()
}

pub(super) fn purge(machine: &mut Machine) -> Result<()> {
    machine.shell("umask 077; echo 'ANTHROPIC_API_KEY=not-a-key' > /etc/agentos/model.env")?;
    let (status, said) = machine.tried("dpkg --purge agentos 2>&1")?;
    expect(status == 0, "dpkg", &said)?;
    expect(said.contains("kept /var/lib/agentos"), "it says what it keeps", &said)?;
    for kept in ["/var/lib/agentos/ledger.db", "/var/lib/agentos/ledger.key", "/var/lib/agentos/memory"] {
        ensure!(machine.has(kept), "{kept} is gone");
    }
    for gone in [
        "/etc/agentos",
        "/var/lib/agentos-runtime",
        "/var/lib/agentos-gateway",
        "/var/lib/openclaw",
        "/var/cache/agentos-packages",
        "/var/cache/agentos-setup",
        "/run/agentos",
        "/etc/systemd/system/multi-user.target.wants/agentd.service",
    ] {
        ensure!(!machine.has(gone), "{gone} is still there");
    }
    Ok(())
}
