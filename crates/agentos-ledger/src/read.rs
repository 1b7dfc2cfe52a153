//! Reading beside the writer: connections that cannot write, and pages that are bounded in events, bytes and time.

use std::path::{Path, PathBuf};
use std::sync::Mutex;

use agentos_api::event::{Actor, Event, EventFilter, EventPage, EventType, Order, Payload, TypeFilter};
use rusqlite::types::Value;
use rusqlite::{Connection, OpenFlags, Row, params_from_iter};

use crate::alone;
use crate::chain::COLUMNS;
use crate::digest::from_hex;
use crate::error::LedgerError;
use crate::job::lock;
use crate::schema;
use crate::time;
use crate::violation::{Violation, ViolationKind};

/// Most connections that are kept open between questions. More may be open while more are asked at once.
const KEPT: usize = 2;
/// Most bytes of payload on one page.
const MAX_PAGE_BYTES: usize = 4 << 20;
/// Most events that are looked at for one page.
const MAX_EXAMINED: u64 = 250_000;
/// The page cache of a reading connection, in KiB (negative for SQLite).
const CACHE_KIB: i64 = -512;

/// A few read-only connections.
#[derive(Debug)]
pub(crate) struct Readers {
    path: PathBuf,
    idle: Mutex<Vec<Connection>>,
}

impl Readers {
    pub(crate) fn new(path: PathBuf) -> Self {
        Self { path, idle: Mutex::default() }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Closes the connections that nobody uses just now.
    pub(crate) fn close_idle(&self) {
        lock(&self.idle).clear();
    }

    fn failed(&self, source: rusqlite::Error) -> LedgerError {
        LedgerError::Database { action: "read", path: self.path.clone(), source }
    }

    /// Asks `question` of one state of the ledger: everything it reads is of the same moment.
    pub(crate) fn with<T>(
        &self,
        question: impl FnOnce(&Reader<'_>) -> Result<T, LedgerError>,
    ) -> Result<T, LedgerError> {
        let idle = lock(&self.idle).pop();
        let connection = match idle {
            Some(connection) => connection,
            None => self.connect().map_err(|source| self.failed(source))?,
        };
        let answer = {
            let snapshot = connection.unchecked_transaction().map_err(|source| self.failed(source))?;
            question(&Reader { path: &self.path, connection: &snapshot })
        };
        // A connection that failed is not asked again.
        if answer.is_ok() {
            let mut idle = lock(&self.idle);
            if idle.len() < KEPT {
                idle.push(connection);
            }
        }
        answer
    }

    fn connect(&self) -> rusqlite::Result<Connection> {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY
            | OpenFlags::SQLITE_OPEN_NO_MUTEX
            | OpenFlags::SQLITE_OPEN_NOFOLLOW;
        let connection = Connection::open_with_flags(&self.path, flags)?;
        connection.busy_timeout(std::time::Duration::from_secs(1))?;
        connection.pragma_update(None, "cache_size", CACHE_KIB)?;
        connection.pragma_update(None, "trusted_schema", "OFF")?;
        Ok(connection)
    }

    pub(crate) fn get(&self, id: u64) -> Result<Option<Event>, LedgerError> {
        self.with(|reader| reader.event(id))
    }

    pub(crate) fn page(&self, filter: &EventFilter) -> Result<EventPage, LedgerError> {
        let query = Query::new(filter)?;
        self.with(|reader| reader.page(&query))
    }
}

/// One page of a database that nobody writes, read without making anything beside it.
pub(crate) fn page_alone(path: &Path, filter: &EventFilter) -> Result<EventPage, LedgerError> {
    let query = Query::new(filter)?;
    let failed = |source| LedgerError::Database { action: "read", path: path.to_owned(), source };
    let connection = alone::connect(path).map_err(failed)?;
    let snapshot = connection.unchecked_transaction().map_err(failed)?;
    Reader { path, connection: &snapshot }.page(&query)
}

/// One state of the ledger.
pub(crate) struct Reader<'c> {
    path: &'c Path,
    pub(crate) connection: &'c Connection,
}

impl Reader<'_> {
    pub(crate) fn failed(&self, source: rusqlite::Error) -> LedgerError {
        LedgerError::Database { action: "read", path: self.path.to_owned(), source }
    }

    pub(crate) fn corrupt(&self, violation: Violation) -> LedgerError {
        LedgerError::Corrupt { path: self.path.to_owned(), violation }
    }

    pub(crate) fn event(&self, id: u64) -> Result<Option<Event>, LedgerError> {
        let Ok(id) = i64::try_from(id) else { return Ok(None) };
        let sql = format!("SELECT {COLUMNS} FROM events WHERE id = ?1");
        let mut statement = self.connection.prepare_cached(&sql).map_err(|source| self.failed(source))?;
        let mut rows = statement.query([id]).map_err(|source| self.failed(source))?;
        match rows.next().map_err(|source| self.failed(source))? {
            Some(row) => self.event_of(row).map(Some),
            None => Ok(None),
        }
    }

