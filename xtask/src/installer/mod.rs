//! `scripts/install.sh` in a real Debian: run as root against dpkg, apt and the kernel, with all that goes wrong on other
//! people's machines.
//!
//! A stand-in takes the package's place here, because it has to fail on demand: hang, be cut off, fill the disk. The
//! package itself is installed by the script in a booted machine (`cargo xtask vm test`).

mod faults;
mod refusals;
mod removal;
mod root;
mod secrets;
mod stand_in;

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Instant;

use anyhow::{Result, bail, ensure};
use clap::Args;

use self::root::{Root, Trees};
use crate::command;
use crate::vm;

/// More than this nobody reads before running it as root.
const MOST_LINES: usize = 299;

/// Which cases.
#[derive(Debug, Default, Args)]
pub(crate) struct Arguments {
    /// Only cases whose statement contains this text.
    #[arg(value_name = "TEXT")]
    only: Option<String>,
}

/// A statement about the script, and what shows it.
type Case = (&'static str, fn(&Root) -> Result<()>);

/// Checks the script, then runs each case in a Debian of its own.
///
/// # Errors
/// How many cases failed; each is printed with what the script said.
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let script = command::root().join("scripts/install.sh");
    is_short(&script)?;
    let root = rustix::process::geteuid().is_root();
    if root {
        vm::install_tools(&[("shellcheck", "shellcheck")])?;
    }
    if command::find("shellcheck").is_some() {
        command::run(Command::new("shellcheck").arg(&script))?;
    } else {
        eprintln!("NOT RUN: shellcheck is not installed, and only root can install it");
    }
    if !root {
        eprintln!("NOT RUN: the cases need root (run them with: sudo -E cargo xtask test installer)");
        return Ok(());
    }
    let trees = Trees::prepare(&script)?;
    let cases: Vec<&Case> = [refusals::CASES, faults::CASES, secrets::CASES, removal::CASES]
        .into_iter()
        .flatten()
        .filter(|(statement, _)| arguments.only.as_ref().is_none_or(|only| statement.contains(only.as_str())))
        .collect();
    let mut failed = 0;
    for (statement, case) in &cases {
        let started = Instant::now();
        match trees.root().and_then(|root| case(&root)) {
            Ok(()) => println!("✓ {statement} ({} ms)", started.elapsed().as_millis()),
            Err(error) => {
                failed += 1;
                println!("✗ {statement}\n  {error:#}");
            }
        }
    }
    if failed > 0 {
        bail!("{failed} of {} cases failed", cases.len());
    }
    Ok(())
}

fn is_short(script: &Path) -> Result<()> {
    let lines = fs::read_to_string(script)?.lines().count();
    ensure!(lines <= MOST_LINES, "{} has {lines} lines; at most {MOST_LINES} are allowed", script.display());
    Ok(())
}
