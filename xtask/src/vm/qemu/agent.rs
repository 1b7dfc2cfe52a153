//! The way into a machine: its guest agent, over a virtual serial port. It needs no network, no key and no terminal.
//!
//! What comes back is from inside the machine and is not trusted: answers are bounded in size and time.

use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};

/// The longest answer that is read: the agent captures 16 MiB of output, which grows by a third on the way.
const MAX_ANSWER_BYTES: usize = 48 << 20;
/// How long an answer may take that needs no work.
const ANSWER_TIME: Duration = Duration::from_secs(30);

/// What a program in the machine ended with.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Finished {
    /// Its exit code; 128 and the signal if one ended it.
    pub(crate) code: i64,
    /// What it printed.
    pub(crate) stdout: Vec<u8>,
    /// What it complained.
    pub(crate) stderr: Vec<u8>,
}

/// The agent of one machine.
pub(super) struct Agent {
    socket: PathBuf,
    synchronisation: AtomicU32,
}

impl Agent {
    /// The agent that QEMU connects with `socket`.
    pub(super) fn new(socket: PathBuf) -> Self {
        Self { socket, synchronisation: AtomicU32::new(std::process::id()) }
    }

    /// Whether it answers now.
    pub(super) fn is_up(&self, within: Duration) -> bool {
        self.ask("guest-ping", &json!({}), within).is_ok()
    }

    /// Runs a program to its end.
    ///
    /// # Errors
    /// When it cannot be started, does not end in time, or the agent does not answer.
    pub(super) fn execute(&self, words: &[&str], within: Duration) -> Result<Finished> {
        let (program, rest) = words.split_first().context("no program is named")?;
        let request = json!({ "path": program, "arg": rest, "capture-output": true });
        let started = self.ask("guest-exec", &request, ANSWER_TIME)?;
        let process = started.get("pid").and_then(Value::as_i64).context("the agent names no process")?;
        let deadline = Instant::now() + within;
        let mut pause = Duration::from_millis(20);
        loop {
            let status = self.ask("guest-exec-status", &json!({ "pid": process }), ANSWER_TIME)?;
            if let Some(finished) = finished(&status)? {
                return Ok(finished);
            }
            if Instant::now() > deadline {
                bail!("in the machine, not done within {} s: {}", within.as_secs(), words.join(" "));
            }
            std::thread::sleep(pause);
            pause = (pause * 3 / 2).min(Duration::from_millis(500));
        }
    }

    /// Tells the machine to power off; it does not answer.
    ///
    /// # Errors
    /// When the agent cannot be reached.
    pub(super) fn power_off(&self) -> Result<()> {
        let mut stream = self.synchronised(ANSWER_TIME)?;
        send(&mut stream, "guest-shutdown", &json!({ "mode": "powerdown" }))
    }

    fn ask(&self, command: &str, arguments: &Value, within: Duration) -> Result<Value> {
        let mut stream = self.synchronised(within)?;
        send(&mut stream, command, arguments)?;
        parse(&line(&mut stream, within)?).with_context(|| format!("{command} in the machine"))
    }

    /// A connection on which the next line is the answer to what is asked next: answers to questions of somebody who did
    /// not wait for them may still lie in the port.
    fn synchronised(&self, within: Duration) -> Result<UnixStream> {
        let mut stream = UnixStream::connect(&self.socket).context("QEMU's port of the agent is closed")?;
        let number = self.synchronisation.fetch_add(1, Ordering::Relaxed);
        stream.write_all(b"\xff")?;
        send(&mut stream, "guest-sync-delimited", &json!({ "id": number }))?;
        let deadline = Instant::now() + within;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let line = line(&mut stream, left)?;
            if parse(&line).is_ok_and(|answer| answer.as_u64() == Some(number.into())) {
                return Ok(stream);
            }
        }
    }
}

fn send(stream: &mut UnixStream, command: &str, arguments: &Value) -> Result<()> {
    let mut request = serde_json::to_vec(&json!({ "execute": command, "arguments": arguments }))?;
    request.push(b'\n');
    stream.set_write_timeout(Some(ANSWER_TIME))?;
    Ok(stream.write_all(&request)?)
}

