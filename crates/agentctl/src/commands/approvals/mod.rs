//! `agentctl approvals`: a person's yes or no to what the agent wants to change.

mod one_by_one;
mod watch;

use agentos_api::Bounded;
use agentos_api::change::{Change, DecideRequest, Decision};
use clap::{Args, Subcommand};

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
    /// Shows one change with all of its plan.
    #[command(after_help = "Example:\n  agentctl approvals show 12")]
    Show {
        /// The number of the change
        #[arg(value_parser = clap::value_parser!(u64).range(1..))]
        number: u64,
    },
    Approve(Approve),
    Deny(Deny),
    /// Keeps a change that would be taken back by itself, because it might have locked you out.
    #[command(after_help = "Example:\n  agentctl approvals confirm 12")]
    Confirm {
        /// The number of the change
        #[arg(value_parser = clap::value_parser!(u64).range(1..))]
        number: u64,
    },
    Watch(watch::Arguments),
}

/// Says yes to a change, which makes it. What is agreed to is the plan that this prints, and no other.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  agentctl approvals approve 12\n  agentctl approvals approve 12 --for 10m"
)]
struct Approve {
    /// The number of the change
    #[arg(value_parser = clap::value_parser!(u64).range(1..))]
    number: u64,
    /// For so long (30s, 10m, 24h at most), also say yes to whatever the same rule asks about from the same caller
    #[arg(long = "for", value_name = "TIME")]
    grant: Option<String>,
    /// Only if the plan still has this hash: the one that was looked at
    #[arg(long, value_name = "HASH")]
    plan_hash: Option<String>,
    /// Why; it stays on the record
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
}

/// Says no to a change.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  agentctl approvals deny 12 --reason 'not on a Friday'")]
struct Deny {
    /// The number of the change
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
        Some(Command::Show { number }) => changes::show(context, *number).await,
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
    } else if page.changes.is_empty() {
        output.note("Nothing waits.");
    } else {
        view::change::list(output, &page.changes)?;
        output.note("Look at one with `agentctl approvals show NUMBER`; decide with approve or deny.");
    }
    Ok(Exit::Well)
}

async fn approve(context: &mut Context, arguments: &Approve) -> Result<Exit, CliError> {
    let for_seconds = arguments.grant.as_deref().map(seconds).transpose()?;
    let client = context.client();
    let change = client.change(arguments.number).await?;
    let output = &mut context.output;
    if !output.json {
        view::change::change(output, &change)?;
        output.text("")?;
    }
    let request = DecideRequest {
        reason: arguments.reason.clone(),
        for_seconds,
        ..yes(&change, arguments.plan_hash.as_ref())
    };
    let made = output.while_waiting("making the change", client.decide(change.id, &request)).await;
    tell(output, &made.map_err(refused)?)
}

/// A yes to the plan with that hash, or else to the one that was just shown.
fn yes(shown: &Change, hash: Option<&String>) -> DecideRequest {
    DecideRequest {
        decision: Decision::Approve,
        plan_hash: Some(hash.unwrap_or(&shown.plan.hash).clone()),
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
    let denied = context.client().decide(arguments.number, &request).await?;
    tell(&mut context.output, &denied)?;
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
