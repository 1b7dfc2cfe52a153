//! What the gateway runs on: Node.js and OpenClaw, as `packages/runtime/package-lock.json` pins them, installed by the same
//! code as on a machine that the package sets up.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use agentos_setup::runtime::{Options, Pinned};
use agentos_setup::{Event, Registry, SetupError};
use anyhow::{Context, Result, anyhow, bail};

pub(crate) use agentos_setup::runtime::Runtime;

use crate::command::{cache_directory, find, output, root};
use crate::progress::Step;
use crate::project;

/// Options of `cargo xtask runtime`.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {}

/// Installs the runtime unless it is there, and prints where.
///
/// # Errors
/// Those of [`install`].
pub(crate) fn run(_: &Arguments) -> Result<()> {
    println!("{}", install()?.folder().display());
    Ok(())
}

/// The runtime, installed if it is not there yet. Two that install at once wait for each other.
///
/// It goes to `runtime-HASH` below `AGENTOS_RUNTIME_DIR`, or below the project's folder for what it makes; what is
/// downloaded for it to [`downloads`].
///
/// # Errors
/// When npm does not say where packages come from, or one of them cannot be had.
pub(crate) fn install() -> Result<Runtime> {
    let parent = std::env::var_os("AGENTOS_RUNTIME_DIR").map_or_else(project::base, PathBuf::from);
    let pinned = Pinned::read(&root().join("packages/runtime")).map_err(explained)?;
    if let Some(runtime) = pinned.installed(&parent) {
        return Ok(runtime);
    }
    let step = Step::begin("installing Node.js 24 and OpenClaw, once (328 packages, about 830 MB)");
    let (registry, curl) = source()?;
    let downloads = downloads();
    let options = Options { registry: Some(&registry), curl: &curl, downloads: &downloads, expected: None };
    let runtime = pinned.install(&parent, &options, &mut |_: Event<'_>| {}).map_err(explained)?;
    let version = output(Command::new(runtime.node()).arg("--version"))?;
    if !version.starts_with("v24.") {
        bail!("the installed Node.js calls itself {}", version.trim());
    }
    step.done();
    Ok(runtime)
}

/// Where the archives are kept that the runtime is made of: a folder that can be used as a registry.
pub(crate) fn downloads() -> PathBuf {
    cache_directory().join("npm")
}

/// The registry that the machine's npm uses, and a curl(1) to fetch with.
fn source() -> Result<(Registry, PathBuf)> {
    let Some(npm) = find("npm") else {
        bail!("npm is not installed; run: apt-get install npm (on NixOS: nix-shell -p nodejs)");
    };
    let Some(curl) = find("curl") else {
        bail!("curl is not installed; run: apt-get install curl (on NixOS: nix-shell -p curl)");
    };
    let address = output(Command::new(npm).args(["config", "get", "registry"]).current_dir("/"))?;
    Ok((Registry::parse(&address).map_err(explained)?, curl))
}

/// The error with its causes and what to do, as anyhow shows them.
pub(crate) fn explained(error: SetupError) -> anyhow::Error {
    match error.hint() {
        Some(hint) => {
            let message = anyhow!("{error}; {hint}");
            match std::error::Error::source(&error) {
                Some(source) => message.context(source.to_string()),
                None => message,
            }
        }
        None => error.into(),
    }
}

/// Runs the machine's own npm in `folder`.
///
/// # Errors
/// When npm is not there, or fails: with the end of what it said.
pub(crate) fn npm(folder: &Path, arguments: &[&str]) -> Result<()> {
    let Some(npm) = find("npm") else {
        bail!("npm is not installed; run: apt-get install npm (on NixOS: nix-shell -p nodejs)");
    };
    let mut command = Command::new(npm);
    command
        .args(arguments)
        .args(["--no-audit", "--no-fund", "--loglevel=error"])
        .current_dir(folder)
        .stdin(Stdio::null());
    let output = command.output().context("cannot start npm")?;
    if output.status.success() {
        return Ok(());
    }
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    let last: Vec<&str> = said.lines().rev().take(20).collect();
    let last = last.into_iter().rev().collect::<Vec<_>>().join("\n");
    bail!(
        "npm {} failed ({}):\n{last}\nIt needs the package registry; `npm config get registry` says which one, and \
         `npm ping` whether it answers",
        arguments.join(" "),
        output.status
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lock_file_is_one_that_is_followed() {
        let pinned = Pinned::read(&root().join("packages/runtime")).unwrap();
        assert!(pinned.name().starts_with("runtime-"));
    }
}
