//! What is served just now: the whole API on an open ledger, or why the ledger cannot be used; and the way from one to the
//! other without a restart, where there is one.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use agentos_api::ledger::Checkpoint;
use agentos_changes::Changes;
use agentos_ledger::{CosignedFile, Ledger, LedgerError, Subscription};
use agentos_system::Machine;
use anyhow::{Context, Result};
use axum::Router;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinHandle;

use crate::app::App;
use crate::chat::Chat;
use crate::config::Config;
use crate::diagnosis::{Advice, Closed};
use crate::limits::LiveLimits;
use crate::notifier::Notifier;
use crate::notify;
use crate::policy::LivePolicy;
use crate::problem::with_causes;
use crate::routes;
use crate::routes::closed::ClosedApp;
use crate::routes::documents::Documents;
use crate::routes::health::HealthCache;
use crate::state::{Room, StateDirectory};
use crate::terminals::Terminals;
use crate::work::{Begun, Work, begin};

/// How often a beginning that waits for room is tried again.
const TRY_AGAIN: Duration = Duration::from_secs(1);

/// How often changes that expire, or that nobody confirms, are looked for.
const SETTLE: Duration = Duration::from_secs(1);
/// How long after one checkpoint the next is written into the log.
const LOG_CHECKPOINT: Duration = Duration::from_secs(10);
/// Changes under way at once, of the agent and of the person: one is made, the others are planned or wait for their turn.
const CHANGES_AT_ONCE: usize = 16;

/// What any form of the service is made of.
pub(crate) struct Parts {
    pub(crate) config: Config,
    pub(crate) state: Arc<StateDirectory>,
    pub(crate) machine: Arc<Machine>,
    pub(crate) limits: Arc<LiveLimits>,
    pub(crate) policy: Arc<LivePolicy>,
    /// Becomes true when agentd stops: streams end then.
    pub(crate) stopping: watch::Receiver<bool>,
}

/// What is served.
pub(crate) struct Service {
    parts: Parts,
    router: watch::Sender<Router>,
    mode: Mode,
}

enum Mode {
    Open {
        ledger: Arc<Ledger>,
        /// What witnesses cosigned, and which are believed.
        cosigned: Arc<Mutex<CosignedFile>>,
        /// Changes when the ledger can no longer be written, and when it can again.
        writable: watch::Receiver<bool>,
        /// Kept for as long as it is served: dropping one ends it.
        _subscriptions: [Subscription; 3],
    },
    /// Only a restart leads out.
    NotWhole {
        reason: String,
    },
    Waiting {
        reason: String,
        attempt: JoinHandle<Result<Begun>>,
    },
}

impl Service {
    /// Serves what was begun. Must be called within the async runtime.
    pub(crate) fn new(parts: Parts, begun: Begun) -> Self {
        let (router, mode) = parts.form(begun);
        Self { parts, router: watch::Sender::new(router), mode }
    }

    /// The routes, as they are from one moment to the next.
    pub(crate) fn routers(&self) -> watch::Receiver<Router> {
        self.router.subscribe()
    }

    /// The ledger, where it is open.
    pub(crate) fn ledger(&self) -> Option<Arc<Ledger>> {
        match &self.mode {
            Mode::Open { ledger, .. } => Some(Arc::clone(ledger)),
            Mode::NotWhole { .. } | Mode::Waiting { .. } => None,
        }
    }

    /// What witnesses cosigned, where the ledger is open.
    pub(crate) fn cosigned(&self) -> Option<Arc<Mutex<CosignedFile>>> {
        match &self.mode {
            Mode::Open { cosigned, .. } => Some(Arc::clone(cosigned)),
            Mode::NotWhole { .. } | Mode::Waiting { .. } => None,
        }
    }

    /// How it is, in a sentence.
    pub(crate) fn status(&self) -> String {
        match &self.mode {
            Mode::Open { ledger, .. } => notify::of_open(&ledger.status()),
            Mode::NotWhole { reason } => {
                format!(
                    "the ledger is not whole: nothing is recorded, read or changed; see agentctl health; {reason}"
                )
            }
            Mode::Waiting { reason, .. } => {
                format!("nothing is read or changed until the ledger can be opened: {reason}")
            }
        }
    }

    /// Waits until the status may be another one, and tries meanwhile to get out of a state that may pass. Nothing is
    /// lost when this is dropped half way.
    ///
    /// # Errors
    /// When a beginning that waited failed for a reason that does not pass by itself.
    pub(crate) async fn changed(&mut self) -> Result<()> {
        match &mut self.mode {
            Mode::NotWhole { .. } => std::future::pending().await,
            Mode::Open { ledger, writable, .. } => {
                if writable.changed().await.is_err() {
                    // The ledger's writer is gone: every append says so from now on.
                    std::future::pending::<()>().await;
                }
                if let Some(trouble) = ledger.status().unavailable {
                    tracing::error!(
                        "nothing is read or changed until the ledger can be written: {}",
                        trouble.reason
                    );
                } else {
                    tracing::info!("the ledger can be written again");
                }
                Ok(())
            }
            Mode::Waiting { reason, attempt } => {
                let begun = (&mut *attempt).await.context("opening the ledger ended by a panic")??;
                match begun {
                    Begun::Waiting { reason: again, .. } if again == *reason => {
                        *attempt = self.parts.try_again();
                    }
                    begun => {
                        let (router, mode) = self.parts.form(begun);
                        self.mode = mode;
                        let _ = self.router.send_replace(router);
                        tracing::info!("{}", self.status());
                    }
                }
                Ok(())
            }
        }
    }
}

