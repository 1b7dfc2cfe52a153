//! What the commands that make changes have in common: a plan is shown, a person agrees to it, and that plan is made.

use agentos_api::change::{Change, Status};
use agentos_client::ClientError;

use crate::context::Context;
use crate::error::{CliError, Exit};
use crate::input::Lines;
use crate::output::Output;
use crate::view;

/// Who agrees to a plan.
pub(super) enum Agreement {
    /// `--yes`: whoever typed the command.
    Given,
    /// A person at the terminal, who is asked.
    Asked,
}

impl Agreement {
    /// Who agrees: `--yes`, or a person at a terminal that is there for both reading and asking.
    pub(super) fn of(context: &Context, yes: bool) -> Result<Self, CliError> {
        if yes {
            return Ok(Self::Given);
        }
        if context.output.is_read_by_a_person() && Lines::are_typed() {
            return Ok(Self::Asked);
        }
        let message = "there is nobody here to look at the plan and agree to it";
        Err(CliError::with_exit(message, Exit::Usage)
            .hint("Look at it with --dry-run, then make it with --yes."))
    }

    /// Whether it is agreed to what was just shown.
    pub(super) async fn to(&self, output: &mut Output, question: &str) -> Result<bool, CliError> {
        match self {
            Self::Given => Ok(true),
            Self::Asked => {
                let answer = ask(output, &mut Lines::of_stdin(), &format!("\n{question} [y/N]")).await?;
                Ok(answer.is_some_and(|answer| is_yes(&answer)))
            }
        }
    }
}

/// The trimmed answer to a question; none where the input has ended.
pub(super) async fn ask(
    output: &mut Output,
    lines: &mut Lines,
    question: &str,
) -> Result<Option<String>, CliError> {
    let question = match question.strip_prefix('\n') {
        Some(question) => {
            output.text("")?;
            question
        }
        None => question,
    };
    output.question(question)?;
    let answer = lines.next().await?;
    if answer.is_none() {
        output.end_line_of_terminal();
    }
    Ok(answer.map(|answer| answer.trim().to_owned()))
}

pub(super) fn is_yes(answer: &str) -> bool {
    answer.eq_ignore_ascii_case("y") || answer.eq_ignore_ascii_case("yes")
}

/// Shows the plan of a change that was only planned. `false` where there is nothing to make.
pub(super) fn shows_something(output: &mut Output, planned: &Change) -> Result<bool, CliError> {
    view::change::plan(output, &planned.plan)?;
    let nothing = planned.plan.steps.iter().all(|step| step.effects_total == 0);
    if nothing {
        output.note("Everything is so already: there is nothing to do.");
    }
    Ok(!nothing)
}

/// What became of a change that was asked for, in a line and the exit code that says it.
pub(super) fn tell(output: &mut Output, change: &Change) -> Result<Exit, CliError> {
    let exit = exit(change.status);
    if output.json {
        output.json(change)?;
        return Ok(exit);
    }
    if change.id != 0 {
        let mut status = view::change::status(change.status);
        status.text = format!("{} is {}", named(change), change.status.as_str());
        output.line(&[status])?;
    }
    for text in [&change.outcome, &change.next_step].into_iter().flatten() {
        output.text(text)?;
    }
    Ok(exit)
}

fn named(change: &Change) -> String {
    match change.undoes {
        Some(undoes) => format!("Change {}, which takes back change {undoes},", change.id),
        None => format!("Change {}", change.id),
    }
}

fn exit(status: Status) -> Exit {
    match status {
        Status::Planned | Status::Applied | Status::Unconfirmed => Exit::Well,
        Status::Waiting => Exit::Waits,
        Status::Applying
        | Status::Failed
        | Status::Denied
        | Status::Expired
        | Status::Undone
        | Status::Unknown => Exit::NotWell,
    }
}

/// An error of agentd's about a change; one that was tried and not made is a result, if not a good one.
pub(super) fn refused(error: ClientError) -> CliError {
    let failed = error.problem().is_some_and(|problem| problem.code == agentos_api::Code::CHANGE_FAILED);
    match CliError::from(error) {
        CliError::Failed(failure, _) if failed => CliError::Failed(failure, Exit::NotWell),
        error => error,
    }
}