/// The next line, without its end.
fn line(stream: &mut UnixStream, within: Duration) -> Result<Vec<u8>> {
    let deadline = Instant::now() + within;
    let mut line = Vec::new();
    let mut chunk = vec![0; 1 << 16];
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            bail!("the agent does not answer");
        }
        stream.set_read_timeout(Some(left))?;
        let count = match stream.read(&mut chunk) {
            Ok(0) => bail!("the agent's port was closed"),
            Ok(count) => count,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
                bail!("the agent does not answer")
            }
            Err(error) => return Err(error.into()),
        };
        line.extend_from_slice(&chunk[..count]);
        if line.len() > MAX_ANSWER_BYTES {
            bail!("the agent answers with more than {MAX_ANSWER_BYTES} bytes");
        }
        // One question is open at a time, so nothing comes behind the end of the line.
        if line.last() == Some(&b'\n') {
            line.pop();
            return Ok(line);
        }
    }
}

/// What the agent's line says.
fn parse(line: &[u8]) -> Result<Value> {
    // An answer to a synchronisation has a byte before it that is in no text.
    let text = line.rsplit(|byte| *byte == 0xff).next().unwrap_or(line);
    let text = text.rsplit(|byte| *byte == b'\n').next().unwrap_or(text);
    let mut answer: Value = serde_json::from_slice(text).context("the agent's answer is not JSON")?;
    if let Some(description) = answer.pointer("/error/desc") {
        bail!("{}", description.as_str().unwrap_or("an error without a description"));
    }
    answer.get_mut("return").map(Value::take).context("the agent's answer says nothing")
}

/// What the answer to `guest-exec-status` says, if the program has ended.
fn finished(status: &Value) -> Result<Option<Finished>> {
    match status.get("exited").and_then(Value::as_bool) {
        Some(true) => {}
        Some(false) => return Ok(None),
        None => bail!("the agent does not say whether the program has ended"),
    }
    let output = |field: &str| match status.get(field) {
        Some(text) => BASE64_STANDARD
            .decode(text.as_str().unwrap_or_default())
            .with_context(|| format!("{field} is not what the agent sends")),
        None => Ok(Vec::new()),
    };
    for field in ["out-truncated", "err-truncated"] {
        if status.get(field).and_then(Value::as_bool) == Some(true) {
            bail!("the program printed more than the agent keeps");
        }
    }
    let number = |field: &str| status.get(field).and_then(Value::as_i64);
    let code = number("exitcode")
        .or_else(|| number("signal").map(|signal| signal.saturating_add(128)))
        .context("the agent does not say how the program ended")?;
    Ok(Some(Finished { code, stdout: output("out-data")?, stderr: output("err-data")? }))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn an_answer_is_told_from_an_error() {
        assert_eq!(parse(b"\xff{\"return\": 7}").unwrap(), json!(7));
        assert_eq!(parse(b"{\"return\": {}}").unwrap(), json!({}));
        let error =
            parse(b"{\"error\": {\"class\": \"GenericError\", \"desc\": \"no such file\"}}").unwrap_err();
        assert_eq!(error.to_string(), "no such file");
        for bad in ["", "{}", "7", "[]", "{\"return\"", "\u{fffd}"] {
            assert!(parse(bad.as_bytes()).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn the_end_of_a_program_is_read_with_what_it_printed() {
        assert_eq!(finished(&json!({ "exited": false })).unwrap(), None);
        let ended = json!({ "exited": true, "exitcode": 3, "out-data": "aGk=", "err-data": "" });
        let wanted = Finished { code: 3, stdout: b"hi".to_vec(), stderr: Vec::new() };
        assert_eq!(finished(&ended).unwrap(), Some(wanted));
        assert_eq!(finished(&json!({ "exited": true, "signal": 9 })).unwrap().unwrap().code, 137);
        assert!(finished(&json!({ "exited": true })).is_err());
        assert!(finished(&json!({ "exited": true, "exitcode": 0, "out-truncated": true })).is_err());
    }

    #[test]
    fn an_agent_that_is_silent_is_given_up() {
        let (mut ours, _theirs) = UnixStream::pair().unwrap();
        assert!(line(&mut ours, Duration::from_millis(20)).is_err());
    }

    proptest! {
        #[test]
        fn no_answer_makes_it_panic(line: Vec<u8>) {
            drop(parse(&line));
        }

        #[test]
        fn no_status_makes_it_panic(code: Option<i64>, signal: Option<i64>, output: String) {
            let mut status = json!({ "exited": true, "out-data": output });
            if let Some(code) = code {
                status["exitcode"] = code.into();
            }
            if let Some(signal) = signal {
                status["signal"] = signal.into();
            }
            drop(finished(&status));
        }
    }
}