impl Parts {
    fn form(&self, begun: Begun) -> (Router, Mode) {
        match begun {
            Begun::Work(work) => self.open(work),
            Begun::NotWhole(error) => self.not_whole(&error),
            Begun::Waiting { room, reason } => self.waiting(room, reason),
        }
    }

    fn open(&self, work: Work) -> (Router, Mode) {
        let Work { ledger, machine, memory, changes, cosigned } = work;
        settle_from_time_to_time(&changes, self.stopping.clone());
        let (grown, size) = watch::channel(ledger.head().id);
        let growth = ledger.subscribe(move |head| {
            grown.send_replace(head.id);
        });
        let (told, writable) = watch::channel(true);
        let trouble = ledger.subscribe_to_status(move |status| {
            told.send_replace(status.unavailable.is_none());
        });
        let signed = ledger.subscribe_to_checkpoints(checkpoints_into_the_log());
        let terminals = self
            .config
            .approvals
            .notify_terminals
            .then(|| Terminals::new(Arc::clone(&machine), self.config.sockets.operator.group.clone()));
        let cosigned = Arc::new(Mutex::new(cosigned));
        let app = App {
            ledger: Arc::clone(&ledger),
            machine,
            memory,
            changes,
            confirm: self.config.changes.confirm,
            changing: Arc::new(Semaphore::new(CHANGES_AT_ONCE)),
            deciding: Arc::new(Semaphore::new(CHANGES_AT_ONCE)),
            cosigned: Arc::clone(&cosigned),
            cosigning: tokio::sync::Mutex::new(()),
            // Without random numbers there are no codes, and so no yes through the chat.
            chat: Chat::new(self.config.approvals.chat).unwrap_or_else(|error| {
                tracing::error!("approvals.chat stays off: {error:#}");
                Chat::default()
            }),
            notifier: Notifier::new(self.config.approvals.notify.clone(), terminals),
            limits: Arc::clone(&self.limits),
            policy: Arc::clone(&self.policy),
            advice: Advice::new(&self.config),
            documents: Documents::default(),
            health: HealthCache::default(),
            size,
            stopping: self.stopping.clone(),
        };
        let mode = Mode::Open { ledger, cosigned, writable, _subscriptions: [growth, trouble, signed] };
        (routes::router(Arc::new(app)), mode)
    }

    fn not_whole(&self, error: &LedgerError) -> (Router, Mode) {
        let reason = with_causes(error);
        tracing::error!("{reason}");
        tracing::error!(
            "nothing is recorded, read or changed, and nothing is made anew; what to do: agentctl health"
        );
        let closed = Arc::new(Closed::not_whole(error, &Advice::new(&self.config)));
        let examined = Arc::clone(&closed);
        tokio::task::spawn_blocking(move || examined.examine());
        (self.closed(closed), Mode::NotWhole { reason })
    }

    fn waiting(&self, room: Room, reason: String) -> (Router, Mode) {
        tracing::error!("nothing is read or changed until the ledger can be opened: {reason}");
        let closed = Arc::new(Closed::waiting(room, reason.clone(), &Advice::new(&self.config)));
        (self.closed(closed), Mode::Waiting { reason, attempt: self.try_again() })
    }

    fn closed(&self, closed: Arc<Closed>) -> Router {
        routes::closed::router(Arc::new(ClosedApp {
            closed,
            machine: Arc::clone(&self.machine),
            limits: Arc::clone(&self.limits),
            health: HealthCache::default(),
        }))
    }

    fn try_again(&self) -> JoinHandle<Result<Begun>> {
        let (config, state) = (self.config.clone(), Arc::clone(&self.state));
        let (machine, policy) = (Arc::clone(&self.machine), Arc::clone(&self.policy));
        tokio::spawn(async move {
            tokio::time::sleep(TRY_AGAIN).await;
            tokio::task::spawn_blocking(move || begin(&config, &state, &machine, &policy)).await?
        })
    }
}

/// Until agentd stops, settles changes whose time is over.
fn settle_from_time_to_time(changes: &Arc<Changes>, mut stopping: watch::Receiver<bool>) {
    let changes = Arc::clone(changes);
    tokio::spawn(async move {
        let mut failing = false;
        loop {
            tokio::select! {
                _ = stopping.wait_for(|stopping| *stopping) => return,
                () = tokio::time::sleep(SETTLE) => {}
            }
            let settled = Arc::clone(&changes);
            let result = tokio::task::spawn_blocking(move || settled.settle()).await;
            let failed = match result {
                Ok(Ok(())) => None,
                Ok(Err(error)) => Some(with_causes(&error)),
                Err(error) => Some(error.to_string()),
            };
            // Once, not every second, for as long as it lasts.
            if let Some(reason) = &failed
                && !failing
            {
                tracing::warn!("changes cannot be settled, which is tried again: {reason}");
            }
            failing = failed.is_some();
        }
    });
}

/// Writes checkpoints into the log, which other machines may collect: one in [`LOG_CHECKPOINT`] at most, none twice. One
/// that is passed over is covered by the next.
fn checkpoints_into_the_log() -> impl Fn(&Checkpoint) + Send + Sync + 'static {
    let last: Mutex<Option<(Instant, u64)>> = Mutex::new(None);
    move |checkpoint| {
        let mut last = last.lock().unwrap_or_else(PoisonError::into_inner);
        let due = last.is_none_or(|(when, size)| size != checkpoint.size && when.elapsed() >= LOG_CHECKPOINT);
        if due {
            *last = Some((Instant::now(), checkpoint.size));
            tracing::info!(
                size = checkpoint.size,
                root = %checkpoint.root,
                note = %checkpoint.note.trim_end().replace('\n', "|"),
                "checkpoint"
            );
        }
    }
}
