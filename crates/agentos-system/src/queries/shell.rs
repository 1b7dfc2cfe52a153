//! What a command says that is kept from changing anything.

use std::time::Duration;

use agentos_api::query::Shell;
use agentos_api::query::file::Encoding;
use agentos_api::query::shell::{Args, MAX_COMMAND_BYTES, MAX_WORDS, Output, Said};
use agentos_cell::Confinement;

use super::file::encode;
use crate::QueryError;
use crate::dispatch::Read;
use crate::machine::{Machine, Viewer};
use crate::run::count_one;
use crate::shell::{Asked, Captured, run};

impl Read for Shell {
    fn check(args: &Args) -> Result<(), QueryError> {
        words(args).map(|_| ())
    }

    fn read(machine: &Machine, viewer: Viewer, args: Args) -> Result<Output, QueryError> {
        let words = words(&args)?;
        let folder = args.folder.as_ref().map_or_else(|| "/".to_owned(), ToString::to_string);
        count_one();
        let ended = run(Asked {
            cells: machine.cells.clone(),
            command: agentos_cell::Command { words, folder, confinement: Confinement::Observe },
            time: Duration::from_secs(args.time_limit_seconds.get()),
            keep: args.output_bytes.as_usize(),
            viewer: viewer.clone(),
            protected: machine.protected.clone(),
        })?;
        Ok(Output {
            exit_status: ended.status,
            timed_out: ended.status.is_none(),
            stdout: said(&ended.stdout, &viewer),
            stderr: said(&ended.stderr, &viewer),
            refused: ended.refused,
            limits: ended.limits,
            milliseconds: u64::try_from(ended.took.as_millis()).unwrap_or(u64::MAX),
        })
    }
}

/// The words that are executed.
fn words(args: &Args) -> Result<Vec<String>, QueryError> {
    let words = match (&args.command, args.words.as_slice()) {
        (Some(command), []) => vec![args.shell.clone(), "-c".to_owned(), command.clone()],
        (None, [_, ..]) => args.words.clone(),
        (None, []) => {
            return Err(QueryError::invalid("command", "a command line, or words, must be given"));
        }
        (Some(_), _) => return Err(QueryError::invalid("words", "not together with command")),
    };
    let field = if args.command.is_some() { "command" } else { "words" };
    let bytes = serde_json::to_vec(&words).map_or(usize::MAX, |text| text.len());
    if words.len() > MAX_WORDS || bytes > MAX_COMMAND_BYTES {
        return Err(QueryError::invalid(
            field,
            format!(
                "is {} words, and {bytes} bytes as it would be recorded; at most {MAX_WORDS} and {MAX_COMMAND_BYTES}",
                words.len()
            ),
        ));
    }
    if words.iter().any(|word| word.contains('\0')) {
        return Err(QueryError::invalid(field, "has a NUL character, which no argument can have"));
    }
    Ok(words)
}

/// An output, with secrets in it masked for whom they are masked for.
fn said(captured: &Captured, viewer: &Viewer) -> Said {
    let kept = &captured.kept;
    let masked = viewer.rules.as_ref().and_then(|rules| rules.mask(kept, 0..kept.len()));
    let (encoding, content, _) = encode(masked.as_deref().unwrap_or(kept), Encoding::Auto);
    Said { content, encoding, bytes: captured.bytes, cut: captured.bytes > kept.len() as u64 }
}
