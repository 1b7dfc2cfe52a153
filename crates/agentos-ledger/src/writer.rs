//! The one writer: takes what has queued, writes it in one transaction, and answers only once it is durable.
//!
//! When writing fails, everybody in the group is told so, and the connection is thrown away: the next group, or a probe
//! a second later, opens it anew and reads the head from the disk. So memory never runs ahead of the file.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use agentos_api::ledger::Checkpoint;
use rusqlite::Connection;

use crate::error::{AppendError, Cause, LedgerError, Unavailable};
use crate::files::Files;
use crate::job::{Appended, Job, NewEvent, Observer, Shared, lock};
use crate::note::SigningKey;
use crate::queue::Taken;
use crate::record::{Fields, event_hash, hash_text, leaf_hash, write_payload};
use crate::store::{Head, OpenOptionsForStore, Store, previous_hash};
use crate::time::Clock;
use crate::{tiles, witness};

/// Most events in one transaction.
const MAX_GROUP: usize = 1024;
/// Most bytes of data in one transaction.
const MAX_GROUP_BYTES: usize = 4 << 20;
/// How often a ledger that cannot be written is tried again by itself.
const PROBE_INTERVAL: Duration = Duration::from_secs(1);
/// The log is written back into the database once it holds about so many pages (32 MiB): long enough that a page of the
/// tables is written back once for many groups, short enough to be read back quickly after a crash.
const LOG_PAGES: u64 = 8192;
const PAGE_BYTES: u64 = 4096;
/// What a row weighs beside its payload, in bytes.
const ROW_OVERHEAD: u64 = 256;

/// What the writer needs to know.
#[derive(Debug)]
pub(crate) struct Settings {
    pub(crate) files: Files,
    pub(crate) key: Arc<SigningKey>,
    pub(crate) busy_timeout: Duration,
    pub(crate) checkpoint_every: u64,
    pub(crate) checkpoint_interval: Duration,
    pub(crate) witness_file: Option<PathBuf>,
    pub(crate) clock: fn() -> SystemTime,
}

pub(crate) struct Writer {
    shared: Arc<Shared>,
    settings: Settings,
    store: Option<Store>,
    head: Head,
    clock: Clock,
    payload: Vec<u8>,
    log_pages: u64,
    rewrite_log: bool,
    last_checkpoint: Instant,
}

/// What one transaction brought about.
struct Group {
    appended: Vec<Appended>,
    checkpoint: Option<Checkpoint>,
    head: Head,
}

/// Why a transaction failed.
struct Fault {
    unavailable: Unavailable,
    /// A sync or a write of the disk failed: what the log holds on the disk is unknown.
    rewrite_log: bool,
}

impl From<rusqlite::Error> for Fault {
    fn from(error: rusqlite::Error) -> Self {
        let unavailable = Unavailable::from_sqlite(&error);
        Self { rewrite_log: unavailable.cause == Cause::InputOutput, unavailable }
    }
}

impl From<Unavailable> for Fault {
    fn from(unavailable: Unavailable) -> Self {
        Self { unavailable, rewrite_log: false }
    }
}

impl Writer {
    pub(crate) fn new(shared: Arc<Shared>, settings: Settings, store: Store) -> Self {
        Self {
            head: store.head,
            shared,
            store: Some(store),
            clock: Clock::new(settings.clock),
            payload: Vec::new(),
            log_pages: 0,
            rewrite_log: false,
            last_checkpoint: Instant::now(),
            settings,
        }
    }

    /// Works until the queue is closed and empty; then signs what is not signed yet.
    pub(crate) fn run(mut self) {
        loop {
            let timeout =
                if self.store.is_none() { PROBE_INTERVAL } else { self.settings.checkpoint_interval };
            match self.shared.queue.take(MAX_GROUP, MAX_GROUP_BYTES, timeout) {
                Taken::Jobs(jobs) => self.serve(jobs),
                Taken::Idle if self.store.is_none() => self.probe(),
                Taken::Idle => {
                    if self.unsigned() > 0 {
                        self.serve(Vec::new());
                    }
                }
                Taken::Closed => break,
            }
        }
        if self.unsigned() > 0 {
            self.settings.checkpoint_every = 1;
            self.serve(Vec::new());
        }
    }

    /// How many events no stored checkpoint covers.
    fn unsigned(&self) -> u64 {
        self.store.as_ref().map_or(0, |store| store.head.id.saturating_sub(store.checkpointed))
    }

