//! `agentctl proof`: that one event is in the ledger, checked here and not by agentd.

use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use agentos_api::ledger::InclusionProof;
use agentos_ledger::{ProofError, VerifierKey, check_inclusion};
use clap::Args;
use serde::Serialize;

use super::{checkpoint, key};
use crate::context::Context;
use crate::error::{CliError, Exit};
use crate::output::{Cell, Output, Style, Table, counted};
use crate::view;

/// The largest proof that is read from a file, in bytes. One holds an event and some dozen hashes.
const MAX_PROOF_BYTES: u64 = 4 << 20;

/// Fetches the proof that an event is in the ledger and checks it here; or checks one that was kept.
///
/// The proof holds the event, the hashes that lead from it to the tree's root, and a signed checkpoint with that root.
/// Without --public-key the signature is checked with the key that came with it.
///
/// Exits with 1 when the proof does not hold.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    agentctl proof 42 --save event-42.json\n  \
    agentctl proof --verify event-42.json --public-key ledger.vkey")]
pub(crate) struct Arguments {
    /// The event's id
    #[arg(required_unless_present = "verify", conflicts_with = "verify", value_parser = clap::value_parser!(u64).range(1..))]
    id: Option<u64>,
    /// Check the proof in this file, offline
    #[arg(long, value_name = "FILE")]
    verify: Option<PathBuf>,
    /// Keep the proof in this file
    #[arg(long, value_name = "FILE", conflicts_with = "verify")]
    save: Option<PathBuf>,
    #[arg(long, value_name = "KEY", help = key::HELP)]
    public_key: Option<String>,
}

/// What was found, as `--json` shows it.
#[derive(Serialize)]
struct Finding<'a> {
    holds: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    /// The key came with the proof: it shows who signed, not that this was the ledger you know.
    key_is_known: bool,
    proof: &'a InclusionProof,
}

pub(crate) async fn run(context: &mut Context, arguments: &Arguments) -> Result<Exit, CliError> {
    let given = arguments.public_key.as_deref().map(key::parse).transpose()?;
    let proof = match (&arguments.verify, arguments.id) {
        (Some(file), _) => read(file)?,
        (None, Some(id)) => fetch(context, id).await?,
        (None, None) => return Err(CliError::with_exit("no event is named", Exit::Usage)),
    };
    let result = check(&proof, given.as_ref());
    let finding = Finding {
        holds: result.is_ok(),
        reason: result.as_ref().err().map(reason),
        key_is_known: given.is_some(),
        proof: &proof,
    };
    if let Some(file) = arguments.save.as_ref().filter(|_| finding.holds) {
        let json = serde_json::to_vec_pretty(&proof).map_err(|error| CliError::json(&error))?;
        checkpoint::write_durably(file, &json)?;
        context.output.note(&format!("The proof is in {}.", file.display()));
    }
    if context.output.json {
        context.output.json(&finding)?;
    } else {
        show(&mut context.output, &finding)?;
    }
    Ok(if finding.holds { Exit::Well } else { Exit::NotWell })
}

async fn fetch(context: &Context, id: u64) -> Result<InclusionProof, CliError> {
    let proof = context.client().proof(id).await?;
    if proof.event.id == id {
        Ok(proof)
    } else {
        Err(CliError::with_exit(
            format!("agentd answered the proof of event {id} with one of event {}", proof.event.id),
            Exit::NotWell,
        ))
    }
}

fn read(file: &Path) -> Result<InclusionProof, CliError> {
    let unusable = |error: &(dyn std::error::Error + 'static)| {
        CliError::new(format!("the proof in {} cannot be read", file.display()))
            .because(error)
            .hint("Make one with `agentctl proof ID --save FILE`.")
    };
    let mut json = String::new();
    fs::File::open(file)
        .and_then(|opened| opened.take(MAX_PROOF_BYTES).read_to_string(&mut json))
        .map_err(|error| unusable(&error))?;
    serde_json::from_str(&json).map_err(|error| unusable(&error))
}

fn check(proof: &InclusionProof, given: Option<&VerifierKey>) -> Result<(), ProofError> {
    match given {
        Some(key) => check_inclusion(proof, key),
        None => check_inclusion(proof, &proof.checkpoint.public_key.parse().map_err(ProofError::Checkpoint)?),
    }
}

fn reason(error: &ProofError) -> String {
    match std::error::Error::source(error) {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    }
}

fn show(output: &mut Output, finding: &Finding<'_>) -> Result<(), CliError> {
    let proof = finding.proof;
    let event = &proof.event;
    match &finding.reason {
        None => output.line(&[
            Cell::styled("The proof holds", Style::Good),
            Cell::new(format!(": event {} is in the ledger of {}.", event.id, counted(proof.size, "event"))),
        ])?,
        Some(reason) => output.line(&[
            Cell::styled("The proof does NOT hold", Style::Bad),
            Cell::new(format!(": {reason}.")),
        ])?,
    }
    let mut table = Table::fields();
    let recorded = event.ts.parse().map_or_else(|_| event.ts.clone(), |moment| output.clock.full(moment));
    table.field("recorded", recorded);
    table.field("type", event.kind.as_str());
    table.field("actor", event.actor.as_str());
    table.field("what", view::happening(event.payload.get()));
    table.field("hash", event.hash.as_str());
    table.field("root", proof.checkpoint.root.as_str());
    table.field("key", proof.checkpoint.public_key.as_str());
    output.table(&table)?;
    if !finding.key_is_known {
        output.note(
            "The key came with the proof. Compare it with the one you know, or give that with --public-key.",
        );
    }
    Ok(())
}
