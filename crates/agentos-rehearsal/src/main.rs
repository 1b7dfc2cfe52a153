//! `agentos-rehearsal`: serves the scripted model until it is told to stop.

use std::error::Error;
use std::io::Write as _;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use agentos_rehearsal::{Clock, RequestLog, Server, ServerOptions, Stage, library};
use clap::Parser;
use tokio::signal::unix::{SignalKind, signal};

/// A scripted model behind OpenAI's chat completions API.
///
/// Prints {"listening":"ADDRESS"} on standard output when it is ready, and serves until SIGINT or SIGTERM.
/// The model's name is `agentos-rehearsal`; any API key is taken.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    /// Address to listen on; port 0 takes a free one
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:0")]
    listen: SocketAddr,
    /// Folder with scenario files (*.toml) to play instead of the built-in ones
    #[arg(long, value_name = "DIRECTORY")]
    scenarios: Option<PathBuf>,
    /// File to which each request is appended as a JSON line, conversations included (mode 0600)
    #[arg(long, value_name = "FILE")]
    log: Option<PathBuf>,
    /// Pause before each piece of a streamed answer, in milliseconds
    #[arg(long, value_name = "MILLISECONDS", default_value_t = 0, value_parser = clap::value_parser!(u64).range(..=10_000))]
    delay_ms: u64,
    /// Listen on an address that other machines can reach; nobody is asked who they are
    #[arg(long)]
    allow_remote: bool,
}

fn main() -> ExitCode {
    match serve(&Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let mut line = format!("agentos-rehearsal: {error}");
            let mut source = error.source();
            while let Some(cause) = source {
                line = format!("{line}: {cause}");
                source = cause.source();
            }
            let _ = writeln!(std::io::stderr(), "{line}");
            ExitCode::FAILURE
        }
    }
}

fn serve(arguments: &Arguments) -> Result<(), Box<dyn Error>> {
    let scenarios = match &arguments.scenarios {
        Some(directory) => library::read(directory)?,
        None => library::built_in()?,
    };
    let log = arguments.log.as_deref().map(|path| {
        RequestLog::open(path).map_err(|error| format!("cannot write the log {}: {error}", path.display()))
    });
    let options = ServerOptions {
        any_address: arguments.allow_remote,
        delay: Duration::from_millis(arguments.delay_ms),
        log: log.transpose()?,
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        // The handlers stand before the address is told: who reads it may send a signal at once.
        let (mut interrupt, mut terminate) =
            (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
        let server = Server::bind(arguments.listen, Stage::new(scenarios, Clock::System), options).await?;
        let ready = serde_json::json!({ "listening": server.address().to_string() });
        let mut stdout = std::io::stdout();
        writeln!(stdout, "{ready}").and_then(|()| stdout.flush())?;
        server
            .run(async {
                tokio::select! {
                    _ = interrupt.recv() => {}
                    _ = terminate.recv() => {}
                }
            })
            .await;
        Ok(())
    })
}
