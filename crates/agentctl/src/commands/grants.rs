//! `agentctl grants`: what was allowed for a while.

use agentos_api::change::{GrantList, LiftRequest};
use clap::{Args, Subcommand};

use crate::context::Context;
use crate::error::{CliError, Exit};
use crate::output::{Column, Output, Table};
use crate::view::change::moment;

/// Lists what was allowed for a while with `agentctl approvals approve --for`, and ends it; lifts quotas for a while.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  agentctl grants\n  agentctl grants revoke 12\n  agentctl grants lift changes_per_hour --for 30m"
)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Lifts a quota of the agent's for a while. What is used meanwhile counts once it holds again.
    #[command(after_help = "Examples:\n  agentctl grants lift changes_per_hour --for 30m\n  \
        agentctl grants lift calls_per_minute --of agent:openclaw --for 10m")]
    Lift {
        /// The quota's key in the policy: `changes_per_hour`
        quota: String,
        /// Whose, as the policy names them
        #[arg(long, value_name = "PRINCIPAL", default_value = "agent")]
        of: String,
        /// For so long: 30s, 10m, 24h at most
        #[arg(long = "for", value_name = "TIME", default_value = "10m")]
        time: String,
    },
    /// Ends one of them at once.
    #[command(after_help = "Example:\n  agentctl grants revoke 12")]
    Revoke {
        /// The number of the grant
        #[arg(value_parser = clap::value_parser!(u64).range(1..))]
        number: u64,
    },
}

pub(crate) async fn run(context: &mut Context, arguments: &Arguments) -> Result<Exit, CliError> {
    let client = context.client();
    let grants = match &arguments.command {
        None => client.grants().await?,
        Some(Command::Lift { quota, of, time }) => {
            let request = LiftRequest {
                to: of.clone(),
                quota: quota.clone(),
                for_seconds: super::approvals::seconds(time)?,
            };
            let grants = client.lift_quota(&request).await?;
            context.output.note(&format!("The quota {quota} of {of} does not hold for {time}."));
            grants
        }
        Some(Command::Revoke { number }) => {
            let left = client.revoke_grant(*number).await?;
            context.output.note(&format!("Grant {number} holds no more."));
            left
        }
    };
    show(&mut context.output, &grants)?;
    Ok(Exit::Well)
}

fn show(output: &mut Output, list: &GrantList) -> Result<(), CliError> {
    if output.json {
        return output.json(list);
    }
    if list.grants.is_empty() {
        output.note("Nothing is allowed for a while.");
        return Ok(());
    }
    let mut table = Table::new([
        Column::right("GRANT"),
        Column::left("UNTIL"),
        Column::left("TO").flexible(),
        Column::left("BY").flexible(),
        Column::left("RULE OR QUOTA").flexible(),
    ]);
    for grant in &list.grants {
        table.row([
            grant.grant.to_string().into(),
            moment(&output.clock, &grant.until).into(),
            grant.to.as_str().into(),
            grant.by.as_str().into(),
            grant.rule.as_deref().or(grant.quota.as_deref()).unwrap_or(&grant.rule_id).into(),
        ]);
    }
    output.table(&table)
}
