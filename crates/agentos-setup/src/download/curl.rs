//! One run of curl(1) for many transfers. What it is told goes through its standard input: an address may hold a
//! password, and everybody can read a command line.

use std::fmt::Write as _;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use rustix::process::{Signal, set_parent_process_death_signal};

use crate::error::SetupError;
use crate::registry::Scheme;

/// What holds for every transfer. A server that goes silent is given up; one that is slow is not. The reports go to
/// standard error, which curl does not buffer: each is known when its transfer ends, and not when the last one does. And no
/// transfer waits to see whether it could share the connection of another, which may be a slow one.
const COMMON: &str = "\
silent
no-progress-meter
fail
globoff
parallel
parallel-immediate
parallel-max = 8
connect-timeout = 20
speed-limit = 512
speed-time = 30
retry = 2
max-filesize = 536870912
write-out = \"%{stderr}%{urlnum} %{exitcode} %{http_code} %{errormsg}\\n\"
";

/// Longest line of curl's that is read.
const LONGEST_LINE: u64 = 4096;

/// Most that is kept of what it says otherwise.
const MOST_WORDS: usize = 8 << 10;

/// A running curl. Dropped, it is ended.
pub(super) struct Batch {
    child: Child,
    lines: Receiver<Report>,
    words: Option<JoinHandle<String>>,
}

/// What it says.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Report {
    /// The transfer of that number is over.
    Ended { number: usize, code: u32, status: u32, message: String },
    /// Nothing new.
    Nothing,
}

impl Batch {
    /// Starts `program` on transfers from addresses to files.
    pub(super) fn start(
        program: &Path,
        scheme: Scheme,
        transfers: &[(String, PathBuf)],
    ) -> Result<Self, SetupError> {
        let mut command = Command::new(program);
        // `--disable` before anything else: no configuration of a user's own.
        command.args(["--disable", "--config", "-"]).current_dir("/");
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
        let prepare = || Ok(set_parent_process_death_signal(Some(Signal::KILL))?);
        // SAFETY: between fork and exec `prepare` makes one prctl(2) call and nothing else: it allocates nothing and takes
        // no lock.
        unsafe { command.pre_exec(prepare) };
        let mut child = command.spawn().map_err(|source| {
            if source.kind() == std::io::ErrorKind::NotFound {
                SetupError::Refused {
                    message: format!("{} is not installed", program.display()),
                    hint: "run: apt-get install curl".to_owned(),
                }
            } else {
                SetupError::io("start", program)(source)
            }
        })?;
        let told = configuration(scheme, transfers)
            .and_then(|text| match child.stdin.take() {
                Some(mut input) => input.write_all(text.as_bytes()),
                None => Ok(()),
            })
            .map_err(SetupError::io("tell what to fetch to", program));
        let (sender, lines) = channel();
        let output = child.stderr.take();
        let words = std::thread::spawn(move || {
            let mut words = String::new();
            let Some(output) = output else { return words };
            let mut output = BufReader::new(output);
            loop {
                let mut line = Vec::new();
                match output.by_ref().take(LONGEST_LINE).read_until(b'\n', &mut line) {
                    Ok(0) | Err(_) => return words,
                    Ok(_) => {}
                }
                let line = String::from_utf8_lossy(&line);
                match parse(&line) {
                    // Nobody may listen any more; curl is not left waiting for a reader all the same.
                    Some(report) => drop(sender.send(report)),
                    None if words.len() < MOST_WORDS => words.push_str(&line),
                    None => {}
                }
            }
        });
        let batch = Self { child, lines, words: Some(words) };
        told.map(|()| batch)
    }

    /// What it says next, waiting no longer than `patience`; none when it has said all.
    pub(super) fn next(&self, patience: Duration) -> Option<Report> {
        match self.lines.recv_timeout(patience) {
            Ok(report) => Some(report),
            Err(RecvTimeoutError::Timeout) => Some(Report::Nothing),
            Err(RecvTimeoutError::Disconnected) => None,
        }
    }

    /// How it ended, in words for the transfers that it did not speak of.
    pub(super) fn end(mut self) -> String {
        let status = self.child.wait().map_or_else(|error| error.to_string(), |status| status.to_string());
        let words = self.words.take().and_then(|words| words.join().ok()).unwrap_or_default();
        let words = words.trim();
        if words.is_empty() {
            format!("curl ended with {status}")
        } else {
            format!("curl ended with {status}: {words}")
        }
    }
}

impl Drop for Batch {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The text that curl reads (its manual: "-K, --config").
fn configuration(scheme: Scheme, transfers: &[(String, PathBuf)]) -> std::io::Result<String> {
    let mut text = COMMON.to_owned();
    text.push_str(match scheme {
        // Never from an encrypted connection to one in the clear, and to no other protocol.
        Scheme::Https => "proto = \"=https\"\nproto-redir = \"=https\"\nlocation\nmax-redirs = 5\n",
        Scheme::Http => "proto = \"=http\"\nproto-redir = \"=http,https\"\nlocation\nmax-redirs = 5\n",
        Scheme::File => "proto = \"=file\"\n",
    });
    for (address, file) in transfers {
        let file = file.to_str().filter(|file| !file.contains(['\n', '\r', '\0'])).ok_or_else(|| {
            std::io::Error::new(std::io::ErrorKind::InvalidInput, "the folder's name is not plain text")
        })?;
        // Writing to a string does not fail.
        let _ = writeln!(text, "url = \"{}\"\noutput = \"{}\"", quoted(address), quoted(file));
    }
    Ok(text)
}

fn quoted(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"")
}

/// `NUMBER CODE STATUS WORDS`.
fn parse(line: &str) -> Option<Report> {
    let mut words = line.trim_end().splitn(4, ' ');
    let number = words.next()?.parse().ok()?;
    let code = words.next()?.parse().ok()?;
    let status = words.next()?.parse().ok()?;
    Some(Report::Ended { number, code, status, message: words.next().unwrap_or_default().to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_curl_are_understood_and_others_passed_over() {
        assert_eq!(
            parse("12 6 000 Could not resolve host: x\n"),
            Some(Report::Ended {
                number: 12,
                code: 6,
                status: 0,
                message: "Could not resolve host: x".into()
            })
        );
        assert_eq!(
            parse("0 0 200 \n"),
            Some(Report::Ended { number: 0, code: 0, status: 200, message: String::new() })
        );
        assert_eq!(parse("curl: (2) something"), None);
    }

    #[test]
    fn what_curl_is_told_can_hold_no_option_of_somebody_elses() {
        let transfers = [("https://a.example/x\"y\\z".to_owned(), PathBuf::from("/a/\"b"))];
        let text = configuration(Scheme::Https, &transfers).unwrap();
        assert!(text.ends_with("url = \"https://a.example/x\\\"y\\\\z\"\noutput = \"/a/\\\"b\"\n"), "{text}");
        let broken = [(String::new(), PathBuf::from("/a\noutput = /etc/passwd"))];
        assert!(configuration(Scheme::File, &broken).is_err());
    }
}
