//! The handle: opens a ledger, takes events in, answers questions. Everything here may be called from any thread.

use std::path::{Path, PathBuf};
use std::sync::mpsc::sync_channel;
use std::sync::{Arc, Mutex, Weak};
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime};

use agentos_api::event::{Event, EventFilter, EventPage};
use agentos_api::ledger::{Checkpoint, ConsistencyProof, InclusionProof};

use crate::error::{AppendError, LedgerError};
use crate::files::Files;
use crate::job::{Appended, Completion, Job, NewEvent, Observer, Shared, Status, Together, lock};
use crate::note::{SigningKey, TreeHead, VerifierKey};
use crate::queue::{Queue, Refusal};
use crate::read::Readers;
use crate::store::{Head, OpenOptionsForStore, Store, create};
use crate::writer::{Settings, Writer, spawn};
use crate::{proof, witness};

/// Most bytes of data that wait in the queue.
const MAX_QUEUE_BYTES: usize = 32 << 20;

/// How a ledger is kept.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct LedgerOptions {
    /// The directory of its files. It must exist; only its owner should be able to enter it.
    pub directory: PathBuf,
    /// The name that a new ledger gets, and its key: 1 to 255 bytes without spaces and `+`, such as
    /// `agentos.example/host`. An existing ledger keeps its own.
    pub origin: String,
    /// A file outside the directory that every checkpoint is also appended to. At the start the ledger must still hold
    /// the last one in it.
    pub witness_file: Option<PathBuf>,
    /// Sign a checkpoint at least every so many events.
    pub checkpoint_every: u64,
    /// Sign a checkpoint at least this long after an event.
    pub checkpoint_interval: Duration,
    /// How many events may wait for the disk before [`AppendError::Busy`].
    pub queue_capacity: usize,
    /// How long to wait for a database that another process has locked.
    pub busy_timeout: Duration,
    /// What shows the time; the system's clock but in tests of what happens when that is set back.
    pub(crate) clock: fn() -> SystemTime,
}

impl LedgerOptions {
    /// The usual options: a checkpoint every 1024 events or 60 seconds, 4096 events in the queue, one second's patience.
    pub fn new(directory: impl Into<PathBuf>, origin: impl Into<String>) -> Self {
        Self {
            directory: directory.into(),
            origin: origin.into(),
            witness_file: None,
            checkpoint_every: 1024,
            checkpoint_interval: Duration::from_mins(1),
            queue_capacity: 4096,
            busy_timeout: Duration::from_secs(1),
            clock: SystemTime::now,
        }
    }
}

/// An open ledger. Dropping it writes what is queued, signs a last checkpoint and closes.
#[derive(Debug)]
pub struct Ledger {
    shared: Arc<Shared>,
    key: Arc<SigningKey>,
    readers: Readers,
    writer: Mutex<Option<JoinHandle<()>>>,
    // Held until the writer has ended.
    _lock: std::fs::File,
}

impl Ledger {
    /// Opens the ledger in a directory, or makes one where there has never been one.
    ///
    /// The cost does not depend on the ledger's length: its last events, its tree's edge and its last checkpoint are
    /// checked. [`crate::verify`] checks everything. A ledger that is not whole is evidence: it is found so before a byte
    /// of it, or in its directory, is written.
    ///
    /// # Errors
    /// [`LedgerError::InUse`] when another process writes it, [`LedgerError::Missing`] when the database is gone though
    /// a key or a witness says there was one, [`LedgerError::Corrupt`] when its end is not whole;
    /// [`LedgerError::damage`] tells these from what a disk or rights did.
    pub fn open(options: &LedgerOptions) -> Result<Self, LedgerError> {
        let files = Files::in_directory(&options.directory)?;
        files.check()?;
        let locked = files.lock_existing()?;
        let database = files.database();
        let witnessed_text = match &options.witness_file {
            Some(path) => witness::read_checkpoints(path)?,
            None => None,
        };
        let exists = database.symlink_metadata().is_ok();
        let loaded = if exists {
            Some(files.load_key()?)
        } else {
            refuse_lost(&files, options, witnessed_text.as_deref())?;
            None
        };
        let witnessed = match (&loaded, &witnessed_text) {
            (Some(key), Some(text)) if !text.trim().is_empty() => {
                Some(last_witnessed(text, key.verifier(), options)?)
            }
            _ => None,
        };
        if let Some(key) = &loaded {
            files.check_published(key.verifier())?;
            Store::inspect(&files, &for_store(key, options, witnessed.as_ref()))?;
        }
        let lock_file = match locked {
            Some(lock) => lock,
            None => files.lock()?,
        };
        let key = match loaded {
            Some(key) => key,
            None => begin(&files, options)?,
        };
        files.publish_key(key.verifier())?;
        let store = Store::open(&files, &for_store(&key, options, witnessed.as_ref()))?;

        let key = Arc::new(key);
        let shared = Arc::new(Shared {
            queue: Queue::new(options.queue_capacity.max(1), MAX_QUEUE_BYTES),
            head: Mutex::new(store.head),
            status: Mutex::new(Status {
                unavailable: None,
                size: store.head.id,
                checkpointed: store.checkpointed,
                witness_trouble: None,
            }),
            observers: Mutex::default(),
        });
        let settings = Settings {
            files,
            key: Arc::clone(&key),
            busy_timeout: options.busy_timeout,
            checkpoint_every: options.checkpoint_every.max(1),
            checkpoint_interval: options.checkpoint_interval.max(Duration::from_millis(10)),
            witness_file: options.witness_file.clone(),
            clock: options.clock,
        };
        let writer = spawn(Writer::new(Arc::clone(&shared), settings, store))?;
        Ok(Self {
            shared,
            key,
            readers: Readers::new(database),
            writer: Mutex::new(Some(writer)),
            _lock: lock_file,
        })
    }

