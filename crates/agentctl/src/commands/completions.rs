//! `agentctl completions`: scripts that complete commands, options and the names of queries.

use clap::{Args, CommandFactory};
use clap_complete::Shell;

use crate::cli::Cli;
use crate::context::Context;
use crate::error::{CliError, Exit};

/// Writes the completion script for a shell to standard output.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  agentctl completions bash > /etc/bash_completion.d/agentctl")]
pub(crate) struct Arguments {
    /// The shell
    shell: Shell,
}

pub(crate) fn run(context: &mut Context, arguments: &Arguments) -> Result<Exit, CliError> {
    let mut script = Vec::new();
    clap_complete::generate(arguments.shell, &mut Cli::command(), "agentctl", &mut script);
    context.output.script(&script)?;
    Ok(Exit::Well)
}
