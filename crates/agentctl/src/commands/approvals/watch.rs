//! `agentctl approvals watch`: says when something new waits.

use std::collections::HashMap;
use std::time::Duration;

use agentos_api::change::ChangeSummary;
use agentos_api::question::{ApprovalList, Question};
use clap::Args;

use crate::context::Context;
use crate::error::{CliError, Exit};
use crate::output::{Cell, Output, Style};
use crate::view;

/// Writes a line when something new waits for your yes, until Ctrl-C.
///
/// A change whose plan was made anew is told again. With --json each line is the change, or the question, as the list shows it.
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
        let ApprovalList { mut changes, questions, .. } = client.approvals().await?;
        changes.sort_by_key(|change| change.id);
        for change in changes.iter().filter(|change| told.get(&change.id) != Some(&change.plan_hash)) {
            tell_change(output, change)?;
        }
        for question in questions.iter().filter(|question| !told.contains_key(&question.id)) {
            tell_question(output, question)?;
        }
        // What waits no more is forgotten, so this does not grow.
        told = changes.into_iter().map(|change| (change.id, change.plan_hash)).collect();
        told.extend(questions.into_iter().map(|question| (question.id, question.hash)));
        tokio::time::sleep(Duration::from_secs(arguments.every)).await;
    }
}

fn tell_change(output: &mut Output, change: &ChangeSummary) -> Result<(), CliError> {
    if output.json {
        return output.json_line(change);
    }
    let what = format!(": {} ({} risk, {})", change.summary, change.risk.as_str(), change.actor);
    tell(output, &format!("change {} waits", change.id), what, change.id)
}

fn tell_question(output: &mut Output, question: &Question) -> Result<(), CliError> {
    if output.json {
        return output.json_line(question);
    }
    let what = format!(": {} ({})", view::question::summary(question), question.actor);
    tell(output, &format!("question {} waits", question.id), what, question.id)
}

fn tell(output: &mut Output, begin: &str, what: String, number: u64) -> Result<(), CliError> {
    let now = output.clock.absolute(output.clock.now());
    output.line(&[
        Cell::styled(format!("{now}  "), Style::Dim),
        Cell::styled(begin, Style::Warning),
        Cell::new(what),
        Cell::styled(format!("  agentctl approvals show {number}"), Style::Dim),
    ])?;
    output.flush()
}
