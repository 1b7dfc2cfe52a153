//! The only place that writes to the terminal.
//!
//! Results go to standard output, everything else to standard error. Texts from elsewhere are made harmless here, so
//! no command can forget it; colour is added here, and only where it will be seen.

mod human;
mod progress;
mod sanitize;
mod style;
mod table;

use std::io::{self, IsTerminal, Write};

use anstream::{AutoStream, ColorChoice};
use serde::Serialize;

pub(crate) use human::{Clock, bytes, count, counted, duration, percent};
pub(crate) use progress::Progress;
pub(crate) use style::Style;
pub(crate) use table::{Cell, Column, Table};

use crate::error::{CliError, Failure};
use sanitize::{sanitize, sanitize_flowing, sanitize_json, sanitize_line};

/// When to use colour.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Color {
    /// Where the output is a terminal and `NO_COLOR` is not set.
    #[default]
    Auto,
    Always,
    Never,
}

impl From<Color> for ColorChoice {
    fn from(color: Color) -> Self {
        match color {
            Color::Auto => Self::Auto,
            Color::Always => Self::Always,
            Color::Never => Self::Never,
        }
    }
}

/// Where a command's words go.
pub(crate) struct Output {
    stdout: AutoStream<io::Stdout>,
    stderr: AutoStream<io::Stderr>,
    /// Results as JSON for programs rather than as text for people.
    pub(crate) json: bool,
    /// The terminal's width; none where standard output is not a terminal.
    width: Option<usize>,
    /// How moments are shown.
    pub(crate) clock: Clock,
}

impl Output {
    /// Standard output and standard error of this process.
    pub(crate) fn new(json: bool, color: Color) -> Self {
        let width = rustix::termios::tcgetwinsize(io::stdout()).ok().map(|size| usize::from(size.ws_col));
        Self {
            stdout: AutoStream::new(io::stdout(), color.into()),
            stderr: AutoStream::new(io::stderr(), color.into()),
            json,
            // A terminal that does not know its width says zero.
            width: width.filter(|width| *width > 0),
            clock: Clock::system(),
        }
    }

    /// Writes `value` as one indented JSON document.
    pub(crate) fn json(&mut self, value: &impl Serialize) -> Result<(), CliError> {
        let json = serde_json::to_string_pretty(value).map_err(|error| CliError::json(&error))?;
        writeln!(self.stdout, "{}", sanitize_json(&json)).map_err(|error| CliError::output(&error))
    }

    /// Writes `value` as one line of JSON, for lists that may not end.
    pub(crate) fn json_line(&mut self, value: &impl Serialize) -> Result<(), CliError> {
        let json = serde_json::to_string(value).map_err(|error| CliError::json(&error))?;
        writeln!(self.stdout, "{}", sanitize_json(&json))
            .and_then(|()| self.stdout.flush())
            .map_err(|error| CliError::output(&error))
    }

    /// Writes the cells one after the other, with nothing between them, as one line.
    pub(crate) fn line(&mut self, cells: &[Cell]) -> Result<(), CliError> {
        let line: Vec<_> = cells.iter().map(|cell| (sanitize(&cell.text).into_owned(), cell.style)).collect();
        write_line(&mut self.stdout, &line).map_err(|error| CliError::output(&error))
    }

    /// Writes a line of a source text behind `indent`: as any other, but its tabs stay.
    pub(crate) fn source_line(&mut self, indent: &str, line: &str, style: Style) -> Result<(), CliError> {
        let line = (format!("{indent}{}", sanitize_line(line)), style);
        write_line(&mut self.stdout, &[line]).map_err(|error| CliError::output(&error))
    }

    /// Writes `text` as one line.
    pub(crate) fn text(&mut self, text: impl Into<String>) -> Result<(), CliError> {
        self.line(&[Cell::new(text)])
    }

    /// Writes a part of a text as it is: it need not begin or end where a line does.
    pub(crate) fn flowing(&mut self, text: &str) -> Result<(), CliError> {
        write!(self.stdout, "{}", sanitize_flowing(text))
            .and_then(|()| self.stdout.flush())
            .map_err(|error| CliError::output(&error))
    }

    /// Asks for a line of input.
    pub(crate) fn prompt(&mut self, prompt: &str) -> Result<(), CliError> {
        let ansi = Style::Heading.ansi();
        write!(self.stdout, "\n{ansi}{prompt}{ansi:#}")
            .and_then(|()| self.stdout.flush())
            .map_err(|error| CliError::output(&error))
    }

