//! agentd's answers about a machine that is set up to be asked about.

use std::path::Path;
use std::time::Duration;

use agentos_api::query::NAMES;
use anyhow::{Context, Result, bail};

use super::ask::Ask;
use super::checks::CHECKS;
use super::fixtures;
use super::nspawn::{Disk, Guest, Share};
use super::tally::{Tally, wait_for};
use crate::progress::Step;

const START_TIME: Duration = Duration::from_secs(20);

/// Whether anything of this is asked for.
pub(super) fn is_asked(tally: &Tally, measured: bool) -> bool {
    measured || CHECKS.iter().any(|(statement, _)| tally.takes(statement))
}

/// Boots a machine with the package and the fixtures, and checks each answer.
///
/// # Errors
/// When the machine cannot be set up. A wrong answer is counted in `tally`.
pub(super) fn run(image: &Path, package: &Path, tally: &mut Tally, measured: bool) -> Result<()> {
    if !is_asked(tally, measured) {
        return Ok(());
    }
    let disk = Disk::new()?;
    let guest = Guest::boot(image, &disk, &[Share { from: package.to_owned(), to: "/agentos.deb" }])?;
    let step = Step::begin("Setting up what is asked about");
    fixtures::install(&guest)?;
    // The gateway is not asked anything here.
    guest.shell("AGENTOS_SKIP_SETUP=1 dpkg --install /agentos.deb >/run/dpkg.log 2>&1 || { cat /run/dpkg.log; false; }")?;
    let ask = Ask::new(guest.path("/run/agentos/agentd.sock"))?;
    wait_for("agentd answers", START_TIME, || if ask.is_up() { Ok(()) } else { bail!("it does not") })
        .with_context(|| log(&guest))?;
    step.done();
    for (statement, check) in CHECKS {
        tally.test(statement, || check(&ask, &guest));
    }
    if measured {
        measure(&ask);
    }
    guest.power_off()
}

/// The end of agentd's log.
pub(super) fn log(guest: &Guest) -> String {
    guest
        .run(&["journalctl", "--unit=agentd", "--no-pager", "--lines=20", "--output=cat"])
        .unwrap_or_else(|error| format!("{error:#}"))
}

/// Prints the median time of each query with its default arguments.
fn measure(ask: &Ask) {
    for name in NAMES {
        // Those that need an argument have no default question.
        if let Ok(duration) = ask.duration(name) {
            println!("{name:16} {:8.1} ms", duration.as_secs_f64() * 1000.0);
        }
    }
}
