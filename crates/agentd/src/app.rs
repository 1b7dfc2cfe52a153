//! What all requests share, and the one way in which they reach the machine: record first, then act.

use std::sync::{Arc, Mutex};

use agentos_api::event::EventType;
use agentos_api::{Code, Problem};
use agentos_changes::Changes;
use agentos_ledger::{Appended, CosignedFile, Ledger, NewEvent};
use agentos_memory::Memory;
use agentos_system::Machine;
use bytes::Bytes;
use serde::Serialize;
use tokio::sync::{Semaphore, oneshot, watch};

use crate::caller::Caller;
use crate::chat::Chat;
use crate::config::Confirm;
use crate::diagnosis::Advice;
use crate::limits::LiveLimits;
use crate::notifier::Notifier;
use crate::policy::LivePolicy;
use crate::problem::{append_problem, data_problem};
use crate::routes::documents::Documents;
use crate::routes::health::HealthCache;
use crate::workers;

/// Shared by all connections.
pub(crate) struct App {
    pub(crate) ledger: Arc<Ledger>,
    pub(crate) machine: Arc<Machine>,
    pub(crate) memory: Arc<Memory>,
    pub(crate) limits: Arc<LiveLimits>,
    /// What changes the machine.
    pub(crate) changes: Arc<Changes>,
    /// What a confirmation has to come from.
    pub(crate) confirm: Confirm,
    /// Places for changes of the agent's that are under way.
    pub(crate) changing: Arc<Semaphore>,
    /// The same for the person: however many changes the agent asks for, there is a place to say no to them.
    pub(crate) deciding: Arc<Semaphore>,
    /// What witnesses cosigned.
    pub(crate) cosigned: Arc<Mutex<CosignedFile>>,
    /// One cosignature at a time is checked, recorded and kept: the same one twice is recorded once.
    pub(crate) cosigning: tokio::sync::Mutex<()>,
    /// Whether a yes may come through the chat.
    pub(crate) chat: Chat,
    /// Tells the person that something waits.
    pub(crate) notifier: Notifier,
    /// What may be read and changed, and by whom.
    pub(crate) policy: Arc<LivePolicy>,
    /// What a person is told to do where the ledger cannot be used.
    pub(crate) advice: Advice,
    pub(crate) documents: Documents,
    pub(crate) health: HealthCache,
    /// How many events are durable; changes as they become so.
    pub(crate) size: watch::Receiver<u64>,
    /// Becomes true when agentd stops: streams end then.
    pub(crate) stopping: watch::Receiver<bool>,
}

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

    /// Runs blocking work off the async threads (see [`workers::blocking`]).
    ///
    /// # Errors
    /// `busy`, `timed_out`, `internal` if it panicked; otherwise what the work answers.
    pub(crate) async fn blocking<T: Send + 'static>(
        self: &Arc<Self>,
        what: &str,
        work: impl FnOnce(&Self) -> Result<T, Problem> + Send + 'static,
    ) -> Result<T, Problem> {
        let app = Arc::clone(self);
        workers::blocking(&self.limits, what, move || work(&app)).await
    }

    /// Runs blocking work whose answer becomes JSON.
    ///
    /// # Errors
    /// As [`App::blocking`].
    pub(crate) async fn blocking_json<T: Serialize + Send + 'static>(
        self: &Arc<Self>,
        what: &str,
        work: impl FnOnce(&Self) -> Result<T, Problem> + Send + 'static,
    ) -> Result<Bytes, Problem> {
        let app = Arc::clone(self);
        workers::blocking_json(&self.limits, what, move || work(&app)).await
    }
}
