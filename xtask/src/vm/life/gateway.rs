//! The gateway on the machine: set up, confined, talked to, disturbed.

use std::fs;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::machine::Machine;
use crate::vm::ask::expect;
use crate::vm::tally::wait_for;

const UNIT: &str = "openclaw-gateway.service";

/// How long a gateway may take until it is ready for a turn.
const READY: Duration = Duration::from_mins(4);

/// Who operates the machine: somebody with an account, in the operators' group.
const PERSON: &str = "pat";

pub(super) fn set_up_from_a_mirror(machine: &mut Machine) -> Result<()> {
    // One that was cut off before, as when the terminal is closed.
    let _ = machine.tried("timeout --signal=KILL 3 agentos-setup --registry file:///mirror")?;
    let (status, said) = machine.tried("agentos-setup --registry file:///mirror 2>&1")?;
    expect(status == 0, "agentos-setup", &said)?;
    expect(said.contains("SCRIPTED"), "it says that no real model answers", &said)?;
    machine.unit_is(UNIT, "active", READY)?;
    machine.unit_is("agentos-rehearsal.service", "active", READY)?;
    ready(machine)?;
    let (status, said) = machine.tried("agentos-setup --check 2>&1")?;
    expect(status == 0, "all of it is there", &said)?;
    for (path, expected) in [
        ("/var/lib/agentos-gateway/openclaw.json", "640 root:openclaw"),
        ("/var/lib/agentos-gateway/environment", "600 root:root"),
        ("/var/lib/agentos-gateway/operator.json", "640 root:agentos-operators"),
        ("/var/lib/agentos-runtime/current/", "755 root:root"),
    ] {
        let found = machine.guest().run(&["stat", "--format=%a %U:%G", path])?;
        expect(found.trim() == expected, path, &found)?;
    }
    let foreign =
        machine.shell("find -L /var/lib/agentos-runtime/current/ ! -user root -o -perm -002 | head")?;
    expect(foreign.is_empty(), "nobody but root can change what runs", &foreign)?;
    let size = machine.shell("du -sm /var/lib/agentos-runtime/current/ | cut -f1")?;
    println!("  Node.js and OpenClaw: {} MiB", size.trim());
    Ok(())
}

pub(super) fn set_up_again(machine: &mut Machine) -> Result<()> {
    let before = machine
        .shell("readlink /var/lib/agentos-runtime/current; cat /var/lib/agentos-gateway/operator.json")?;
    // No mirror and no network: what is there is enough.
    let (status, said) = machine.tried("agentos-setup --offline 2>&1")?;
    expect(status == 0, "agentos-setup --offline", &said)?;
    let after = machine
        .shell("readlink /var/lib/agentos-runtime/current; cat /var/lib/agentos-gateway/operator.json")?;
    ensure!(before == after, "the runtime or the token changed");
    ready(machine)
}

pub(super) fn starts_after_agentd(machine: &mut Machine) -> Result<()> {
    machine.shell(
        "systemctl stop openclaw-gateway.service agentd.service agentd.socket agentd-operator.socket",
    )?;
    machine.shell("systemctl start --no-block openclaw-gateway.service agentos.target")?;
    machine.unit_is(UNIT, "active", READY)?;
    let monotonic = |unit: &str, property: &str| -> Result<u64> {
        machine.property(unit, property)?.parse().with_context(|| format!("{unit} has no {property}"))
    };
    let agentd = monotonic("agentd.service", "ActiveEnterTimestampMonotonic")?;
    let gateway = monotonic(UNIT, "ExecMainStartTimestampMonotonic")?;
    expect(agentd > 0 && agentd <= gateway, "agentd was ready before", &(agentd, gateway))?;
    ready(machine)
}