    /// Writes one group and answers everybody in it.
    fn serve(&mut self, jobs: Vec<Job>) {
        let mut events = Vec::with_capacity(jobs.len());
        let mut answers = Vec::with_capacity(jobs.len());
        let mut signatures = Vec::new();
        for job in jobs {
            match job {
                Job::Append(event, answer) => {
                    events.push(event);
                    answers.push(answer);
                }
                Job::Checkpoint(answer) => signatures.push(answer),
            }
        }
        match self.write(&events, !signatures.is_empty()) {
            Ok(group) => {
                let grew = group.head != self.head;
                self.head = group.head;
                *lock(&self.shared.head) = group.head;
                self.report(None);
                for (answer, appended) in answers.into_iter().zip(group.appended) {
                    answer.complete(Ok(appended));
                }
                self.witness(group.checkpoint.as_ref());
                for answer in signatures {
                    // `write` answers a checkpoint whenever it was asked for one.
                    let checkpoint = group.checkpoint.clone().ok_or(AppendError::Closed);
                    answer.complete(checkpoint);
                }
                if grew {
                    self.notify();
                }
                self.write_log_back();
            }
            Err(fault) => {
                let error = AppendError::Unavailable(fault.unavailable.clone());
                self.give_up(fault);
                for answer in answers {
                    answer.complete(Err(error.clone()));
                }
                for answer in signatures {
                    answer.complete(Err(error.clone()));
                }
            }
        }
    }

    /// Forgets the connection, and with it everything that was not committed.
    fn give_up(&mut self, fault: Fault) {
        self.store = None;
        self.rewrite_log |= fault.rewrite_log;
        self.report(Some(fault.unavailable));
    }

    fn report(&self, unavailable: Option<Unavailable>) {
        let status = {
            let mut status = lock(&self.shared.status);
            let changed = status.unavailable.is_some() != unavailable.is_some();
            status.unavailable = unavailable;
            status.size = self.head.id;
            if let Some(store) = &self.store {
                status.checkpointed = store.checkpointed;
            }
            if !changed {
                return;
            }
            status.clone()
        };
        for observer in self.observers() {
            if let Observer::Status(observer) = observer {
                let _ = catch_unwind(AssertUnwindSafe(|| observer(&status)));
            }
        }
    }

    fn observers(&self) -> Vec<Observer> {
        lock(&self.shared.observers).iter().map(|(_, observer)| observer.clone()).collect()
    }

    /// The open store; opens it anew after a failure.
    fn reopen(&mut self) -> Result<(), Fault> {
        if self.store.as_ref().is_some_and(|store| store.moved_away(&self.settings.files)) {
            self.store = None;
        }
        if self.store.is_some() {
            return Ok(());
        }
        let options = OpenOptionsForStore {
            key: self.settings.key.verifier(),
            busy_timeout: self.settings.busy_timeout,
            witnessed: None,
            acknowledged: Some(self.head),
            rewrite_log: self.rewrite_log,
        };
        let store = Store::open(&self.settings.files, &options).map_err(Unavailable::from)?;
        self.rewrite_log = false;
        self.log_pages = 0;
        self.store = Some(store);
        Ok(())
    }

    /// Begins a transaction. On every failure after it the connection is dropped, which takes it back.
    fn begin(&self) -> Result<(), Fault> {
        if let Some(store) = &self.store {
            store.connection.prepare_cached("BEGIN IMMEDIATE")?.execute([])?;
        }
        Ok(())
    }

    fn write(&mut self, events: &[NewEvent], sign: bool) -> Result<Group, Fault> {
        self.reopen()?;
        self.begin()?;
        // Whoever wrote to the file in between may have written over its end: look at it again before going on.
        if self.store.as_ref().is_some_and(|store| store.written_by_others().unwrap_or(true)) {
            self.store = None;
            self.reopen()?;
            self.begin()?;
        }
        let due = self.last_checkpoint.elapsed() >= self.settings.checkpoint_interval;
        let Self { store: Some(store), clock, payload, settings, .. } = self else {
            return Err(Unavailable::new(Cause::Other, "the database is not open").into());
        };
        let mut group =
            Group { appended: Vec::with_capacity(events.len()), checkpoint: None, head: store.head };
        let mut previous = previous_hash(&store.head).into_bytes();
        let mut bytes = 0;
        let mut filled = Vec::new();
        {
            let mut insert = store.connection.prepare_cached(
                "INSERT INTO events (id, ts, type, actor, payload, prev_hash, hash) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
            )?;
            for event in events {
                let ts = clock.now().map_err(|error| Unavailable::new(Cause::Clock, error.to_string()))?;
                let id = group.head.id + 1;
                let (kind, actor) = (event.kind.as_str(), event.actor.as_str());
                write_payload(payload, id, &ts, kind, actor, event.data.as_str());
                let hash = event_hash(&Fields {
                    id,
                    ts: ts.as_bytes(),
                    kind: kind.as_bytes(),
                    actor: actor.as_bytes(),
                    payload,
                    prev_hash: &previous,
                });
                let digits = hash_text(&hash);
                insert.execute((
                    i64::try_from(id).unwrap_or(i64::MAX),
                    &*ts,
                    kind,
                    actor,
                    Text(payload),
                    Text(&previous),
                    Text(&digits),
                ))?;
                store.frontier.push(leaf_hash(id, &hash), |tile| filled.push(tile));
                previous.copy_from_slice(&digits);
                bytes += payload.len() as u64 + ROW_OVERHEAD;
                group.head = Head { id, hash };
                group.appended.push(Appended { id, ts, hash });
            }
        }
        for tile in &filled {
            tiles::insert(&store.connection, tile)?;
        }
        let unsigned = group.head.id - store.checkpointed;
        if sign || (unsigned > 0 && (due || unsigned >= settings.checkpoint_every)) {
            let checkpoint = settings.key.sign(group.head.id, &store.frontier.root());
            if unsigned > 0 || group.head.id == 0 {
                store_checkpoint(&store.connection, &checkpoint)?;
            }
            group.checkpoint = Some(checkpoint);
        }
        store.connection.prepare_cached("COMMIT")?.execute([])?;
        store.head = group.head;
        if let Some(checkpoint) = &group.checkpoint {
            store.checkpointed = checkpoint.size;
            self.last_checkpoint = Instant::now();
        }
        self.log_pages += 2 + bytes / PAGE_BYTES;
        Ok(group)
    }

