//! The events of the ledger as they are recorded, over `GET /events/stream`.

use std::collections::VecDeque;

use agentos_api::event::{Event, EventFilter};
use http_body_util::BodyExt;
use hyper::body::Incoming;

use crate::client::{Call, Client};
use crate::error::ClientError;
use crate::sse::SseParser;

/// An open event stream, on a connection of its own. Dropping it closes the connection.
pub struct EventStream {
    client: Client,
    route: String,
    body: Incoming,
    parser: SseParser,
    /// Events that arrived and were not asked for yet.
    ready: VecDeque<Event>,
    last_id: Option<u64>,
}

impl Client {
    /// Opens a stream of the events that match `filter`, from the next one on, or from the one after `filter.after`.
    ///
    /// Of the filter, `type`, `actor` and `after` apply; the others are about pages.
    ///
    /// # Errors
    /// [`ClientError`]: no connection, or agentd refused.
    pub async fn events_stream(&self, filter: &EventFilter) -> Result<EventStream, ClientError> {
        let call = Call::get(self.path_with("/events/stream", &StreamQuery::of(filter))?);
        let route = call.route();
        let open = async {
            let (_connection, response) = self.send(&call).await?;
            let status = response.status();
            if !status.is_success() {
                let body = self.read_body(response.into_body(), &route).await?;
                return Err(self.refusal(&route, status, &body));
            }
            let media_type = response.headers().get(hyper::header::CONTENT_TYPE);
            if !media_type.is_some_and(|value| value.as_bytes().starts_with(b"text/event-stream")) {
                return Err(self.protocol(&route, format!("its media type is {media_type:?}")));
            }
            Ok(response.into_body())
        };
        let body = self.in_time(&route, open).await?;
        Ok(EventStream {
            client: self.clone(),
            route: route.clone(),
            body,
            parser: SseParser::new(self.options().max_stream_event_bytes),
            ready: VecDeque::new(),
            last_id: filter.after,
        })
    }
}

impl EventStream {
    /// Waits for the next event, without a limit of time. `None`: agentd ended the stream in good order.
    ///
    /// Dropping the future loses nothing; the next call goes on from there.
    ///
    /// # Errors
    /// [`ClientError`]: the connection ended, an event is too large, or what came is not an event. The stream is then
    /// over; a new one with `after` set to [`EventStream::last_id`] goes on where this one stopped.
    pub async fn next(&mut self) -> Result<Option<Event>, ClientError> {
        loop {
            if let Some(event) = self.ready.pop_front() {
                self.last_id = Some(event.id);
                return Ok(Some(event));
            }
            let Some(frame) = self.body.frame().await else { return Ok(None) };
            let frame = frame.map_err(|source| self.client.interrupted_route(&self.route, source))?;
            if let Ok(data) = frame.into_data() {
                self.take_in(&data)?;
            }
        }
    }

    /// The id of the last event that [`EventStream::next`] gave, or where the stream was asked to begin.
    pub fn last_id(&self) -> Option<u64> {
        self.last_id
    }

    fn take_in(&mut self, data: &[u8]) -> Result<(), ClientError> {
        let mut events = Vec::new();
        self.parser
            .push(data, &mut events)
            .map_err(|error| ClientError::TooLarge { route: self.route.clone(), limit: error.limit })?;
        for event in events {
            let event = serde_json::from_str(&event.data).map_err(|error| {
                self.client.protocol(&self.route, format!("an event of the stream: {error}"))
            })?;
            self.ready.push_back(event);
        }
        Ok(())
    }
}

/// The part of a filter that a stream takes.
#[derive(serde::Serialize)]
struct StreamQuery<'a> {
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    kind: Option<&'a agentos_api::event::TypeFilter>,
    #[serde(skip_serializing_if = "Option::is_none")]
    actor: Option<&'a agentos_api::event::Actor>,
    #[serde(skip_serializing_if = "Option::is_none")]
    after: Option<u64>,
}

impl<'a> StreamQuery<'a> {
    fn of(filter: &'a EventFilter) -> Self {
        Self { kind: filter.kind.as_ref(), actor: filter.actor.as_ref(), after: filter.after }
    }
}
