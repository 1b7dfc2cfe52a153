//! From a configuration to a daemon that serves, and back: what is started in which order, and ended in the reverse.

use std::sync::Arc;
use std::time::Duration;

use agentos_api::event::{Actor, EventType};
use agentos_ledger::{Ledger, LedgerOptions, NewEvent};
use agentos_memory::{Memory, MemoryOptions};
use agentos_system::{Machine, MachineOptions};
use anyhow::{Context, Result};
use jiff::tz::TimeZone;
use serde_json::json;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{Semaphore, watch};

use crate::app::App;
use crate::config::Config;
use crate::principal::UserNames;
use crate::routes;
use crate::routes::documents::Documents;
use crate::routes::health::HealthCache;
use crate::server::Server;
use crate::sockets::Sockets;
use crate::state::StateDirectory;

/// Runs agentd until it is asked to stop.
///
/// # Errors
/// When it cannot start: another one runs, the ledger is not whole, a socket is taken. Nothing is served then.
pub(crate) fn run(config: Config) -> Result<()> {
    // Whatever agentd makes is its own until it says otherwise: sockets before they have their group, the key, the index.
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o077));
    let state = StateDirectory::open(&config.state_directory)?;
    let ledger = Arc::new(open_ledger(&config, &state)?);
    let machine = Arc::new(Machine::new(MachineOptions { protected: vec![state.path().to_owned()] }));
    let memory = Arc::new(open_memory(&config, &state)?);
    // The first record: without it there is nothing to serve.
    let started = json!({ "version": env!("CARGO_PKG_VERSION"), "pid": std::process::id() });
    record_own(&ledger, "agentd.start", &started)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .max_blocking_threads(usize::from(config.limits.running_queries) + 8)
        .enable_all()
        .build()
        .context("cannot start the async runtime")?;
    let served = runtime.block_on(serve(config, &ledger, machine, memory));
    runtime.shutdown_timeout(Duration::from_secs(5));
    if let Err(error) = record_own(&ledger, "agentd.stop", &json!({ "pid": std::process::id() })) {
        tracing::warn!("the stop is not recorded: {error:#}");
    }
    // The ledger before the lock: the next agentd may start at once.
    drop(ledger);
    drop(state);
    served
}

async fn serve(
    config: Config,
    ledger: &Arc<Ledger>,
    machine: Arc<Machine>,
    memory: Arc<Memory>,
) -> Result<()> {
    // Before anybody can connect: from then on a signal ends agentd in order.
    let mut terminate = signal(SignalKind::terminate()).context("cannot wait for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot wait for SIGINT")?;
    let mut sockets = Sockets::open(&config)?;
    let (stop, stopping) = watch::channel(false);
    let (grown, size) = watch::channel(ledger.head().id);
    // Kept for as long as it is served: dropping it ends the subscription.
    let _subscription = ledger.subscribe(move |head| {
        grown.send_replace(head.id);
    });
    let app = Arc::new(App {
        ledger: Arc::clone(ledger),
        machine,
        memory,
        running: Arc::new(Semaphore::new(config.limits.running_queries.into())),
        streams: Arc::new(Semaphore::new(config.limits.streams.into())),
        limits: config.limits.clone(),
        documents: Documents::default(),
        health: HealthCache::default(),
        size,
        stopping: stopping.clone(),
    });
    let server =
        Server { router: routes::router(app), limits: config.limits, names: Arc::new(UserNames::default()) };
    let listeners = std::mem::take(&mut sockets.listeners);
    let mut serving = tokio::spawn(server.run(listeners, stopping));
    notify(&[sd_notify::NotifyState::Ready]);
    tracing::info!("ready");
    let watchdog = tokio::spawn(watchdog());
    let ended = tokio::select! {
        _ = terminate.recv() => None,
        _ = interrupt.recv() => None,
        ended = &mut serving => Some(ended),
    };
    watchdog.abort();
    notify(&[sd_notify::NotifyState::Stopping]);
    tracing::info!("stopping");
    // Nobody waits for the answer when all receivers are gone already.
    let _ = stop.send(true);
    let ended = match ended {
        Some(ended) => ended,
        None => serving.await,
    };
    sockets.remove();
    ended.context("the server ended by a panic")?.context("the server cannot go on")
}

/// Tells systemd that the async threads still turn, at half the interval it asks for (`sd_watchdog_enabled(3)`).
async fn watchdog() {
    let Some(interval) = sd_notify::watchdog_enabled() else { return };
    let mut ticks = tokio::time::interval(interval / 2);
    loop {
        ticks.tick().await;
        notify(&[sd_notify::NotifyState::Watchdog]);
    }
}

fn notify(states: &[sd_notify::NotifyState]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::warn!(%error, "systemd cannot be told");
    }
}

fn open_ledger(config: &Config, state: &StateDirectory) -> Result<Ledger> {
    let origin = config
        .ledger
        .origin
        .clone()
        .unwrap_or_else(|| rustix::system::uname().nodename().to_string_lossy().into_owned());
    let mut options = LedgerOptions::new(state.path(), origin);
    options.witness_file.clone_from(&config.ledger.checkpoint_file);
    Ledger::open(&options).context("the ledger cannot be used, and without it nothing may be done")
}

fn open_memory(config: &Config, state: &StateDirectory) -> Result<Memory> {
    let directory = config.memory_directory();
    std::fs::create_dir_all(&directory).with_context(|| format!("cannot make {}", directory.display()))?;
    let mut options = MemoryOptions::new(directory, state.path().join("memory-index.db"));
    // A day's file is the day of the people at this machine.
    options.time_zone = TimeZone::system();
    Memory::open(options).context("the memory cannot be used")
}

/// Records what agentd itself does, and waits until it is durable.
fn record_own(ledger: &Ledger, kind: &'static str, data: &serde_json::Value) -> Result<()> {
    let event = NewEvent::new(EventType::new(kind)?, Actor::new("agentd")?, data)?;
    ledger.append_blocking(event).with_context(|| format!("cannot record {kind}"))?;
    Ok(())
}