    /// Asks for a word of input, behind `prompt` on a line of its own.
    pub(crate) fn question(&mut self, prompt: &str) -> Result<(), CliError> {
        let ansi = Style::Heading.ansi();
        write!(self.stdout, "{ansi}{}{ansi:#} ", sanitize(prompt))
            .and_then(|()| self.stdout.flush())
            .map_err(|error| CliError::output(&error))
    }

    /// Has what was written be seen now, where standard output is a pipe too.
    pub(crate) fn flush(&mut self) -> Result<(), CliError> {
        self.stdout.flush().map_err(|error| CliError::output(&error))
    }

    /// Whether a person reads standard output.
    pub(crate) fn is_read_by_a_person(&self) -> bool {
        !self.json && io::stdout().is_terminal()
    }

    /// Ends the line that somebody at the terminal was typing or reading; elsewhere there is none.
    pub(crate) fn end_line_of_terminal(&mut self) {
        if io::stdout().is_terminal() {
            let _ = writeln!(self.stdout);
        }
    }

    /// Writes a section's heading, with an empty line before it.
    pub(crate) fn heading(&mut self, heading: &str) -> Result<(), CliError> {
        self.text("")?;
        self.line(&[Cell::styled(heading, Style::Heading)])
    }

    /// Writes a text of several lines, each behind `indent` blanks.
    pub(crate) fn block(&mut self, text: &str, indent: usize) -> Result<(), CliError> {
        for line in text.lines() {
            self.text(format!("{:indent$}{line}", ""))?;
        }
        Ok(())
    }

    /// Writes an aligned table; what did not fit into the terminal is named on standard error.
    pub(crate) fn table(&mut self, table: &Table) -> Result<(), CliError> {
        let layout = table.layout(self.width);
        for line in &layout.lines {
            write_line(&mut self.stdout, line).map_err(|error| CliError::output(&error))?;
        }
        self.stdout.flush().map_err(|error| CliError::output(&error))?;
        if !layout.left_out.is_empty() {
            self.note(&format!(
                "The terminal is too narrow for {}; a wider one or --json shows all.",
                layout.left_out.join(", ")
            ));
        }
        Ok(())
    }

    /// Writes text that this program made itself, as it is: a completion script.
    pub(crate) fn script(&mut self, script: &[u8]) -> Result<(), CliError> {
        self.stdout
            .write_all(script)
            .and_then(|()| self.stdout.flush())
            .map_err(|error| CliError::output(&error))
    }

    /// Says something beside the result. Where standard error cannot be written there is nobody to tell.
    pub(crate) fn note(&mut self, note: &str) {
        let _ = write_line(&mut self.stderr, &[(sanitize(note).into_owned(), Style::Dim)]);
    }

    /// Says why there is no result.
    pub(crate) fn failure(&mut self, failure: &Failure) {
        if self.json {
            let json = serde_json::to_string(&serde_json::json!({ "error": failure })).unwrap_or_default();
            let _ = writeln!(self.stderr, "{}", sanitize_json(&json));
            return;
        }
        let labelled = |label: &str, style, text: &str| {
            vec![(label.to_owned(), style), (format!(" {}", sanitize(text)), Style::Plain)]
        };
        let mut message = failure.message.clone();
        for cause in &failure.causes {
            message.push_str(": ");
            message.push_str(cause);
        }
        let _ = write_line(&mut self.stderr, &labelled("Error:", Style::Bad, &message));
        if let Some(field) = &failure.field {
            let _ = write_line(&mut self.stderr, &labelled("Field:", Style::Heading, field));
        }
        if !failure.near.is_empty() {
            let near = failure.near.join(", ");
            let _ = write_line(&mut self.stderr, &labelled("Close to it:", Style::Heading, &near));
        }
        if let Some(hint) = &failure.hint {
            let _ = write_line(&mut self.stderr, &labelled("Hint:", Style::Warning, hint));
        }
    }

    /// A progress bar on standard error, seen only where there is a terminal and only once the work takes more than a second.
    pub(crate) fn progress(&self, what: &'static str) -> Progress {
        Progress::new(what, self.shows_progress())
    }

    /// Waits for `work`, and says so with the time it takes, where and when a progress bar would be seen.
    pub(crate) async fn while_waiting<F: Future>(&self, what: &'static str, work: F) -> F::Output {
        progress::while_waiting(what, self.shows_progress(), work).await
    }

    fn shows_progress(&self) -> bool {
        !self.json && io::stderr().is_terminal()
    }
}

fn write_line(stream: &mut impl Write, line: &[(String, Style)]) -> io::Result<()> {
    for (text, style) in line {
        let ansi = style.ansi();
        write!(stream, "{ansi}{text}{ansi:#}")?;
    }
    writeln!(stream)
}
