//! The command line as clap parses it.

use std::path::PathBuf;

use clap::{Parser, Subcommand, ValueEnum};
use clap_complete::Shell;

/// What the exit code says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    /// Done; with `--check`: complete.
    Done = 0,
    /// Not done; with `--check`: not complete.
    Failed = 1,
    /// The registry did not answer.
    Unreachable = 3,
    /// There is no room.
    Space = 4,
}

const AFTER: &str = "\
Examples:
  agentos-setup
  agentos-setup --registry file:///mnt/npm-mirror
  agentos-setup --model-key-file ./key

Exit status:
  0  done; with --check: complete
  1  failed; with --check: not complete
  2  the command line is wrong
  3  no network, or the registry does not answer: agentd works without the gateway meanwhile
  4  there is not enough room";

/// Install what the gateway runs on (Node.js and OpenClaw), configure the gateway and start it.
///
/// What is done already is left alone, and what was begun is finished: it can be cut off and run again at any time.
#[derive(Debug, Parser)]
#[command(name = "agentos-setup", version, max_term_width = 100, after_help = AFTER, args_conflicts_with_subcommands = true)]
#[expect(clippy::struct_excessive_bools, reason = "options of a command line")]
pub(crate) struct Cli {
    /// Change nothing; say what is done and what is missing
    #[arg(long, conflicts_with_all = ["download_only", "registry", "offline", "no_start", "model_key_file", "model_key_env"])]
    pub(crate) check: bool,
    /// Only fetch what this kind of machine needs into DIR, which can then be used as a registry
    #[arg(long, value_name = "DIR", conflicts_with_all = ["offline", "no_start", "model_key_file", "model_key_env"])]
    pub(crate) download_only: Option<PathBuf>,
    /// The package registry or mirror; without it the one of gateway.toml, or that the package was built with
    #[arg(long, value_name = "URL")]
    pub(crate) registry: Option<String>,
    /// Use no network: only what was downloaded before, and a mirror on this machine (file:///…)
    #[arg(long)]
    pub(crate) offline: bool,
    /// Leave the services as they are
    #[arg(long)]
    pub(crate) no_start: bool,
    /// Take the model's key from FILE: NAME=KEY, or the key alone; it is kept in /etc/agentos/model.env
    #[arg(long, value_name = "FILE", conflicts_with = "model_key_env")]
    pub(crate) model_key_file: Option<PathBuf>,
    /// Take the model's key from the environment variable NAME, such as `ANTHROPIC_API_KEY`
    #[arg(long, value_name = "NAME")]
    pub(crate) model_key_env: Option<String>,
    /// Write the result as JSON
    #[arg(long)]
    pub(crate) json: bool,
    /// When to use colour
    #[arg(long, value_name = "WHEN", value_enum, default_value_t, hide_possible_values = true)]
    pub(crate) color: Color,
    /// Work below another root, for tests and images; nothing is started there
    #[arg(long, value_name = "DIR", default_value = "/", hide = true)]
    pub(crate) root: PathBuf,
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
}

/// What is made for the package.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Write the completion script for a shell to standard output
    #[command(
        after_help = "Example:\n  agentos-setup completions bash > /etc/bash_completion.d/agentos-setup"
    )]
    Completions {
        /// The shell
        shell: Shell,
    },
    /// Write the manual page into a directory
    #[command(hide = true, after_help = "Example:\n  agentos-setup man ./man && man ./man/agentos-setup.8")]
    Man {
        /// The directory; made if it is not there
        directory: PathBuf,
    },
}

/// When to use colour.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Color {
    /// Where the output is a terminal and `NO_COLOR` is not set.
    #[default]
    Auto,
    Always,
    Never,
}

impl From<Color> for anstream::ColorChoice {
    fn from(color: Color) -> Self {
        match color {
            Color::Auto => Self::Auto,
            Color::Always => Self::Always,
            Color::Never => Self::Never,
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_well_formed_and_its_help_says_what_codes_mean() {
        Cli::command().debug_assert();
        let help = Cli::command().render_long_help().to_string();
        for piece in ["  agentos-setup --registry", "3  no network", "4  there is not enough room"] {
            assert!(help.contains(piece), "{help}");
        }
    }

    #[test]
    fn a_key_is_no_argument() {
        for arguments in [["agentos-setup", "--model-key", "sk-x"], ["agentos-setup", "--offline", "--check"]]
        {
            assert!(Cli::try_parse_from(arguments).is_err());
        }
    }
}
