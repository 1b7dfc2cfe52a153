//! `agentctl grants`: what was allowed for a while.

use agentos_api::change::GrantList;
use clap::{Args, Subcommand};

use crate::context::Context;
use crate::error::{CliError, Exit};
use crate::output::{Column, Output, Table};
use crate::view::change::moment;

/// Lists what was allowed for a while with `agentctl approvals approve --for`, and ends it.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  agentctl grants\n  agentctl grants revoke 12")]
pub(crate) struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
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
        Column::left("RULE").flexible(),
    ]);
    for grant in &list.grants {
        table.row([
            grant.grant.to_string().into(),
            moment(&output.clock, &grant.until).into(),
            grant.to.as_str().into(),
            grant.by.as_str().into(),
            grant.rule.as_deref().unwrap_or(&grant.rule_id).into(),
        ]);
    }
    output.table(&table)
}
