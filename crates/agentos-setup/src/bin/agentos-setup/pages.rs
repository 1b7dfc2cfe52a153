//! What the package ships besides the program: completions and the manual page, from the same words as `--help`.

use std::fs;
use std::path::Path;

use agentos_setup::SetupError;
use clap::CommandFactory as _;
use clap_complete::Shell;
use clap_mangen::Man;

use crate::cli::{Cli, Exit};
use crate::output::Output;

/// Writes the completion script for `shell` to standard output.
pub(crate) fn completions(output: &mut Output, shell: Shell) -> Exit {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "agentos-setup", &mut script);
    output.script(&script);
    Exit::Done
}

/// Writes the manual page into `directory`. It is a program of the administrator's: section 8.
pub(crate) fn man(output: &mut Output, directory: &Path) -> Result<Exit, SetupError> {
    let failed = |action| {
        let path = directory.to_owned();
        move |source| SetupError::Io { action, path, source }
    };
    fs::create_dir_all(directory).map_err(failed("make the directory"))?;
    let man = Man::new(Cli::command().disable_help_subcommand(true)).manual("AgentOS").section("8");
    let mut page = Vec::new();
    man.render(&mut page).map_err(failed("write in"))?;
    // What stands after the help is examples and exit codes; completions have no page of their own.
    let page = String::from_utf8_lossy(&page).replace(".SH EXTRA", ".SH \"EXAMPLES AND EXIT STATUS\"");
    fs::write(directory.join("agentos-setup.8"), page).map_err(failed("write in"))?;
    output.note(&format!("agentos-setup.8 is in {}", directory.display()));
    Ok(Exit::Done)
}
