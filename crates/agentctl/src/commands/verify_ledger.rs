//! `agentctl verify-ledger`: whether the record is whole, checked offline, without agentd.

use std::path::{Path, PathBuf};

use agentos_ledger::{
    DATABASE_FILE, KEY_FILE, PUBLIC_KEY_FILE, Report, VerifierKey, VerifyError, VerifyOptions, Violation,
    latest_checkpoint, read_checkpoints, read_public_key, verify,
};
use clap::Args;
use serde::Serialize;

use super::key;
use super::witnessed::{Departs, Witnessed, Witnesses};
use crate::context::Context;
use crate::error::{CliError, Exit};
use crate::output::{Cell, Output, Style, Table, count, counted};

/// Checks offline that no event of the ledger was changed, removed, added or reordered.
///
/// Finds an edited field, a deleted middle or tail, an emptied or missing file, an edit with every hash recomputed,
/// reordered rows and duplicated ids, and says which event is the first that is not as it was recorded. What root did
/// after the last checkpoint that was kept elsewhere cannot be found: keep one with `agentctl checkpoint --save`.
///
/// With `--witness`, a ledger is whole only where as many witnesses as `--quorum` says have cosigned a checkpoint that it
/// continues from; how many events came after it is said. Those that root rewrote before are found then.
///
/// With a trusted checkpoint only what came after it is read; `--full` reads all of it again.
///
/// Exits with 0 when what was read is whole, with 1 when it is not, with 5 when it could not be checked. Reads only;
/// agentd may be running.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    agentctl verify-ledger\n  \
    agentctl verify-ledger --full --trusted /mnt/stick/checkpoint --public-key /mnt/stick/ledger.vkey\n  \
    agentctl verify-ledger --witness ./desk.vkey --witness ./office.vkey --quorum 2\n  \
    agentctl verify-ledger ./copy/ledger.db --json")]
pub(crate) struct Arguments {
    /// The database, or the directory it is in
    #[arg(conflicts_with = "state_dir")]
    path: Option<PathBuf>,
    /// The state directory of agentd
    #[arg(long, value_name = "DIRECTORY", default_value = "/var/lib/agentos")]
    state_dir: PathBuf,
    /// A file with signed checkpoints, kept where this machine's root cannot write: only what is new since the
    /// largest of them is read
    #[arg(long, value_name = "FILE")]
    trusted: Option<PathBuf>,
    #[arg(long, value_name = "KEY", help = key::HELP)]
    public_key: Option<String>,
    /// Read every event, also those that the trusted checkpoint covers
    #[arg(long)]
    full: bool,
    #[command(flatten)]
    witnesses: Witnesses,
}

/// What was found, as `--json` shows it.
#[derive(Debug, Serialize)]
#[serde(tag = "verdict", rename_all = "snake_case")]
enum Verdict {
    /// Every event was read, and nothing speaks against the ledger.
    Whole {
        path: PathBuf,
        report: Report,
        #[serde(skip_serializing_if = "Option::is_none")]
        witnessed: Option<Witnessed>,
    },
    /// Nothing speaks against the events after the trusted checkpoint; those it covers were not read.
    WholeSinceTrusted {
        path: PathBuf,
        report: Report,
        #[serde(skip_serializing_if = "Option::is_none")]
        witnessed: Option<Witnessed>,
    },
    /// Nothing speaks against it, and too few witnesses for it.
    NotWitnessed { path: PathBuf, report: Report, reason: String, witnessed: Witnessed },
    /// Something does.
    Tampered { path: PathBuf, reason: String, violation: Option<Violation> },
}

pub(crate) fn run(context: &mut Context, arguments: &Arguments) -> Result<Exit, CliError> {
    let path = arguments.database();
    let verdict = arguments.check(&path, &context.output)?;
    let exit = match &verdict {
        Verdict::Whole { .. } | Verdict::WholeSinceTrusted { .. } => Exit::Well,
        Verdict::NotWitnessed { .. } | Verdict::Tampered { .. } => Exit::NotWell,
    };
    let output = &mut context.output;
    if output.json {
        output.json(&verdict)?;
        return Ok(exit);
    }
    match verdict {
        Verdict::Whole { path, report, witnessed }
        | Verdict::WholeSinceTrusted { path, report, witnessed } => {
            show_report(output, &path, &report, witnessed.as_ref(), arguments)?;
        }
        Verdict::NotWitnessed { path, reason, witnessed, .. } => {
            let headline = Cell::styled("The ledger is NOT witnessed", Style::Bad);
            output.line(&[headline, Cell::new(format!(": {reason}."))])?;
            let mut table = Table::fields();
            table.field("ledger", path.display().to_string());
            witnessed.show(&mut table);
            output.table(&table)?;
            output.note(
                "Where witnesses have cosigned before, ledger.cosigned was cut or another ledger put in its place: ask \
                 them (agentctl witness show). Else let them: agentctl witness run.",
            );
        }
        Verdict::Tampered { path, reason, violation } => {
            show_tampering(output, &path, &reason, violation.as_ref())?;
            output.note(
                "Keep the state directory as it is, as evidence, and compare it with a copy. Until then trust no event \
                 from the first concerned one on.",
            );
        }
    }
    Ok(exit)
}

