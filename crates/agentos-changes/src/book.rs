//! What is known of all changes, at hand: a database that can be deleted, and is made anew from the ledger.

use std::path::Path;
use std::time::Duration;

use agentos_api::change::{ChangeFilter, Status};
use agentos_api::question::Standing;
use rusqlite::{Connection, OptionalExtension, Transaction, params};

use crate::questions;
use crate::record::{Happening, Record, Seen};

/// Raised with every change of the tables or of what is kept in them.
const VERSION: i64 = 2;
const SCHEMA: &str = "
CREATE TABLE facts (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE changes (id INTEGER PRIMARY KEY, status TEXT NOT NULL, record TEXT NOT NULL);
CREATE INDEX by_status ON changes (status, id);
CREATE TABLE things (thing TEXT NOT NULL, change INTEGER NOT NULL, PRIMARY KEY (thing, change)) WITHOUT ROWID;
CREATE INDEX by_change ON things (change);
CREATE TABLE grants (id INTEGER PRIMARY KEY, record TEXT NOT NULL);
CREATE TABLE questions (id INTEGER PRIMARY KEY, status TEXT NOT NULL, key TEXT NOT NULL, record TEXT NOT NULL);
CREATE INDEX questions_by_status ON questions (status, id);
CREATE INDEX questions_by_key ON questions (key, id);
";

/// The database.
#[derive(Debug)]
pub(crate) struct Book {
    connection: Connection,
}

impl Book {
    /// Opens it, and makes it anew where it is missing, of another version, or damaged.
    pub(crate) fn open(path: &Path) -> rusqlite::Result<Self> {
        if let Ok(book) = Self::open_as_it_is(path) {
            return Ok(book);
        }
        for suffix in ["", "-wal", "-shm"] {
            let mut name = path.as_os_str().to_owned();
            name.push(suffix);
            let _ = std::fs::remove_file(name);
        }
        Self::open_as_it_is(path)
    }

    fn open_as_it_is(path: &Path) -> rusqlite::Result<Self> {
        let connection = Connection::open(path)?;
        connection.busy_timeout(Duration::from_secs(5))?;
        connection.pragma_update(None, "trusted_schema", "OFF")?;
        connection.pragma_update(None, "journal_mode", "WAL")?;
        // What a power cut takes is read again from the ledger.
        connection.pragma_update(None, "synchronous", "NORMAL")?;
        let version: i64 = connection.query_row("PRAGMA user_version", [], |row| row.get(0))?;
        match version {
            VERSION => {}
            0 => {
                let transaction = connection.unchecked_transaction()?;
                transaction.execute_batch(SCHEMA)?;
                transaction.pragma_update(None, "user_version", VERSION)?;
                transaction.commit()?;
            }
            _ => return Err(rusqlite::Error::InvalidQuery),
        }
        Ok(Self { connection })
    }

    /// The last event that was taken in.
    pub(crate) fn last_event(&self) -> rusqlite::Result<u64> {
        let found: Option<i64> = self
            .connection
            .query_row("SELECT value FROM facts WHERE name = 'last_event'", [], |row| row.get(0))
            .optional()?;
        Ok(found.unwrap_or(0).unsigned_abs())
    }

    /// Notes that events up to that one are taken in.
    pub(crate) fn set_last_event(&self, id: u64) -> rusqlite::Result<()> {
        self.connection
            .prepare_cached("INSERT OR REPLACE INTO facts (name, value) VALUES ('last_event', max(?1, coalesce((SELECT value FROM facts WHERE name = 'last_event'), 0)))")?
            .execute([signed(id)])
            .map(|_| ())
    }

    /// Takes in what happened to a change, as event `event` says.
    pub(crate) fn take(
        &self,
        event: u64,
        change: u64,
        happening: &Happening,
        seen: Seen<'_>,
    ) -> rusqlite::Result<()> {
        let transaction = self.transaction()?;
        self.take_in(event, change, happening, seen)?;
        transaction.commit()
    }

    /// Several things that are taken in together, or not at all where it is dropped.
    pub(crate) fn transaction(&self) -> rusqlite::Result<Transaction<'_>> {
        self.connection.unchecked_transaction()
    }

    /// As [`Book::take`], within a transaction.
    pub(crate) fn take_in(
        &self,
        event: u64,
        change: u64,
        happening: &Happening,
        seen: Seen<'_>,
    ) -> rusqlite::Result<()> {
        let before = self.record(change)?;
        if let Some(after) = Record::after(before, change, happening, seen) {
            self.put(&after)?;
            if matches!(happening, Happening::Applied { .. } | Happening::Confirmed { .. }) {
                self.follow(&after, seen)?;
            }
        }
        self.set_last_event(event)
    }

    /// What follows from a change that is made: those that it takes back are undone, those that they had taken back are there
    /// again. The same is recorded as events of theirs; this holds also where a cut kept those from being recorded.
    fn follow(&self, made: &Record, seen: Seen<'_>) -> rusqlite::Result<()> {
        for undone in &made.undoes {
            let Some(before) = self.record(*undone)? else { continue };
            let again = before.undoes.clone();
            let happening = Happening::Undone { by: Some(made.id), reason: None };
            if let Some(after) = Record::after(Some(before), *undone, &happening, seen) {
                self.put(&after)?;
            }
            for again in again {
                let before = self.record(again)?;
                let happening = Happening::Redone { by: made.id };
                if let Some(after) = Record::after(before, again, &happening, seen) {
                    self.put(&after)?;
                }
            }
        }
        Ok(())
    }

    fn put(&self, record: &Record) -> rusqlite::Result<()> {
        let text = serde_json::to_string(record)
            .map_err(|error| rusqlite::Error::ToSqlConversionFailure(error.into()))?;
        self.connection
            .prepare_cached("INSERT OR REPLACE INTO changes (id, status, record) VALUES (?1, ?2, ?3)")?
            .execute(params![signed(record.id), record.status.as_str(), text])
            .map(|_| ())
    }

    /// What a change acts on, so that it is found by it. Within a transaction.
    pub(crate) fn note_things(&self, change: u64, things: &[String]) -> rusqlite::Result<()> {
        self.connection.prepare_cached("DELETE FROM things WHERE change = ?1")?.execute([signed(change)])?;
        let mut insert =
            self.connection.prepare_cached("INSERT OR IGNORE INTO things (thing, change) VALUES (?1, ?2)")?;
        for thing in things {
            insert.execute(params![thing, signed(change)])?;
        }
        Ok(())
    }

    /// Changes whose things are not noted: their event was read from the ledger.
    pub(crate) fn without_things(&self) -> rusqlite::Result<Vec<u64>> {
        let mut statement = self
            .connection
            .prepare("SELECT id FROM changes WHERE id NOT IN (SELECT change FROM things) ORDER BY id")?;
        let rows = statement.query_map([], |row| row.get::<_, i64>(0))?;
        rows.map(|row| row.map(i64::unsigned_abs)).collect()
    }

    /// One change.
    pub(crate) fn record(&self, change: u64) -> rusqlite::Result<Option<Record>> {
        let text: Option<String> = self
            .connection
            .prepare_cached("SELECT record FROM changes WHERE id = ?1")?
            .query_row([signed(change)], |row| row.get(0))
            .optional()?;
        text.map(|text| from_text(&text)).transpose()
    }

    /// The highest number there is, of a change or a question.
    pub(crate) fn highest(&self) -> rusqlite::Result<u64> {
        let text =
            "SELECT max(id) FROM (SELECT max(id) AS id FROM changes UNION ALL SELECT max(id) FROM questions)";
        let found: Option<i64> = self.connection.prepare_cached(text)?.query_row([], |row| row.get(0))?;
        Ok(found.unwrap_or(0).unsigned_abs())
    }

    /// How many stand there.
    pub(crate) fn count(&self, status: Status) -> rusqlite::Result<u64> {
        let found: i64 = self
            .connection
            .prepare_cached("SELECT count(*) FROM changes WHERE status = ?1")?
            .query_row([status.as_str()], |row| row.get(0))?;
        Ok(found.unsigned_abs())
    }

    /// All that stand there, the oldest first.
    pub(crate) fn standing(&self, status: Status) -> rusqlite::Result<Vec<Record>> {
        let mut statement =
            self.connection.prepare_cached("SELECT record FROM changes WHERE status = ?1 ORDER BY id")?;
        let rows = statement.query_map([status.as_str()], |row| row.get::<_, String>(0))?;
        rows.map(|row| from_text(&row?)).collect()
    }

    /// A page, the newest first, and one more where there is one.
    pub(crate) fn page(&self, filter: &ChangeFilter) -> rusqlite::Result<Vec<Record>> {
        let before = filter.before.map_or(i64::MAX, signed);
        let most = signed(filter.limit.get().saturating_add(1));
        let status = filter.status.map(Status::as_str);
        let mut statement = self.connection.prepare_cached(
            "SELECT record FROM changes
             WHERE id < ?1 AND (?2 IS NULL OR status = ?2)
               AND (?3 IS NULL OR id IN (SELECT change FROM things WHERE thing = ?3))
             ORDER BY id DESC LIMIT ?4",
        )?;
        let rows =
            statement.query_map(params![before, status, filter.on, most], |row| row.get::<_, String>(0))?;
        rows.map(|row| from_text(&row?)).collect()
    }

    /// Later changes that act on one of the same things, the oldest first.
    pub(crate) fn later_on_the_same(&self, change: u64) -> rusqlite::Result<Vec<Record>> {
        let mut statement = self.connection.prepare_cached(
            "SELECT DISTINCT changes.id, record FROM things AS mine
             JOIN things AS theirs ON theirs.thing = mine.thing AND theirs.change > mine.change
             JOIN changes ON changes.id = theirs.change
             WHERE mine.change = ?1 ORDER BY changes.id",
        )?;
        let rows = statement.query_map([signed(change)], |row| row.get::<_, String>(1))?;
        rows.map(|row| from_text(&row?)).collect()
    }

    /// Keeps what is known of a question.
    pub(crate) fn put_question(&self, record: &questions::Record) -> rusqlite::Result<()> {
        let text = serde_json::to_string(record)
            .map_err(|error| rusqlite::Error::ToSqlConversionFailure(error.into()))?;
        self.connection
            .prepare_cached(
                "INSERT OR REPLACE INTO questions (id, status, key, record) VALUES (?1, ?2, ?3, ?4)",
            )?
            .execute(params![signed(record.question.id), record.question.status.as_str(), record.key(), text])
            .map(|_| ())
    }

    /// One question.
    pub(crate) fn question(&self, id: u64) -> rusqlite::Result<Option<questions::Record>> {
        let text: Option<String> = self
            .connection
            .prepare_cached("SELECT record FROM questions WHERE id = ?1")?
            .query_row([signed(id)], |row| row.get(0))
            .optional()?;
        text.map(|text| from_text(&text)).transpose()
    }

    /// All questions that stand there, the oldest first.
    pub(crate) fn questions(&self, standing: Standing) -> rusqlite::Result<Vec<questions::Record>> {
        let mut statement =
            self.connection.prepare_cached("SELECT record FROM questions WHERE status = ?1 ORDER BY id")?;
        let rows = statement.query_map([standing.as_str()], |row| row.get::<_, String>(0))?;
        rows.map(|row| from_text(&row?)).collect()
    }

    /// The questions of that key which wait, or whose yes or no may still hold, the oldest first.
    pub(crate) fn open_questions(&self, key: &str) -> rusqlite::Result<Vec<questions::Record>> {
        let mut statement = self.connection.prepare_cached(
            "SELECT record FROM questions
             WHERE key = ?1 AND status IN ('waiting', 'approved', 'denied') ORDER BY id",
        )?;
        let rows = statement.query_map([key], |row| row.get::<_, String>(0))?;
        rows.map(|row| from_text(&row?)).collect()
    }

    /// How many questions stand there.
    pub(crate) fn count_questions(&self, standing: Standing) -> rusqlite::Result<u64> {
        let found: i64 = self
            .connection
            .prepare_cached("SELECT count(*) FROM questions WHERE status = ?1")?
            .query_row([standing.as_str()], |row| row.get(0))?;
        Ok(found.unsigned_abs())
    }

    /// Later changes that act on something below `folder`, which is a thing, the oldest first.
    pub(crate) fn later_below(&self, change: u64, folder: &str) -> rusqlite::Result<Vec<Record>> {
        // "0" is what follows "/": between the two stands all that is below.
        let mut statement = self.connection.prepare_cached(
            "SELECT DISTINCT changes.id, record FROM things JOIN changes ON changes.id = things.change
             WHERE things.thing > ?1 AND things.thing < ?2 AND things.change > ?3 ORDER BY changes.id",
        )?;
        let rows = statement
            .query_map(params![format!("{folder}/"), format!("{folder}0"), signed(change)], |row| {
                row.get::<_, String>(1)
            })?;
        rows.map(|row| from_text(&row?)).collect()
    }

    /// Keeps a grant, or forgets it.
    pub(crate) fn set_grant(&self, id: u64, record: Option<&str>) -> rusqlite::Result<()> {
        match record {
            Some(record) => self.connection.execute(
                "INSERT OR REPLACE INTO grants (id, record) VALUES (?1, ?2)",
                params![signed(id), record],
            ),
            None => self.connection.execute("DELETE FROM grants WHERE id = ?1", [signed(id)]),
        }
        .map(|_| ())
    }

    /// All grants that are kept.
    pub(crate) fn grants(&self) -> rusqlite::Result<Vec<String>> {
        let mut statement = self.connection.prepare_cached("SELECT record FROM grants ORDER BY id")?;
        let rows = statement.query_map([], |row| row.get(0))?;
        rows.collect()
    }
}

fn from_text<T: serde::de::DeserializeOwned>(text: &str) -> rusqlite::Result<T> {
    serde_json::from_str(text).map_err(|error| {
        rusqlite::Error::FromSqlConversionFailure(0, rusqlite::types::Type::Text, error.into())
    })
}

fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
