//! `cargo xtask vm test`: the package in machines with a real systemd.

use anyhow::Result;
use clap::Args;

use super::tally::Tally;
use super::{
    changes_accounts, changes_jobs, changes_network, changes_packages, changes_services, image, life, queries,
};
use crate::package;

/// Which statements, and how.
#[derive(Debug, Default, Args)]
pub(crate) struct Arguments {
    /// Only statements that contain this text.
    #[arg(value_name = "TEXT")]
    only: Option<String>,
    /// Also measure how long each query takes.
    #[arg(long)]
    measure: bool,
    /// Package quickly built programs instead of optimised ones.
    #[arg(long)]
    dev: bool,
}

/// Boots machines for changes, for the queries and for the package's life, and tests what is said of them. The package is built
/// where a statement needs it.
///
/// # Errors
/// How many statements do not hold; each is printed with what was found instead.
pub(super) fn run(arguments: &Arguments) -> Result<()> {
    let image = image::prepare()?;
    let mut tally = Tally::of(arguments.only.as_deref());
    changes_accounts::run(&image, &mut tally)?;
    changes_packages::run(&image, &mut tally)?;
    changes_services::run(&image, &mut tally)?;
    changes_jobs::run(&image, &mut tally)?;
    changes_network::run(&mut tally)?;
    // Only what needs the package waits for it.
    if !queries::is_asked(&tally, arguments.measure) && !life::is_asked(&tally) {
        return tally.close();
    }
    let package = package::debian(None, arguments.dev)?;
    let newer = package::debian(Some("newer"), arguments.dev)?;
    queries::run(&image, &package, &mut tally, arguments.measure)?;
    life::run(&image, &package, &newer, &mut tally)?;
    tally.close()
}
