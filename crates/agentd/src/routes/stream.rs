//! `GET /events/stream`: events as they become durable, as server-sent events (HTML standard, section 9.2).
//!
//! A stream reads pages off the ledger at its reader's pace, so a slow reader costs one page of memory, never a queue.

use std::sync::Arc;
use std::time::Duration;

use agentos_api::event::{Event, EventFilter, Order};
use agentos_api::{Bounded, Code, Problem};
use axum::body::Body;
use axum::extract::{RawQuery, State};
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};
use bytes::{BufMut, Bytes, BytesMut};
use futures_util::stream;
use tokio::sync::watch;

use super::events::filter;
use crate::app::App;
use crate::caller::Caller;
use crate::limits::Place;
use crate::problem::{Refusal, ledger_problem};

/// A comment line is sent after so long without an event, so that either side notices when the other is gone.
const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// Events read at a time.
const PAGE: u64 = 100;

/// One stream: where it is, and what it waits for.
struct Follower {
    app: Arc<App>,
    filter: EventFilter,
    after: u64,
    size: watch::Receiver<u64>,
    stopping: watch::Receiver<bool>,
    _place: Place,
}

pub(crate) async fn follow(
    State(app): State<Arc<App>>,
    _caller: Caller,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    let mut filter = filter(query.as_deref())?;
    if filter.order == Some(Order::Newest) || filter.before.is_some() || filter.until.is_some() {
        return Err(Problem::new(
            Code::INVALID_ARGUMENT,
            "a stream goes forward and has no end: no order, before or until",
        )
        .with_field("order")
        .into());
    }
    let place = app.limits.streams.try_enter().ok_or_else(|| {
        Problem::new(Code::BUSY, format!("{} event streams are open already", app.limits.now().streams))
            .with_hint("end one of them, or raise limits.streams")
    })?;
    let size = app.size.clone();
    // A reader that lost its connection names the last event it saw; otherwise the stream begins with what comes next.
    let resumed = headers
        .get("last-event-id")
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.parse().ok());
    let after = resumed.or(filter.after).unwrap_or(*size.borrow());
    filter.order = Some(Order::Oldest);
    filter.limit = Bounded::new(PAGE).unwrap_or_default();
    let stopping = app.stopping.clone();
    let follower = Follower { app, filter, after, size, stopping, _place: place };
    // The head goes out with a first comment, so that the reader knows that the stream stands.
    let first = stream::once(async { Ok::<_, std::io::Error>(Bytes::from_static(b": agentos\n\n")) });
    let body = Body::from_stream(futures_util::StreamExt::chain(first, stream::try_unfold(follower, next)));
    Ok(([(header::CONTENT_TYPE, "text/event-stream"), (header::CACHE_CONTROL, "no-store")], body)
        .into_response())
}

/// The next piece of the stream; `None` when agentd stops.
async fn next(mut follower: Follower) -> std::io::Result<Option<(Bytes, Follower)>> {
    loop {
        if *follower.stopping.borrow() {
            return Ok(None);
        }
        let seen = *follower.size.borrow_and_update();
        if seen > follower.after {
            let chunk =
                follower.read(seen).await.map_err(|problem| std::io::Error::other(problem.to_string()))?;
            if !chunk.is_empty() {
                return Ok(Some((chunk, follower)));
            }
            continue;
        }
        tokio::select! {
            changed = follower.size.changed() => if changed.is_err() { return Ok(None) },
            _ = follower.stopping.changed() => {}
            () = tokio::time::sleep(KEEP_ALIVE) => return Ok(Some((Bytes::from_static(b": still here\n\n"), follower))),
        }
    }
}

impl Follower {
    /// Reads one page after the last event and moves on. Empty when none of its events was asked for.
    async fn read(&mut self, seen: u64) -> Result<Bytes, Problem> {
        let mut filter = self.filter.clone();
        filter.after = Some(self.after);
        let page = self
            .app
            .blocking("reading the ledger", move |app| {
                app.ledger.page(&filter).map_err(|error| ledger_problem(&error))
            })
            .await?;
        // Without a next page everything up to `seen` was looked at, though none of it may have been asked for.
        let last = page.events.last().map(|event| event.id);
        self.after = page.next.unwrap_or_else(|| last.unwrap_or(0).max(seen));
        let mut chunk = BytesMut::new();
        for event in &page.events {
            write(&mut chunk, event)?;
        }
        Ok(chunk.freeze())
    }
}

fn write(chunk: &mut BytesMut, event: &Event) -> Result<(), Problem> {
    // JSON on one line: a line break within a string is escaped, so none can end the `data` field early.
    let json = serde_json::to_vec(event).map_err(|error| {
        Problem::new(Code::INTERNAL, format!("the event cannot be written as JSON: {error}"))
    })?;
    chunk.put_slice(format!("id: {}\nevent: {}\ndata: ", event.id, event.kind).as_bytes());
    chunk.put_slice(&json);
    chunk.put_slice(b"\n\n");
    Ok(())
}
