//! `cargo xtask up`: everything from source to a conversation with the machine, by one command.

mod agentd;
pub(crate) mod binaries;
pub(crate) mod chat;
pub(crate) mod gateway;
pub(crate) mod identity;
pub(crate) mod model;
mod part;
pub(crate) mod places;
mod port;
pub(crate) mod stack;

use std::path::PathBuf;

use anyhow::{Context, Result};
use tokio::signal::unix::{SignalKind, signal};

use self::binaries::Binaries;
use self::model::ModelArguments;
use self::stack::{Options, Stack};
use crate::{plugin, project, runtime};

/// Options of `cargo xtask up`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    cargo xtask up\n  \
    cargo xtask up --say \"what is eating the memory?\"\n  \
    ANTHROPIC_API_KEY=… cargo xtask up\n  \
    cargo xtask up --model-url http://127.0.0.1:11434/v1 --model qwen3:8b")]
pub(crate) struct Arguments {
    /// Say this, print the answer and the ledger events it caused, and stop.
    #[arg(long, value_name = "TEXT")]
    say: Option<String>,
    /// Build quickly instead of optimised.
    #[arg(long)]
    dev: bool,
    /// The gateway's port on 127.0.0.1; a free one when left out.
    #[arg(long, value_name = "PORT")]
    port: Option<u16>,
    /// The folder for ledger, conversations and logs.
    #[arg(long, value_name = "FOLDER")]
    state: Option<PathBuf>,
    #[command(flatten)]
    model: ModelArguments,
}

/// Builds, installs and starts what is needed, then talks. Everything it started is stopped at the end.
///
/// # Errors
/// When a part is missing, does not build, does not start or ends: the message names it and what helps.
pub(crate) fn run(arguments: Arguments) -> Result<()> {
    let model = arguments.model.choose(|name| std::env::var(name).ok())?;
    // Files of the stack carry the modes they are given, whatever the caller's umask is.
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o022));
    let binaries = Binaries::build(arguments.dev)?;
    let runtime = runtime::install()?;
    plugin::build(&runtime)?;
    let state = arguments.state.map_or_else(|| Ok(project::base().join("run")), std::path::absolute)?;
    let options = Options { state, port: arguments.port, model, chat: false };
    // The thread that starts the parts has to live as long as they do: its end is what ends them (prctl(2)).
    let executor = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let result = executor.block_on(async {
        let mut interrupt = signal(SignalKind::interrupt()).context("cannot wait for SIGINT")?;
        let mut terminate = signal(SignalKind::terminate()).context("cannot wait for SIGTERM")?;
        let mut hangup = signal(SignalKind::hangup()).context("cannot wait for SIGHUP")?;
        let mut started = None;
        let talked = tokio::select! {
            talked = talk(options, &binaries, &runtime, arguments.say.as_deref(), &mut started) => talked,
            _ = interrupt.recv() => Ok(()),
            _ = terminate.recv() => Ok(()),
            _ = hangup.recv() => Ok(()),
        };
        if let Some(stack) = started {
            eprintln!("\nstopping");
            stack.stop().await;
        }
        talked
    });
    // Standard input may still be waited for; nothing else is.
    executor.shutdown_background();
    result
}

async fn talk(
    options: Options,
    binaries: &Binaries,
    runtime: &runtime::Runtime,
    say: Option<&str>,
    started: &mut Option<Stack>,
) -> Result<()> {
    let stack = started.insert(Stack::start(options, binaries, runtime).await?);
    banner(stack, binaries);
    if let Some(text) = say {
        println!("you › {text}\n");
    }
    chat::run(stack, binaries, say).await
}

fn banner(stack: &Stack, binaries: &Binaries) {
    let places = stack.places();
    eprintln!();
    eprintln!("AgentOS is up.");
    eprintln!("  model    {}", model::describe(stack.model()));
    eprintln!("  gateway  {}, on {}", stack.identity().describe(), stack.gateway().address);
    eprintln!("  logs     {}", places.logs().display());
    eprintln!(
        "  check    {} verify-ledger --full --state-dir {} --trusted {}",
        binaries.agentctl().display(),
        places.agentd_state().display(),
        places.checkpoints().display()
    );
    eprintln!("  /quit or Ctrl-C stops all of it.");
    eprintln!();
}
