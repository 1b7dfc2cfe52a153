//! A machine of its own for what a development machine cannot show: a Debian with systemd as process 1, booted in
//! systemd-nspawn in about a second, with a network and control groups of its own, thrown away afterwards.
//!
//! Needs root, Linux and apt. What is installed into it is fixed in [`image`]; it is built once and kept in the cache.

mod ask;
mod checks;
mod fixtures;
mod image;
mod installed;
mod nspawn;
mod test;

use std::path::PathBuf;

use anyhow::{Result, bail};
use clap::{Args, Subcommand};

use self::nspawn::{Guest, Share};

/// Boot a throw-away machine with systemd.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Run agentd against the real systemd, journal, logind and packet filter inside, and check its answers.
    Test(test::Arguments),
    /// Boot, run a command inside as root, and power off.
    Run {
        /// The command and its arguments.
        #[arg(required = true, trailing_var_arg = true, value_name = "COMMAND")]
        command: Vec<String>,
    },
}

/// Does what the arguments say.
///
/// # Errors
/// What could not be built or booted, or which check failed.
pub(crate) fn run(arguments: Arguments) -> Result<()> {
    if !rustix::process::geteuid().is_root() {
        bail!("booting a machine needs root: run `sudo -E cargo xtask vm …`");
    }
    match arguments.action {
        Action::Test(arguments) => test::run(&arguments),
        Action::Run { command } => {
            let guest = Guest::boot(&image::prepare()?, &[] as &[Share])?;
            let status = guest.command(&command).status()?;
            guest.power_off()?;
            if status.success() { Ok(()) } else { bail!("{status}: {}", command.join(" ")) }
        }
    }
}

/// The Debian that the machines are made of, which nobody writes to.
///
/// # Errors
/// When it cannot be built.
pub(crate) fn debian() -> Result<PathBuf> {
    image::prepare()
}

/// Installs those of the programs that are missing, each from the package beside it.
///
/// # Errors
/// When apt cannot.
pub(crate) fn install_tools(tools: &[(&str, &str)]) -> Result<()> {
    image::install_tools(tools)
}

/// Runs every check inside the machine.
///
/// # Errors
/// As [`run`].
pub(crate) fn test() -> Result<()> {
    run(Arguments { action: Action::Test(test::Arguments::default()) })
}
