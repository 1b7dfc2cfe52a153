//! What a command says that is kept from changing anything.

use std::time::Duration;

use agentos_api::query::Shell;
use agentos_api::query::file::Encoding;
use agentos_api::query::shell::{Args, Output, Said};
use agentos_cell::Confinement;

use super::file::encode;
use crate::QueryError;
use crate::dispatch::Read;
use crate::machine::{Machine, Viewer};
use crate::run::count_one;
use crate::shell::{Asked, Captured, run, words};

impl Read for Shell {
    fn check(args: &Args) -> Result<(), QueryError> {
        words(args.line()).map(|_| ())
    }

    fn read(machine: &Machine, viewer: Viewer, args: Args) -> Result<Output, QueryError> {
        let words = words(args.line())?;
        let folder = args.folder.as_ref().map_or_else(|| "/".to_owned(), ToString::to_string);
        count_one();
        let ended = run(Asked {
            cell: machine.cell.clone(),
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
            milliseconds: u64::try_from(ended.took.as_millis()).unwrap_or(u64::MAX),
        })
    }
}

/// An output, with secrets in it masked for whom they are masked for.
fn said(captured: &Captured, viewer: &Viewer) -> Said {
    let kept = &captured.kept;
    let masked = viewer.rules.as_ref().and_then(|rules| rules.mask(kept, 0..kept.len()));
    let (encoding, content, _) = encode(masked.as_deref().unwrap_or(kept), Encoding::Auto);
    Said { content, encoding, bytes: captured.bytes, cut: captured.bytes > kept.len() as u64 }
}
