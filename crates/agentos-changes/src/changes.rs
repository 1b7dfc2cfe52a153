//! All changes of a machine: opened from the ledger, recorded step by step.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use agentos_api::change::{self, ChangeFilter, ChangePage, Status};
use agentos_api::event::{Actor, EventFilter, EventType, Order, TypeFilter};
use agentos_api::question::Standing;
use agentos_ledger::{AppendError, Appended, Ledger, NewEvent};
use agentos_objects::Objects;
use agentos_system::change::{Context, Making};
use agentos_system::{Machine, Rules, Viewer};
use jiff::Timestamp;
use serde::Serialize;
use serde_json::Value;

use crate::book::Book;
use crate::error::ChangesError;
use crate::record::{Data, Happening, Record, Seen, parse};
use crate::turn::{Taken, Turn};

/// How long a change waits until the ones before it are made.
const TURN: Duration = Duration::from_mins(1);

/// The rules for reading that hold for somebody, by whether they operate the machine and by how the ledger names them.
pub type RulesFor = Arc<dyn Fn(bool, &Actor) -> Arc<dyn Rules> + Send + Sync>;

/// Is told before each step of a change, by its name.
pub type BeforeStep = Arc<dyn Fn(&str) + Send + Sync>;

/// Where changes are kept, and for how long they wait.
#[derive(Clone)]
pub struct Options {
    /// The folder of the database.
    pub directory: PathBuf,
    /// How long a change waits for a yes.
    pub expire_after: Duration,
    /// How long a change that may lock the person out stays unless it is confirmed.
    pub confirm_within: Duration,
    /// Changes that wait at once.
    pub most_waiting: u64,
    /// The command that takes an unconfirmed change back from outside; its number is appended. Empty: only this process
    /// does it.
    pub take_back: Vec<String>,
    /// By which rules a plan that runs a command lets it read. Without, it reads what is not agentd's own.
    pub rules: Option<RulesFor>,
    /// Told before each step of a change, by its name: where a test ends the process.
    pub before_step: Option<BeforeStep>,
}

impl std::fmt::Debug for Options {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Options").field("directory", &self.directory).finish_non_exhaustive()
    }
}

impl Options {
    /// The defaults, in that folder: a day for a yes, two minutes for a confirmation.
    pub fn new(directory: impl Into<PathBuf>) -> Self {
        Self {
            directory: directory.into(),
            expire_after: Duration::from_hours(24),
            confirm_within: Duration::from_mins(2),
            most_waiting: 1000,
            take_back: Vec::new(),
            rules: None,
            before_step: None,
        }
    }
}

/// Who asks.
#[derive(Clone, Debug)]
pub struct Asked {
    /// As the ledger names them.
    pub actor: Actor,
    /// The person who operates the machine, not the agent.
    pub operator: bool,
}

/// What became of a request.
#[derive(Clone, Debug)]
pub enum Outcome {
    /// It was made, or nothing had to be; or it was only planned.
    Done(change::Change),
    /// It waits for a yes.
    Waits(change::Change),
}

/// All changes of a machine. One value is shared by all threads.
#[derive(Debug)]
pub struct Changes {
    pub(crate) ledger: Arc<Ledger>,
    pub(crate) machine: Arc<Machine>,
    pub(crate) objects: Objects,
    pub(crate) options: Options,
    pub(crate) turn: Turn,
    /// When changes that are unconfirmed were made, as far as this process made them.
    unconfirmed: Mutex<HashMap<u64, Instant>>,
    /// Events of changes are recorded and taken in one after the other.
    book: Mutex<Book>,
    /// An event is on the ledger that the book could not take in.
    behind: AtomicBool,
}

impl Changes {
    /// Opens the changes of a ledger. What it holds and the database does not is taken in; what was cut off is settled.
    ///
    /// # Errors
    /// The database's, the ledger's, the store's.
    pub fn open(
        options: Options,
        ledger: Arc<Ledger>,
        machine: Arc<Machine>,
        objects: Objects,
    ) -> Result<Self, ChangesError> {
        let book = Book::open(&options.directory.join("changes.db"))?;
        let changes = Self {
            ledger,
            machine,
            objects,
            options,
            turn: Turn::default(),
            unconfirmed: Mutex::default(),
            book: Mutex::new(book),
            behind: AtomicBool::new(true),
        };
        changes.pin_what_is_needed()?;
        changes.settle()?;
        Ok(changes)
    }

    /// For whom the machine is read while a change is planned that `actor` asked for.
    pub(crate) fn viewer(&self, operator: bool, actor: &Actor) -> Viewer {
        Viewer { operator, rules: self.options.rules.as_ref().map(|rules| rules(operator, actor)) }
    }

