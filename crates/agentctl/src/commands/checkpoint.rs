//! `agentctl checkpoint`: the ledger's signed size and root, and keeping it where root cannot rewrite it.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};

use agentos_api::ledger::Checkpoint;
use agentos_ledger::{TreeHead, VerifierKey, latest_checkpoint, open_checkpoint, read_checkpoints};
use clap::Args;

use super::key;
use crate::context::Context;
use crate::error::{CliError, Exit};
use crate::output::{Output, Table, count, counted};

/// Shows the ledger's checkpoint: how many events it has, under which root, signed with its key.
///
/// A checkpoint that is kept on another machine or a stick is what a ledger rewritten by root cannot stand against:
/// `agentctl verify-ledger --trusted FILE` checks it. With --save, a checkpoint in the file already is replaced only by
/// one of the same ledger that is not smaller; anything else exits with 1 and leaves the file as it is.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    agentctl checkpoint\n  \
    agentctl checkpoint --save /mnt/stick/checkpoint --public-key /mnt/stick/ledger.vkey")]
pub(crate) struct Arguments {
    /// Keep the checkpoint in this file
    #[arg(long, value_name = "FILE")]
    save: Option<PathBuf>,
    #[arg(long, value_name = "KEY", help = key::HELP)]
    public_key: Option<String>,
}

pub(crate) async fn run(context: &mut Context, arguments: &Arguments) -> Result<Exit, CliError> {
    let given = arguments.public_key.as_deref().map(key::parse).transpose()?;
    let checkpoint = context.client().checkpoint().await?;
    let key = match given {
        Some(key) => key,
        None => checkpoint
            .public_key
            .parse()
            .map_err(|error| CliError::new("agentd's public key cannot be used").because(&error))?,
    };
    let head = open_checkpoint(&checkpoint.note, &key).map_err(|error| {
        CliError::with_exit("the checkpoint is not signed by the ledger's key", key::exit(&error))
            .because(&error)
    })?;
    if let Some(file) = &arguments.save {
        refuse_to_go_back(file, &head, &key)?;
        write_durably(file, checkpoint.note.as_bytes())?;
        context.output.note(&format!("The checkpoint is in {}.", file.display()));
    }
    if context.output.json {
        context.output.json(&checkpoint)?;
    } else {
        show(&mut context.output, &checkpoint, &head)?;
    }
    Ok(Exit::Well)
}

fn show(output: &mut Output, checkpoint: &Checkpoint, head: &TreeHead) -> Result<(), CliError> {
    let mut table = Table::fields();
    table.field("ledger", head.origin.as_str());
    table.field("events", count(head.size));
    table.field("root", checkpoint.root.as_str());
    table.field("key", checkpoint.public_key.as_str());
    output.table(&table)?;
    output.text("")?;
    output.block(&checkpoint.note, 0)
}

/// A ledger only grows. If the one that agentd shows is smaller than, or other than, the one that was kept, then what was
/// kept is the evidence and must stay.
fn refuse_to_go_back(file: &Path, new: &TreeHead, key: &VerifierKey) -> Result<(), CliError> {
    let against = |message: String| {
        CliError::with_exit(message, Exit::NotWell).hint(format!(
            "{} was left as it is. Check the ledger: `agentctl verify-ledger --trusted {}`.",
            file.display(),
            file.display()
        ))
    };
    let kept = read_checkpoints(file).map_err(|error| {
        CliError::new(format!("cannot read what is in {}", file.display())).because(&error)
    })?;
    let Some(kept) = kept.filter(|text| !text.trim().is_empty()) else { return Ok(()) };
    let (old, _) = latest_checkpoint(&kept, key).map_err(|error| {
        if key::speaks_against_the_ledger(&error) {
            against(format!("the checkpoint in {} was signed with another key", file.display()))
                .because(&error)
        } else {
            CliError::new(format!("{} holds something else than a checkpoint", file.display()))
                .because(&error)
                .hint("Name another file.")
        }
    })?;
    if old.size > new.size {
        return Err(against(format!(
            "the ledger had {} and now has {}",
            counted(old.size, "event"),
            count(new.size)
        )));
    }
    if old.size == new.size && old.root != new.root {
        let size = counted(old.size, "event");
        return Err(against(format!("the ledger has another root than the one kept, both at {size}")));
    }
    Ok(())
}

/// Replaces `file` with `content` so that after a crash it is the old or the new, whole.
pub(super) fn write_durably(file: &Path, content: &[u8]) -> Result<(), CliError> {
    let directory = match file.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    };
    let Some(name) = file.file_name() else {
        return Err(CliError::with_exit(format!("{} does not name a file", file.display()), Exit::Usage));
    };
    let mut unfinished = std::ffi::OsString::from(".");
    unfinished.push(name);
    unfinished.push(format!(".{}", std::process::id()));
    let unfinished = directory.join(unfinished);
    let write = || {
        let mut new = File::create_new(&unfinished)?;
        new.write_all(content)?;
        new.sync_all()?;
        fs::rename(&unfinished, file)?;
        File::open(directory)?.sync_all()
    };
    write().map_err(|error| {
        // What is left of the attempt is of no use; that it cannot be removed either changes nothing.
        let _ = fs::remove_file(&unfinished);
        CliError::new(format!("cannot write {}", file.display())).because(&error)
    })
}
