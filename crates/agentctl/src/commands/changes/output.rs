//! `agentctl changes output`: what a command of a change wrote.

use std::time::Duration;

use agentos_api::Bounded;
use agentos_api::change::{ChangeOutput, OutputFilter, OutputPart, Ran};
use agentos_api::query::file::ContentEncoding;

use crate::context::Context;
use crate::error::{CliError, Exit};
use crate::output::{Output, bytes};

/// How long it waits until it asks again.
const PAUSE: Duration = Duration::from_millis(500);

/// Shows it; with `follow` until the command has ended.
pub(super) async fn show(
    context: &mut Context,
    number: u64,
    command: u64,
    follow: bool,
) -> Result<Exit, CliError> {
    let mut filter =
        OutputFilter { command: Bounded::new(command).unwrap_or_default(), ..OutputFilter::default() };
    loop {
        let answer = context.client().change_output(number, &filter).await?;
        let output = &mut context.output;
        if output.json {
            output.json_line(&answer)?;
        } else {
            part(output, &answer.stdout, "standard output")?;
            part(output, &answer.stderr, "standard error")?;
        }
        if !follow || !answer.running {
            if !output.json {
                end(output, &answer);
            }
            return Ok(Exit::Well);
        }
        filter.stdout_after = Bounded::new(answer.stdout.next).unwrap_or_default();
        filter.stderr_after = Bounded::new(answer.stderr.next).unwrap_or_default();
        tokio::time::sleep(PAUSE).await;
    }
}

fn part(output: &mut Output, part: &OutputPart, name: &str) -> Result<(), CliError> {
    match part.encoding {
        ContentEncoding::Text => output.flowing(&part.content),
        ContentEncoding::Base64 => {
            output.note(&format!("{} of {name} are no text: --json has them.", bytes(part.next - part.from)));
            Ok(())
        }
    }
}

/// How it ended, on standard error: beside what it wrote, and not among it.
fn end(output: &mut Output, answer: &ChangeOutput) {
    let Some(ran) = &answer.ran else {
        let how =
            if answer.running { "It still runs: --follow goes on." } else { "Nobody saw how it ended." };
        return output.note(how);
    };
    output.note(&ended(ran));
    for (name, part) in [("standard output", &ran.stdout), ("standard error", &ran.stderr)] {
        if part.bytes > part.kept {
            output.note(&format!(
                "The first {} of {} of {name} are kept.",
                bytes(part.kept),
                bytes(part.bytes)
            ));
        }
    }
}

fn ended(ran: &Ran) -> String {
    match ran.exit_status {
        Some(status) => format!("It exited with {status}."),
        None if ran.timed_out => "Its time was over, and it was ended.".to_owned(),
        None => "It was ended.".to_owned(),
    }
}
