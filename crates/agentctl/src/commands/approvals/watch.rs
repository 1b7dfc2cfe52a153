//! `agentctl approvals watch`: says when something new waits.

use std::collections::HashMap;
use std::time::Duration;

use agentos_api::change::ChangeSummary;
use clap::Args;

use crate::context::Context;
use crate::error::{CliError, Exit};
use crate::output::{Cell, Output, Style};

/// Writes a line when something new waits for your yes, until Ctrl-C.
///
/// A change whose plan was made anew is told again. With --json each line is the change as the list shows it.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  agentctl approvals watch")]
pub(super) struct Arguments {
    /// How often to look
    #[arg(long, value_name = "SECONDS", default_value_t = 2, value_parser = clap::value_parser!(u64).range(1..=3600))]
    every: u64,
}

pub(super) async fn run(context: &mut Context, arguments: &Arguments) -> Result<Exit, CliError> {
    let client = context.client();
    let output = &mut context.output;
    let mut told: HashMap<u64, String> = HashMap::new();
    loop {
        let mut waiting = client.approvals().await?.changes;
        waiting.sort_by_key(|change| change.id);
        for change in &waiting {
            if told.get(&change.id) != Some(&change.plan_hash) {
                tell(output, change)?;
            }
        }
        // What waits no more is forgotten, so this does not grow.
        told = waiting.into_iter().map(|change| (change.id, change.plan_hash)).collect();
        tokio::time::sleep(Duration::from_secs(arguments.every)).await;
    }
}

fn tell(output: &mut Output, change: &ChangeSummary) -> Result<(), CliError> {
    if output.json {
        return output.json_line(change);
    }
    let now = output.clock.absolute(output.clock.now());
    output.line(&[
        Cell::styled(format!("{now}  "), Style::Dim),
        Cell::styled(format!("change {} waits", change.id), Style::Warning),
        Cell::new(format!(": {} ({} risk, {})", change.summary, change.risk.as_str(), change.actor)),
        Cell::styled(format!("  agentctl approvals show {}", change.id), Style::Dim),
    ])?;
    output.flush()
}