    /// The book, with all that the ledger holds. Where an event could not be taken in, that is made up for first: a number
    /// would be given twice, and a grant would outlive its end, if the book went on without it.
    pub(crate) fn book(&self) -> Result<MutexGuard<'_, Book>, ChangesError> {
        // A thread that panicked left its transaction to be rolled back.
        let mut book = self.book.lock().unwrap_or_else(PoisonError::into_inner);
        if self.behind.load(Ordering::Acquire) {
            self.replay(&mut book)?;
            self.end_taking_in();
        }
        Ok(book)
    }

    /// What changes need that are not at their end makes no room for others.
    fn pin_what_is_needed(&self) -> Result<(), ChangesError> {
        let book = self.book()?;
        for status in [Status::Planned, Status::Waiting, Status::Applying, Status::Unconfirmed] {
            let standing: Vec<u64> = book.standing(status)?.iter().map(|record| record.id).collect();
            self.objects.pin(&standing);
        }
        Ok(())
    }

    fn replay(&self, book: &mut Book) -> Result<(), ChangesError> {
        let (head, last) = (self.ledger.head().id, book.last_event()?);
        // A database from before another ledger was put here.
        if last > head {
            return Err(ChangesError::Kept {
                change: 0,
                reason: format!(
                    "the database of changes is ahead of the ledger ({last} of {head} events); delete it"
                ),
            });
        }
        for prefix in ["grant.", "change.", crate::questions::PREFIX] {
            let mut after = last;
            loop {
                let page = self.ledger.page(&EventFilter {
                    kind: Some(TypeFilter::Prefix(prefix.to_owned())),
                    after: Some(after),
                    order: Some(Order::Oldest),
                    limit: agentos_api::Bounded::new(1000).unwrap_or_default(),
                    ..EventFilter::default()
                })?;
                for event in &page.events {
                    let seen = Seen { ts: &event.ts, actor: event.actor.as_str() };
                    if prefix == "grant." {
                        crate::grants::take(book, event.kind.as_str(), event.payload.get())?;
                    } else if prefix == crate::questions::PREFIX {
                        crate::questions::take(book, event.payload.get(), seen)?;
                    } else if let Some(Data { change, happening }) = parse(event.payload.get()) {
                        book.take(event.id, change, &happening, seen)?;
                    }
                }
                match page.next {
                    Some(next) => after = next,
                    None => break,
                }
            }
        }
        for change in book.without_things()? {
            let Some(record) = book.record(change)? else { continue };
            // Where the plan made room for later ones the change can no longer be undone, nor depended on.
            if let Ok(kept) = self.kept(&record) {
                let transaction = book.transaction()?;
                book.note_things(change, &kept.script.things())?;
                transaction.commit()?;
            }
        }
        book.set_last_event(head)?;
        Ok(())
    }

    /// A page of changes, the newest first.
    ///
    /// # Errors
    /// The database's.
    pub fn page(&self, filter: &ChangeFilter) -> Result<ChangePage, ChangesError> {
        let mut records = self.book()?.page(filter)?;
        let more = records.len() > filter.limit.as_usize();
        records.truncate(filter.limit.as_usize());
        let next = if more { records.last().map(|record| record.id) } else { None };
        Ok(ChangePage { changes: records.iter().map(crate::show::summary).collect(), next })
    }

    /// One change, whole.
    ///
    /// # Errors
    /// [`ChangesError::NotFound`]; the database's.
    pub fn get(&self, change: u64) -> Result<change::Change, ChangesError> {
        let record = self.record_of(change)?;
        Ok(self.show(&record))
    }

    /// How many changes and questions wait for a yes.
    ///
    /// # Errors
    /// The database's.
    pub fn waiting(&self) -> Result<u64, ChangesError> {
        let book = self.book()?;
        Ok(book.count(Status::Waiting)? + book.count_questions(Standing::Waiting)?)
    }

    pub(crate) fn record_of(&self, change: u64) -> Result<Record, ChangesError> {
        self.book()?.record(change)?.ok_or_else(|| ChangesError::NotFound(format!("change {change}")))
    }

    pub(crate) fn context(&self) -> Context<'_> {
        Context { machine: &self.machine, objects: &self.objects, making: None }
    }

    /// A change that is about to be made, or that was when agentd was cut off.
    pub(crate) fn making(&self, change: u64) -> Making {
        Making::new(change, self.outputs())
    }

    /// Where what commands write is kept.
    pub(crate) fn outputs(&self) -> PathBuf {
        self.options.directory.join("outputs")
    }

    pub(crate) fn note_unconfirmed(&self, change: u64) {
        let mut since = self.unconfirmed.lock().unwrap_or_else(PoisonError::into_inner);
        since.insert(change, Instant::now());
    }

    pub(crate) fn unconfirmed_since(&self, change: u64) -> Option<Instant> {
        self.unconfirmed.lock().unwrap_or_else(PoisonError::into_inner).get(&change).copied()
    }

    /// Waits until no other change is being made.
    pub(crate) fn my_turn(&self) -> Result<Taken<'_>, ChangesError> {
        self.turn.take(TURN).ok_or_else(|| {
            ChangesError::Busy(format!(
                "another change is being made for more than {} s; nothing was done",
                TURN.as_secs()
            ))
        })
    }

    /// Records an event that no change is known by, and waits until it is durable.
    pub(crate) fn note(
        &self,
        actor: &Actor,
        kind: &str,
        data: &impl Serialize,
    ) -> Result<Appended, ChangesError> {
        self.step(kind);
        let kind = EventType::new(kind)
            .map_err(|error| ChangesError::Invalid { field: "type".to_owned(), reason: error.to_string() })?;
        Ok(self.ledger.append_blocking(NewEvent::new(kind, actor.clone(), data)?)?)
    }

    /// Records what happens to changes, in one go, and waits until all of it is durable. Only then it may be done.
    ///
    /// # Errors
    /// The ledger's: then nothing may be done, though the first of several may be on the record.
    pub(crate) fn happen(
        &self,
        actor: &Actor,
        happenings: Vec<(u64, Happening)>,
    ) -> Result<(), ChangesError> {
        let book = self.book()?;
        self.happen_in(&book, actor, happenings)
    }

    /// As [`Changes::happen`], with a book that has caught up.
    pub(crate) fn happen_in(
        &self,
        book: &Book,
        actor: &Actor,
        happenings: Vec<(u64, Happening)>,
    ) -> Result<(), ChangesError> {
        self.begin_happening(actor, happenings)?.finish(self, book, |_| Ok(()))
    }

    /// Puts what happens to changes on its way to the ledger. Nothing of it may be done before [`Underway::finish`].
    pub(crate) fn begin_happening(
        &self,
        actor: &Actor,
        happenings: Vec<(u64, Happening)>,
    ) -> Result<Underway, ChangesError> {
        let mut events = Vec::with_capacity(happenings.len());
        let mut all = Vec::with_capacity(happenings.len());
        for (change, happening) in happenings {
            self.step(happening.kind());
            let kind = EventType::new(happening.kind()).map_err(|error| ChangesError::Invalid {
                field: "type".to_owned(),
                reason: error.to_string(),
            })?;
            let data = Data { change, happening };
            events.push(NewEvent::new(kind, actor.clone(), &data)?);
            all.push(data);
        }
        // Until all of it is taken in: whatever ends this early leaves it to be caught up with.
        self.begin_taking_in();
        let (sender, receiver) = sync_channel(1);
        self.ledger.append_all(events, move |result| {
            let _ = sender.send(result);
        });
        Ok(Underway { actor: actor.clone(), all, receiver })
    }

    /// Records an event about a grant, and takes it in.
    pub(crate) fn note_grant(
        &self,
        actor: &Actor,
        kind: &str,
        grant: u64,
        data: &Value,
    ) -> Result<(), ChangesError> {
        // Recorded under the same lock as other events: none later than this may be taken in before it.
        let book = self.book()?;
        let appended = self.note(actor, kind, data)?;
        self.begin_taking_in();
        book.set_grant(grant, (kind == crate::grants::GIVEN).then(|| data.to_string()).as_deref())?;
        book.set_last_event(appended.id)?;
        self.end_taking_in();
        Ok(())
    }

    /// From here on, whatever ends early leaves the book to be caught up with.
    pub(crate) fn begin_taking_in(&self) {
        self.behind.store(true, Ordering::Release);
    }

    /// All that was recorded is taken in.
    pub(crate) fn end_taking_in(&self) {
        self.behind.store(false, Ordering::Release);
    }

    /// A step of a change is about to be taken.
    pub(crate) fn step(&self, name: &str) {
        if let Some(before) = &self.options.before_step {
            before(name);
        }
    }
}

