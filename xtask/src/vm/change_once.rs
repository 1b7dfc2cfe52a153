//! A machine with the program that plans, makes and takes back changes without agentd.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use serde_json::Value;

use super::nspawn::{Disk, Guest, Share};
use super::tally::Tally;
use crate::command::{self, root};

/// The program, in the machine.
pub(super) const PROGRAM: &str = "/change_once";
/// agentd and agentctl, in the machine that has them.
pub(super) const AGENTD: &str = "/agentd";
pub(super) const AGENTCTL: &str = "/agentctl";

/// A statement about such a machine, and the test of it.
pub(super) type Check = fn(&Guest) -> Result<()>;

/// Boots a machine with `boot`, has its shell do `set_up`, and checks each statement that is asked for.
///
/// # Errors
/// When the machine cannot be set up. A statement that does not hold is counted in `tally`.
pub(super) fn check(
    tally: &mut Tally,
    statements: &[(&'static str, Check)],
    boot: impl FnOnce(&Disk) -> Result<Guest>,
    set_up: &str,
) -> Result<()> {
    if !statements.iter().any(|(statement, _)| tally.takes(statement)) {
        return Ok(());
    }
    let disk = Disk::new()?;
    let guest = boot(&disk)?;
    guest.shell(set_up)?;
    for (statement, check) in statements {
        tally.test(statement, || check(&guest));
    }
    guest.power_off()
}

/// Builds the program and boots a machine that has it.
///
/// # Errors
/// When it cannot be built, or the machine does not come up.
pub(super) fn boot(image: &Path, disk: &Disk) -> Result<Guest> {
    Guest::boot(image, disk, &[build()?])
}

/// The same machine, which has agentd and agentctl as well, at [`AGENTD`] and [`AGENTCTL`].
///
/// # Errors
/// As [`boot`].
pub(super) fn boot_with_agentd(image: &Path, disk: &Disk) -> Result<Guest> {
    let programs = ["build", "--package=agentd", "--package=agentctl", "--bins"];
    command::run(Command::new("cargo").args(programs).current_dir(root()))?;
    let built = |name: &str| target().join("debug").join(name);
    let agentd = Share { from: built("agentd"), to: AGENTD };
    let agentctl = Share { from: built("agentctl"), to: AGENTCTL };
    Guest::boot(image, disk, &[build()?, agentd, agentctl])
}

fn build() -> Result<Share> {
    let program = ["build", "--package=agentos-system", "--example=change_once"];
    command::run(Command::new("cargo").args(program).current_dir(root()))?;
    Ok(Share { from: target().join("debug/examples/change_once"), to: PROGRAM })
}

fn target() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), Into::into)
}

/// Plans one step, or plans and makes it (`act`), and gives the plan.
fn step(guest: &Guest, act: &str, folder: &str, mutation: &str, args: &Value) -> Result<Value> {
    guest.shell(&format!("mkdir -p {folder}"))?;
    let said = guest.run(&[PROGRAM, act, folder, mutation, &args.to_string()])?;
    serde_json::from_str(&said).with_context(|| said)
}

/// Plans a step, for [`run`] with `apply`, and gives its plan.
///
/// # Errors
/// Why it is refused.
pub(super) fn plan(guest: &Guest, folder: &str, mutation: &str, args: &Value) -> Result<Value> {
    step(guest, "plan", folder, mutation, args)
}

/// Plans and makes a step, and gives its plan.
///
/// # Errors
/// Why it is refused, or what failed.
pub(super) fn make(guest: &Guest, folder: &str, mutation: &str, args: &Value) -> Result<Value> {
    step(guest, "make", folder, mutation, args)
}

/// Takes back what was made last in that folder.
///
/// # Errors
/// Why it is refused, or what failed.
pub(super) fn undo(guest: &Guest, folder: &str) -> Result<String> {
    run(guest, "undo", folder)
}

/// Another act of the program.
///
/// # Errors
/// What failed.
pub(super) fn run(guest: &Guest, act: &str, folder: &str) -> Result<String> {
    guest.run(&[PROGRAM, act, folder])
}

/// Why something failed that has to.
///
/// # Errors
/// When it did not.
pub(super) fn reason<T: std::fmt::Debug>(outcome: Result<T>) -> Result<String> {
    match outcome {
        Ok(done) => bail!("it was done: {done:?}"),
        Err(error) => Ok(format!("{error:#}")),
    }
}
