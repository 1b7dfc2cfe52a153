//! apt at work.
//!
//! It runs in a unit of its own, so that it goes on when this process ends: dpkg that is cut off half way leaves a machine
//! that a person has to mend.

use std::fs::{self, DirBuilder, File};
use std::io::{Read as _, Seek as _, SeekFrom};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::Path;
use std::time::Duration;

use super::apt::{Apt, ENVIRONMENT};
use crate::QueryError;
use crate::change::error::ChangeError;
use crate::machine::Machine;
use crate::run::Program;
use crate::systemd::control::{self, Look, Running, Told, Verb};
use crate::systemd::transient::{self, Work};
use crate::text::lossy;

/// How long apt is waited for, and after which it is ended.
const TIME: Duration = Duration::from_mins(30);
const LONGEST_TIME: Duration = Duration::from_hours(1);
const STOP_TIME: Duration = Duration::from_secs(10);
/// The unit that apt runs in.
pub(super) const UNIT: &str = "agentos-packages.service";
/// Where what it prints goes.
const FOLDER: &str = "/run/agentos-packages";
const OUTPUT: &str = "/run/agentos-packages/output";
/// What is kept of what it prints, from the end.
const TAIL_BYTES: u64 = 16 << 10;
const TAIL_LINES: usize = 12;
const TAIL_CHARACTERS: usize = 1500;
const LONGEST_OUTPUT: usize = 16 << 20;

/// Whether systemd runs, and so apt in a unit of its own.
pub(crate) fn in_unit(machine: &Machine) -> bool {
    machine.is_own_root() && Path::new("/run/systemd/system").is_dir()
}

/// apt is at work in its unit.
///
/// # Errors
/// `systemd_unavailable`.
pub(super) fn under_way(machine: &Machine) -> Result<bool, QueryError> {
    if !in_unit(machine) {
        return Ok(false);
    }
    Ok(look(machine, Duration::ZERO)?
        .is_some_and(|look| look.job.is_some() || look.running() == Running::Between))
}

/// After a cut: has systemd forget what is over.
pub(super) fn settle(machine: &Machine) {
    if in_unit(machine) && matches!(look(machine, Duration::ZERO), Ok(Some(look)) if look.job.is_none()) {
        forget(machine);
    }
}

/// Runs commands one after the other, each a program's name with its arguments, until one fails.
///
/// # Errors
/// Why it failed, with the end of what was printed.
pub(super) fn run(machine: &Machine, commands: &[Vec<String>]) -> Result<(), ChangeError> {
    if in_unit(machine) { run_in_unit(machine, commands) } else { run_here(commands) }
}

fn failed(reason: impl std::fmt::Display) -> ChangeError {
    ChangeError::failed("packages", reason)
}

/// The unit once it is settled, or after `time`; none where there is none.
fn look(machine: &Machine, time: Duration) -> Result<Option<Look>, QueryError> {
    match control::settled(machine, UNIT, time) {
        Err(QueryError::NotFound { .. }) => Ok(None),
        other => other.map(Some),
    }
}

fn run_in_unit(machine: &Machine, commands: &[Vec<String>]) -> Result<(), ChangeError> {
    if under_way(machine)? {
        return Err(failed(format!("apt is at work already, in {UNIT}; wait until it is done")));
    }
    forget(machine);
    let commands = commands
        .iter()
        .filter_map(|command| command.split_first())
        .map(|(name, arguments)| {
            let path = Apt::program(name)?.path().display().to_string();
            Ok([path].into_iter().chain(arguments.iter().cloned()).collect())
        })
        .collect::<Result<Vec<Vec<String>>, QueryError>>()?;
    let environment: Vec<String> = ENVIRONMENT
        .iter()
        .chain(&[("LC_ALL", "C.UTF-8")])
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    let _ = DirBuilder::new().mode(0o700).create(FOLDER);
    let work = Work {
        unit: UNIT,
        description: "Packages changed by agentd",
        commands: &commands,
        environment: &environment,
        output: OUTPUT,
        time: LONGEST_TIME,
    };
    transient::start(machine, &work).map_err(|error| match error {
        Told::No(reason) => failed(format!("apt cannot be started ({UNIT}): {reason}")),
        Told::Unreachable(error) => error.into(),
    })?;
    let Some(look) = look(machine, TIME)? else {
        return Err(failed(format!("{UNIT} is gone: somebody ended it")));
    };
    if look.job.is_some() {
        return Err(failed(format!(
            "apt is not done after {} min, and goes on in {UNIT}; {OUTPUT} has what it prints",
            TIME.as_secs() / 60
        )));
    }
    let outcome = match look.running() {
        Running::Yes => Ok(()),
        _ => Err(failed(format!(
            "{}; it printed: {}",
            look.result.as_deref().unwrap_or("it did not run to its end"),
            tail_of_file().unwrap_or_else(|| "nothing".to_owned())
        ))),
    };
    forget(machine);
    outcome
}

/// The unit stays until it is told to go, whether it went well or not.
fn forget(machine: &Machine) {
    if let Ok(Some(_)) = look(machine, Duration::ZERO) {
        let _ = control::queue(machine, Verb::Stop, UNIT);
        let _ = look(machine, STOP_TIME);
        let _ = transient::reset_failed(machine, UNIT);
    }
    let _ = fs::remove_dir_all(FOLDER);
}

/// Where systemd does not run.
fn run_here(commands: &[Vec<String>]) -> Result<(), ChangeError> {
    for command in commands {
        let Some((name, arguments)) = command.split_first() else { continue };
        let run = arguments.iter().fold(Apt::program(name)?, Program::argument);
        let (ended, output) = run.output(LONGEST_TIME, LONGEST_OUTPUT)?;
        if !ended.status.success() {
            let said = tail(&format!("{}\n{}", lossy(&output), ended.stderr));
            return Err(failed(format!("{name} ended with {}; it printed: {said}", ended.status)));
        }
    }
    Ok(())
}

fn tail_of_file() -> Option<String> {
    let mut file = File::open(OUTPUT).ok()?;
    let length = file.metadata().ok()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(TAIL_BYTES))).ok()?;
    let mut bytes = Vec::new();
    file.take(TAIL_BYTES).read_to_end(&mut bytes).ok()?;
    Some(tail(&lossy(&bytes)))
}

/// The last lines that say something, in one.
fn tail(text: &str) -> String {
    let mut lines: Vec<&str> = text
        .lines()
        .rev()
        .map(str::trim)
        .filter(|line| !line.is_empty() && !line.starts_with("(Reading database"))
        .take(TAIL_LINES)
        .collect();
    lines.reverse();
    let text: String = lines.join(" | ").chars().filter(|character| !character.is_control()).collect();
    let more = text.chars().count().saturating_sub(TAIL_CHARACTERS);
    text.chars().skip(more).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_long_output_the_end_is_kept() {
        let lines: Vec<String> = (0..100).map(|line| format!("line {line}\n")).collect();
        let text = lines.join("\n") + "\n(Reading database ... 5%\r";
        let tail = tail(&text);
        assert!(tail.starts_with("line 88 | ") && tail.ends_with("| line 99"), "{tail}");
        assert_eq!(super::tail(&"x".repeat(9000)).len(), TAIL_CHARACTERS);
    }
}