    /// Records an event. `done` is called exactly once, from the writer's thread or, where the event is refused at once,
    /// from this one: with `Ok` when the event is durable and in the tree, with an error otherwise. It must not block.
    ///
    /// With tokio: `let (tx, rx) = oneshot::channel(); ledger.append(event, move |result| { let _ = tx.send(result); });`
    pub fn append(&self, event: NewEvent, done: impl FnOnce(Result<Appended, AppendError>) + Send + 'static) {
        let weight = event.data.as_str().len() + 256;
        self.enqueue(vec![(Job::Append(event, Completion::new(done)), weight)]);
    }

    /// Records several events, one right after the other, in one transaction where they are at most 1024 of at most 4 MiB.
    /// `done` is called as in [`Ledger::append`], once for all of them: with `Ok` when every one is durable.
    pub fn append_all(
        &self,
        events: Vec<NewEvent>,
        done: impl FnOnce(Result<Vec<Appended>, AppendError>) + Send + 'static,
    ) {
        let together = Together::new(events.len(), done);
        let jobs = events.into_iter().enumerate().map(|(number, event)| {
            let weight = event.data.as_str().len() + 256;
            (Job::Append(event, together.part(number)), weight)
        });
        self.enqueue(jobs.collect());
    }

    fn enqueue(&self, jobs: Vec<(Job, usize)>) {
        let Err((jobs, refusal)) = self.shared.queue.push_all(jobs) else { return };
        let error = match refusal {
            Refusal::Full => AppendError::Busy,
            Refusal::Closed => AppendError::Closed,
        };
        for (job, _) in jobs {
            match job {
                Job::Append(_, answer) => answer.complete(Err(error.clone())),
                Job::Checkpoint(answer) => answer.complete(Err(error.clone())),
            }
        }
    }

    /// Records an event and waits until it is durable.
    ///
    /// # Errors
    /// [`AppendError`]: the event counts as not recorded.
    pub fn append_blocking(&self, event: NewEvent) -> Result<Appended, AppendError> {
        let (sender, receiver) = sync_channel(1);
        self.append(event, move |result| {
            let _ = sender.send(result);
        });
        receiver.recv().unwrap_or(Err(AppendError::Closed))
    }

    /// Signs a checkpoint of what is durable, keeps it in the ledger and in the witness file, and answers it.
    ///
    /// `done` is called as in [`Ledger::append`]. Asked twice without an event in between, it is the same checkpoint.
    pub fn checkpoint(&self, done: impl FnOnce(Result<Checkpoint, AppendError>) + Send + 'static) {
        self.enqueue(vec![(Job::Checkpoint(Completion::new(done)), 0)]);
    }

    /// [`Ledger::checkpoint`], waiting for it.
    ///
    /// # Errors
    /// [`AppendError`] when the checkpoint cannot be kept.
    pub fn checkpoint_blocking(&self) -> Result<Checkpoint, AppendError> {
        let (sender, receiver) = sync_channel(1);
        self.checkpoint(move |result| {
            let _ = sender.send(result);
        });
        receiver.recv().unwrap_or(Err(AppendError::Closed))
    }

    /// One page of events, oldest or newest first. Reads at most 4 MiB of events and looks at no more than 250,000.
    ///
    /// # Errors
    /// [`LedgerError::Database`] when it cannot be read, [`LedgerError::Corrupt`] when an event is malformed.
    pub fn page(&self, filter: &EventFilter) -> Result<EventPage, LedgerError> {
        self.readers.page(filter)
    }

    /// One event; nothing when there is none with this id.
    ///
    /// # Errors
    /// As [`Ledger::page`].
    pub fn get(&self, id: u64) -> Result<Option<Event>, LedgerError> {
        self.readers.get(id)
    }

    /// Shows that event `id` is in the tree of `size` events (the present one where left out), with a signed checkpoint of
    /// that size. Nothing when there is no such event.
    ///
    /// # Errors
    /// [`LedgerError::NoSuchSize`] when the ledger has never had `size` events, or `size` does not cover the event.
    pub fn inclusion_proof(&self, id: u64, size: Option<u64>) -> Result<Option<InclusionProof>, LedgerError> {
        self.readers.with(|reader| proof::inclusion(reader, &self.key, self.head(), id, size))
    }

