//! The AgentOS daemon: the machine, behind a ledger and a policy.

mod app;
mod body;
mod caller;
mod changes;
mod chat;
mod config;
mod consent;
mod diagnosis;
mod judge;
mod limits;
mod notifier;
mod notify;
mod policy;
mod principal;
mod problem;
mod quota;
mod reload;
mod routes;
mod run;
mod server;
mod service;
mod sockets;
mod state;
mod take_back;
mod terminals;
mod work;
mod workers;

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;

use crate::config::Config;
use crate::policy::Loaded;

/// The AgentOS daemon: answers questions about this machine over two Unix sockets, and records each one first.
#[derive(Debug, Parser)]
#[command(
    version,
    after_help = "Example:\n  agentd --check-config --config ./agentd.toml\n\n\
                  Signals:\n  SIGHUP   reads the configuration and the policy again: limits and policy are in force at once, the rest after a restart\n  \
                  SIGTERM  stops, when what is under way has ended\n\n\
                  Exit status:\n  0  stopped when asked to\n  1  could not start or had to stop; the reason is on standard error\n  2  wrong usage"
)]
struct Arguments {
    /// The configuration file; without it /etc/agentos/agentd.toml, if it is there.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Read the configuration and the policy, say what is wrong with them, and do nothing else.
    #[arg(long)]
    check_config: bool,
    /// Take this change back, if its time to be confirmed is over: for the timer that systemd keeps for it.
    #[arg(long, value_name = "CHANGE", conflicts_with = "check_config")]
    take_back: Option<u64>,
}

fn main() -> ExitCode {
    // Before there is a second thread, and before anything else: a command waits for it.
    if is_cell(std::env::args_os()) {
        return agentos_cell::enter();
    }
    let arguments = Arguments::parse();
    let config = match Config::load(arguments.config.as_deref()) {
        Ok(config) => config,
        Err(error) => return failed(&error.into()),
    };
    let policy = match Loaded::load(&config.policy) {
        Ok(policy) => policy,
        Err(error) => return failed(&error.into()),
    };
    if arguments.check_config {
        return ExitCode::SUCCESS;
    }
    logging();
    if let Some(change) = arguments.take_back {
        return match take_back::run(&config, change) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => failed(&error),
        };
    }
    match run::run(arguments.config, config, policy) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => failed(&error),
    }
}

/// Whether agentd started itself, with [`agentos_cell::ARGUMENT`] as the only argument and a socket as standard input, to become
/// a command.
fn is_cell(arguments: impl Iterator<Item = OsString>) -> bool {
    arguments.skip(1).eq([agentos_cell::ARGUMENT])
}

/// systemd keeps standard error, so a reason for not starting goes there, whole.
fn failed(error: &anyhow::Error) -> ExitCode {
    eprintln!("agentd: {error:#}");
    ExitCode::FAILURE
}

/// Logs to standard error: `AGENTD_LOG=debug` for more. The journal adds the time.
fn logging() {
    use std::io::IsTerminal;

    let filter = tracing_subscriber::EnvFilter::builder()
        .with_default_directive(tracing::Level::INFO.into())
        .with_env_var("AGENTD_LOG")
        .from_env_lossy();
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .without_time()
        .with_target(false)
        .init();
}
