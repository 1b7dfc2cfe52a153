//! What waits, one after the other: all of the plan, then yes, no, or later.

use agentos_api::Code;
use agentos_api::change::{Change, Status};
use agentos_client::Client;

use super::{no, yes};
use crate::commands::making::{ask, is_yes, refused, tell};
use crate::error::{CliError, Exit};
use crate::input::Lines;
use crate::output::{Output, counted};
use crate::view;

/// What was decided on one change.
enum Answer {
    Yes,
    No,
    Skip,
    Quit,
}

/// Goes through what waits, the oldest first, and then through what came meanwhile.
pub(super) async fn run(client: &Client, output: &mut Output) -> Result<Exit, CliError> {
    let mut lines = Lines::of_stdin();
    // Numbers only grow: what was looked at is not shown twice.
    let mut seen = 0;
    loop {
        let mut waiting = client.approvals().await?.changes;
        waiting.retain(|change| change.id > seen);
        waiting.sort_by_key(|change| change.id);
        let Some(next) = waiting.first() else {
            output.note(if seen == 0 { "Nothing waits." } else { "Nothing more waits." });
            return Ok(Exit::Well);
        };
        seen = next.id;
        output.note(&format!("{} to decide on.", counted(waiting.len() as u64, "change")));
        if !one(client, output, &mut lines, next.id).await? {
            return Ok(Exit::Well);
        }
        output.text("")?;
    }
}

/// Has one change decided on; `false` to stop.
async fn one(client: &Client, output: &mut Output, lines: &mut Lines, number: u64) -> Result<bool, CliError> {
    loop {
        let change = client.change(number).await?;
        if change.status != Status::Waiting {
            output.note(&format!("Change {number} is {} meanwhile.", change.status.as_str()));
            return Ok(true);
        }
        output.text("")?;
        view::change::change(output, &change)?;
        match answer(output, lines).await? {
            Answer::Quit => return Ok(false),
            Answer::Skip => return Ok(true),
            Answer::No => {
                let Some(reason) = ask(output, lines, "Why not? (the agent reads it)").await? else {
                    return Ok(false);
                };
                let denied = client.decide(number, &no(Some(reason).filter(|text| !text.is_empty()))).await;
                say(output, denied)?;
                return Ok(true);
            }
            Answer::Yes => {
                let request = yes(&change, None);
                let decided = client.decide(number, &request);
                match output.while_waiting("making the change", decided).await {
                    Err(error) if is_another_plan(&error) => {
                        output
                            .note(&format!("Nothing was changed: {error}. Here is the plan that holds now."));
                    }
                    decided => {
                        say(output, decided)?;
                        return Ok(true);
                    }
                }
            }
        }
    }
}

async fn answer(output: &mut Output, lines: &mut Lines) -> Result<Answer, CliError> {
    output.text("")?;
    loop {
        let Some(answer) = ask(output, lines, "Agree? [y]es, [n]o, [s]kip, [q]uit:").await? else {
            return Ok(Answer::Quit);
        };
        match answer.to_ascii_lowercase().as_str() {
            answer if is_yes(answer) => return Ok(Answer::Yes),
            "n" | "no" => return Ok(Answer::No),
            "s" | "skip" => return Ok(Answer::Skip),
            "q" | "quit" => return Ok(Answer::Quit),
            _ => {}
        }
    }
}

/// What became of a decision. That one change cannot be made does not keep the others from being decided on.
fn say(output: &mut Output, decided: Result<Change, agentos_client::ClientError>) -> Result<(), CliError> {
    match decided {
        Ok(change) => tell(output, &change).map(drop),
        Err(error) if error.is_transport() => Err(error.into()),
        Err(error) => {
            if let CliError::Failed(failure, _) = refused(error) {
                output.failure(&failure);
            }
            Ok(())
        }
    }
}

fn is_another_plan(error: &agentos_client::ClientError) -> bool {
    error.problem().is_some_and(|problem| [Code::PLAN_MOVED, Code::PLAN_CHANGED].contains(&problem.code))
}
