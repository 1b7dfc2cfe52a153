//! `agentctl witness`: watches from outside that a ledger only grows, and says so with a key of its own.

mod ask;
mod serve;

use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use agentos_api::event::EventFilter;
use agentos_api::{Bounded, ledger::Checkpoint};
use agentos_client::Client;
use agentos_ledger::{CosignError, Cosigner, Seen, digest_from_base64, read_checkpoint};
use clap::{Args, Subcommand};
use jiff::Timestamp;
use serde::Serialize;

use super::key;
use crate::context::Context;
use crate::error::{CliError, Exit};
use crate::output::{Cell, Output, Style, Table, counted};

/// The event that a cosignature makes.
const COSIGNED: &str = "ledger.cosigned";
/// Growth by more events than these is news without asking what they are: agentd cannot hide more from a witness by
/// calling them cosignatures.
const LOOKED_AT: u64 = 100;

/// Watches from another machine that a ledger only grows, and cosigns its checkpoints.
///
/// Whoever has root on a machine can rewrite its ledger and sign it anew. A witness has a key of its own and remembers the
/// last checkpoint that it cosigned; it cosigns only what continues from it, and refuses a ledger that was rolled back,
/// rewritten or signed with another key, with exit status 7 and both checkpoints kept as evidence. What several witnesses
/// cosigned is checked with `agentctl verify-ledger --witness KEY --quorum N`.
///
/// Run it where root of the watched machine has no say: on another machine, through the operator's socket over ssh.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    agentctl witness init --name witness.example/desk\n  \
    agentctl witness run --every 5m\n\n\
From another machine:\n  \
    ssh -N -L \"$XDG_RUNTIME_DIR/host.sock:/run/agentos/operator.sock\" operator@host &\n  \
    agentctl --socket \"$XDG_RUNTIME_DIR/host.sock\" witness init --name witness.example/desk\n  \
    agentctl --socket \"$XDG_RUNTIME_DIR/host.sock\" witness run --every 5m")]
pub(crate) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Init(Init),
    Run(Run),
    Serve(serve::Serve),
    Ask(ask::Ask),
    Show(Show),
}

#[derive(Debug, Args)]
struct Directory {
    /// Where the witness's key and memory are; without it `agentos/witness` in `$XDG_STATE_HOME` or `~/.local/state`
    #[arg(long, value_name = "DIRECTORY")]
    state_dir: Option<PathBuf>,
}

/// Begins a witness: makes its key, and fixes the key of the ledger that it watches.
///
/// Without --public-key the ledger's key is asked of agentd and believed from then on: compare it with the one on the
/// machine. The witness's key, which is shown, belongs into agentd.toml: `[ledger] witnesses = ["…"]`.
#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  agentctl witness init --name witness.example/desk --public-key ./ledger.vkey"
)]
struct Init {
    /// The witness's name, such as `witness.example/desk`; without it this machine's name
    #[arg(long)]
    name: Option<String>,
    #[arg(long, value_name = "KEY", help = key::HELP)]
    public_key: Option<String>,
    #[command(flatten)]
    directory: Directory,
}

/// Asks for the ledger's checkpoint, checks that it continues from the last one, cosigns it and hands that to agentd.
///
/// Growth by cosignatures alone is not cosigned again. Exits with 6 when the checkpoint is refused; with --every, what
/// cannot be reached is tried again, and a refusal ends it.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  agentctl witness run --once\n  agentctl witness run --every 5m --json")]
struct Run {
    /// Once, which is also what is done without --every
    #[arg(long, conflicts_with = "every")]
    once: bool,
    /// Again and again: 30s, 5m, 1h
    #[arg(long, value_name = "TIME", value_parser = interval)]
    every: Option<Duration>,
    #[command(flatten)]
    directory: Directory,
}

/// Shows the witness's key, what it cosigned last, and whether it has refused anything. Asks no agentd.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  agentctl witness show --json")]
struct Show {
    #[command(flatten)]
    directory: Directory,
}

/// What `init` and `show` answer.
#[derive(Serialize)]
struct Shown {
    directory: PathBuf,
    key: String,
    ledger: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    size: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cosigned_at: Option<Timestamp>,
    refused: usize,
    refused_directory: PathBuf,
}

