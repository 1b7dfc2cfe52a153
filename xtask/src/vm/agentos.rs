//! agentos, put into a system that is not running.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

use super::workshop::inside;
use crate::command::{cargo, root as checkout, run, target_directory};

const UNITS: [&str; 3] = ["agentd.service", "agentd.socket", "agentd-operator.socket"];

/// Installs it so that the system starts it.
///
/// # Errors
/// When it does not build, or cannot be put there.
pub(super) fn install(root: &Path) -> Result<()> {
    run(cargo().args(["build", "--quiet", "--locked", "--package", "agentd", "--package", "agentctl"]))?;
    let packaging = checkout().join("packaging");
    let copy = |from: &Path, to: &str| {
        let to = root.join(to);
        fs::create_dir_all(to.parent().unwrap_or(root))?;
        fs::copy(from, &to).with_context(|| format!("cannot install {}", to.display())).map(drop)
    };
    for program in ["agentd", "agentctl"] {
        copy(&target_directory().join("debug").join(program), &format!("usr/bin/{program}"))?;
    }
    for unit in UNITS {
        copy(&packaging.join("systemd").join(unit), &format!("usr/lib/systemd/system/{unit}"))?;
    }
    copy(&packaging.join("sysusers.d/agentos.conf"), "usr/lib/sysusers.d/agentos.conf")?;
    copy(&packaging.join("etc/agentd.toml"), "etc/agentos/agentd.toml")?;
    run(&mut inside(root, "/usr/bin/systemd-sysusers", &[]))?;
    run(inside(root, "/usr/bin/systemctl", &[]).args(["--quiet", "enable"]).args(UNITS))
}