    /// Shows that the tree of `old` events begins the tree of `new` events (the present one where left out).
    ///
    /// # Errors
    /// [`LedgerError::NoSuchSize`] when the ledger has never had these sizes, or `old` is larger than `new`.
    pub fn consistency_proof(&self, old: u64, new: Option<u64>) -> Result<ConsistencyProof, LedgerError> {
        self.readers.with(|reader| proof::consistency(reader, &self.key, self.head(), old, new))
    }

    /// The last durable event.
    pub fn head(&self) -> Head {
        *lock(&self.shared.head)
    }

    /// Whether the ledger can be written, and how far it is signed.
    pub fn status(&self) -> Status {
        lock(&self.shared.status).clone()
    }

    /// The key that checkpoints are signed with.
    pub fn public_key(&self) -> &VerifierKey {
        self.key.verifier()
    }

    /// The database's path, for [`crate::verify`].
    pub fn path(&self) -> &Path {
        self.readers.path()
    }

    /// Calls `observer` with the new head after each group of events has become durable, until the subscription is
    /// dropped. It runs on the writer's thread and must not block; what is new is then read with [`Ledger::page`].
    pub fn subscribe(&self, observer: impl Fn(&Head) + Send + Sync + 'static) -> Subscription {
        self.observe(Observer::Head(Arc::new(observer)))
    }

    /// Calls `observer` when the ledger can no longer be written, and when it can again, until the subscription is
    /// dropped. It runs on the writer's thread and must not block.
    pub fn subscribe_to_status(&self, observer: impl Fn(&Status) + Send + Sync + 'static) -> Subscription {
        self.observe(Observer::Status(Arc::new(observer)))
    }

    /// Calls `observer` with each checkpoint that was signed and kept, until the subscription is dropped. It runs on the
    /// writer's thread and must not block.
    pub fn subscribe_to_checkpoints(
        &self,
        observer: impl Fn(&Checkpoint) + Send + Sync + 'static,
    ) -> Subscription {
        self.observe(Observer::Checkpoint(Arc::new(observer)))
    }

    fn observe(&self, observer: Observer) -> Subscription {
        let mut observers = lock(&self.shared.observers);
        let number = observers.last().map_or(0, |(number, _)| number + 1);
        observers.push((number, observer));
        Subscription { shared: Arc::downgrade(&self.shared), number }
    }

    /// Writes what is queued, signs a last checkpoint, and ends the writer. Events after it answer
    /// [`AppendError::Closed`]; reading goes on.
    pub fn close(&self) {
        self.shared.queue.close();
        // The writer's connection has to be the last one: then SQLite moves the log into the database and removes it.
        self.readers.close_idle();
        if let Some(writer) = lock(&self.writer).take() {
            let _ = writer.join();
        }
    }
}

impl Drop for Ledger {
    fn drop(&mut self) {
        self.close();
    }
}

/// Keeps an observer of [`Ledger::subscribe`] alive.
#[derive(Debug)]
pub struct Subscription {
    shared: Weak<Shared>,
    number: u64,
}

impl Drop for Subscription {
    fn drop(&mut self) {
        if let Some(shared) = self.shared.upgrade() {
            lock(&shared.observers).retain(|(number, _)| *number != self.number);
        }
    }
}

fn for_store<'a>(
    key: &'a SigningKey,
    options: &LedgerOptions,
    witnessed: Option<&'a TreeHead>,
) -> OpenOptionsForStore<'a> {
    OpenOptionsForStore {
        key: key.verifier(),
        busy_timeout: options.busy_timeout,
        witnessed,
        acknowledged: None,
        rewrite_log: false,
    }
}

/// Where there is no database: refuses if something says that there has been one.
fn refuse_lost(files: &Files, options: &LedgerOptions, witnessed: Option<&str>) -> Result<(), LedgerError> {
    let unfinished = files.unfinished().symlink_metadata().is_ok();
    let evidence = match (&options.witness_file, witnessed) {
        (Some(path), Some(text)) if !text.trim().is_empty() => Some(path.clone()),
        // A beginning that was interrupted left its key, and the database that never had its name.
        _ if unfinished => None,
        _ => files.traces(),
    };
    match evidence {
        Some(evidence) => Err(LedgerError::Missing { path: files.database(), evidence }),
        None => Ok(()),
    }
}

/// Begins a ledger.
fn begin(files: &Files, options: &LedgerOptions) -> Result<SigningKey, LedgerError> {
    // The name in the key and in the database are one: an interrupted beginning may have had another.
    files.mark_unfinished()?;
    let key = files.create_key(&options.origin)?;
    create(files, key.verifier().name())?;
    Ok(key)
}

fn last_witnessed(text: &str, key: &VerifierKey, options: &LedgerOptions) -> Result<TreeHead, LedgerError> {
    witness::latest_checkpoint(text, key)
        .map(|(head, _)| head)
        .map_err(|source| LedgerError::Key { path: options.witness_file.clone().unwrap_or_default(), source })
}
