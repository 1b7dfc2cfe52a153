//! A bar, or a line with the time, for work that takes more than a second.

use std::pin::pin;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::human::duration;

/// How long work may take before a bar is worth its place.
const PATIENCE: Duration = Duration::from_secs(1);

/// The progress of one piece of work. It leaves no trace when it is dropped.
pub(crate) struct Progress {
    bar: ProgressBar,
    what: &'static str,
    visible: bool,
    started: Instant,
}

impl Progress {
    pub(super) fn new(what: &'static str, visible: bool) -> Self {
        Self { bar: ProgressBar::hidden(), what, visible, started: Instant::now() }
    }

    /// `done` of `total` are done.
    pub(crate) fn update(&mut self, done: u64, total: u64) {
        let elapsed = self.started.elapsed();
        if !self.visible || elapsed < PATIENCE {
            return;
        }
        if self.bar.is_hidden() {
            self.bar = ProgressBar::with_draw_target(Some(total), ProgressDrawTarget::stderr());
            if let Ok(style) =
                ProgressStyle::with_template("{prefix} {wide_bar} {human_pos} of {human_len}{msg}")
            {
                self.bar.set_style(style);
            }
            self.bar.set_prefix(self.what);
        }
        if let Some(left) = left(elapsed, done, total) {
            self.bar.set_message(format!(", {} left", duration(left)));
        }
        self.bar.set_length(total);
        self.bar.set_position(done);
    }
}

/// A line that leaves no trace when it is dropped, also with the work it was shown for.
struct Line(ProgressBar);

impl Drop for Line {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}

/// Waits for `work`. If it takes long and `visible` is set, a line with the time shows until it is done.
pub(super) async fn while_waiting<F: Future>(what: &'static str, visible: bool, work: F) -> F::Output {
    const BEAT: Duration = Duration::from_millis(100);
    let mut work = pin!(work);
    if !visible {
        return work.await;
    }
    let started = Instant::now();
    if let Ok(done) = tokio::time::timeout(PATIENCE, &mut work).await {
        return done;
    }
    let line = Line(ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr()));
    if let Ok(style) = ProgressStyle::with_template("{spinner} {msg}") {
        line.0.set_style(style);
    }
    loop {
        line.0.set_message(format!("{what}, {}", duration(started.elapsed().as_secs_f64().floor())));
        line.0.tick();
        if let Ok(done) = tokio::time::timeout(BEAT, &mut work).await {
            return done;
        }
    }
}

/// Whole seconds left if the rest goes as fast as what is done.
#[expect(clippy::cast_precision_loss, reason = "an estimate")]
fn left(elapsed: Duration, done: u64, total: u64) -> Option<f64> {
    let rest = total.checked_sub(done)?;
    (done > 0).then(|| (elapsed.as_secs_f64() * rest as f64 / done as f64).ceil())
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rest_is_estimated_from_what_is_done() {
        assert_eq!(left(Duration::from_secs(2), 50, 100), Some(2.0));
        assert_eq!(left(Duration::from_secs(2), 0, 100), None);
        assert_eq!(left(Duration::from_secs(2), 100, 100), Some(0.0));
        assert_eq!(left(Duration::from_secs(2), 101, 100), None);
    }
}
