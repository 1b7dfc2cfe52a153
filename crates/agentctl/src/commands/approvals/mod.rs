//! `agentctl approvals`: a person's yes or no to what the agent wants to change, or to read.

mod one_by_one;
mod waiting;
mod watch;

use agentos_api::Bounded;
use agentos_api::change::{DecideRequest, Decision};
use clap::{Args, Subcommand};

use self::waiting::Waiting;
use super::changes;
use super::making::{refused, tell};
use crate::context::Context;
use crate::error::{CliError, Exit};
use crate::input::Lines;
use crate::moment::span;
use crate::view;

/// Shows what waits for your yes; on a terminal, one after the other, to decide on each.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    agentctl approvals\n  \
    agentctl approvals approve 12\n  \
    agentctl approvals approve 12 --for 10m\n  \
    agentctl approvals deny 12 --reason 'not on a Friday'\n  \
    agentctl approvals watch")]
pub(crate) struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Shows what waits under a number: a change with all of its plan, or a question.
    #[command(after_help = "Example:\n  agentctl approvals show 12")]
    Show {
        /// The number of the change or question
        #[arg(value_parser = clap::value_parser!(u64).range(1..))]
        number: u64,
    },
    Approve(Approve),
    Deny(Deny),
    /// Keeps a change that would be taken back by itself, because it might have locked you out.
    ///
    /// Run it from a login that is newer than the change: that you could log in is what shows that you are not locked out.
    #[command(after_help = "Example:\n  agentctl approvals confirm 12")]
    Confirm {
        /// The number of the change
        #[arg(value_parser = clap::value_parser!(u64).range(1..))]
        number: u64,
    },
    Watch(watch::Arguments),
}

/// Says yes: to a change, which makes it, or to a question, which is then answered once, when the agent asks it again.
///
/// What is agreed to is what this prints, and no other.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  agentctl approvals approve 12\n  agentctl approvals approve 12 --for 10m"
)]
struct Approve {
    /// The number of the change or question
    #[arg(value_parser = clap::value_parser!(u64).range(1..))]
    number: u64,
    /// For so long (30s, 10m, 24h at most), also say yes to whatever the same rule asks about from the same caller
    #[arg(long = "for", value_name = "TIME")]
    grant: Option<String>,
    /// Only if the plan, or the question, still has this hash: the one that was looked at
    #[arg(long, value_name = "HASH")]
    plan_hash: Option<String>,
    /// Why; it stays on the record
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
}

/// Says no to a change or a question.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  agentctl approvals deny 12 --reason 'not on a Friday'")]
struct Deny {
    /// The number of the change or question
    #[arg(value_parser = clap::value_parser!(u64).range(1..))]
    number: u64,
    /// Why; it stays on the record, and the agent reads it
    #[arg(long, value_name = "TEXT")]
    reason: String,
}

pub(crate) async fn run(context: &mut Context, arguments: &Arguments) -> Result<Exit, CliError> {
    match &arguments.command {
        None if context.output.is_read_by_a_person() && Lines::are_typed() => {
            one_by_one::run(&context.client(), &mut context.output).await
        }
        None => list(context).await,
        Some(Command::Show { number }) => show(context, *number).await,
        Some(Command::Approve(arguments)) => approve(context, arguments).await,
        Some(Command::Deny(arguments)) => deny(context, arguments).await,
        Some(Command::Confirm { number }) => confirm(context, *number).await,
        Some(Command::Watch(arguments)) => watch::run(context, arguments).await,
    }
}

async fn list(context: &mut Context) -> Result<Exit, CliError> {
    let page = context.client().approvals().await?;
    let output = &mut context.output;
    if output.json {
        output.json(&page)?;
    } else if page.changes.is_empty() && page.questions.is_empty() {
        output.note("Nothing waits.");
    } else {
        if !page.changes.is_empty() {
            view::change::list(output, &page.changes)?;
        }
        if !page.changes.is_empty() && !page.questions.is_empty() {
            output.text("")?;
        }
        if !page.questions.is_empty() {
            view::question::list(output, &page.questions)?;
        }
        output.note("Look at one with `agentctl approvals show NUMBER`; decide with approve or deny.");
    }
    Ok(Exit::Well)
}

async fn show(context: &mut Context, number: u64) -> Result<Exit, CliError> {
    let waiting = Waiting::of(&context.client(), number).await?;
    let output = &mut context.output;
    match &waiting {
        Waiting::Change(change) => changes::show_change(output, change)?,
        Waiting::Question(question) if output.json => output.json(question)?,
        Waiting::Question(question) => view::question::question(output, question)?,
    }
    Ok(Exit::Well)
}

async fn approve(context: &mut Context, arguments: &Approve) -> Result<Exit, CliError> {
    let for_seconds = arguments.grant.as_deref().map(seconds).transpose()?;
    let client = context.client();
    let waiting = Waiting::of(&client, arguments.number).await?;
    let output = &mut context.output;
    if !output.json {
        waiting.show(output)?;
        output.text("")?;
    }
    let request = DecideRequest {
        reason: arguments.reason.clone(),
        for_seconds,
        ..yes(&waiting, arguments.plan_hash.as_ref())
    };
    let decided = waiting.decide(&client, output, &request).await.map_err(refused)?;
    decided.tell(output)
}

/// A yes to what has that hash, or else to what was just shown.
fn yes(shown: &Waiting, hash: Option<&String>) -> DecideRequest {
    DecideRequest {
        decision: Decision::Approve,
        plan_hash: Some(hash.map_or_else(|| shown.hash().to_owned(), Clone::clone)),
        reason: None,
        for_seconds: None,
    }
}

/// A no, and why.
fn no(reason: Option<String>) -> DecideRequest {
    DecideRequest { decision: Decision::Deny, plan_hash: None, reason, for_seconds: None }
}

async fn deny(context: &mut Context, arguments: &Deny) -> Result<Exit, CliError> {
    let request = no(Some(arguments.reason.clone()));
    let client = context.client();
    let waiting = Waiting::of(&client, arguments.number).await?;
    let denied = waiting.decide(&client, &context.output, &request).await?;
    denied.tell(&mut context.output)?;
    // It is what was asked for.
    Ok(Exit::Well)
}

async fn confirm(context: &mut Context, number: u64) -> Result<Exit, CliError> {
    let confirmed = context.client().confirm(number).await?;
    tell(&mut context.output, &confirmed)
}

/// How long something is allowed.
pub(crate) fn seconds(text: &str) -> Result<Bounded<1, 86_400, 600>, CliError> {
    let bounded = span(text)
        .and_then(|span| u64::try_from(span.as_secs()).ok())
        .and_then(|seconds| Bounded::new(seconds).ok());
    bounded.ok_or_else(|| {
        let message = format!("--for: {text:?} is not a time from 1s to 24h");
        CliError::with_exit(message, Exit::Usage).hint("Write it as 30s, 10m or 2h.")
    })
}
