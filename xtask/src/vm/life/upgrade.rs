//! A newer package, and the same disk booted again.

use std::time::Duration;

use anyhow::{Result, ensure};

use super::load::{self, Load};
use super::machine::Machine;
use super::{gateway, trouble};
use crate::vm::ask::expect;

pub(super) fn under_load(machine: &mut Machine) -> Result<()> {
    let changed = trouble::configuration(machine)?.replace("streams = 16", "streams = 15");
    machine.write("/etc/agentos/agentd.toml", &changed)?;
    let gateway_before = gateway::process(machine)?;
    let daemon_before = machine.property("agentd.service", "MainPID")?;
    let load = Load::start(&machine.guest().path("/run/agentos/operator.sock"), "upgrade");
    std::thread::sleep(Duration::from_secs(1));
    let (status, said) = machine.tried("dpkg --install /newer.deb 2>&1 </dev/null")?;
    std::thread::sleep(Duration::from_secs(1));
    let answered = load.stop();
    expect(status == 0, "dpkg", &said)?;
    let ask = machine.agentd_answers()?;
    load::is_recorded(&ask, &answered)?;
    println!(
        "  {} questions answered meanwhile and on the ledger, {} cut off by the restart",
        answered.acknowledged.len(),
        answered.refused
    );
    ensure!(answered.acknowledged.len() > 100, "there was no load");
    // Each client can have one question under way when the old one ends, and none is refused by the sockets.
    ensure!(answered.refused <= 8, "{} questions were refused", answered.refused);
    let daemon_after = machine.property("agentd.service", "MainPID")?;
    ensure!(daemon_before != daemon_after, "agentd is still the old one");
    let version = machine.shell("dpkg-query --show --showformat='${Version}' agentos")?;
    expect(version.ends_with("+newer"), "the version", &version)?;
    expect(trouble::configuration(machine)? == changed, "the administrator's change is kept", &())?;
    machine.ledger_is_whole()?;
    let gateway_after = gateway::process(machine)?;
    ensure!(gateway_before != gateway_after, "the gateway still runs the old plugin");
    gateway::ready(machine)?;
    gateway::say(machine, "What is eating the memory?").map(|_| ())
}

pub(super) fn reboot(machine: &mut Machine) -> Result<()> {
    let before = machine.ask()?.events("agentd.start")?.len();
    machine.reboot()?;
    let ask = machine.agentd_answers()?;
    let starts = ask.events("agentd.start")?.len();
    expect(starts == before + 1, "the ledger goes on", &(before, starts))?;
    let stops = ask.events("agentd.stop")?.len();
    expect(stops > 0, "the end before it is recorded", &stops)?;
    let failed = machine.guest().run(&["systemctl", "--failed", "--no-legend", "--plain"])?;
    expect(failed.trim().is_empty(), "no unit failed", &failed)?;
    machine.ledger_is_whole()?;
    gateway::ready(machine)
}

pub(super) fn cut_off(machine: &mut Machine) -> Result<()> {
    // In the middle of unpacking, then in the middle of configuring.
    for moment in ["0.3", "1"] {
        let _ = machine.tried(&format!("timeout --signal=KILL {moment} dpkg --install /package.deb"))?;
        let _ = machine.tried("pkill -KILL -x dpkg; pkill -KILL -x agentos-setup; true")?;
        let (status, said) =
            machine.tried("dpkg --configure --pending 2>&1; dpkg --install /package.deb 2>&1 </dev/null")?;
        expect(status == 0, "dpkg goes on", &said)?;
        let version =
            machine.shell("dpkg-query --show --showformat='${db:Status-Abbrev}${Version}' agentos")?;
        expect(version.starts_with("ii") && !version.ends_with("+newer"), "it is installed", &version)?;
        machine.agentd_answers()?;
    }
    machine.ledger_is_whole()
}