/// What one round came to.
#[derive(Serialize)]
struct Round {
    outcome: Outcome,
    /// The size that is cosigned.
    size: u64,
    /// Whether agentd recorded the cosignature: it does so once.
    recorded: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Outcome {
    Cosigned,
    NothingNew,
}

pub(crate) async fn run(context: &mut Context, arguments: &Arguments) -> Result<Exit, CliError> {
    match &arguments.command {
        Command::Init(arguments) => init(context, arguments).await,
        Command::Run(arguments) => watch(context, arguments).await,
        Command::Serve(arguments) => serve::serve(context, arguments).await,
        Command::Ask(arguments) => ask::ask(context, arguments).await,
        Command::Show(arguments) => {
            let witness = arguments.directory.open()?;
            show(&mut context.output, &witness, arguments.directory.path()?)
        }
    }
}

impl Directory {
    fn path(&self) -> Result<PathBuf, CliError> {
        if let Some(path) = &self.state_dir {
            return Ok(path.clone());
        }
        let absolute =
            |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
        absolute("XDG_STATE_HOME")
            .or_else(|| absolute("HOME").map(|home| home.join(".local/state")))
            .map(|state| state.join("agentos/witness"))
            .ok_or_else(|| {
                CliError::with_exit("neither $XDG_STATE_HOME nor $HOME says where to keep state", Exit::Usage)
                    .hint("Name a directory with --state-dir.")
            })
    }

