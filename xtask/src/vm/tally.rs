//! Statements that are tested one after the other: each is printed with how it went, and at the end they are counted.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};

/// How the statements went so far.
#[derive(Debug, Default)]
pub(super) struct Tally {
    only: Option<String>,
    passed: usize,
    failed: usize,
}

impl Tally {
    /// One that takes only statements which contain `only`.
    pub(super) fn of(only: Option<&str>) -> Self {
        Self { only: only.map(str::to_owned), ..Self::default() }
    }

    /// Whether that statement is asked for.
    pub(super) fn takes(&self, statement: &str) -> bool {
        self.only.as_ref().is_none_or(|only| statement.contains(only.as_str()))
    }

    /// Tests a statement. One that does not hold is told and counted; the others are tested all the same.
    pub(super) fn test(&mut self, statement: &str, check: impl FnOnce() -> Result<()>) {
        if self.takes(statement) {
            self.test_in_turn(statement, check);
        }
    }

    /// Tests a statement that others build on, also when only they are asked for. Whether it holds.
    pub(super) fn test_in_turn(&mut self, statement: &str, check: impl FnOnce() -> Result<()>) -> bool {
        let started = Instant::now();
        match check() {
            Ok(()) => {
                self.passed += 1;
                println!("✓ {statement} ({} ms)", started.elapsed().as_millis());
                true
            }
            Err(error) => {
                self.failed += 1;
                println!("✗ {statement}\n  {error:#}");
                false
            }
        }
    }

    /// Fails when a statement did not hold, or none was tested.
    ///
    /// # Errors
    /// How many.
    pub(super) fn close(&self) -> Result<()> {
        if self.failed > 0 {
            bail!("{} of {} statements do not hold", self.failed, self.failed + self.passed);
        }
        if self.passed == 0 {
            bail!("no statement contains that text");
        }
        Ok(())
    }
}

/// Asks every tenth of a second until there is an answer.
///
/// # Errors
/// When there is none within `limit`: with `what`, and the last reason.
pub(super) fn wait_for<T>(what: &str, limit: Duration, mut ask: impl FnMut() -> Result<T>) -> Result<T> {
    let deadline = Instant::now() + limit;
    loop {
        match ask() {
            Ok(answer) => return Ok(answer),
            Err(error) if Instant::now() > deadline => {
                return Err(error.context(format!("{what}: not within {} s", limit.as_secs())));
            }
            Err(_) => std::thread::sleep(Duration::from_millis(100)),
        }
    }
}
