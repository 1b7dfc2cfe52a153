//! What was recorded since: the end of the ledger before something, and the events after it.

use agentos_api::Bounded;
use agentos_api::event::{Event, EventFilter, Order};

use crate::client::Client;
use crate::error::ClientError;

/// Events a page.
const PAGE: u64 = 1000;
/// Most pages that are read.
const MOST_PAGES: usize = 20;

impl Client {
    /// The id of the newest event; 0 where there is none.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn newest_event(&self) -> Result<u64, ClientError> {
        let filter =
            EventFilter { order: Some(Order::Newest), limit: page_limit(1), ..EventFilter::default() };
        Ok(self.events_page(&filter).await?.events.first().map_or(0, |event| event.id))
    }

    /// The events after the one with the id `after`, oldest first: at most 20,000.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn events_after(&self, after: u64) -> Result<Vec<Event>, ClientError> {
        let mut filter = EventFilter {
            after: Some(after),
            order: Some(Order::Oldest),
            limit: page_limit(PAGE),
            ..EventFilter::default()
        };
        let mut events = Vec::new();
        for _ in 0..MOST_PAGES {
            let page = self.events_page(&filter).await?;
            events.extend(page.events);
            match page.next {
                Some(next) => filter.after = Some(next),
                None => break,
            }
        }
        Ok(events)
    }
}

fn page_limit(limit: u64) -> agentos_api::event::PageLimit {
    Bounded::new(limit).unwrap_or_default()
}
