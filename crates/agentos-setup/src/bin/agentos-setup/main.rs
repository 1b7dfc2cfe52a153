//! `agentos-setup`: brings a machine to where the gateway can run, and says how far it is. It may be run at any time, and
//! cut off at any time.

mod check;
mod cli;
mod output;
mod pages;
mod setup;

use std::process::ExitCode;

use agentos_setup::layout::Layout;
use agentos_setup::{Kind, SetupError};
use clap::Parser as _;

use crate::cli::{Cli, Command, Exit};
use crate::output::Output;

fn main() -> ExitCode {
    let cli = Cli::parse();
    let mut output = Output::new(cli.json, cli.color.into());
    // Files carry the modes they are given, whatever the caller's umask is.
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o022));
    let exit = match run(&cli, &mut output) {
        Ok(exit) => exit,
        Err(error) => {
            output.failure(&error);
            match error.kind() {
                Kind::Failed => Exit::Failed,
                Kind::Unreachable => Exit::Unreachable,
                Kind::Space => Exit::Space,
            }
        }
    };
    ExitCode::from(exit as u8)
}

fn run(cli: &Cli, output: &mut Output) -> Result<Exit, SetupError> {
    match &cli.command {
        Some(Command::Completions { shell }) => return Ok(pages::completions(output, *shell)),
        Some(Command::Man { directory }) => return pages::man(output, directory),
        None => {}
    }
    let layout = Layout::below(&cli.root);
    if let Some(folder) = &cli.download_only {
        return setup::download(cli, &layout, folder, output);
    }
    if layout.is_this_system() && !rustix::process::geteuid().is_root() {
        return Err(SetupError::Refused {
            message: "only root can set the system up, or see whether it is".to_owned(),
            hint: "run: sudo agentos-setup".to_owned(),
        });
    }
    if cli.check { check::run(&layout, output) } else { setup::run(cli, &layout, output) }
}
