//! "The last week", "yesterday", "since the 3rd": a request's timeframe as two moments.

use agentos_api::memory::{TimeRange, Timeframe};
use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp, ToSpan, Zoned};

use crate::error::MemoryError;

const FORMS: &str = "is not a time: write 30m, 24h, 7d or 2w, a day (today, yesterday, 2026-11-22), or a moment (2026-11-22T14:00:00Z)";

/// From `since` on, up to but without `until`, in seconds since 1970; an open side is `None`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Span {
    pub(crate) since: Option<i64>,
    pub(crate) until: Option<i64>,
}

/// What one text means: a day has a beginning and an end, a moment is both.
struct Moments {
    begin: i64,
    end: i64,
    is_day: bool,
}

/// The span that `timeframe` means at `now`; days are days of `now`'s time zone.
pub(crate) fn resolve(timeframe: &Timeframe, now: &Zoned) -> Result<Span, MemoryError> {
    let span = match timeframe {
        Timeframe::Text(text) => {
            let moments = moments("timeframe", text, now)?;
            Span { since: Some(moments.begin), until: moments.is_day.then_some(moments.end) }
        }
        Timeframe::Range(TimeRange { since, until }) => Span {
            since: since
                .as_deref()
                .map(|text| moments("timeframe.since", text, now))
                .transpose()?
                .map(|moments| moments.begin),
            until: until
                .as_deref()
                .map(|text| moments("timeframe.until", text, now))
                .transpose()?
                .map(|moments| moments.end),
        },
    };
    match (span.since, span.until) {
        (Some(since), Some(until)) if since >= until => {
            Err(MemoryError::invalid("timeframe", "until is not after since, so nothing can be in between"))
        }
        _ => Ok(span),
    }
}

fn moments(field: &'static str, text: &str, now: &Zoned) -> Result<Moments, MemoryError> {
    let text = text.trim();
    let day = match text {
        "today" => Some(now.date()),
        "yesterday" => now.date().yesterday().ok(),
        _ => iso_day(text),
    };
    let moments = match day {
        Some(day) => {
            day_bounds(day, now.time_zone()).map(|(begin, end)| Moments { begin, end, is_day: true })
        }
        None => ago(text, now.timestamp()).or_else(|| text.parse().ok()).map(|moment| {
            let begin = moment.as_second();
            Moments { begin, end: begin.saturating_add(1), is_day: false }
        }),
    };
    moments.ok_or_else(|| MemoryError::invalid(field, format!("{:?} {FORMS}", shown(text))))
}

/// Of a text that is refused, enough to recognise it by.
fn shown(text: &str) -> String {
    crate::entry::shorten(text, 40)
}

/// A day written `YYYY-MM-DD`, and nothing else: jiff alone would also read a day out of a whole moment.
pub(crate) fn iso_day(text: &str) -> Option<Date> {
    (text.len() == 10).then(|| text.parse().ok()).flatten()
}

/// First second of `day` and first second after it.
pub(crate) fn day_bounds(day: Date, time_zone: &TimeZone) -> Option<(i64, i64)> {
    let begin = day.to_zoned(time_zone.clone()).ok()?;
    let end = begin.checked_add(1.day()).ok()?;
    Some((begin.timestamp().as_second(), end.timestamp().as_second()))
}

/// `30m`, `24h`, `7d`, `2w` before `now`.
fn ago(text: &str, now: Timestamp) -> Option<Timestamp> {
    let unit = text.chars().last()?;
    let number = text.strip_suffix(unit)?;
    let is_number = (1..=6).contains(&number.len()) && number.bytes().all(|byte| byte.is_ascii_digit());
    let seconds: i64 = match unit {
        'm' => 60,
        'h' => 3600,
        'd' => 24 * 3600,
        'w' => 7 * 24 * 3600,
        _ => return None,
    };
    let number: i64 = is_number.then(|| number.parse().ok()).flatten()?;
    let back = SignedDuration::from_secs(number.checked_mul(seconds)?);
    // Longer ago than the calendar goes is as long ago as it goes.
    Some(now.checked_sub(back).unwrap_or(Timestamp::MIN))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn now() -> Zoned {
        "2026-11-22T14:00:00+01:00[+01:00]".parse().unwrap()
    }

    fn second(text: &str) -> i64 {
        text.parse::<Timestamp>().unwrap().as_second()
    }

    fn text(text: &str) -> Result<Span, MemoryError> {
        resolve(&Timeframe::Text(text.into()), &now())
    }

    fn range(since: Option<&str>, until: Option<&str>) -> Result<Span, MemoryError> {
        let own = |text: Option<&str>| text.map(str::to_owned);
        resolve(&Timeframe::Range(TimeRange { since: own(since), until: own(until) }), &now())
    }

    #[test]
    fn a_time_back_is_open_towards_now() {
        assert_eq!(text("24h").unwrap(), Span { since: Some(second("2026-11-21T13:00:00Z")), until: None });
        assert_eq!(text("2w").unwrap().since, Some(second("2026-11-08T13:00:00Z")));
        assert_eq!(text("30m").unwrap().since, Some(second("2026-11-22T12:30:00Z")));
    }

    #[test]
    fn a_day_is_a_day_of_the_time_zone() {
        let day =
            Span { since: Some(second("2026-11-20T23:00:00Z")), until: Some(second("2026-11-21T23:00:00Z")) };
        assert_eq!(text("yesterday").unwrap(), day);
        assert_eq!(text("2026-11-21").unwrap(), day);
        assert_eq!(text("today").unwrap().since, day.until);
    }

    #[test]
    fn a_range_includes_its_last_day() {
        let span = range(Some("2026-11-01"), Some("2026-11-03")).unwrap();
        let expected =
            Span { since: Some(second("2026-10-31T23:00:00Z")), until: Some(second("2026-11-03T23:00:00Z")) };
        assert_eq!(span, expected);
        assert_eq!(range(None, None).unwrap(), Span::default());
    }

    #[test]
    fn what_is_not_a_time_names_its_field() {
        assert_eq!(text("last week").unwrap_err().field(), Some("timeframe"));
        assert_eq!(text("-7d").unwrap_err().field(), Some("timeframe"));
        assert_eq!(text("2026-02-30").unwrap_err().field(), Some("timeframe"));
        assert_eq!(range(Some("soon"), None).unwrap_err().field(), Some("timeframe.since"));
        assert_eq!(range(None, Some("9999999d")).unwrap_err().field(), Some("timeframe.until"));
        assert_eq!(range(Some("today"), Some("yesterday")).unwrap_err().field(), Some("timeframe"));
    }

    proptest! {
        #[test]
        fn any_text_is_a_span_or_a_named_error(input in ".{0,40}|[0-9]{1,8}[mhdw]|[-0-9TZ:+]{0,30}") {
            match text(&input) {
                Ok(span) => prop_assert!(span.since.is_some()),
                Err(error) => prop_assert_eq!(error.field(), Some("timeframe")),
            }
        }
    }
}
