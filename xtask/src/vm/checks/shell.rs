//! Commands that observe, under the unit that agentd has in a machine, with systemd and its bus.

use agentos_api::query::Shell;
use anyhow::Result;
use serde_json::json;

use crate::vm::ask::{Ask, expect};
use crate::vm::nspawn::Guest;

pub(super) fn reads_what_root_reads(ask: &Ask, guest: &Guest) -> Result<()> {
    for (command, expected) in [
        ("systemctl is-active fixture-listens.service", "active"),
        ("systemctl status --no-pager fixture-listens.service | cat", "Active: active (running)"),
        ("systemctl list-units --no-pager --plain --state=failed", "fixture-"),
        ("systemctl show -p SubState fixture-listens.service", "SubState=running"),
        ("busctl list --no-pager", "org.freedesktop.systemd1"),
        ("journalctl --no-pager -n 5 -u agentd.service", "agentd"),
        ("ps -eo comm", "systemd-journal"),
        ("df /", "/"),
    ] {
        let answer = ask.query::<Shell>(&json!({ "command": command }))?;
        expect(answer.stdout.content.contains(expected), command, &answer)?;
    }
    let same = "cat /etc/os-release /proc/version; ls /run/systemd";
    let answer = ask.query::<Shell>(&json!({ "command": same }))?;
    expect(answer.stdout.content == guest.shell(same)?, "it says what it says to root", &answer)
}

pub(super) fn reaches_no_service(ask: &Ask, guest: &Guest) -> Result<()> {
    let before =
        guest.run(&["systemctl", "show", "-p", "MainPID,InvocationID", "fixture-listens.service"])?;
    for command in [
        "systemctl stop fixture-listens.service",
        "systemctl restart fixture-listens.service",
        "systemctl kill fixture-listens.service",
        "systemctl set-property fixture-listens.service CPUWeight=7",
        "systemctl daemon-reload",
        "systemd-run --wait touch /observed",
        "busctl call org.freedesktop.systemd1 /org/freedesktop/systemd1 org.freedesktop.systemd1.Manager StopUnit ss fixture-listens.service replace",
        "hostnamectl set-hostname observed",
        "loginctl terminate-user root",
        "systemctl poweroff",
        "echo x > /run/initctl",
        "logger observed; systemd-cat echo observed; echo observed > /dev/kmsg",
        "echo 1 > /sys/fs/cgroup/system.slice/fixture-listens.service/cgroup.kill",
    ] {
        let answer = ask.query::<Shell>(&json!({ "command": command, "time_limit_seconds": 5 }))?;
        expect(answer.exit_status != Some(0), command, &answer)?;
    }
    let after = guest.run(&["systemctl", "show", "-p", "MainPID,InvocationID", "fixture-listens.service"])?;
    expect(before == after, "the service is as it was", &after)?;
    let logged = guest.run(&[
        "journalctl",
        "--no-pager",
        "-q",
        "-o",
        "cat",
        "-t",
        "root",
        "-t",
        "echo",
        "-g",
        "^observed$",
    ]);
    expect(logged.map_or(true, |lines| lines.trim().is_empty()), "nothing was logged", &())?;
    expect(guest.shell("! test -e /observed && hostname")?.trim() != "observed", "nothing was made", &())
}
