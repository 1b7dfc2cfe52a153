//! Changes: asked for by the agent, approved by a person, taken back; and what takes itself back.

use std::time::Duration;

use anyhow::{Result, bail};
use serde_json::Value;

use super::machine::Machine;
use crate::vm::ask::expect;
use crate::vm::tally::wait_for;

const CONFIG: &str = "/etc/agentos/agentd.toml";
const KEY: &str =
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJJ4G0vYqTWRUF1CcbJCQ1JAXBWZPjXBz7yyJcGKbtrc erin@desk";
const KEYS: &str = "/home/erin/.ssh/authorized_keys";
/// How long something that takes itself back may take: the timer outside agentd is patient with it.
const BACK: Duration = Duration::from_secs(90);

pub(super) fn approved(machine: &mut Machine) -> Result<()> {
    let agent = "runuser -u openclaw -- agentctl --socket /run/agentos/agentd.sock";
    let change = "change file.write path=/srv/note content=hello --reason 'a test' --yes 2>&1";
    let (status, said) = machine.tried(&format!("{agent} {change}"))?;
    expect(status == 6 && !machine.has("/srv/note"), "it waits", &said)?;
    let number = newest(machine)?;
    let (status, said) = machine.tried(&format!("{agent} approvals approve {number} 2>&1"))?;
    expect(status != 0 && !machine.has("/srv/note"), "the agent cannot approve it", &said)?;
    let (status, said) = machine.tried(&format!("agentctl approvals approve {number} 2>&1"))?;
    expect(status == 0, "the person approves it", &said)?;
    expect(machine.read("/srv/note")? == "hello", "it is made", &said)?;
    let (status, said) = machine.tried(&format!("agentctl undo {number} --reason 'a test' --yes 2>&1"))?;
    expect(status == 0 && !machine.has("/srv/note"), "it is taken back", &said)?;
    machine.ledger_is_whole()
}

pub(super) fn taken_back_by_itself(machine: &mut Machine) -> Result<()> {
    machine.shell(&format!(
        "useradd --create-home erin && install -d -m 700 -o erin -g erin /home/erin/.ssh && \
         echo '{KEY}' > {KEYS} && chown erin: {KEYS} && chmod 600 {KEYS}"
    ))?;
    within(machine, 5)?;
    let before = machine.read(KEYS)?;
    let number = remove_key(machine)?;
    expect(!machine.read(KEYS)?.contains("erin@desk"), "the key is gone at first", &number)?;
    let timers = machine.shell("systemctl list-timers --all --no-legend 'agentos-take-back-*'")?;
    expect(timers.contains(&format!("agentos-take-back-{number}")), "systemd keeps a timer for it", &timers)?;
    wait_for("the key is back", BACK, || {
        let now = machine.read(KEYS)?;
        if now == before { Ok(()) } else { bail!("{now:?}") }
    })?;
    let change = shown(machine, number)?;
    expect(change["status"] == "undone", "it says that nobody confirmed", &change)?;
    // The same with an agentd that hangs: what is outside of it sees to it.
    let number = remove_key(machine)?;
    machine.shell("kill -STOP $(systemctl show --value --property MainPID agentd.service)")?;
    wait_for("the key is back without agentd's help", BACK, || {
        let now = machine.read(KEYS)?;
        if now == before { Ok(()) } else { bail!("{now:?}") }
    })?;
    machine.agentd_answers()?;
    let change = shown(machine, number)?;
    expect(change["status"] == "undone", "and it is on the record", &change)?;
    machine.ledger_is_whole()
}

pub(super) fn confirmed(machine: &mut Machine) -> Result<()> {
    let number = remove_key(machine)?;
    let confirm = format!("agentctl approvals confirm {number} 2>&1");
    let (status, said) = machine.tried(&confirm)?;
    expect(
        status == 4 && said.contains("new login"),
        "it is not confirmed from where nobody logged in",
        &said,
    )?;
    let (status, said) = machine.tried(&log_in(&confirm))?;
    expect(status == 0, "it is confirmed from a new login", &said)?;
    expect(said.contains("as logind knows it"), "logind says that it is new", &said)?;
    std::thread::sleep(Duration::from_secs(7));
    let change = shown(machine, number)?;
    expect(change["status"] == "applied", "it stays", &change)?;
    expect(!machine.read(KEYS)?.contains("erin@desk"), "the key stays away", &number)?;
    let timers = machine.shell("systemctl list-timers --all --no-legend 'agentos-take-back-*'")?;
    expect(timers.trim().is_empty(), "no timer is left", &timers)?;
    machine.shell("userdel --remove erin")?;
    within(machine, 120)
}

/// A command typed after a login of its own, on a terminal. login(1) throws away what was typed before it asks.
fn log_in(command: &str) -> String {
    format!(
        "(sleep 2; echo '{command}; exit $?'; sleep 2) | script --quiet --return --command 'login -f root' /dev/null"
    )
}

/// Has what may lock somebody out be confirmed within so many seconds.
fn within(machine: &Machine, seconds: u32) -> Result<()> {
    machine.shell(&format!(
        "sed -i 's/^confirm_seconds = .*/confirm_seconds = {seconds}/' {CONFIG} && systemctl restart agentd.service"
    ))?;
    machine.agentd_answers().map(|_| ())
}

fn remove_key(machine: &Machine) -> Result<u64> {
    let change = "agentctl change ssh_key.remove user=erin key='erin@desk' --reason 'a test' --yes 2>&1";
    let change = change.replace("erin@desk", KEY);
    let (status, said) = machine.tried(&change)?;
    expect(status == 0 && said.contains("confirm"), "the key is taken out, to be confirmed", &said)?;
    newest(machine)
}

fn newest(machine: &Machine) -> Result<u64> {
    let list = machine.guest().run(&["agentctl", "changes", "--json", "--limit", "1"])?;
    let page: Value = serde_json::from_str(&list)?;
    let number = page["changes"][0]["id"].as_u64();
    number.ok_or_else(|| anyhow::anyhow!("no change in {list}"))
}

fn shown(machine: &Machine, number: u64) -> Result<Value> {
    let text = machine.guest().run(&["agentctl", "changes", "show", &number.to_string(), "--json"])?;
    Ok(serde_json::from_str(&text)?)
}
