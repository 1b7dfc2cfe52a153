//! From a configuration to a daemon that serves, and back: what is started in which order, and ended in the reverse.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use agentos_ledger::Ledger;
use agentos_system::{Machine, MachineOptions};
use anyhow::{Context, Result};
use sd_notify::NotifyState;
use serde_json::json;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::task::JoinError;
use tokio::time::{Instant, Interval};

use crate::config::{Config, Limits};
use crate::limits::LiveLimits;
use crate::notify;
use crate::policy::{LivePolicy, Loaded};
use crate::principal::UserNames;
use crate::reload::Reloader;
use crate::server::Server;
use crate::service::{Parts, Service};
use crate::sockets::Sockets;
use crate::state::StateDirectory;
use crate::work::{Begun, begin, record_own};

/// After a reload, the next waits so long: however many signals come, two are handled a second.
const BETWEEN_RELOADS: Duration = Duration::from_millis(500);

/// Runs agentd until it is asked to stop. `file` is where `config` came from.
///
/// # Errors
/// When it cannot start: another one runs, a file has the wrong rights, a socket is taken. Nothing is served then.
pub(crate) fn run(file: Option<PathBuf>, config: Config, policy: Loaded) -> Result<()> {
    // Whatever agentd makes is its own until it says otherwise: sockets before they have their group, the key, the index.
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o077));
    let state = Arc::new(StateDirectory::open(&config.state_directory)?);
    let machine = Arc::new(Machine::new(MachineOptions {
        protected: vec![state.path().to_owned(), config.policy.clone()],
        covered: [&config.sockets.agent.path, &config.sockets.operator.path]
            .into_iter()
            .chain(&file)
            .cloned()
            .collect(),
        // By what runs here, not by a name that may have been given to another program since.
        cell: vec!["/proc/self/exe".into(), agentos_cell::ARGUMENT.into()],
        remembered: Some(state.path().join("programs.json")),
        ..MachineOptions::default()
    }));
    let policy = LivePolicy::new(policy);
    let begun = begin(&config, &state, &machine, &policy)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        // The limit on running queries may be raised later; threads are made when they are needed.
        .max_blocking_threads(usize::from(Limits::MOST) + 8)
        .enable_all()
        .build()
        .context("cannot start the async runtime")?;
    let (served, ledger) = runtime.block_on(serve(file, config, &state, &machine, policy, begun));
    runtime.shutdown_timeout(Duration::from_secs(5));
    machine.write_remembered();
    if let Some(ledger) = ledger {
        if let Err(error) = record_own(&ledger, "agentd.stop", &json!({ "pid": std::process::id() })) {
            tracing::warn!("the stop is not recorded: {error:#}");
        }
        // The ledger before the lock: the next agentd may start at once.
        drop(ledger);
    }
    drop(state);
    served
}

/// Serves until it is asked to stop; hands back the ledger, if there is one that was written.
async fn serve(
    file: Option<PathBuf>,
    config: Config,
    state: &Arc<StateDirectory>,
    machine: &Arc<Machine>,
    policy: Arc<LivePolicy>,
    begun: Begun,
) -> (Result<()>, Option<Arc<Ledger>>) {
    let (stop, stopping) = watch::channel(false);
    let limits = LiveLimits::new(config.limits);
    let parts = Parts {
        config: config.clone(),
        state: Arc::clone(state),
        machine: Arc::clone(machine),
        limits: Arc::clone(&limits),
        policy: Arc::clone(&policy),
        stopping,
    };
    let mut service = Service::new(parts, begun);
    let mut reloader = Reloader { file, running: config, limits, policy };
    let served = serve_with(&mut service, &mut reloader, &stop).await;
    (served, service.ledger())
}

/// Why serving ends.
enum End {
    Asked,
    Server(std::result::Result<std::io::Result<()>, JoinError>),
    Service(anyhow::Error),
}

async fn serve_with(
    service: &mut Service,
    reloader: &mut Reloader,
    stop: &watch::Sender<bool>,
) -> Result<()> {
    // Before anybody can connect: from then on a signal ends agentd in order, or has it read its configuration again.
    let mut terminate = signal(SignalKind::terminate()).context("cannot wait for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot wait for SIGINT")?;
    let mut hangup = signal(SignalKind::hangup()).context("cannot wait for SIGHUP")?;
    let mut sockets = Sockets::open(&reloader.running)?;
    let server = Server {
        router: service.routers(),
        limits: Arc::clone(&reloader.limits),
        names: Arc::new(UserNames::default()),
    };
    let listeners = std::mem::take(&mut sockets.listeners);
    let mut serving = tokio::spawn(server.run(listeners, stop.subscribe()));
    let mut said = service.status();
    notify::ready(&said);
    tracing::info!("ready: {said}");

    let mut watchdog = Watchdog::new();
    let (mut reload_wanted, mut reload_after) = (false, Instant::now());
    // What is to be known of the last reload, shown behind the status.
    let mut left: Option<String> = None;
    let end = loop {
        tokio::select! {
            _ = terminate.recv() => break End::Asked,
            _ = interrupt.recv() => break End::Asked,
            ended = &mut serving => break End::Server(ended),
            _ = hangup.recv() => reload_wanted = true,
            () = tokio::time::sleep_until(reload_after), if reload_wanted => {
                reload_wanted = false;
                left = reloader.reload(service.ledger(), service.cosigned()).await;
                said = with_left(service.status(), left.as_deref());
                notify::ready(&said);
                reload_after = Instant::now() + BETWEEN_RELOADS;
            }
            changed = service.changed() => if let Err(error) = changed { break End::Service(error) },
            () = watchdog.due() => notify::notify(&[NotifyState::Watchdog]),
        }
        let now = with_left(service.status(), left.as_deref());
        if now != said {
            said = now;
            notify::status(&said);
        }
    };
    notify::notify(&[NotifyState::Stopping]);
    tracing::info!("stopping");
    // Nobody waits for the answer when all receivers are gone already.
    let _ = stop.send(true);
    let (ended, failed) = match end {
        End::Asked => (serving.await, None),
        End::Server(ended) => (ended, None),
        End::Service(error) => (serving.await, Some(error)),
    };
    sockets.remove();
    ended.context("the server ended by a panic")?.context("the server cannot go on")?;
    failed.map_or(Ok(()), Err)
}

fn with_left(status: String, left: Option<&str>) -> String {
    match left {
        Some(left) => format!("{status}; {left}"),
        None => status,
    }
}

/// Tells systemd that the async threads still turn, at half the interval it asks for (`sd_watchdog_enabled(3)`).
struct Watchdog(Option<Interval>);

impl Watchdog {
    fn new() -> Self {
        Self(sd_notify::watchdog_enabled().map(|interval| tokio::time::interval(interval / 2)))
    }

    /// When the next sign of life is due; never, where none is asked for.
    async fn due(&mut self) {
        match &mut self.0 {
            Some(interval) => drop(interval.tick().await),
            None => std::future::pending().await,
        }
    }
}
