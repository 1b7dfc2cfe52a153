//! A bar for work that takes more than a second.

use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

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
        if self.visible && self.bar.is_hidden() && self.started.elapsed() > PATIENCE {
            self.bar = ProgressBar::with_draw_target(Some(total), ProgressDrawTarget::stderr());
            let template = "{msg} {wide_bar} {human_pos}/{human_len} ({per_sec}, {eta} left)";
            if let Ok(style) = ProgressStyle::with_template(template) {
                self.bar.set_style(style);
            }
            self.bar.set_message(self.what);
        }
        self.bar.set_length(total);
        self.bar.set_position(done);
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}