pub(super) fn is_confined(machine: &mut Machine) -> Result<()> {
    let process = process(machine)?;
    let status = machine.read(&format!("/proc/{process}/status"))?;
    let field = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default();
        line.split_whitespace().collect::<Vec<_>>().join(" ")
    };
    let user = machine.shell("id -u openclaw")?;
    expect(field("Uid:").split(' ').all(|number| number == user.trim()), "its user", &field("Uid:"))?;
    for capabilities in ["CapInh:", "CapPrm:", "CapEff:", "CapBnd:", "CapAmb:"] {
        expect(field(capabilities) == "0000000000000000", capabilities, &field(capabilities))?;
    }
    expect(field("NoNewPrivs:") == "1" && field("Seccomp:") == "2", "no new privileges, a filter", &status)?;
    // What it sees of the machine, entered with its own view.
    let inside = |script: &str| {
        machine.tried(&format!("nsenter --target={process} --mount --setuid=$(id -u openclaw) -- {script}"))
    };
    for (script, what) in [
        ("/usr/bin/id", "starts no program of the machine"),
        (
            "/var/lib/agentos-runtime/current/bin/node -e \"require('node:fs').writeFileSync('/var/lib/agentos-gateway/openclaw.json', '')\"",
            "cannot change its configuration",
        ),
        (
            "/var/lib/agentos-runtime/current/bin/node -e \"require('node:fs').readdirSync('/home').length > 0 || process.exit(3)\"",
            "sees nobody's home",
        ),
        (
            "/var/lib/agentos-runtime/current/bin/node -e \"require('node:fs').readdirSync('/var/lib/agentos')\"",
            "sees nothing of agentd's state",
        ),
        (
            "/var/lib/agentos-runtime/current/bin/node -e \"require('node:fs').readFileSync('/etc/shadow')\"",
            "reads no shadow file",
        ),
    ] {
        let (status, said) = inside(script)?;
        expect(status != 0, what, &said)?;
    }
    let (status, said) = inside("/var/lib/agentos-runtime/current/bin/node -e 'process.exit(42)'")?;
    expect(status == 42, "while Node.js itself runs there", &said)
}

pub(super) fn turn(machine: &mut Machine) -> Result<()> {
    machine.shell(&format!(
        "id -u {PERSON} 2>/dev/null || useradd --create-home --groups agentos-operators {PERSON}"
    ))?;
    let said = say(machine, "What is eating the memory?")?;
    let answer = said["answer"].as_str().unwrap_or_default();
    expect(
        answer.contains("MiB") && answer.contains("openclaw-gateway.service"),
        "it answers from the machine",
        &said,
    )?;
    let events = said["events"].as_array().cloned().unwrap_or_default();
    let by_the_agent = events.iter().filter(|event| {
        event["type"] == "system.query"
            && event["actor"].as_str().is_some_and(|actor| actor.starts_with("agent:openclaw"))
    });
    expect(by_the_agent.count() >= 2, "the agent's questions are on the record", &events)?;
    // Somebody who is not an operator has no way to the agent.
    machine.shell("id -u stranger 2>/dev/null || useradd --create-home stranger")?;
    let (status, said) = machine.tried("runuser -u stranger -- agentctl chat --say hello 2>&1")?;
    expect(status != 0 && said.contains("agentos-operators"), "and a stranger is told which group", &said)
}

pub(super) fn killed_and_back(machine: &mut Machine) -> Result<()> {
    let before = process(machine)?;
    machine.guest().run(&["systemctl", "kill", "--signal=KILL", UNIT])?;
    wait_for("another gateway", READY, || {
        let now = process(machine)?;
        ensure!(now != before, "it is still {before}");
        Ok(())
    })?;
    ready(machine)?;
    say(machine, "Is everything all right?").map(|_| ())
}

/// One turn of the person.
pub(super) fn say(machine: &Machine, text: &str) -> Result<Value> {
    let output = machine
        .guest()
        .command(&["runuser", "-u", PERSON, "--", "agentctl", "chat", "--json", "--say", text])
        .output()?;
    ensure!(
        output.status.success(),
        "agentctl chat: {}\n{}",
        String::from_utf8_lossy(&output.stderr),
        machine.log(UNIT)
    );
    serde_json::from_slice(&output.stdout).context("agentctl chat --json prints no JSON")
}

/// The number of the gateway's process.
pub(super) fn process(machine: &Machine) -> Result<u32> {
    let process: u32 = machine.property(UNIT, "MainPID")?.parse()?;
    ensure!(process != 0, "the gateway does not run");
    Ok(process)
}

/// Waits until the gateway is ready for a turn.
pub(super) fn ready(machine: &Machine) -> Result<()> {
    let settings: Value =
        serde_json::from_slice(&fs::read(machine.guest().path("/var/lib/agentos-gateway/operator.json"))?)?;
    let url = settings["url"].as_str().context("operator.json names no address")?.to_owned();
    wait_for("the gateway is ready", READY, || {
        machine.guest().run(&["curl", "--silent", "--fail", "--max-time", "5", &format!("{url}/readyz")])
    })
    .with_context(|| machine.log(UNIT))?;
    Ok(())
}
