//! Commands that observe, under the unit that agentd has in a machine, with systemd and its bus.

use agentos_api::query::Shell;
use agentos_api::query::shell::KeptBy;
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

/// Whoever keeps the limits: of control groups the machine has those that its host can spare.
pub(super) fn takes_no_more_than_it_may(ask: &Ask, guest: &Guest) -> Result<()> {
    let groups = "cat /sys/fs/cgroup/system.slice/agentd.service/main/cgroup.procs; systemctl show -P MainPID agentd.service";
    let groups = guest.shell(groups)?;
    let (first, last) = (groups.lines().next(), groups.lines().last());
    expect(first.is_some() && first == last, "agentd has a group of its own below its unit's", &groups)?;
    let ended = |command: &str, limit: &str| {
        let answer = ask.query::<Shell>(&json!({ "command": command, "time_limit_seconds": 20 }))?;
        let told = answer.refused.iter().any(|one| one.what == "exceed" && one.on == limit);
        expect(told, command, &answer)?;
        // By the kernel it is kept from more and may go on; by agentd it is ended.
        expect(answer.limits.kept_by == KeptBy::Kernel || answer.exit_status == Some(137), command, &answer)
    };
    ended("f() { f | f & f; }; f", "limits.processes")?;
    ended("perl -e 'fork while 1'", "limits.processes")?;
    let answer = ask.query::<Shell>(&json!({ "command": "true" }))?;
    let part = answer.limits.memory_bytes / 3;
    let eaters = format!("for i in 1 2 3 4 5; do perl -e '$x = \"a\" x {part}; sleep 15' & done; wait");
    ended(&eaters, "limits.memory_bytes")?;
    let left = "ls -d /sys/fs/cgroup/system.slice/agentd.service/command-* | wc -l; pgrep -c perl || true";
    // The next command's cell waits in its own.
    expect(
        guest.shell(left)?.split_whitespace().eq(["1", "0"]),
        "nothing is left of them",
        &guest.shell(left)?,
    )?;
    // A unit whose group is divided starts anew, and what an agentd that was killed has left is gone.
    guest.shell("systemctl kill -s KILL agentd.service; systemctl restart agentd.service")?;
    expect(guest.shell("systemctl is-active agentd.service")?.trim() == "active", "it starts anew", &())?;
    let answer = guest.run(&["agentctl", "query", "shell", "command=cat /proc/self/cgroup", "--json"])?;
    expect(answer.contains("/agentd.service/command-"), "a group of its own", &answer)
}
