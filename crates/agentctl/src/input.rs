//! Lines that a person types.

use std::io::{self, BufRead as _, IsTerminal as _, Read as _};

use tokio::sync::mpsc;

use crate::error::CliError;

/// Longest line, in bytes. A terminal's are shorter; this is for a pipe.
const LONGEST: u64 = 1 << 20;

/// The lines of standard input, read by a thread of their own that ends with the process.
pub(crate) struct Lines {
    receiver: mpsc::Receiver<io::Result<String>>,
    /// Whether a person types them.
    pub(crate) typed: bool,
}

impl Lines {
    /// Begins to read.
    pub(crate) fn of_stdin() -> Self {
        let (sender, receiver) = mpsc::channel(1);
        std::thread::spawn(move || {
            let mut input = io::stdin().lock();
            while let Some(line) = next(&mut input).transpose() {
                let failed = line.is_err();
                if sender.blocking_send(line).is_err() || failed {
                    break;
                }
            }
        });
        Self { receiver, typed: io::stdin().is_terminal() }
    }

    /// Whether a person would type them.
    pub(crate) fn are_typed() -> bool {
        io::stdin().is_terminal()
    }

    /// The next line, without its end; `None` when there are no more.
    pub(crate) async fn next(&mut self) -> Result<Option<String>, CliError> {
        let line = self.receiver.recv().await.transpose();
        line.map_err(|error| CliError::new("cannot read what is said from standard input").because(&error))
    }
}

fn next(input: &mut impl io::BufRead) -> io::Result<Option<String>> {
    let mut line = Vec::new();
    if input.take(LONGEST + 1).read_until(b'\n', &mut line)? == 0 {
        return Ok(None);
    }
    if line.len() as u64 > LONGEST {
        return Err(io::Error::other(format!("a line is longer than {LONGEST} bytes")));
    }
    Ok(Some(String::from_utf8_lossy(&line).trim_end_matches(['\r', '\n']).to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_end_with_their_end_or_with_the_input() {
        let mut input = &b"one\r\n\ntwo \xff\nlast"[..];
        let mut lines = Vec::new();
        while let Some(line) = next(&mut input).unwrap() {
            lines.push(line);
        }
        assert_eq!(lines, ["one", "", "two \u{fffd}", "last"]);
    }

    #[test]
    fn a_line_without_end_is_refused() {
        assert!(next(&mut io::BufReader::new(io::repeat(b'x'))).is_err());
    }
}
