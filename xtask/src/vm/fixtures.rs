//! What the machine is given to be asked about: services that run, fail and restart, log lines, a firewall, a login.

use anyhow::{Context, Result};

use super::nspawn::Guest;

/// Units, each with its file.
const UNITS: [(&str, &str); 6] = [
    (
        "fixture-fails.service",
        "[Unit]\nDescription=Fails on purpose\n[Service]\nExecStart=/bin/sh -c 'echo the disk is made of cheese; exit 3'\n",
    ),
    (
        "fixture-restarts.service",
        "[Unit]\nStartLimitIntervalSec=0\n[Service]\nExecStart=/bin/sh -c 'sleep 0.2; exit 1'\nRestart=always\nRestartSec=100ms\n",
    ),
    (
        "fixture-listens.service",
        "[Service]\nExecStart=/usr/bin/systemd-socket-activate -l 127.0.0.1:7778 /bin/cat\n[Install]\nWantedBy=multi-user.target\n",
    ),
    ("fixture-socket.socket", "[Socket]\nListenStream=7777\nAccept=yes\n"),
    ("fixture-socket@.service", "[Service]\nExecStart=/bin/cat\nStandardInput=socket\n"),
    (
        "fixture-ticks.timer",
        "[Timer]\nOnCalendar=*-*-* 04:00:00\nOnBootSec=10h\nUnit=fixture-fails.service\nPersistent=yes\n",
    ),
];

/// A drop-in, so that there is one.
const DROP_IN: &str = "[Service]\nEnvironment=SECRET=hunter2\nMemoryMax=64M\n";

const FIREWALL: &str = "table inet filter {\n\
    \tset trusted {\n\t\ttype ipv4_addr\n\t\telements = { 192.0.2.1, 192.0.2.2 }\n\t}\n\
    \tchain input {\n\t\ttype filter hook input priority 0; policy drop;\n\
    \t\tiif lo accept\n\t\tip saddr @trusted tcp dport 22 counter accept comment \"ssh\"\n\t}\n}\n";

/// Lines of the fixture's own log.
pub(super) const LOG_LINES: usize = 40;

/// Puts everything in place and waits until it has happened.
///
/// # Errors
/// When the machine refuses something.
pub(super) fn install(guest: &Guest) -> Result<()> {
    let write = |inside: &str, content: &str| {
        let path = guest.path(inside);
        if let Some(parent) = path.parent() {
            std::fs::create_dir_all(parent)?;
        }
        std::fs::write(&path, content).with_context(|| format!("cannot write {inside} in the machine"))
    };
    for (unit, content) in UNITS {
        write(&format!("/etc/systemd/system/{unit}"), content)?;
    }
    write("/etc/systemd/system/fixture-listens.service.d/limits.conf", DROP_IN)?;
    write("/run/fixture.nft", FIREWALL)?;
    guest.shell("nft -f /run/fixture.nft")?;
    guest.shell("ip link set lo up; systemctl daemon-reload")?;
    guest.shell("systemctl enable --now fixture-listens.service 2>/dev/null")?;
    guest.shell("systemctl start fixture-socket.socket fixture-ticks.timer fixture-restarts.service")?;
    guest.shell("systemctl start fixture-fails.service; for i in $(seq 50); do systemctl is-failed -q fixture-fails.service && break; sleep 0.1; done")?;
    log(guest)?;
    // A login as pam_systemd makes one, without a terminal.
    guest.shell("systemd-run --quiet --unit=fixture-login -p PAMName=login -p User=nobody sleep 1000")?;
    guest.shell("for i in $(seq 50); do loginctl list-sessions --no-legend | grep -q nobody && break; sleep 0.1; done; sleep 1")?;
    Ok(())
}

/// Log lines of one service with all that makes trouble: severities, an escape sequence, bytes that are not UTF-8, a
/// newline, a long line.
fn log(guest: &Guest) -> Result<()> {
    let script = format!(
        "systemd-run --quiet --wait --unit=fixture-log sh -c '\
         for i in $(seq 1 {LOG_LINES}); do echo \"<6>line number $i\"; done; \
         echo \"<3>a grave Error\"; \
         printf \"<4>caf\\351 is latin\\n\"; \
         printf \"<5>red \\033[31m text\\n\"; \
         head -c 20000 /dev/zero | tr \"\\0\" x; echo'; journalctl --sync"
    );
    guest.shell(&script).map(|_| ())
}