impl Arguments {
    fn database(&self) -> PathBuf {
        let path = self.path.as_ref().unwrap_or(&self.state_dir);
        if path.is_dir() || self.path.is_none() { path.join(DATABASE_FILE) } else { path.clone() }
    }

    fn check(&self, path: &Path, output: &Output) -> Result<Verdict, CliError> {
        let tampered =
            |reason: String, violation| Ok(Verdict::Tampered { path: path.to_owned(), reason, violation });
        let key = self.key(path)?;
        let trusted = match (&self.trusted, &key) {
            (None, _) => None,
            (Some(_), None) => {
                return Err(CliError::new("no public key is known to check the trusted checkpoint with")
                    .hint("Give the key you kept with --public-key."));
            }
            (Some(file), Some(key)) => match trusted_checkpoint(file, key) {
                Ok(note) => Some(note),
                // The key beside the ledger is not the one that signed what was kept: somebody replaced it.
                Err(TrustedError::AgainstTheLedger(reason)) if self.public_key.is_none() => {
                    return tampered(reason, None);
                }
                Err(TrustedError::AgainstTheLedger(reason)) => {
                    return Err(CliError::new(reason)
                        .hint("The checkpoint and the key that you gave do not belong together."));
                }
                Err(TrustedError::Unusable(error)) => return Err(error),
            },
        };
        let checked_with = key.clone();
        let mut progress = output.progress("verifying");
        let mut report_progress = |at: agentos_ledger::Progress| progress.update(at.done, at.total);
        let mut options = VerifyOptions::default().reporting_to(&mut report_progress);
        if let Some(key) = key {
            options = options.signed_by(key);
        }
        if let Some(note) = &trusted {
            options = options.trusting(note);
        }
        if self.full {
            options = options.reading_all();
        }
        match verify(path, options) {
            Ok(report) => {
                let path = path.to_owned();
                let witnessed = match self.witnesses.check(&path, checked_with.as_ref(), &report)? {
                    Ok(witnessed) => witnessed,
                    Err(Departs { reason, violation }) => return tampered(reason, Some(violation)),
                };
                match witnessed {
                    Some(witnessed) if witnessed.shortfall().is_some() => {
                        let reason = witnessed.shortfall().unwrap_or_default();
                        Ok(Verdict::NotWitnessed { path, report, reason, witnessed })
                    }
                    witnessed if report.read < report.size => {
                        Ok(Verdict::WholeSinceTrusted { path, report, witnessed })
                    }
                    witnessed => Ok(Verdict::Whole { path, report, witnessed }),
                }
            }
            Err(VerifyError::Violation(violation)) => tampered(violation.to_string(), Some(violation)),
            Err(VerifyError::Missing { .. }) => match evidence(path, trusted.is_some()) {
                Some(evidence) => tampered(format!("the ledger's database is missing, but {evidence}"), None),
                None => Err(CliError::new(format!("there is no ledger at {}", path.display()))
                    .hint("Name the database, or agentd's state directory with --state-dir.")),
            },
            Err(error) => Err(unchecked(&error)),
        }
    }

    /// The key that was given, else the one beside the ledger, if there is one.
    fn key(&self, path: &Path) -> Result<Option<VerifierKey>, CliError> {
        if let Some(text) = &self.public_key {
            return key::parse(text).map(Some);
        }
        let beside = path.with_file_name(PUBLIC_KEY_FILE);
        if beside.symlink_metadata().is_err() {
            return Ok(None);
        }
        read_public_key(&beside).map(Some).map_err(|error| {
            CliError::new(format!("the public key {} cannot be used", beside.display()))
                .because(&error)
                .hint("Give the key you kept with --public-key.")
        })
    }
}

enum TrustedError {
    /// What is in the file was signed with another key.
    AgainstTheLedger(String),
    /// The file says nothing about the ledger.
    Unusable(CliError),
}

