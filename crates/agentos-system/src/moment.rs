//! Moments in time, as the machine's services count them and as people write them.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use jiff::Timestamp;

use crate::QueryError;

/// Microseconds since 1970 as RFC 3339 in UTC with six digits. `None` for 0 and for the largest number, with which
/// systemd says "never", and for what lies beyond the year 9999.
pub(crate) fn from_micros(micros: u64) -> Option<String> {
    if micros == 0 || micros == u64::MAX {
        return None;
    }
    let timestamp = Timestamp::from_microsecond(i64::try_from(micros).ok()?).ok()?;
    Some(format!("{timestamp:.6}"))
}

/// Seconds since 1970 as RFC 3339 in UTC. `None` as for [`from_micros`].
pub(crate) fn from_seconds(seconds: i64) -> Option<String> {
    (seconds > 0)
        .then(|| Timestamp::from_second(seconds).ok())
        .flatten()
        .map(|timestamp| timestamp.to_string())
}

/// Microseconds since 1970, now.
pub(crate) fn now_micros() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
}

/// What a caller wrote as a moment: RFC 3339 with its offset, or `-2h`, `-30m`, `-90s`, `-1d`, `-1w` back from `now`.
/// In microseconds since 1970.
///
/// # Errors
/// [`QueryError::InvalidArgument`] naming `field`.
pub(crate) fn parse(field: &str, text: &str, now: u64) -> Result<u64, QueryError> {
    let wrong = || {
        let shown: String = text.chars().take(40).collect();
        QueryError::invalid(
            field,
            format!(
                "{shown:?} is not a moment: write RFC 3339 (2026-05-01T08:00:00Z) or back from now (-2h, -30m, -1d)"
            ),
        )
    };
    if text == "now" {
        return Ok(now);
    }
    if let Some(back) = text.strip_prefix('-') {
        return seconds_back(back)
            .and_then(|seconds| now.checked_sub(seconds.checked_mul(1_000_000)?))
            .ok_or_else(wrong);
    }
    if text.len() > 64 {
        return Err(wrong());
    }
    let timestamp: Timestamp = text.parse().map_err(|_| wrong())?;
    u64::try_from(timestamp.as_microsecond()).map_err(|_| wrong())
}

/// `90m` in seconds.
fn seconds_back(text: &str) -> Option<u64> {
    let unit = text.chars().last()?;
    let number = text.strip_suffix(unit)?;
    // More digits than these would reach beyond 1970 in any unit.
    if number.is_empty() || number.len() > 10 || !number.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let seconds = match unit {
        's' => 1,
        'm' => 60,
        'h' => 3600,
        'd' => 86_400,
        'w' => 7 * 86_400,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(seconds)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NOW: u64 = 1_780_000_000_000_000;

    #[test]
    fn both_forms_are_understood() {
        assert_eq!(parse("since", "1970-01-01T01:00:01+01:00", NOW).unwrap(), 1_000_000);
        assert_eq!(parse("since", "-2h", NOW).unwrap(), NOW - 7_200_000_000);
        assert_eq!(parse("since", "-1w", NOW).unwrap(), NOW - 604_800_000_000);
        assert_eq!(parse("since", "now", NOW).unwrap(), NOW);
    }

    #[test]
    fn anything_else_is_refused_with_the_field_and_the_forms() {
        for bad in [
            "",
            "-",
            "yesterday",
            "-2",
            "-h",
            "--2h",
            "-9999999999w",
            "2026-05-01",
            "1 hour ago",
            "@5",
            "-٣h",
        ] {
            let error = parse("until", bad, NOW).unwrap_err();
            assert!(matches!(&error, QueryError::InvalidArgument { field, .. } if field == "until"), "{bad}");
            assert!(error.to_string().contains("-2h"), "{error}");
        }
    }

    #[test]
    fn never_is_no_moment() {
        assert_eq!((from_micros(0), from_micros(u64::MAX), from_seconds(0)), (None, None, None));
        assert_eq!(from_micros(1_500_000).unwrap(), "1970-01-01T00:00:01.500000Z");
        assert_eq!(from_seconds(86_400).unwrap(), "1970-01-02T00:00:00Z");
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(micros in 1u64..250_000_000_000_000_000) {
            let text = from_micros(micros).unwrap();
            prop_assert_eq!(parse("since", &text, NOW).unwrap(), micros);
        }

        #[test]
        fn any_text_is_read_without_panic(text in "\\PC{0,80}", now: u64) {
            let _ = parse("since", &text, now);
            let _ = parse("since", &format!("-{text}"), now);
        }
    }
}
