//! Programs that the checks need and the project installs itself, by version, into the cache.

use std::path::PathBuf;

use anyhow::Result;

use crate::command::{cache_directory, cargo, run};

const CARGO_DENY: &str = "0.20.2";
const CARGO_NEXTEST: &str = "0.9.143";

/// The path of cargo-deny, built from crates.io the first time.
pub(crate) fn cargo_deny() -> Result<PathBuf> {
    installed("cargo-deny", CARGO_DENY)
}

/// The path of cargo-nextest: the machine's own if it has one.
pub(crate) fn cargo_nextest() -> Result<PathBuf> {
    match crate::command::find("cargo-nextest") {
        Some(path) => Ok(path),
        None => installed("cargo-nextest", CARGO_NEXTEST),
    }
}

fn installed(name: &str, version: &str) -> Result<PathBuf> {
    let root = cache_directory().join(format!("tools/{name}-{version}"));
    let program = root.join("bin").join(name);
    if !program.is_file() {
        eprintln!("installing {name} {version}, once");
        // Built for a short build, not for a fast program; in a folder of its own, so that it does not wait for ours.
        run(cargo()
            .args(["install", "--locked", "--debug", "--version", version, name, "--root"])
            .arg(&root)
            .arg("--target-dir")
            .arg(root.join("target")))?;
        std::fs::remove_dir_all(root.join("target"))?;
    }
    Ok(program)
}