    fn open(&self) -> Result<Cosigner, CliError> {
        let path = self.path()?;
        if !path.is_dir() {
            return Err(CliError::new(format!("there is no witness in {}", path.display()))
                .hint("Begin one: agentctl witness init --name NAME"));
        }
        Cosigner::open(&path).map_err(|error| cosign_error(&error))
    }
}

fn cosign_error(error: &CosignError) -> CliError {
    match error {
        CosignError::Refused { disagreement, evidence } => {
            CliError::with_exit("the checkpoint is REFUSED", Exit::CheckpointRefused).because(disagreement).hint(
                format!(
                    "Both checkpoints are in {} as evidence: keep it, keep the machine's state directory as it is, and \
                     trust no event after the last cosigned checkpoint.",
                    evidence.display()
                ),
            )
        }
        other => CliError::new("the witness cannot do its work").because(other),
    }
}

async fn init(context: &mut Context, arguments: &Init) -> Result<Exit, CliError> {
    let ledger = if let Some(text) = &arguments.public_key {
        key::parse(text)?
    } else {
        let checkpoint = context.client().checkpoint().await?;
        context.output.note(
                "The ledger's key was asked of agentd and is believed from now on: compare it with ledger.vkey there.",
            );
        checkpoint
            .public_key
            .parse()
            .map_err(|error| CliError::new("agentd's public key cannot be used").because(&error))?
    };
    let name = match &arguments.name {
        Some(name) => name.clone(),
        None => rustix::system::uname().nodename().to_string_lossy().into_owned(),
    };
    let path = arguments.directory.path()?;
    let witness = Cosigner::create(&path, &name, &ledger).map_err(|error| cosign_error(&error))?;
    context.output.note(&format!(
        "Let agentd know the witness: in agentd.toml, [ledger] witnesses = [\"{}\"]; then systemctl reload agentd.",
        witness.key()
    ));
    show(&mut context.output, &witness, path)
}

fn show(output: &mut Output, witness: &Cosigner, directory: PathBuf) -> Result<Exit, CliError> {
    let seen = witness.seen().map_err(|error| cosign_error(&error))?;
    let (refused, refused_directory) = witness.refusals();
    let shown = Shown {
        directory,
        key: witness.key().to_string(),
        ledger: witness.ledger().to_string(),
        size: seen.as_ref().map(|seen| seen.head.size),
        cosigned_at: seen.as_ref().and_then(moment),
        refused,
        refused_directory,
    };
    let exit = if refused == 0 { Exit::Well } else { Exit::NotWell };
    if output.json {
        output.json(&shown)?;
        return Ok(exit);
    }
    let mut table = Table::fields();
    table.field("key", shown.key);
    table.field("ledger", shown.ledger);
    table.field("kept in", shown.directory.display().to_string());
    table.field(
        "cosigned",
        match (shown.size, shown.cosigned_at) {
            (Some(size), Some(at)) => format!("{}, at {at}", counted(size, "event")),
            _ => "nothing yet".to_owned(),
        },
    );
    if refused > 0 {
        let said = format!(
            "{}, kept in {}",
            counted(refused as u64, "checkpoint"),
            shown.refused_directory.display()
        );
        table.field("refused", Cell::styled(said, Style::Bad));
    }
    output.table(&table)?;
    Ok(exit)
}

fn moment(seen: &Seen) -> Option<Timestamp> {
    Timestamp::from_second(i64::try_from(seen.time).ok()?).ok()
}

async fn watch(context: &mut Context, arguments: &Run) -> Result<Exit, CliError> {
    let witness = arguments.directory.open()?;
    let client = context.client();
    let Some(every) = arguments.every else {
        let round = round(&client, &witness).await?;
        tell(&mut context.output, &round)?;
        return Ok(Exit::Well);
    };
    loop {
        match round(&client, &witness).await {
            Ok(round) => tell(&mut context.output, &round)?,
            // It may come back; a refusal, and what is wrong here, does not pass by itself.
            Err(CliError::Failed(failure, Exit::Unreachable | Exit::Refused)) => {
                context.output.failure(&failure);
            }
            Err(error) => return Err(error),
        }
        tokio::time::sleep(every).await;
    }
}

fn tell(output: &mut Output, round: &Round) -> Result<(), CliError> {
    if output.json {
        return output.json_line(round);
    }
    let size = counted(round.size, "event");
    let line = match (round.outcome, round.recorded) {
        (Outcome::Cosigned, _) => format!("Cosigned: {size}."),
        (Outcome::NothingNew, true) => format!("Handed over again: {size}."),
        (Outcome::NothingNew, false) => format!("Nothing new since {size}."),
    };
    output.line(&[Cell::styled(line, Style::Good)])
}

/// Asks, checks, cosigns and hands over. What was cosigned before and did not arrive is handed over again.
async fn round(client: &Client, witness: &Cosigner) -> Result<Round, CliError> {
    let failed = |error: CosignError| cosign_error(&error);
    let checkpoint = client.checkpoint().await?;
    let seen = witness.seen().map_err(failed)?;
    let hashes = growth(client, &checkpoint, seen.as_ref()).await?;
    let head = witness.check(&checkpoint.note, &hashes).map_err(failed)?;
    let (outcome, cosigned) = match seen {
        Some(seen) if only_cosignatures(client, seen.head.size, head.size).await? => {
            (Outcome::NothingNew, seen)
        }
        _ => {
            let now = SystemTime::now()
                .duration_since(SystemTime::UNIX_EPOCH)
                .map_err(|error| CliError::new("the clock is before 1970").because(&error))?;
            let cosigned = witness.cosign(&checkpoint.note, &hashes, now.as_secs()).map_err(failed)?;
            (Outcome::Cosigned, cosigned)
        }
    };
    let answer = client.cosign(&cosigned.note).await?;
    Ok(Round { outcome, size: cosigned.head.size, recorded: !answer.recorded.is_empty() })
}

/// The hashes that lead from what was seen to the checkpoint; none where nothing has to be shown, or nothing was.
async fn growth(
    client: &Client,
    checkpoint: &Checkpoint,
    seen: Option<&Seen>,
) -> Result<Vec<[u8; 32]>, CliError> {
    let offered = read_checkpoint(&checkpoint.note).map_or(0, |head| head.size);
    match seen {
        Some(seen) if seen.head.size > 0 && offered > seen.head.size => {
            let proof = client.consistency(seen.head.size, Some(offered)).await?;
            let hashes = proof.hashes.iter().map(|hash| digest_from_base64(hash)).collect::<Option<_>>();
            Ok(hashes.unwrap_or_default())
        }
        _ => Ok(Vec::new()),
    }
}

/// Whether the ledger grew from `old` to `new` by nothing else than cosignatures.
async fn only_cosignatures(client: &Client, old: u64, new: u64) -> Result<bool, CliError> {
    let grown = new.saturating_sub(old);
    if grown == 0 || grown > LOOKED_AT {
        return Ok(grown == 0);
    }
    let filter = EventFilter {
        after: Some(old),
        before: new.checked_add(1),
        limit: Bounded::new(LOOKED_AT).unwrap_or_default(),
        ..EventFilter::default()
    };
    let page = client.events_page(&filter).await?;
    Ok(page.events.len() as u64 == grown && page.events.iter().all(|event| event.kind.as_str() == COSIGNED))
}

/// `30s`, `5m`, `1h`: a second to a day.
fn interval(text: &str) -> Result<Duration, String> {
    let unusable = || format!("{text:?} is no time from 1s to 24h: write 30s, 5m or 1h");
    let (digits, unit) = text.split_at_checked(text.len().saturating_sub(1)).ok_or_else(unusable)?;
    let unit = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3600,
        _ => return Err(unusable()),
    };
    let number: u64 = digits.parse().map_err(|_| unusable())?;
    let seconds =
        number.checked_mul(unit).filter(|seconds| (1..=86_400).contains(seconds)).ok_or_else(unusable)?;
    Ok(Duration::from_secs(seconds))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn intervals_are_a_second_to_a_day() {
        for (text, seconds) in [("1s", 1), ("5m", 300), ("24h", 86_400)] {
            assert_eq!(interval(text), Ok(Duration::from_secs(seconds)));
        }
        for text in ["", "s", "0s", "25h", "5", "5 m", "-5m", "99999999999999999999h", "5ä"] {
            assert!(interval(text).is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_interval_makes_reading_it_panic(text in any::<String>()) {
            let _ = interval(&text);
        }
    }
}
