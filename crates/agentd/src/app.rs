//! What all requests share, and the one way in which they reach the machine: record first, then act.

use std::sync::Arc;
use std::time::Duration;

use agentos_api::event::EventType;
use agentos_api::{Code, Problem};
use agentos_ledger::{Appended, Ledger, NewEvent};
use agentos_memory::Memory;
use agentos_system::Machine;
use bytes::Bytes;
use serde::Serialize;
use tokio::sync::{Semaphore, oneshot, watch};

use crate::caller::Caller;
use crate::config::Limits;
use crate::problem::{append_problem, data_problem};
use crate::routes::documents::Documents;
use crate::routes::health::HealthCache;

/// Shared by all connections.
pub(crate) struct App {
    pub(crate) ledger: Arc<Ledger>,
    pub(crate) machine: Arc<Machine>,
    pub(crate) memory: Arc<Memory>,
    pub(crate) limits: Limits,
    /// Blocking work under way: queries, memory, pages of the ledger.
    pub(crate) running: Arc<Semaphore>,
    /// Event streams open.
    pub(crate) streams: Arc<Semaphore>,
    pub(crate) documents: Documents,
    pub(crate) health: HealthCache,
    /// How many events are durable; changes as they become so.
    pub(crate) size: watch::Receiver<u64>,
    /// Becomes true when agentd stops: streams end then.
    pub(crate) stopping: watch::Receiver<bool>,
}

/// How long a caller waits for its turn before it is told that agentd is busy.
const TURN: Duration = Duration::from_secs(10);

impl App {
    /// Records an event and returns when it is durable. Whatever it announces may be done only after this returned.
    ///
    /// # Errors
    /// `ledger_unavailable` when it could not be recorded: then nothing may be done. `too_large` when `data` is larger
    /// than an event can be.
    pub(crate) async fn record(
        &self,
        caller: &Caller,
        kind: &'static str,
        data: &impl Serialize,
    ) -> Result<Appended, Problem> {
        let kind = EventType::new(kind).map_err(|error| Problem::new(Code::INTERNAL, error.to_string()))?;
        let event = NewEvent::new(kind, caller.actor.clone(), data).map_err(|error| data_problem(&error))?;
        let (sender, receiver) = oneshot::channel();
        self.ledger.append(event, move |result| {
            // The caller may have gone away; the event stays recorded all the same.
            let _ = sender.send(result);
        });
        match receiver.await {
            Ok(Ok(appended)) => Ok(appended),
            Ok(Err(error)) => Err(append_problem(&error)),
            Err(_) => {
                Err(Problem::new(Code::LEDGER_UNAVAILABLE, "the ledger's writer is gone; nothing was done")
                    .with_hint("run: systemctl restart agentd"))
            }
        }
    }

    /// Runs blocking work off the async threads, at most so many at once, and gives up waiting when it takes too long.
    ///
    /// The work itself cannot be cut off from outside: it holds its place until it ends by its own limits.
    ///
    /// # Errors
    /// `busy`, `timed_out`, `internal` if it panicked; otherwise what the work answers.
    pub(crate) async fn blocking<T: Send + 'static>(
        self: &Arc<Self>,
        what: &str,
        work: impl FnOnce(&Self) -> Result<T, Problem> + Send + 'static,
    ) -> Result<T, Problem> {
        let turn = tokio::time::timeout(TURN, Arc::clone(&self.running).acquire_owned()).await;
        let Ok(Ok(permit)) = turn else {
            return Err(Problem::new(
                Code::BUSY,
                format!("{} other requests are under way", self.limits.running_queries),
            )
            .with_hint("ask again in a moment"));
        };
        let app = Arc::clone(self);
        let task = tokio::task::spawn_blocking(move || {
            let _permit = permit;
            work(&app)
        });
        let limit = self.limits.query_time();
        match tokio::time::timeout(limit, task).await {
            Ok(Ok(result)) => result,
            Ok(Err(error)) => {
                tracing::error!(what, %error, "a request panicked");
                Err(Problem::new(Code::INTERNAL, format!("{what} failed inside agentd; nothing was changed"))
                    .with_hint("the journal has the reason: journalctl -u agentd"))
            }
            Err(_) => {
                Err(Problem::new(Code::TIMED_OUT, format!("{what} took longer than {} s", limit.as_secs()))
                    .with_hint("ask for less: a smaller limit, a narrower filter"))
            }
        }
    }

    /// Runs blocking work whose answer is JSON already.
    ///
    /// # Errors
    /// As [`App::blocking`].
    pub(crate) async fn blocking_json<T: Serialize + Send + 'static>(
        self: &Arc<Self>,
        what: &str,
        work: impl FnOnce(&Self) -> Result<T, Problem> + Send + 'static,
    ) -> Result<Bytes, Problem> {
        self.blocking(what, move |app| {
            let answer = work(app)?;
            serde_json::to_vec(&answer).map(Bytes::from).map_err(|error| {
                Problem::new(Code::INTERNAL, format!("the answer cannot be written as JSON: {error}"))
            })
        })
        .await
    }
}
