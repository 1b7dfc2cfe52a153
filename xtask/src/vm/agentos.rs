//! The package, installed in a system that is not running.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

use super::workshop::inside;
use crate::command::output;
use crate::package;

/// Builds the package and installs it, so that the system starts what it brings. What the package would fetch from a
/// network is left to the person.
///
/// # Errors
/// When it does not build, or dpkg refuses it.
pub(super) fn install(root: &Path) -> Result<()> {
    let package = package::debian(None, false)?;
    let seen = "/var/tmp/agentos.deb";
    let copy = root.join(seen.trim_start_matches('/'));
    fs::copy(&package, &copy).with_context(|| format!("cannot copy {}", package.display()))?;
    let mut dpkg = inside(root, "/usr/bin/dpkg", &[]);
    dpkg.args(["--install", seen]).env("DEBIAN_FRONTEND", "noninteractive").env("AGENTOS_SKIP_SETUP", "1");
    // What it says is of interest only when it fails.
    output(&mut dpkg)?;
    Ok(fs::remove_file(copy)?)
}
