//! The units, the users and the folders, as systemd and the file system see them.

use anyhow::{Context, Result};

use super::machine::Machine;
use crate::vm::ask::expect;

/// The greatest exposure that systemd may find in a unit that is not agentd's.
const EXPOSURE: f64 = 3.0;

const UNITS: &str = "dpkg --listfiles agentos | grep '^/usr/lib/systemd/system/.'";

pub(super) fn are_verified(machine: &mut Machine) -> Result<()> {
    // It ends with 0 on a key that it does not know, so anything it says counts. The machine has no man(1).
    let (status, said) = machine.tried(&format!("systemd-analyze verify --man=no $({UNITS}) 2>&1"))?;
    expect(status == 0 && said.trim().is_empty(), "systemd-analyze verify", &said)
}

pub(super) fn are_not_exposed(machine: &mut Machine) -> Result<()> {
    let units = machine.shell(&format!("{UNITS} | grep 'service$'"))?;
    for unit in units.lines().filter_map(|path| path.rsplit('/').next()) {
        let said = machine.guest().run(&["systemd-analyze", "security", "--no-pager", unit])?;
        let exposure: f64 = said
            .split_once("Overall exposure level for ")
            .and_then(|(_, rest)| rest.split_whitespace().nth(1)?.parse().ok())
            .with_context(|| format!("systemd-analyze security says no level of {unit}:\n{said}"))?;
        println!("  {unit}: exposure {exposure}");
        expect(unit == "agentd.service" || exposure < EXPOSURE, "exposed", &unit)?;
    }
    Ok(())
}

pub(super) fn owners_and_modes(machine: &mut Machine) -> Result<()> {
    for (path, expected) in [
        ("/run/agentos", "755 root:root"),
        ("/run/agentos/agentd.sock", "660 root:agentos"),
        ("/run/agentos/operator.sock", "660 root:agentos-operators"),
        ("/var/lib/agentos", "700 root:root"),
        ("/var/lib/agentos/ledger.key", "600 root:root"),
        ("/var/lib/agentos-gateway", "755 root:root"),
        ("/var/lib/agentos-runtime", "755 root:root"),
        ("/var/lib/openclaw", "700 openclaw:openclaw"),
        ("/etc/agentos/agentd.toml", "644 root:root"),
    ] {
        let found = machine.guest().run(&["stat", "--format=%a %U:%G", path])?;
        expect(found.trim() == expected, path, &found)?;
    }
    let groups = machine.guest().run(&["id", "-Gn", "openclaw"])?;
    expect(groups.trim() == "openclaw agentos", "the gateway's user is in the agent's group only", &groups)?;
    let shell = machine.shell("getent passwd openclaw | cut -d: -f7")?;
    expect(shell.trim().ends_with("nologin"), "and cannot log in", &shell)?;
    let may_connect = |path: &str| -> Result<bool> {
        Ok(machine.tried(&format!("runuser -u openclaw -- test -w {path}"))?.0 == 0)
    };
    expect(may_connect("/run/agentos/agentd.sock")?, "the gateway's user reaches the agent's socket", &())?;
    expect(!may_connect("/run/agentos/operator.sock")?, "and not the operator's", &())?;
    let (status, said) =
        machine.tried("runuser -u openclaw -- agentctl --socket /run/agentos/operator.sock health")?;
    expect(status != 0, "nor through agentctl", &said)
}