    fn witness(&self, checkpoint: Option<&Checkpoint>) {
        if let Some(checkpoint) = checkpoint {
            for observer in self.observers() {
                if let Observer::Checkpoint(observer) = observer {
                    let _ = catch_unwind(AssertUnwindSafe(|| observer(checkpoint)));
                }
            }
        }
        let Some((path, checkpoint)) = self.settings.witness_file.as_ref().zip(checkpoint) else { return };
        let trouble = witness::append(path, &checkpoint.note).err().map(|error| {
            let source = std::error::Error::source(&error).map(ToString::to_string).unwrap_or_default();
            format!("{error}: {source}")
        });
        lock(&self.shared.status).witness_trouble = trouble;
    }

    fn notify(&self) {
        for observer in self.observers() {
            if let Observer::Head(observer) = observer {
                let _ = catch_unwind(AssertUnwindSafe(|| observer(&self.head)));
            }
        }
    }

    /// Writes the log back into the database now and then; between groups, when nobody waits for an answer.
    fn write_log_back(&mut self) {
        if self.log_pages < LOG_PAGES {
            return;
        }
        let Some(store) = &self.store else { return };
        let result = store.connection.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(()));
        self.log_pages = 0;
        if let Err(error) = result {
            self.give_up(error.into());
        }
    }

    /// Tries whether writing works again, by writing.
    fn probe(&mut self) {
        let result = self.reopen().and_then(|()| {
            let now = self.clock.now().map_err(|error| Unavailable::new(Cause::Clock, error.to_string()))?;
            let Some(store) = &self.store else { return Ok(()) };
            store.connection.execute("UPDATE ledger SET probed = ?1", [&*now])?;
            Ok(())
        });
        match result {
            Ok(()) => self.recovered(),
            Err(fault) => self.give_up(fault),
        }
    }

    /// What was committed without being acknowledged (a sync failed after it was written) is part of the ledger now.
    fn recovered(&mut self) {
        let Some(store) = &self.store else { return };
        let grew = store.head != self.head;
        self.head = store.head;
        *lock(&self.shared.head) = self.head;
        self.report(None);
        if grew {
            self.notify();
        }
    }
}

/// Text that is known to be UTF-8, without checking it again.
struct Text<'a>(&'a [u8]);

impl rusqlite::ToSql for Text<'_> {
    fn to_sql(&self) -> rusqlite::Result<rusqlite::types::ToSqlOutput<'_>> {
        Ok(rusqlite::types::ToSqlOutput::Borrowed(rusqlite::types::ValueRef::Text(self.0)))
    }
}

fn store_checkpoint(connection: &Connection, checkpoint: &Checkpoint) -> rusqlite::Result<()> {
    connection
        .prepare_cached("INSERT OR IGNORE INTO checkpoints (size, note) VALUES (?1, ?2)")?
        .execute((i64::try_from(checkpoint.size).unwrap_or(i64::MAX), &checkpoint.note))?;
    Ok(())
}

/// Starts the writer's thread.
pub(crate) fn spawn(writer: Writer) -> Result<std::thread::JoinHandle<()>, LedgerError> {
    std::thread::Builder::new().name("ledger-writer".to_owned()).spawn(move || writer.run()).map_err(
        |source| LedgerError::File {
            action: "start a writer for",
            path: PathBuf::from("the ledger"),
            source,
        },
    )
}
