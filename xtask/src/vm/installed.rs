//! agentd inside the machine as a package puts it there: its units, its groups, its sockets made by systemd.

use std::fs;

use anyhow::{Context, Result, bail};

use super::nspawn::Guest;
use crate::command::root;

/// Where the program is.
pub(super) const PROGRAM: &str = "/usr/bin/agentd";

const UNITS: [&str; 3] = ["agentd.service", "agentd.socket", "agentd-operator.socket"];
const USERS: &str = "/usr/lib/sysusers.d/agentos.conf";

/// Puts the files of `packaging/` in their places, makes the groups, and starts agentd as its unit says.
///
/// # Errors
/// When a file cannot be put there, systemd has anything to say about a unit, or agentd does not become ready.
pub(super) fn install(guest: &Guest) -> Result<()> {
    let packaging = root().join("packaging");
    let copy = |from: &str, to: &str| {
        fs::copy(packaging.join(from), guest.path(to)).with_context(|| format!("cannot install {to}"))
    };
    copy("sysusers.d/agentos.conf", USERS)?;
    let mut installed = Vec::new();
    for unit in UNITS {
        let to = format!("/usr/lib/systemd/system/{unit}");
        copy(&format!("systemd/{unit}"), &to)?;
        installed.push(to);
    }
    guest.run(&["systemd-sysusers", USERS])?;
    guest.run(&["systemctl", "daemon-reload"])?;
    // It ends with 0 on a key that it does not know, so anything it says counts.
    let said = guest.shell(&format!("systemd-analyze verify {} 2>&1", installed.join(" ")))?;
    if !said.trim().is_empty() {
        bail!("systemd-analyze verify: {said}");
    }
    let mut enable = vec!["systemctl", "enable", "--quiet", "--now"];
    enable.extend(UNITS);
    guest.run(&enable)?;
    Ok(())
}
