//! Machines of their own for what a development machine cannot show: a Debian with systemd as process 1, thrown away
//! afterwards.
//!
//! In systemd-nspawn one boots in about a second, on the host's kernel, with a network and control groups of its own: the
//! everyday test. In QEMU one has a kernel and a disk of its own, and a plug that can be pulled. The same file system,
//! fixed in [`image`], serves both, and the live medium too.
//!
//! Needs root, Linux and apt. What is costly to make is made once and kept in the cache.

mod agentos;
mod ask;
mod bootable;
mod bootstrap;
mod change_once;
mod changes_accounts;
mod changes_jobs;
mod changes_journal;
mod changes_network;
mod changes_packages;
mod changes_services;
mod checks;
mod disk;
mod fixtures;
mod image;
mod initrd;
mod interactive;
mod iso;
mod kernel;
mod life;
mod nspawn;
mod power_cut;
mod qemu;
mod qemu_test;
mod queries;
mod replay;
mod tally;
mod test;
mod workshop;

use std::path::PathBuf;

use anyhow::{Result, bail};
use clap::{Args, Subcommand};

use self::nspawn::{Disk, Guest};

/// Boot a throw-away machine with systemd.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Install the package inside, and check agentd's answers and the package's life against a real systemd.
    Test(test::Arguments),
    /// Boot with a kernel and a disk of its own, cut the power while agentd records, and count what is lost.
    TestQemu(qemu_test::Arguments),
    /// Boot a machine in QEMU, with a kernel and a disk of its own, and its console on this terminal.
    Qemu(interactive::Qemu),
    /// Boot a machine in nspawn with agentd in it, and open a shell in it.
    Shell,
    /// Boot a machine in nspawn with agentd in it, and say how to enter it.
    Nspawn,
    /// Build a medium that starts AgentOS on any PC without touching its disks.
    Iso(iso::Arguments),
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
        Action::TestQemu(arguments) => qemu_test::run(&arguments),
        Action::Qemu(arguments) => interactive::on_this_terminal(&arguments),
        Action::Shell => interactive::shell(),
        Action::Nspawn => interactive::nspawn(),
        Action::Iso(arguments) => iso::run(&arguments),
        Action::Run { command } => {
            let guest = Guest::boot(&image::prepare()?, &Disk::new()?, &[])?;
            let status = guest.command(&command).status()?;
            guest.power_off()?;
            if status.success() { Ok(()) } else { bail!("{status}: {}", command.join(" ")) }
        }
    }
}

/// Starts a machine in QEMU, and cuts its power.
///
/// # Errors
/// As [`run`].
pub(crate) fn test_qemu() -> Result<()> {
    run(Arguments { action: Action::TestQemu(qemu_test::Arguments::default()) })
}

/// Builds the live medium and starts it.
///
/// # Errors
/// As [`run`].
pub(crate) fn test_iso() -> Result<()> {
    run(Arguments { action: Action::Iso(iso::Arguments::test()) })
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
    bootstrap::install_tools(tools)
}

/// Runs every check inside the machine.
///
/// # Errors
/// As [`run`].
pub(crate) fn test() -> Result<()> {
    run(Arguments { action: Action::Test(test::Arguments::default()) })
}
