//! `agentctl witness ask`: brings the ledger's checkpoint to a witness that speaks c2sp.org/tlog-witness, and its
//! cosignature back to agentd.
//!
//! agentd itself does not: it has no business on the internet. curl(1) does the speaking: proxies, certificates.

use std::io::{Read as _, Write as _};
use std::process::{Command, Stdio};
use std::time::Duration;

use agentos_api::ledger::Checkpoint;
use agentos_client::Client;
use agentos_ledger::{
    AddCheckpoint, MAX_NOTE_BYTES, digest_from_base64, parse_size, read_checkpoint, with_cosignature,
};
use clap::Args;
use serde::Serialize;

use super::interval;
use crate::context::Context;
use crate::error::{CliError, Exit};
use crate::output::{Cell, Output, Style, counted};

/// How long a request may take, in seconds.
const SECONDS: &str = "30";
/// The longest answer, in bytes: a hundred cosignatures.
const LONGEST: u64 = MAX_NOTE_BYTES as u64;

/// Asks a witness that others run for a cosignature of the ledger's checkpoint, and hands that to agentd.
///
/// The witness must speak c2sp.org/tlog-witness and know the ledger's key, and its own key must stand in agentd.toml,
/// `[ledger] witnesses`. It is spoken to with curl, by whoever runs this: agentd itself never is on the internet.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    agentctl witness ask https://witness.example/prefix\n  \
    agentctl witness ask unix:/run/user/1000/witness.sock --every 5m")]
