//! `agentctl man`: the manual pages, from the same words as `--help`.

use std::fs;
use std::path::{Path, PathBuf};

use clap::{Args, CommandFactory};
use clap_mangen::Man;

use crate::cli::Cli;
use crate::context::Context;
use crate::error::{CliError, Exit};

/// Writes one manual page per command into a directory.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  agentctl man ./man && man ./man/agentctl.1")]
pub(crate) struct Arguments {
    /// The directory; made if it is not there
    directory: PathBuf,
}

pub(crate) fn run(context: &mut Context, arguments: &Arguments) -> Result<Exit, CliError> {
    let directory = &arguments.directory;
    fs::create_dir_all(directory).map_err(|error| {
        CliError::new(format!("cannot make the directory {}", directory.display())).because(&error)
    })?;
    let mut command = Cli::command().disable_help_subcommand(true);
    command.build();
    let pages = write(&command, directory)?;
    context.output.note(&format!("{pages} manual pages are in {}", directory.display()));
    Ok(Exit::Well)
}

/// Writes the page of `command` and of each command below it.
fn write(command: &clap::Command, directory: &Path) -> Result<usize, CliError> {
    let man = Man::new(command.clone()).manual("AgentOS");
    let path = directory.join(man.get_filename());
    let unwritable = |error| CliError::new(format!("cannot write {}", path.display())).because(&error);
    let mut page = Vec::new();
    man.render(&mut page).map_err(unwritable)?;
    // What stands after the help is an example, and for the program itself its exit codes.
    let section =
        if command.get_name() == "agentctl" { ".SH \"EXAMPLES AND EXIT STATUS\"" } else { ".SH EXAMPLES" };
    let page = String::from_utf8_lossy(&page).replace(".SH EXTRA", section);
    fs::write(&path, page).map_err(unwritable)?;
    let mut pages = 1;
    for command in command.get_subcommands().filter(|command| !command.is_hide_set()) {
        pages += write(command, directory)?;
    }
    Ok(pages)
}
