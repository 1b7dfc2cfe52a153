//! The AgentOS command line.
//!
//! One file per command in `commands`; each parses its arguments, asks agentd (or the ledger's file) and hands the
//! result to [`output`], the only place that writes to the terminal.

mod cli;
mod commands;
mod context;
mod error;
mod input;
mod membership;
mod moment;
mod output;
mod tree;
mod view;

use std::process::ExitCode;

use clap::Parser;

use crate::cli::Cli;
use crate::context::Context;
use crate::error::{CliError, Exit};

fn main() -> ExitCode {
    let cli = Cli::parse();
    let mut context = Context::new(&cli.global);
    let exit = match run(&mut context, cli) {
        Ok(exit) => exit,
        Err(CliError::OutputClosed) => Exit::OutputClosed,
        Err(CliError::Interrupted) => Exit::Interrupted,
        Err(CliError::Failed(failure, exit)) => {
            context.output.failure(&failure);
            exit
        }
    };
    ExitCode::from(exit as u8)
}

fn run(context: &mut Context, cli: Cli) -> Result<Exit, CliError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| CliError::new("cannot start the runtime").because(&error))?;
    runtime.block_on(commands::run(context, cli.command))
}
