//! The times that scenarios can use in arguments, in UTC.

use jiff::civil::Time;
use jiff::{Timestamp, ToSpan, tz::TimeZone};
use serde_json::{Value, json};

/// Where the current time comes from.
#[derive(Clone, Copy, Debug)]
pub enum Clock {
    /// The machine's.
    System,
    /// Always this, for tests that compare texts.
    Fixed(Timestamp),
}

impl Clock {
    /// `now`; `today`, the last midnight; `last_night_from` and `last_night_to`, from 20:00 of the day before until 08:00,
    /// or until now when it is earlier. RFC 3339, UTC.
    pub fn now(&self) -> Value {
        let now = match self {
            Self::System => Timestamp::now(),
            Self::Fixed(at) => *at,
        };
        let zoned = now.to_zoned(TimeZone::UTC);
        let at = |date: jiff::civil::Date, hour: i8| {
            let time = date.to_datetime(Time::constant(hour, 0, 0, 0));
            // UTC has no gaps: only a date at the end of the calendar could fail, and then now is as good.
            time.to_zoned(TimeZone::UTC).map_or(now, |zoned| zoned.timestamp())
        };
        let today = zoned.date();
        let yesterday = today.checked_sub(1.day()).unwrap_or(today);
        json!({
            "now": text(now),
            "today": text(at(today, 0)),
            "last_night_from": text(at(yesterday, 20)),
            "last_night_to": text(at(today, 8).min(now)),
        })
    }
}

fn text(at: Timestamp) -> String {
    at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn last_night_ends_in_the_morning_or_now() {
        let noon = Clock::Fixed("2026-03-01T12:30:00Z".parse().unwrap()).now();
        assert_eq!(noon["today"], "2026-03-01T00:00:00Z");
        assert_eq!(noon["last_night_from"], "2026-02-28T20:00:00Z");
        assert_eq!(noon["last_night_to"], "2026-03-01T08:00:00Z");
        let early = Clock::Fixed("2026-03-01T03:00:00Z".parse().unwrap()).now();
        assert_eq!(early["last_night_to"], early["now"]);
    }
}