/// The largest checkpoint in `file` that `key` signed.
fn trusted_checkpoint(file: &Path, key: &VerifierKey) -> Result<String, TrustedError> {
    let unusable = |error: &(dyn std::error::Error + 'static)| {
        let message = format!("the trusted checkpoint in {} cannot be used", file.display());
        let hint = "Keep one with `agentctl checkpoint --save FILE`.";
        TrustedError::Unusable(CliError::new(message).because(error).hint(hint))
    };
    let text = read_checkpoints(file).map_err(|error| unusable(&error))?.ok_or_else(|| {
        unusable(&std::io::Error::new(std::io::ErrorKind::NotFound, "there is no such file"))
    })?;
    latest_checkpoint(&text, key).map(|(_, note)| note).map_err(|error| {
        if key::speaks_against_the_ledger(&error) {
            let reason = format!("the trusted checkpoint in {} is not the ledger's: {error}", file.display());
            TrustedError::AgainstTheLedger(reason)
        } else {
            unusable(&error)
        }
    })
}

/// What says that there was a ledger where none is now.
fn evidence(path: &Path, trusted: bool) -> Option<String> {
    if trusted {
        return Some("the trusted checkpoint says that there was one".to_owned());
    }
    let trace = |name: &str| Some(path.with_file_name(name)).filter(|trace| trace.symlink_metadata().is_ok());
    [KEY_FILE, PUBLIC_KEY_FILE]
        .into_iter()
        .find_map(trace)
        .map(|trace| format!("{} says that there was one", trace.display()))
}

fn unchecked(error: &VerifyError) -> CliError {
    let result = CliError::new("the ledger could not be checked").because(error);
    let mut source: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(cause) = source {
        let denied = cause
            .downcast_ref::<std::io::Error>()
            .is_some_and(|error| error.kind() == std::io::ErrorKind::PermissionDenied);
        if denied {
            return result.hint("Only root may read the ledger: use sudo, or verify a copy.");
        }
        source = cause.source();
    }
    result
}

fn show_report(
    output: &mut Output,
    path: &Path,
    report: &Report,
    witnessed: Option<&Witnessed>,
    arguments: &Arguments,
) -> Result<(), CliError> {
    // What was not read is not vouched for: its rows may have been edited since, which only reading them shows.
    let headline = if report.read < report.size {
        "The ledger is whole from the trusted checkpoint on."
    } else {
        "The ledger is whole."
    };
    output.line(&[Cell::styled(headline, Style::Good)])?;
    let mut table = Table::fields();
    table.field("ledger", path.display().to_string());
    let events = match report.trusted {
        Some(trusted) if report.read < report.size => format!(
            "{}, of which {} were read; --full also reads the first {}, which the checkpoint covers",
            count(report.size),
            count(report.read),
            count(trusted)
        ),
        Some(trusted) => {
            format!(
                "{}, all read; they continue from the trusted checkpoint at {}",
                count(report.size),
                count(trusted)
            )
        }
        None => format!("{}, all read", count(report.size)),
    };
    table.field("events", events);
    table.field("root", report.root.as_str());
    match &report.public_key {
        Some(key) => {
            table.field("checkpoints", format!("{} signed by the key, and hold", count(report.checkpoints)));
            table.field("key", key.as_str());
        }
        None => {
            table.field("checkpoints", Cell::styled("signatures not checked: no public key", Style::Warning));
        }
    }
    if report.clock_set_back > 0 {
        table.field("clock", format!("set back {}", counted(report.clock_set_back, "time")));
    }
    if let Some(witnessed) = witnessed {
        witnessed.show(&mut table);
    }
    output.table(&table)?;
    if report.unsigned > 0 {
        let unsigned = counted(report.unsigned, "event");
        output.note(&format!(
            "No checkpoint covers the last {unsigned}: root could have rewritten that unseen."
        ));
    }
    if witnessed.is_none() && (arguments.trusted.is_none() || arguments.public_key.is_none()) {
        output.note(
            "This holds as far as the files here can be believed. Against a root who rewrote all of them, give a \
             checkpoint and a key that were kept elsewhere (--trusted, --public-key).",
        );
    }
    Ok(())
}

fn show_tampering(
    output: &mut Output,
    path: &Path,
    reason: &str,
    violation: Option<&Violation>,
) -> Result<(), CliError> {
    output.line(&[Cell::styled("The ledger is NOT whole", Style::Bad), Cell::new(format!(": {reason}."))])?;
    let mut table = Table::fields();
    table.field("ledger", path.display().to_string());
    if let Some(violation) = violation {
        match (violation.first, violation.last) {
            (Some(first), Some(last)) if first != last => {
                table.field(
                    "events",
                    format!("{first} to {last}; all before {first} are as they were recorded"),
                );
            }
            (Some(first), _) => {
                table.field("event", format!("{first}; all before it are as they were recorded"));
            }
            _ => {}
        }
        let kind = serde_json::to_value(violation.kind).ok();
        if let Some(kind) = kind.as_ref().and_then(serde_json::Value::as_str) {
            table.field("kind", kind);
        }
    }
    output.table(&table)
}
