//! The package arrives.

use agentos_api::query::Packages;
use anyhow::Result;
use serde_json::json;

use super::machine::Machine;
use crate::vm::ask::expect;

pub(super) fn without_a_network(machine: &mut Machine) -> Result<()> {
    let (status, said) = machine.tried("dpkg --install /package.deb 2>&1")?;
    expect(status == 0, "dpkg", &said)?;
    expect(
        said.contains("agentd works without") && said.contains("agentos-setup"),
        "it says what is missing and what to run",
        &said,
    )?;
    let ask = machine.agentd_answers()?;
    let answer = ask.query::<Packages>(&json!({"exact": "agentos"}))?;
    expect(answer.total == 1, "agentd knows the package that it came in", &answer)?;
    let health = machine.guest().run(&["agentctl", "health", "--json"])?;
    let health: serde_json::Value = serde_json::from_str(&health)?;
    expect(health["status"] == "ok" && health["ledger"]["writable"] == true, "it is well", &health)?;
    let gateway = machine.property("openclaw-gateway.service", "ConditionResult")?;
    expect(gateway == "no", "the gateway waits until there is something to run", &gateway)
}

pub(super) fn nothing_failed(machine: &mut Machine) -> Result<()> {
    let failed = machine.guest().run(&["systemctl", "--failed", "--no-legend", "--plain"])?;
    expect(failed.trim().is_empty(), "no unit failed", &failed)?;
    let (_, state) = machine.tried("systemctl is-system-running")?;
    expect(state.trim() == "running", "the machine is running", &state)
}

pub(super) fn files_are_as_packaged(machine: &mut Machine) -> Result<()> {
    let changed = machine.guest().run(&["dpkg", "--verify", "agentos"])?;
    // The machine's dpkg is told to leave documentation out.
    let changed: Vec<&str> = changed.lines().filter(|line| !line.contains("/usr/share/doc/")).collect();
    expect(changed.is_empty(), "dpkg --verify", &changed)?;
    for page in ["agentctl.1", "agentd.8", "agentos-setup.8"] {
        let section = &page[page.len() - 1..];
        expect(machine.has(&format!("/usr/share/man/man{section}/{page}.gz")), "its manual page", &page)?;
    }
    // What a shell would do with it.
    machine.shell("bash -n /usr/share/bash-completion/completions/agentctl")?;
    Ok(())
}

pub(super) fn again(machine: &mut Machine) -> Result<()> {
    let before = machine.property("agentd.socket", "ActiveEnterTimestampMonotonic")?;
    let (status, said) = machine.tried("dpkg --install /package.deb 2>&1")?;
    expect(status == 0, "dpkg", &said)?;
    let ask = machine.agentd_answers()?;
    let after = machine.property("agentd.socket", "ActiveEnterTimestampMonotonic")?;
    expect(before == after, "the socket was open all the time", &(before, after))?;
    let starts = ask.events("agentd.start")?.len();
    expect(starts == 2, "the ledger goes on", &starts)?;
    machine.ledger_is_whole()
}