/// Events about changes, on their way to the ledger.
pub(crate) struct Underway {
    actor: Actor,
    all: Vec<Data>,
    receiver: Receiver<Result<Vec<Appended>, AppendError>>,
}

impl Underway {
    /// Waits until all of them are durable, and takes them into the book, with what `also` says. Only then what they say
    /// may be done.
    ///
    /// # Errors
    /// As [`Changes::happen`].
    pub(crate) fn finish(
        self,
        changes: &Changes,
        book: &Book,
        also: impl FnOnce(&Book) -> rusqlite::Result<()>,
    ) -> Result<(), ChangesError> {
        let appended = self.receiver.recv().unwrap_or(Err(AppendError::Closed))?;
        let taken = book.transaction()?;
        for (appended, data) in appended.iter().zip(&self.all) {
            let seen = Seen { ts: &appended.ts, actor: self.actor.as_str() };
            book.take_in(appended.id, data.change, &data.happening, seen)?;
        }
        also(book)?;
        taken.commit()?;
        changes.end_taking_in();
        Ok(())
    }
}

/// That long from now, as the ledger writes times.
pub(crate) fn from_now(after: Duration) -> String {
    let now = Timestamp::now();
    let then = now.checked_add(after).unwrap_or(now);
    format!("{then:.3}")
}

/// Whether that moment has come. One that cannot be read has.
pub(crate) fn is_over(moment: &str) -> bool {
    moment.parse::<Timestamp>().is_ok_and(|moment| Timestamp::now() >= moment)
        || moment.parse::<Timestamp>().is_err()
}
