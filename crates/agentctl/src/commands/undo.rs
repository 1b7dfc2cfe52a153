//! `agentctl undo`: taking a change back.

use agentos_api::Code;
use agentos_api::change::UndoRequest;
use clap::Args;

use super::making::{Agreement, refused, shows_something, tell};
use crate::context::Context;
use crate::error::{CliError, Exit};

/// Takes a change back: shows what would be done, and does exactly that when you agree.
///
/// Taking back is a change itself, with a number of its own. Exits with 0 when it was made, with 6 when it waits for a
/// person's yes, and with 1 when it was not made.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    agentctl undo 12\n  \
    agentctl undo 12 --dry-run\n  \
    agentctl undo 12 --with-dependents --yes --reason 'the site is moved back'")]
pub(crate) struct Arguments {
    /// The number of the change
    #[arg(value_parser = clap::value_parser!(u64).range(1..))]
    number: u64,
    /// Also take back the later changes that build on it
    #[arg(long)]
    with_dependents: bool,
    /// Why: one sentence that stays on the record
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
    /// Only show what would be done
    #[arg(long, conflicts_with = "yes")]
    dry_run: bool,
    /// Do it without asking
    #[arg(long, short)]
    yes: bool,
}

pub(crate) async fn run(context: &mut Context, arguments: &Arguments) -> Result<Exit, CliError> {
    let number = arguments.number;
    let mut request = UndoRequest {
        reason: arguments.reason.clone().unwrap_or_else(|| format!("agentctl undo {number}")),
        dry_run: true,
        with_dependents: arguments.with_dependents,
        plan_hash: None,
    };
    let agreement = if arguments.dry_run { None } else { Some(Agreement::of(context, arguments.yes)?) };
    let client = context.client();
    let planned = client.undo(number, &request).await.map_err(|error| {
        let dependents = error.problem().is_some_and(|problem| problem.code == Code::CHANGE_HAS_DEPENDENTS);
        let error = refused(error);
        if dependents {
            error.hint(format!(
                "Take those back first, or all together: agentctl undo {number} --with-dependents"
            ))
        } else {
            error
        }
    })?;
    let output = &mut context.output;
    if !output.json && !shows_something(output, &planned)? {
        return Ok(Exit::Well);
    }
    let Some(agreement) = agreement else {
        if output.json {
            output.json(&planned)?;
        }
        return Ok(Exit::Well);
    };
    if !agreement.to(output, &format!("Take change {number} back so?")).await? {
        output.note("Nothing was changed.");
        return Ok(Exit::NotWell);
    }
    request.dry_run = false;
    request.plan_hash = Some(planned.plan.hash);
    let made =
        output.while_waiting("taking it back", client.undo(number, &request)).await.map_err(refused)?;
    if !output.json {
        output.text("")?;
    }
    tell(output, &made)
}
