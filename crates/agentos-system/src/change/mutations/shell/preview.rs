//! `shell.preview`: what a command does to files is the change.

use std::time::Duration;

use agentos_api::mutation::shell as api;
use agentos_api::query::path::encode;

use super::differences::{Counts, Differences};
use crate::change::error::ChangeError;
use crate::change::planner::Planner;
use crate::change::{Plan, protect};
use crate::run::count_one;
use crate::shell::{Asked, moment, output, preview, words};

/// Files that a command may write: more would be too many to plan.
const MOST_FILES: u64 = 60_000;
/// Longest part of a command in a sentence, in characters.
const LONGEST_SHOWN: usize = 120;

impl Plan for api::Preview {
    fn check(args: &api::PreviewArgs) -> Result<(), ChangeError> {
        Ok(words(args.line()).map(|_| ())?)
    }

    fn plan(planner: &mut Planner<'_>, args: api::PreviewArgs) -> Result<(), ChangeError> {
        if !planner.planned().is_empty() {
            return Err(ChangeError::refused(
                "a preview shows what a command does to the machine as it is, not as earlier steps leave it; make it the first step, or a change of its own",
            ));
        }
        let words = words(args.line())?;
        let shown = shown(&args);
        let folder = args.folder.as_ref().map_or_else(|| "/".to_owned(), ToString::to_string);
        let begun = moment();
        count_one();
        let (mut ended, view) = preview(
            Asked {
                cells: planner.machine.cells.clone(),
                command: agentos_cell::Command {
                    words,
                    folder,
                    confinement: agentos_cell::Confinement::Observe,
                },
                time: Duration::from_secs(args.time_limit_seconds.get()),
                keep: args.output_bytes.as_usize(),
                viewer: planner.viewer.clone(),
                protected: planner.machine.protected.clone(),
            },
            &protect::hidden(planner.machine),
            (args.write_mebibytes.get() << 20, MOST_FILES),
        )?;
        let Some(status) = ended.status else {
            return Err(ChangeError::refused(format!(
                "{shown} took longer than {} s and was ended, so what it does is not known; give it more time (time_limit_seconds), or less to do",
                args.time_limit_seconds.get()
            )));
        };
        if view.is_full().map_err(|error| ChangeError::io("what the command wrote", error))? {
            return Err(ChangeError::refused(format!(
                "{shown} wants to write more than {} MiB or {MOST_FILES} files, which is more than is looked at; raise write_mebibytes, or do it in parts",
                args.write_mebibytes.get()
            )));
        }
        let counts = Differences::plan(planner, &view, begun)?;
        planner.summary(summary(&shown, status, &counts));
        for text in not_covered(&counts, &view.left_out) {
            planner.not_covered(text);
        }
        let changed = !counts.parts().is_empty() || counts.left_out().is_some();
        let advice = planner.machine.remembered.previewed(&mut ended, changed);
        planner.said(output(ended, planner.viewer, advice));
        Ok(())
    }
}

/// The command in a sentence.
fn shown(args: &api::PreviewArgs) -> String {
    let text = args.command.clone().unwrap_or_else(|| args.words.join(" "));
    let mut short: String = text.chars().take(LONGEST_SHOWN).collect();
    if short.len() < text.len() {
        short.push('…');
    }
    format!("`{}`", encode(short.as_bytes()))
}

fn summary(shown: &str, status: u8, counts: &Counts) -> String {
    let exited = if status == 0 { String::new() } else { format!(" (it exited with {status})") };
    let parts = counts.parts();
    let what = if parts.is_empty() { "it changes no file".to_owned() } else { parts.join(", ") };
    format!("Does what {shown} did in a preview{exited}: {what}")
}

fn not_covered(counts: &Counts, left_out: &[String]) -> Vec<String> {
    let mut all = vec![
        "what it did beside files: other programs, services and the network were out of its reach in the preview, and are not touched when this is made".to_owned(),
    ];
    all.extend(counts.left_out());
    all.extend(left_out.iter().take(20).map(|text| format!("in the preview {text}")));
    all
}
