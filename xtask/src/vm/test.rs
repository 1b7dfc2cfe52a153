//! `cargo xtask vm test`: agentd inside the machine, asked over its own socket.

use std::time::{Duration, Instant};

use agentos_api::query::NAMES;
use anyhow::{Result, bail};
use clap::Args;

use super::ask::Ask;
use super::checks::CHECKS;
use super::nspawn::{Guest, Share};
use super::{fixtures, image, installed};
use crate::command::{cargo, run as run_command, target_directory};
use crate::progress::Step;

/// Which checks, and how.
#[derive(Debug, Default, Args)]
pub(crate) struct Arguments {
    /// Only checks whose statement contains this text.
    #[arg(value_name = "TEXT")]
    only: Option<String>,
    /// Also measure how long each query takes.
    #[arg(long)]
    measure: bool,
}

const START_TIME: Duration = Duration::from_secs(20);

/// Builds, boots, sets up, asks.
///
/// # Errors
/// How many checks failed; each is printed with what was answered.
pub(super) fn run(arguments: &Arguments) -> Result<()> {
    run_command(cargo().args(["build", "--quiet", "--package", "agentd"]))?;
    let share = Share { from: target_directory().join("debug/agentd"), to: installed::PROGRAM };
    let guest = Guest::boot(&image::prepare()?, &[share])?;
    let step = Step::begin("Setting up what is asked about");
    fixtures::install(&guest)?;
    step.done();
    let ask = start_agentd(&guest)?;
    let mut failed = 0;
    for (statement, check) in CHECKS {
        if arguments.only.as_ref().is_some_and(|only| !statement.contains(only.as_str())) {
            continue;
        }
        let started = Instant::now();
        match check(&ask, &guest) {
            Ok(()) => println!("✓ {statement} ({} ms)", started.elapsed().as_millis()),
            Err(error) => {
                failed += 1;
                println!("✗ {statement}\n  {error:#}");
            }
        }
    }
    if arguments.measure {
        measure(&ask);
    }
    guest.power_off()?;
    if failed > 0 {
        bail!("{failed} of {} checks failed", CHECKS.len());
    }
    Ok(())
}

fn start_agentd(guest: &Guest) -> Result<Ask> {
    let step = Step::begin("Starting agentd");
    installed::install(guest)?;
    let ask = Ask::new(guest.path("/run/agentos/agentd.sock"))?;
    let deadline = Instant::now() + START_TIME;
    while !ask.is_up() {
        if Instant::now() > deadline {
            let log =
                guest.run(&["journalctl", "--unit=agentd", "--no-pager", "--lines=20", "--output=cat"])?;
            bail!("agentd does not answer:\n{log}");
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    step.done();
    Ok(ask)
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
