//! Times as the ledger writes them: `YYYY-MM-DDTHH:MM:SS.mmmZ`, 24 bytes, UTC, so that text order is time order.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use jiff::Timestamp;

/// The clock shows a time that four digits cannot write as a year.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the system clock is outside the years 0 to 9999; set it")]
pub(crate) struct ClockError;

/// `milliseconds` since 1970 in the ledger's form.
pub(crate) fn format(milliseconds: i64) -> Result<String, ClockError> {
    let timestamp = Timestamp::from_millisecond(milliseconds).map_err(|_| ClockError)?;
    let text = timestamp.strftime("%Y-%m-%dT%H:%M:%S.%3fZ").to_string();
    if text.len() == 24 { Ok(text) } else { Err(ClockError) }
}

/// The first of the ledger's times that is not before `timestamp`: what a `since` or an `until` is compared with.
pub(crate) fn bound(timestamp: Timestamp) -> Result<String, ClockError> {
    let milliseconds = timestamp.as_millisecond();
    let exact = timestamp.subsec_nanosecond() % 1_000_000 == 0;
    // `as_millisecond` rounds towards zero: down after 1970, up before it.
    format(if exact || milliseconds < 0 { milliseconds } else { milliseconds + 1 })
}

/// The system's clock, keeping the last text since a group of events often falls into one millisecond.
#[derive(Debug)]
pub(crate) struct Clock {
    read: fn() -> SystemTime,
    last: Option<(i64, Arc<str>)>,
}

impl Clock {
    pub(crate) fn new(read: fn() -> SystemTime) -> Self {
        Self { read, last: None }
    }

    /// The time now, as the clock shows it: where it was set back, so are the times.
    pub(crate) fn now(&mut self) -> Result<Arc<str>, ClockError> {
        let now = (self.read)();
        let milliseconds = match now.duration_since(UNIX_EPOCH) {
            Ok(since) => i64::try_from(since.as_millis()),
            Err(before) => i64::try_from(before.duration().as_millis()).map(|ago| -ago),
        }
        .map_err(|_| ClockError)?;
        match &self.last {
            Some((at, text)) if *at == milliseconds => Ok(Arc::clone(text)),
            _ => {
                let text: Arc<str> = format(milliseconds)?.into();
                self.last = Some((milliseconds, Arc::clone(&text)));
                Ok(text)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_24_bytes_of_utc() {
        assert_eq!(format(0).unwrap(), "1970-01-01T00:00:00.000Z");
        assert_eq!(format(1_767_323_045_678).unwrap(), "2026-01-02T03:04:05.678Z");
        assert_eq!(format(-1).unwrap(), "1969-12-31T23:59:59.999Z");
        assert!(format(i64::MAX).is_err());
    }

    #[test]
    fn events_after_the_clock_was_set_back_keep_their_order_and_the_time_it_showed() {
        use std::sync::atomic::{AtomicU64, Ordering};
        use std::time::Duration;

        use agentos_api::event::{Actor, EventFilter, EventType, Order};

        use crate::{Ledger, LedgerOptions, NewEvent, VerifyOptions, verify};

        static SECONDS: AtomicU64 = AtomicU64::new(0);
        let directory = tempfile::tempdir().unwrap();
        let mut options = LedgerOptions::new(directory.path(), "ledger.test/host");
        options.clock = || UNIX_EPOCH + Duration::from_secs(SECONDS.load(Ordering::Relaxed));
        let at = |ledger: &Ledger, seconds| {
            SECONDS.store(seconds, Ordering::Relaxed);
            let (kind, actor) = (EventType::new("test").unwrap(), Actor::new("agent").unwrap());
            let event = NewEvent::new(kind, actor, &serde_json::json!({})).unwrap();
            ledger.append_blocking(event).unwrap()
        };
        let ledger = Ledger::open(&options).unwrap();
        for (id, seconds) in [(1, 5000), (2, 5001), (3, 1000), (4, 1000), (5, 6000)] {
            assert_eq!(at(&ledger, seconds).id, id);
        }
        drop(ledger);
        // Opened while the clock is behind the last event, it goes on as well.
        let ledger = Ledger::open(&options).unwrap();
        assert_eq!(at(&ledger, 10).id, 6);
        let filter = EventFilter { order: Some(Order::Oldest), ..EventFilter::default() };
        let page = ledger.page(&filter).unwrap();
        let times: Vec<&str> = page.events.iter().map(|event| &event.ts[14..19]).collect();
        assert_eq!(times, ["23:20", "23:21", "16:40", "16:40", "40:00", "00:10"]);
        let since = |text: &str| EventFilter { since: Some(text.parse().unwrap()), ..EventFilter::default() };
        let page = ledger.page(&since("1970-01-01T01:23:20Z")).unwrap();
        assert_eq!(
            page.events.iter().map(|event| event.id).collect::<Vec<_>>(),
            [5, 2, 1],
            "by time, in id order"
        );
        let report = verify(ledger.path(), VerifyOptions::default()).unwrap();
        assert_eq!((report.size, report.clock_set_back), (6, 2));
        // A clock from before 1970 is a time as well; one that no year can be written for is refused.
        options.clock = || UNIX_EPOCH - Duration::from_secs(1);
        drop(ledger);
        let ledger = Ledger::open(&options).unwrap();
        assert_eq!(&*at(&ledger, 0).ts, "1969-12-31T23:59:59.000Z");
    }

    #[test]
    fn a_bound_between_two_milliseconds_is_the_later_one() {
        let bound_of = |text: &str| bound(text.parse().unwrap()).unwrap();
        assert_eq!(bound_of("2026-01-02T03:04:05.678Z"), "2026-01-02T03:04:05.678Z");
        assert_eq!(bound_of("2026-01-02T03:04:05.6780001Z"), "2026-01-02T03:04:05.679Z");
        assert_eq!(bound_of("2026-01-02T05:04:05+02:00"), "2026-01-02T03:04:05.000Z");
    }
}
