//! `agentctl changes`: what was changed, and what became of it.

mod output;

use agentos_api::Bounded;
use agentos_api::change::{Change, ChangeFilter, ChangePage, Status};
use clap::{Args, Subcommand, ValueEnum};

use crate::context::Context;
use crate::error::{CliError, Exit};
use crate::output::Output;
use crate::view;

/// Lists the changes of this machine, the newest first.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
#[command(after_help = "Examples:\n  \
    agentctl changes\n  \
    agentctl changes --status waiting\n  \
    agentctl changes --on 'file /etc/hosts'\n  \
    agentctl changes show 12\n  \
    agentctl changes output 12")]
pub(crate) struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    list: List,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Shows one change: its plan, who decided, and what became of it.
    #[command(after_help = "Example:\n  agentctl changes show 12")]
    Show {
        /// The number of the change
        #[arg(value_parser = clap::value_parser!(u64).range(1..))]
        number: u64,
    },
    /// Shows what a command of a change wrote, also while it runs.
    ///
    /// The first 256 KiB of each output are kept. With --json, what is no text is in base64.
    #[command(after_help = "Examples:\n  agentctl changes output 12\n  agentctl changes output 12 --follow")]
    Output {
        /// The number of the change
        #[arg(value_parser = clap::value_parser!(u64).range(1..))]
        number: u64,
        /// Which of its commands
        #[arg(long, value_name = "NUMBER", default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=32))]
        command: u64,
        /// Go on until it has ended
        #[arg(long, short)]
        follow: bool,
    },
}

#[derive(Debug, Args)]
struct List {
    /// Only those that stand there
    #[arg(long, value_name = "STATUS")]
    status: Option<Standing>,
    /// Only those that touch this, as a plan names it: 'file /etc/hosts'
    #[arg(long, value_name = "WHAT")]
    on: Option<String>,
    /// Only those with a smaller number
    #[arg(long, value_name = "NUMBER")]
    before: Option<u64>,
    /// How many at most
    #[arg(long, short = 'n', value_name = "COUNT", default_value_t = 50,
          value_parser = clap::value_parser!(u64).range(1..=200))]
    limit: u64,
}

/// [`Status`], as it is typed.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Standing {
    Waiting,
    Applying,
    Unconfirmed,
    Applied,
    Failed,
    Denied,
    Expired,
    Undone,
    Unknown,
}

impl From<Standing> for Status {
    fn from(standing: Standing) -> Self {
        match standing {
            Standing::Waiting => Self::Waiting,
            Standing::Applying => Self::Applying,
            Standing::Unconfirmed => Self::Unconfirmed,
            Standing::Applied => Self::Applied,
            Standing::Failed => Self::Failed,
            Standing::Denied => Self::Denied,
            Standing::Expired => Self::Expired,
            Standing::Undone => Self::Undone,
            Standing::Unknown => Self::Unknown,
        }
    }
}

pub(crate) async fn run(context: &mut Context, arguments: &Arguments) -> Result<Exit, CliError> {
    match &arguments.command {
        None => list(context, &arguments.list).await,
        Some(Command::Show { number }) => show(context, *number).await,
        Some(Command::Output { number, command, follow }) => {
            output::show(context, *number, *command, *follow).await
        }
    }
}

async fn list(context: &mut Context, arguments: &List) -> Result<Exit, CliError> {
    let filter = ChangeFilter {
        status: arguments.status.map(Status::from),
        before: arguments.before,
        on: arguments.on.clone(),
        limit: Bounded::new(arguments.limit).unwrap_or_default(),
    };
    let page = context.client().changes(&filter).await?;
    let output = &mut context.output;
    if output.json {
        output.json(&page)?;
        return Ok(Exit::Well);
    }
    let ChangePage { changes, next } = page;
    if changes.is_empty() {
        output.note("No change matches.");
        return Ok(Exit::Well);
    }
    view::change::list(output, &changes)?;
    if let Some(next) = next {
        output.note(&format!("There are more: go on with --before {next}."));
    }
    Ok(Exit::Well)
}

async fn show(context: &mut Context, number: u64) -> Result<Exit, CliError> {
    let change = context.client().change(number).await?;
    show_change(&mut context.output, &change)?;
    Ok(Exit::Well)
}

/// Shows one change, whole, and what to do next.
pub(super) fn show_change(output: &mut Output, change: &Change) -> Result<(), CliError> {
    if output.json {
        return output.json(change);
    }
    view::change::change(output, change)?;
    if let Some(next) = &change.next_step {
        output.text("")?;
        output.text(next)?;
    }
    Ok(())
}
