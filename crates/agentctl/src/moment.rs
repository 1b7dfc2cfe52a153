//! Moments as people type them: RFC 3339, local date and time, or how long ago.

use jiff::civil::DateTime;
use jiff::{SignedDuration, Timestamp};

use crate::output::Clock;

/// How a moment may be written, for messages and help.
pub(crate) const FORMS: &str =
    "use 2h (ago), today, yesterday, 2026-01-31, \"2026-01-31 14:00\" or 2026-01-31T14:00:00Z";

/// The moment that `text` means; days and times of day are local.
pub(crate) fn parse(text: &str, clock: &Clock) -> Result<Timestamp, String> {
    let text = text.trim();
    let unusable = || format!("{text:?} is not a moment: {FORMS}");
    if let Ok(moment) = text.parse::<Timestamp>() {
        return Ok(moment);
    }
    let today = clock.now().to_zoned(clock.zone.clone()).date();
    let civil: DateTime = match text {
        "now" => return Ok(clock.now()),
        "today" => today.into(),
        "yesterday" => today.yesterday().map_err(|_| unusable())?.into(),
        _ => match ago(text) {
            Some(span) => return clock.now().checked_sub(span).map_err(|_| unusable()),
            None => text.parse().map_err(|_| unusable())?,
        },
    };
    civil.to_zoned(clock.zone.clone()).map(|zoned| zoned.timestamp()).map_err(|_| unusable())
}

/// `90s`, `15m`, `2h`, `7d`, `3w`, with or without a minus sign or ` ago`.
fn ago(text: &str) -> Option<SignedDuration> {
    let text = text.strip_prefix('-').unwrap_or(text);
    span(text.strip_suffix("ago").map_or(text, str::trim_end))
}

/// `90s`, `15m`, `2h`, `7d`, `3w`.
pub(crate) fn span(text: &str) -> Option<SignedDuration> {
    let unit = text.chars().last()?;
    let seconds = match unit {
        's' => 1,
        'm' => 60,
        'h' => 3_600,
        'd' => 86_400,
        'w' => 604_800,
        _ => return None,
    };
    let number: i64 = text.strip_suffix(unit)?.trim_end().parse().ok().filter(|number| *number >= 0)?;
    number.checked_mul(seconds).map(SignedDuration::from_secs)
}

#[cfg(test)]
mod tests {
    use jiff::tz::{TimeZone, offset};
    use proptest::prelude::*;

    use super::*;

    fn clock() -> Clock {
        Clock::fixed("2026-01-02T00:30:00Z".parse().unwrap(), TimeZone::fixed(offset(1)))
    }

    fn at(text: &str) -> String {
        parse(text, &clock()).unwrap().to_string()
    }

    #[test]
    fn a_moment_may_be_written_in_many_ways() {
        assert_eq!(at("2026-01-01T10:00:00Z"), "2026-01-01T10:00:00Z");
        assert_eq!(at("2026-01-01 10:00"), "2026-01-01T09:00:00Z");
        assert_eq!(at("2026-01-01"), "2025-12-31T23:00:00Z");
        assert_eq!(at("today"), "2026-01-01T23:00:00Z");
        assert_eq!(at("yesterday"), "2025-12-31T23:00:00Z");
        assert_eq!(at("2h"), "2026-01-01T22:30:00Z");
        assert_eq!(at("-90s"), "2026-01-02T00:28:30Z");
        assert_eq!(at("3 d ago"), "2025-12-30T00:30:00Z");
    }

    #[test]
    fn what_is_no_moment_is_answered_with_what_is() {
        for bad in ["", "soon", "5", "h", "-", "9999999999999999999w", "99999999999999w", "2026-13-01", "é"]
        {
            let error = parse(bad, &clock()).unwrap_err();
            assert!(error.contains("is not a moment: use 2h (ago)"), "{error}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_a_moment_or_refused(text in "\\PC{0,12}|-?[0-9]{1,20}[smhdw]( ago)?") {
            drop(parse(&text, &clock()));
        }
    }
}