pub(super) struct Ask {
    /// The witness's submission prefix: http://, https://, or unix: and a path
    #[arg(value_parser = url)]
    url: Url,
    /// Again and again: 30s, 5m, 1h
    #[arg(long, value_name = "TIME", value_parser = interval)]
    every: Option<Duration>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Url {
    /// With `/add-checkpoint` at its end.
    url: String,
    socket: Option<String>,
}

fn url(text: &str) -> Result<Url, String> {
    let plain = text.chars().all(|letter| letter.is_ascii_graphic()) && text.len() <= 2000;
    if let Some(path) = text.strip_prefix("unix:").filter(|path| path.starts_with('/')) {
        return Ok(Url { url: "http://witness/add-checkpoint".to_owned(), socket: Some(path.to_owned()) });
    }
    let rest = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
    match rest {
        Some(rest) if plain && !rest.is_empty() && !rest.contains(['?', '#']) => {
            Ok(Url { url: format!("{}/add-checkpoint", text.trim_end_matches('/')), socket: None })
        }
        _ => Err(format!("{text:?} is no witness: write http://, https://, or unix: and an absolute path")),
    }
}

/// What came of it.
#[derive(Serialize)]
struct Asked {
    size: u64,
    /// The witnesses whose cosignatures agentd recorded: it does so once.
    recorded: Vec<String>,
}

/// What the witness answered.
#[derive(Debug, PartialEq, Eq)]
struct Answer {
    status: u16,
    kind: String,
    body: String,
}

pub(super) async fn ask(context: &mut Context, arguments: &Ask) -> Result<Exit, CliError> {
    let client = context.client();
    let Some(every) = arguments.every else {
        let asked = once(&client, &arguments.url).await?;
        tell(&mut context.output, &asked)?;
        return Ok(Exit::Well);
    };
    loop {
        match once(&client, &arguments.url).await {
            Ok(asked) => tell(&mut context.output, &asked)?,
            // It may come back; that the ledger was rewritten does not pass by itself.
            Err(CliError::Failed(failure, Exit::Unreachable | Exit::Refused)) => {
                context.output.failure(&failure);
            }
            Err(error) => return Err(error),
        }
        tokio::time::sleep(every).await;
    }
}

fn tell(output: &mut Output, asked: &Asked) -> Result<(), CliError> {
    if output.json {
        return output.json_line(asked);
    }
    let size = counted(asked.size, "event");
    let line = match asked.recorded.as_slice() {
        [] => format!("Cosigned before: {size}."),
        names => format!("Cosigned by {}: {size}.", names.join(", ")),
    };
    output.line(&[Cell::styled(line, Style::Good)])
}

async fn once(client: &Client, url: &Url) -> Result<Asked, CliError> {
    let checkpoint = client.checkpoint().await?;
    let size = read_checkpoint(&checkpoint.note)
        .map_err(|error| CliError::new("agentd's checkpoint cannot be used").because(&error))?
        .size;
    // What the witness has seen, only the witness knows.
    let mut answer = send(url, &request(client, &checkpoint, 0, size).await?)?;
    if let (409, Some(seen)) = (answer.status, seen(&answer)) {
        if seen > size {
            let message = format!("the witness has cosigned {seen} events, and the ledger shows {size}");
            return Err(CliError::with_exit(message, Exit::CheckpointRefused).hint(
                "Unless its key stands for two ledgers, this one was rolled back: keep its state as it is.",
            ));
        }
        answer = send(url, &request(client, &checkpoint, seen, size).await?)?;
    }
    let lines = match answer.status {
        200 => &answer.body,
        409 if seen(&answer).is_some() => {
            return Err(CliError::with_exit("somebody else asked the witness meanwhile", Exit::Refused)
                .hint("Ask again."));
        }
        409 | 422 => {
            let message = format!("the witness refuses the ledger ({}): {}", answer.status, said(&answer));
            return Err(CliError::with_exit(message, Exit::CheckpointRefused)
                .hint("What it cosigned before is not how this ledger begins: keep its state as it is."));
        }
        status => {
            let error = CliError::with_exit(
                format!("the witness answered {status}: {}", said(&answer)),
                Exit::Refused,
            );
            return Err(match status {
                403 | 404 => {
                    error.hint("The witness has to know the ledger's key: agentctl checkpoint shows it.")
                }
                _ => error,
            });
        }
    };
    let mut note = checkpoint.note;
    for line in lines.split_inclusive('\n') {
        note = with_cosignature(&note, line).map_err(|error| {
            CliError::with_exit("the witness's answer is no cosignature", Exit::Refused).because(&error)
        })?;
    }
    let answer = client.cosign(&note).await?;
    Ok(Asked { size, recorded: answer.recorded })
}

async fn request(
    client: &Client,
    checkpoint: &Checkpoint,
    old: u64,
    size: u64,
) -> Result<AddCheckpoint, CliError> {
    let mut proof = Vec::new();
    if old > 0 && old < size {
        let shown = client.consistency(old, Some(size)).await?;
        proof = shown
            .hashes
            .iter()
            .map(|hash| digest_from_base64(hash))
            .collect::<Option<_>>()
            .ok_or_else(|| CliError::new("agentd's proof cannot be used"))?;
    }
    Ok(AddCheckpoint { old, proof, note: checkpoint.note.clone() })
}

/// The size that a witness names which has seen another one.
fn seen(answer: &Answer) -> Option<u64> {
    let kind = answer.kind.split(';').next().unwrap_or_default().trim();
    if kind == "text/x.tlog.size" { parse_size(&answer.body) } else { None }
}

/// What a witness said, as one plain line.
fn said(answer: &Answer) -> String {
    let plain = |letter: char| if letter.is_control() { ' ' } else { letter };
    answer.body.trim().chars().take(200).map(plain).collect()
}

/// Brings a request to the witness.
fn send(url: &Url, request: &AddCheckpoint) -> Result<Answer, CliError> {
    let failed = |error: &std::io::Error| {
        CliError::with_exit("curl cannot be run", Exit::Failed)
            .because(error)
            .hint("Install it: apt install curl")
    };
    let mut command = Command::new("curl");
    // Without the user's own settings: what is asked is asked as it stands here.
    command.args(["--disable", "--silent", "--show-error", "--globoff", "--proto", "=http,https"]);
    command.args(["--max-time", SECONDS, "--max-filesize", &LONGEST.to_string()]);
    command.args(["--header", "Content-Type: text/plain", "--header", "Expect:", "--data-binary", "@-"]);
    command.args(["--write-out", "\n%{http_code} %{content_type}"]);
    if let Some(socket) = &url.socket {
        command.args(["--unix-socket", socket]);
    }
    command.args(["--url", &url.url]);
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| failed(&error))?;
    if let Some(mut stdin) = child.stdin.take() {
        // Where curl went away, its status says why.
        let _ = stdin.write_all(request.to_string().as_bytes());
    }
    let mut output = String::new();
    if let Some(stdout) = child.stdout.take() {
        // Behind the body there is a line of curl's own.
        stdout.take(LONGEST + 1024).read_to_string(&mut output).map_err(|error| failed(&error))?;
    }
    let ended = child.wait_with_output().map_err(|error| failed(&error))?;
    if !ended.status.success() {
        let why = String::from_utf8_lossy(&ended.stderr).trim().to_owned();
        return Err(CliError::with_exit(format!("the witness cannot be reached: {why}"), Exit::Unreachable));
    }
    answer(&output)
        .ok_or_else(|| CliError::with_exit("the witness's answer cannot be understood", Exit::Refused))
}

fn answer(output: &str) -> Option<Answer> {
    let (body, last) = output.rsplit_once('\n')?;
    let (status, kind) = last.split_once(' ')?;
    Some(Answer { status: status.parse().ok()?, kind: kind.to_owned(), body: body.to_owned() })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_witness_is_named_by_a_prefix_or_a_socket() {
        assert_eq!(url("https://w.example/p/").unwrap().url, "https://w.example/p/add-checkpoint");
        assert_eq!(url("unix:/run/w").unwrap().socket.as_deref(), Some("/run/w"));
        for text in ["", "w.example", "file:///etc/shadow", "https://", "https://a b", "unix:w", "http://w?x"]
        {
            assert!(url(text).is_err(), "{text}");
        }
    }

    #[test]
    fn an_answer_is_its_body_with_status_and_kind_behind() {
        let found = answer("5\n\n409 text/x.tlog.size").unwrap();
        assert_eq!((found.status, seen(&found)), (409, Some(5)));
        let other = answer("another root\n\n409 text/plain").unwrap();
        assert_eq!((other.status, seen(&other)), (409, None));
        assert_eq!(answer("\n200 ").unwrap().body, "");
    }

    proptest! {
        #[test]
        fn no_answer_makes_reading_it_panic(output in any::<String>()) {
            if let Some(answer) = answer(&output) {
                let _ = (seen(&answer), said(&answer));
            }
            let _ = url(&output);
        }
    }
}
