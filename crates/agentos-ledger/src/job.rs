//! What goes to the writer and what comes back: events, answers, and how the ledger is.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use agentos_api::event::{Actor, EventType};
use agentos_api::ledger::Checkpoint;

use crate::canonical::{CanonicalJson, DataError};
use crate::digest::{Digest, to_hex};
use crate::error::{AppendError, Unavailable};
use crate::queue::Queue;
use crate::store::Head;

/// An event that is to be recorded.
#[derive(Clone, Debug)]
pub struct NewEvent {
    /// What happened.
    pub kind: EventType,
    /// Who did it.
    pub actor: Actor,
    /// What happened in detail.
    pub data: CanonicalJson,
}

impl NewEvent {
    /// An event whose data is anything that serializes to a JSON object.
    ///
    /// # Errors
    /// [`DataError`] when the data has no canonical form, or a too long one.
    pub fn new<T: serde::Serialize + ?Sized>(
        kind: EventType,
        actor: Actor,
        data: &T,
    ) -> Result<Self, DataError> {
        Ok(Self { kind, actor, data: CanonicalJson::new(data)? })
    }
}

/// An event that is durable and in the tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Appended {
    /// Its id.
    pub id: u64,
    /// When it was recorded, as in [`agentos_api::event::Event::ts`].
    pub ts: Arc<str>,
    /// Its hash.
    pub hash: Digest,
}

impl Appended {
    /// The hash as it stands in the ledger.
    pub fn hash_hex(&self) -> String {
        to_hex(&self.hash)
    }
}

type Callback<T> = Box<dyn FnOnce(Result<T, AppendError>) + Send>;

/// An answer that is given exactly once: where the writer cannot, dropping it answers `Closed`.
pub(crate) struct Completion<T>(Option<Callback<T>>);

impl<T> Completion<T> {
    pub(crate) fn new(callback: impl FnOnce(Result<T, AppendError>) + Send + 'static) -> Self {
        Self(Some(Box::new(callback)))
    }

    pub(crate) fn complete(mut self, result: Result<T, AppendError>) {
        self.answer(result);
    }

    fn answer(&mut self, result: Result<T, AppendError>) {
        if let Some(callback) = self.0.take() {
            // A caller's panic is the caller's; the writer goes on for everybody else.
            let _ = catch_unwind(AssertUnwindSafe(|| callback(result)));
        }
    }
}

impl<T> Drop for Completion<T> {
    fn drop(&mut self) {
        self.answer(Err(AppendError::Closed));
    }
}

impl<T> fmt::Debug for Completion<T> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Completion")
    }
}

/// One answer for several events: given with the last of theirs.
pub(crate) struct Together(Arc<Mutex<Parts>>);

struct Parts {
    appended: Vec<Option<Appended>>,
    left: usize,
    /// The first of them that was not recorded, by its error.
    failed: Option<AppendError>,
    answer: Option<Completion<Vec<Appended>>>,
}

impl Together {
    pub(crate) fn new(
        events: usize,
        callback: impl FnOnce(Result<Vec<Appended>, AppendError>) + Send + 'static,
    ) -> Self {
        let parts = Parts {
            appended: vec![None; events],
            left: events,
            failed: None,
            answer: Some(Completion::new(callback)),
        };
        let together = Self(Arc::new(Mutex::new(parts)));
        if events == 0 {
            finish(lock(&together.0));
        }
        together
    }

    /// The answer to one of them.
    pub(crate) fn part(&self, number: usize) -> Completion<Appended> {
        let parts = Arc::clone(&self.0);
        Completion::new(move |result| {
            let mut parts = lock(&parts);
            parts.left = parts.left.saturating_sub(1);
            match result {
                Ok(appended) => {
                    if let Some(place) = parts.appended.get_mut(number) {
                        *place = Some(appended);
                    }
                }
                Err(error) => parts.failed = parts.failed.take().or(Some(error)),
            }
            if parts.left == 0 {
                finish(parts);
            }
        })
    }
}

fn finish(mut parts: MutexGuard<'_, Parts>) {
    let Some(answer) = parts.answer.take() else { return };
    let appended = std::mem::take(&mut parts.appended);
    let failed = parts.failed.take();
    drop(parts);
    answer.complete(match failed {
        Some(error) => Err(error),
        None => Ok(appended.into_iter().flatten().collect()),
    });
}

#[derive(Debug)]
pub(crate) enum Job {
    Append(NewEvent, Completion<Appended>),
    Checkpoint(Completion<Checkpoint>),
}

/// How the ledger is.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Status {
    /// Why it cannot be written; nothing when it can.
    pub unavailable: Option<Unavailable>,
    /// How many events are durable.
    pub size: u64,
    /// How many of them the last stored checkpoint covers.
    pub checkpointed: u64,
    /// Why the last checkpoint could not be written to the witness file; nothing when it could.
    pub witness_trouble: Option<String>,
}

/// Who is told of what, on the writer's thread.
#[derive(Clone)]
pub(crate) enum Observer {
    /// Of each new head.
    Head(Arc<dyn Fn(&Head) + Send + Sync>),
    /// When the ledger can no longer be written, and when it can again.
    Status(Arc<dyn Fn(&Status) + Send + Sync>),
    /// Of each checkpoint that was signed and kept.
    Checkpoint(Arc<dyn Fn(&Checkpoint) + Send + Sync>),
}

/// What the writer shares with the handle.
pub(crate) struct Shared {
    pub(crate) queue: Queue<Job>,
    pub(crate) head: Mutex<Head>,
    pub(crate) status: Mutex<Status>,
    pub(crate) observers: Mutex<Vec<(u64, Observer)>>,
}

impl fmt::Debug for Shared {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Shared")
            .field("queue", &self.queue)
            .field("status", &self.status)
            .finish_non_exhaustive()
    }
}

/// What is locked here is replaced whole, so a poisoned lock holds good data.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