    fn event_of(&self, row: &Row<'_>) -> Result<Event, LedgerError> {
        let id = row
            .get_ref(0)
            .ok()
            .and_then(|id| id.as_i64().ok())
            .and_then(|id| u64::try_from(id).ok())
            .unwrap_or(0);
        let malformed = |column: &str| {
            let detail = format!("`{column}` is malformed");
            self.corrupt(Violation::at(ViolationKind::MalformedField, id, detail))
        };
        let text = |column: usize, name: &str| {
            row.get_ref(column)
                .ok()
                .and_then(|value| value.as_str().ok())
                .map(str::to_owned)
                .ok_or_else(|| malformed(name))
        };
        let digest = |column: usize, name: &str| {
            text(column, name).and_then(|hash| {
                if from_hex(hash.as_bytes()).is_some() { Ok(hash) } else { Err(malformed(name)) }
            })
        };
        Ok(Event {
            id,
            ts: text(1, "ts")?,
            kind: EventType::new(text(2, "type")?).map_err(|_| malformed("type"))?,
            actor: Actor::new(text(3, "actor")?).map_err(|_| malformed("actor"))?,
            payload: Payload::from_json(text(4, "payload")?).map_err(|_| malformed("payload"))?,
            prev_hash: digest(5, "prev_hash")?,
            hash: digest(6, "hash")?,
        })
    }

    fn page(&self, query: &Query) -> Result<EventPage, LedgerError> {
        let head = schema::head(self.connection).map_err(|source| self.failed(source))?;
        let Some((first, last)) = query.window(head) else {
            return Ok(EventPage { events: Vec::new(), next: None });
        };
        let mut statement =
            self.connection.prepare_cached(&query.sql()).map_err(|source| self.failed(source))?;
        let values = query.values(first, last);
        let mut rows = statement.query(params_from_iter(values)).map_err(|source| self.failed(source))?;
        let mut events = Vec::new();
        let mut bytes = 0;
        while let Some(row) = rows.next().map_err(|source| self.failed(source))? {
            let event = self.event_of(row)?;
            bytes += event.payload.get().len();
            let id = event.id;
            events.push(event);
            if events.len() >= query.limit || bytes >= MAX_PAGE_BYTES {
                return Ok(EventPage { events, next: query.after(id, head) });
            }
        }
        let reached = if query.order == Order::Oldest { last } else { first };
        Ok(EventPage { events, next: query.after(reached, head) })
    }
}

/// A filter in the terms of the table.
struct Query {
    kind: Option<TypeFilter>,
    actor: Option<Actor>,
    since: Option<String>,
    until: Option<String>,
    /// Ids from which and up to which events are asked for, both included.
    range: (u64, u64),
    order: Order,
    limit: usize,
}

impl Query {
    fn new(filter: &EventFilter) -> Result<Self, LedgerError> {
        let bound = |timestamp: Option<jiff::Timestamp>| {
            timestamp.map(time::bound).transpose().map_err(|_| LedgerError::Time)
        };
        Ok(Self {
            kind: filter.kind.clone(),
            actor: filter.actor.clone(),
            since: bound(filter.since)?,
            until: bound(filter.until)?,
            range: (
                filter.after.map_or(1, |after| after.saturating_add(1)),
                filter.before.map_or(u64::MAX, |before| before.saturating_sub(1)),
            ),
            order: filter.effective_order(),
            limit: filter.limit.as_usize(),
        })
    }

    /// The ids to look at for one page; nothing when there are none.
    fn window(&self, head: u64) -> Option<(u64, u64)> {
        let (first, last) = (self.range.0, self.range.1.min(head));
        if first > last {
            return None;
        }
        Some(match self.order {
            Order::Oldest => (first, last.min(first.saturating_add(MAX_EXAMINED - 1))),
            Order::Newest => (first.max(last.saturating_sub(MAX_EXAMINED - 1)), last),
        })
    }

    /// The cursor behind event `id`, unless nothing can follow.
    fn after(&self, id: u64, head: u64) -> Option<u64> {
        let more = match self.order {
            Order::Oldest => id < self.range.1.min(head),
            Order::Newest => id > self.range.0,
        };
        more.then_some(id)
    }

    fn sql(&self) -> String {
        let mut sql = format!("SELECT {COLUMNS} FROM events WHERE id >= ? AND id <= ?");
        match &self.kind {
            Some(TypeFilter::Exact(_)) => sql.push_str(" AND type = ?"),
            Some(TypeFilter::Prefix(_)) => sql.push_str(" AND substr(type, 1, ?) = ?"),
            None => {}
        }
        for (given, condition) in [
            (self.actor.is_some(), " AND actor = ?"),
            (self.since.is_some(), " AND ts >= ?"),
            (self.until.is_some(), " AND ts < ?"),
        ] {
            if given {
                sql.push_str(condition);
            }
        }
        sql.push_str(if self.order == Order::Oldest { " ORDER BY id" } else { " ORDER BY id DESC" });
        sql
    }

    fn values(&self, first: u64, last: u64) -> Vec<Value> {
        let number = |number: u64| Value::Integer(i64::try_from(number).unwrap_or(i64::MAX));
        let mut values = vec![number(first), number(last)];
        match &self.kind {
            Some(TypeFilter::Exact(kind)) => values.push(Value::Text(kind.to_string())),
            Some(TypeFilter::Prefix(prefix)) => {
                values.push(number(prefix.len() as u64));
                values.push(Value::Text(prefix.clone()));
            }
            None => {}
        }
        values.extend(self.actor.iter().map(|actor| Value::Text(actor.to_string())));
        values.extend(self.since.iter().chain(&self.until).map(|bound| Value::Text(bound.clone())));
        values
    }
}
