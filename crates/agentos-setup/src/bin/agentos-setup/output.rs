//! The only place that writes to the terminal: results to standard output, the rest to standard error, colour only where
//! it is seen, and no control characters of anybody's.

use std::error::Error as _;
use std::io::{self, IsTerminal as _, Write as _};
use std::time::{Duration, Instant};

use agentos_setup::{Event, Observer, SetupError};
use anstream::{AutoStream, ColorChoice};
use anstyle::{AnsiColor, Effects, Style};
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::{Value, json};

/// How often a line is written about work that goes on where there is no terminal.
const EVERY: Duration = Duration::from_secs(10);

/// Where words go.
pub(crate) struct Output {
    stdout: AutoStream<io::Stdout>,
    stderr: AutoStream<io::Stderr>,
    json: bool,
    terminal: bool,
    bar: Option<ProgressBar>,
    /// What is under way, and when a line was last written about it.
    phase: Option<(&'static str, Instant)>,
}

impl Output {
    pub(crate) fn new(json: bool, color: ColorChoice) -> Self {
        Self {
            stdout: AutoStream::new(io::stdout(), color),
            stderr: AutoStream::new(io::stderr(), color),
            json,
            terminal: io::stderr().is_terminal(),
            bar: None,
            phase: None,
        }
    }

    /// Writes the result: as JSON, or as aligned lines of a name and a text each.
    pub(crate) fn result(&mut self, value: &Value, lines: &[(&str, String, Mark)]) -> Result<(), SetupError> {
        self.clear();
        let written = if self.json {
            writeln!(self.stdout, "{value:#}")
        } else {
            lines.iter().try_for_each(|(name, text, mark)| {
                let style = mark.style();
                writeln!(self.stdout, "{style}{}{style:#} {name:<14}{}", mark.sign(), harmless(text))
            })
        };
        match written.and_then(|()| self.stdout.flush()) {
            Err(source) if source.kind() != io::ErrorKind::BrokenPipe => {
                Err(SetupError::Io { action: "write to", path: "standard output".into(), source })
            }
            _ => Ok(()),
        }
    }

    /// Writes text that this program made itself, as it is.
    pub(crate) fn script(&mut self, script: &[u8]) {
        let _ = self.stdout.write_all(script).and_then(|()| self.stdout.flush());
    }

    /// Says something beside the result.
    pub(crate) fn note(&mut self, text: &str) {
        self.line(Style::new(), "", text);
    }

    /// Says that something is done.
    pub(crate) fn done(&mut self, text: &str) {
        self.line(Mark::Good.style(), "✓ ", text);
    }

    /// Says something that must not be missed.
    pub(crate) fn warning(&mut self, text: &str) {
        self.line(Mark::Warning.style(), "! ", text);
    }

    fn line(&mut self, style: Style, sign: &str, text: &str) {
        self.clear();
        let _ = writeln!(self.stderr, "{style}{sign}{style:#}{}", harmless(text));
    }

    /// Shows how far work of more than a second is: a bar on a terminal, a line now and then elsewhere.
    pub(crate) fn progress(&mut self, phase: &'static str, done: u64, total: Option<u64>, detail: &str) {
        let begun = self.phase.is_none_or(|(known, _)| known != phase);
        if self.terminal {
            if begun {
                self.clear();
                let bar = total.map_or_else(ProgressBar::new_spinner, ProgressBar::new);
                let template = if total.is_some() {
                    "{prefix} {wide_bar} {pos} of {len} {msg}"
                } else {
                    "{spinner} {prefix} {msg}"
                };
                if let Ok(style) = ProgressStyle::with_template(template) {
                    bar.set_style(style);
                }
                bar.set_prefix(phase);
                bar.enable_steady_tick(Duration::from_millis(120));
                self.bar = Some(bar);
            }
            if let Some(bar) = &self.bar {
                bar.set_position(done);
                bar.set_message(detail.to_owned());
            }
        }
        if begun {
            if !self.terminal {
                let _ = writeln!(self.stderr, "{phase} …");
            }
            self.phase = Some((phase, Instant::now()));
        } else if let Some((_, last)) = &mut self.phase
            && !self.terminal
            && last.elapsed() > EVERY
        {
            *last = Instant::now();
            let of = total.map_or_else(String::new, |total| format!(": {done} of {total}"));
            let _ = writeln!(self.stderr, "{phase}{of} {detail}");
        }
    }

    fn clear(&mut self) {
        self.phase = None;
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
    }

    /// Says why there is no result.
    pub(crate) fn failure(&mut self, error: &SetupError) {
        self.clear();
        let mut message = error.to_string();
        let mut source = error.source();
        while let Some(cause) = source {
            message.push_str(": ");
            message.push_str(&cause.to_string());
            source = cause.source();
        }
        if self.json {
            let value = json!({ "error": { "message": message, "hint": error.hint() } });
            let _ = writeln!(self.stderr, "{value}");
            return;
        }
        let style = Mark::Bad.style();
        let _ = writeln!(self.stderr, "{style}Error:{style:#} {}", harmless(&message));
        if let Some(hint) = error.hint() {
            let style = Mark::Warning.style();
            let _ = writeln!(self.stderr, "{style}Hint:{style:#} {}", harmless(&hint));
        }
    }
}

/// How a line is marked. The sign says what the colour says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mark {
    Good,
    Warning,
    Bad,
}

impl Mark {
    fn sign(self) -> &'static str {
        match self {
            Self::Good => "✓",
            Self::Warning => "!",
            Self::Bad => "✗",
        }
    }

    fn style(self) -> Style {
        match self {
            Self::Good => Style::new().fg_color(Some(AnsiColor::Green.into())),
            Self::Warning => Style::new().fg_color(Some(AnsiColor::Yellow.into())),
            Self::Bad => Style::new().fg_color(Some(AnsiColor::Red.into())).effects(Effects::BOLD),
        }
    }
}

impl Observer for Output {
    fn tell(&mut self, event: Event<'_>) {
        let count = |number: usize| number as u64;
        match event {
            Event::Waiting => self.note("another set-up is at work; waiting for it to end"),
            Event::Checking { done, total } => {
                self.progress("checking what is downloaded", count(done), Some(count(total)), "packages");
            }
            Event::Fetching { done, total, bytes } => {
                let detail = format!("packages, {} MB", bytes / 1_000_000);
                self.progress("fetching Node.js and OpenClaw", count(done), Some(count(total)), &detail);
            }
            Event::Unpacking { done, total } => {
                self.progress("unpacking", count(done), Some(count(total)), "packages");
            }
            Event::Syncing => self.progress("writing to the disk", 0, None, ""),
            Event::Removing { name } => self.progress("removing what is not used any more", 0, None, name),
            _ => {}
        }
    }
}

/// The text without what a terminal would obey.
fn harmless(text: &str) -> String {
    text.chars()
        .map(|character| if character.is_control() && character != '\n' { '\u{fffd}' } else { character })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_terminal_gets_no_control_characters() {
        assert_eq!(harmless("a\u{1b}[31mb\r\nc\u{9b}"), "a\u{fffd}[31mb\u{fffd}\nc\u{fffd}");
    }
}
