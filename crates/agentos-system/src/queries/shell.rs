//! What a command says that is kept from changing anything.

use std::time::Duration;

use agentos_api::query::Shell;
use agentos_api::query::shell::{Args, Output};
use agentos_cell::Confinement;

use crate::QueryError;
use crate::dispatch::Read;
use crate::machine::{Machine, Viewer};
use crate::run::count_one;
use crate::shell::{Asked, output, run, words};

impl Read for Shell {
    fn check(args: &Args) -> Result<(), QueryError> {
        words(args.line()).map(|_| ())
    }

    fn read(machine: &Machine, viewer: Viewer, args: Args) -> Result<Output, QueryError> {
        let words = words(args.line())?;
        let folder = args.folder.as_ref().map_or_else(|| "/".to_owned(), ToString::to_string);
        count_one();
        let mut ended = run(Asked {
            cells: machine.cells.clone(),
            command: agentos_cell::Command { words, folder, confinement: Confinement::Observe },
            time: Duration::from_secs(args.time_limit_seconds.get()),
            keep: args.output_bytes.as_usize(),
            viewer: viewer.clone(),
            protected: machine.protected.clone(),
        })?;
        let advice = machine.remembered.observed(&mut ended);
        Ok(output(ended, &viewer, advice))
    }
}
