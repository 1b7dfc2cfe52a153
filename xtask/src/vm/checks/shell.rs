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
    // The connection from before is gone; whoever asks next makes another.
    let _ = ask.events("agentd.start");
    expect(answer.contains("/agentd.service/command-"), "a group of its own", &answer)
}

/// The operator's socket: nobody else has to say yes there.
fn operator(guest: &Guest) -> Result<Ask> {
    Ask::new(guest.path("/run/agentos/operator.sock"))
}

pub(super) fn applied_operates_services(_: &Ask, guest: &Guest) -> Result<()> {
    let ask = operator(guest)?;
    guest.shell(
        "printf '[Service]\\nExecStart=/bin/sleep infinity\\n[Install]\\nWantedBy=multi-user.target\\n' >/etc/systemd/system/applied.service; systemctl daemon-reload",
    )?;
    let run = "systemctl show -p MainPID --value applied.service";
    for (command, state) in [
        ("systemctl start applied.service", "active"),
        ("systemctl restart applied", "active"),
        ("systemctl stop applied.service", "inactive"),
        ("systemctl enable --now applied.service", "active"),
        ("systemctl kill -s KILL applied.service; sleep 0.5; systemctl reset-failed", "inactive"),
        (
            "systemctl disable applied.service; systemctl daemon-reload && systemctl start applied.service",
            "active",
        ),
        ("kill $(systemctl show -p MainPID --value applied.service); sleep 0.5", "inactive"),
    ] {
        let before = guest.shell(run)?;
        let change = ask.mutate("shell.apply", &json!({ "command": command, "time_limit_seconds": 20 }))?;
        let said = ask.output(change.id)?;
        expect(change.ran.first().is_some_and(|ran| ran.exit_status == Some(0)), command, &said)?;
        let is = guest.shell("systemctl is-active applied.service || true")?;
        expect(is.trim() == state, command, &(is, said))?;
        expect(
            !command.contains("restart") || guest.shell(run)? != before,
            "it is another process",
            &command,
        )?;
    }
    Ok(())
}

pub(super) fn applied_leaves_agentd_alone(_: &Ask, guest: &Guest) -> Result<()> {
    let ask = operator(guest)?;
    let agentd = "systemctl show -p MainPID,InvocationID,ActiveState,UnitFileState agentd.service; stat -c '%i %s' /var/lib/agentos/ledger.key; ls /run/agentos";
    let before = guest.shell(agentd)?;
    for command in [
        "systemctl stop agentd.service",
        "systemctl restart agentd",
        "systemctl kill -s KILL agentd.service",
        "systemctl mask --now agentd.service",
        "systemctl isolate rescue.target",
        "systemctl poweroff",
        "systemctl stop sysinit.target",
        "systemctl set-property agentd.service CPUWeight=7",
        "systemd-run --wait touch /applied",
        "systemd-run --user -M root@ touch /applied",
        "busctl call org.freedesktop.systemd1 /org/freedesktop/systemd1/unit/agentd_2eservice org.freedesktop.systemd1.Unit Stop s replace",
        "loginctl terminate-user root",
        "echo x > /run/initctl",
        "cat /var/lib/agentos/ledger.key",
        "agentctl --socket /run/agentos/operator.sock changes",
        "echo 1 > /sys/fs/cgroup/system.slice/agentd.service/cgroup.kill",
        "echo x >> /usr/lib/systemd/system/agentd.service; echo x >> /etc/systemd/system/agentd.service; false",
        "kill -9 $(systemctl show -p MainPID --value agentd.service)",
        "for p in /proc/[0-9]*; do cat $p/root/var/lib/agentos/ledger.key && exit 0; done; false",
        "head -c 1 /dev/vda || head -c 1 /dev/sda",
    ] {
        let change = ask.mutate("shell.apply", &json!({ "command": command, "time_limit_seconds": 10 }))?;
        let said = ask.output(change.id)?;
        expect(
            change.ran.first().is_some_and(|ran| ran.exit_status != Some(0)),
            command,
            &(&change.ran, said),
        )?;
        let after = guest.shell(agentd)?;
        expect(before == after, command, &after)?;
    }
    expect(guest.shell("! test -e /applied && echo none")?.trim() == "none", "nothing ran outside", &())
}
