//! The command line as clap parses it: what holds for every command.

use std::path::PathBuf;

use clap::{Args, Parser};

use crate::commands::Command;
use crate::error::EXIT_CODES;
use crate::output::Color;

/// Ask this machine, read its record, and check that the record is whole.
#[derive(Debug, Parser)]
#[command(
    name = "agentctl",
    version,
    max_term_width = 100,
    after_help = "Example:\n  agentctl query processes sort=memory limit=5",
    after_long_help = format!("Example:\n  agentctl query processes sort=memory limit=5\n\n{EXIT_CODES}"),
)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Options that every command takes.
#[derive(Debug, Args)]
#[command(next_help_heading = "Global options")]
pub(crate) struct Global {
    /// The socket agentd listens on; without it the operator's socket if you may use it, else the agent's
    #[arg(long, global = true, value_name = "PATH", env = "AGENTOS_SOCKET", hide_env_values = true)]
    pub(crate) socket: Option<PathBuf>,
    /// Write JSON for programs: one document, or one line per event
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// When to use colour
    #[arg(
        long,
        global = true,
        value_name = "WHEN",
        value_enum,
        default_value_t,
        hide_possible_values = true
    )]
    pub(crate) color: Color,
    /// How long to wait for an answer
    #[arg(
        long, global = true, value_name = "SECONDS", default_value_t = 60,
        value_parser = clap::value_parser!(u64).range(1..=3600),
    )]
    pub(crate) timeout: u64,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    fn each(command: &clap::Command, check: &mut dyn FnMut(&clap::Command)) {
        check(command);
        for sub in command.get_subcommands() {
            each(sub, check);
        }
    }

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }

    #[test]
    fn the_help_of_each_command_shows_an_example() {
        each(&Cli::command(), &mut |command| {
            let help = command.clone().render_long_help().to_string();
            let example =
                help.split_once("Example").is_some_and(|(_, example)| example.contains("  agentctl "));
            assert!(example, "{} has no example:\n{help}", command.get_name());
        });
    }

    #[test]
    fn the_help_says_what_the_exit_codes_mean() {
        let help = Cli::command().render_long_help().to_string();
        for code in ["0    done", "3    agentd cannot be reached", "141  "] {
            assert!(help.contains(code), "{help}");
        }
    }
}
