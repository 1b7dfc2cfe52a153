//! What waits, one after the other: all of the plan, then yes, no, or later.

use agentos_api::Code;
use agentos_client::Client;

use super::waiting::{Waiting, say};
use super::{no, yes};
use crate::commands::making::{ask, is_yes};
use crate::error::{CliError, Exit};
use crate::input::Lines;
use crate::output::{Output, counted};

/// What was decided.
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
        let list = client.approvals().await?;
        let changes = list.changes.iter().map(|change| change.id);
        let mut waiting: Vec<u64> =
            changes.chain(list.questions.iter().map(|question| question.id)).collect();
        waiting.retain(|number| *number > seen);
        waiting.sort_unstable();
        let Some(&next) = waiting.first() else {
            output.note(if seen == 0 { "Nothing waits." } else { "Nothing more waits." });
            return Ok(Exit::Well);
        };
        seen = next;
        output.note(&format!("{} to decide on.", counted(waiting.len() as u64, "thing")));
        if !one(client, output, &mut lines, next).await? {
            return Ok(Exit::Well);
        }
        output.text("")?;
    }
}

/// Has one change or question decided on; `false` to stop.
async fn one(client: &Client, output: &mut Output, lines: &mut Lines, number: u64) -> Result<bool, CliError> {
    loop {
        let waiting = Waiting::of(client, number).await?;
        if let Some(stands) = waiting.stands() {
            output.note(&stands);
            return Ok(true);
        }
        output.text("")?;
        waiting.show(output)?;
        match answer(output, lines).await? {
            Answer::Quit => return Ok(false),
            Answer::Skip => return Ok(true),
            Answer::No => {
                let Some(reason) = ask(output, lines, "Why not? (the agent reads it)").await? else {
                    return Ok(false);
                };
                let request = no(Some(reason).filter(|text| !text.is_empty()));
                let denied = waiting.decide(client, output, &request).await;
                say(output, denied)?;
                return Ok(true);
            }
            Answer::Yes => match waiting.decide(client, output, &yes(&waiting, None)).await {
                Err(error) if is_another_plan(&error) => {
                    output.note(&format!("Nothing was changed: {error}. Here is the plan that holds now."));
                }
                decided => {
                    say(output, decided)?;
                    return Ok(true);
                }
            },
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

fn is_another_plan(error: &agentos_client::ClientError) -> bool {
    error.problem().is_some_and(|problem| [Code::PLAN_MOVED, Code::PLAN_CHANGED].contains(&problem.code))
}
