//! The kernel's clocks and units: ticks to seconds, pages to bytes, boot time to calendar time.

use jiff::Timestamp;
use rustix::time::{ClockId, clock_gettime};

/// The units in which `/proc` counts.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ticks {
    /// `USER_HZ`: ticks of CPU time and start time in a second (`sysconf(_SC_CLK_TCK)`).
    pub(crate) per_second: u64,
    /// Bytes in a page.
    pub(crate) page_bytes: u64,
}

impl Ticks {
    /// As the kernel told this process at its start.
    pub(crate) fn of_this_kernel() -> Self {
        Self {
            per_second: rustix::param::clock_ticks_per_second().max(1),
            page_bytes: rustix::param::page_size() as u64,
        }
    }

    /// Ticks as seconds.
    pub(crate) fn seconds(self, ticks: u64) -> f64 {
        as_f64(ticks) / as_f64(self.per_second)
    }
}

/// Seconds since boot, time asleep included: the clock that start times of processes are counted on (`CLOCK_BOOTTIME`).
pub(crate) fn since_boot() -> f64 {
    seconds_of(clock_gettime(ClockId::Boottime))
}

/// The calendar time that is `seconds_since_boot` on the boot clock, as the wall clock stands now.
///
/// `Timestamp::UNIX_EPOCH` for a time outside jiff's range, which no running clock shows.
pub(crate) fn at(seconds_since_boot: f64) -> Timestamp {
    let ago = since_boot() - seconds_since_boot;
    unix_seconds(seconds_of(clock_gettime(ClockId::Realtime)) - ago)
}

/// The calendar time of a number of seconds since 1970.
pub(crate) fn unix_seconds(seconds: f64) -> Timestamp {
    #[expect(
        clippy::cast_possible_truncation,
        reason = "a float to integer cast saturates, and the range is checked"
    )]
    Timestamp::from_millisecond((seconds * 1000.0) as i64).unwrap_or(Timestamp::UNIX_EPOCH)
}

/// RFC 3339, UTC, to the second.
pub(crate) fn rfc3339(timestamp: Timestamp) -> String {
    format!("{timestamp:.0}")
}

/// RFC 3339, UTC, to the second, of a file's time; `None` outside of what a calendar has.
pub(crate) fn rfc3339_unix(seconds: i64) -> Option<String> {
    Timestamp::from_second(seconds).ok().map(rfc3339)
}

/// Seconds that a clock shows.
pub(crate) fn seconds_of(time: rustix::time::Timespec) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "below 2^53 for the next 285 million years")]
    let (seconds, nanoseconds) = (time.tv_sec as f64, time.tv_nsec as f64);
    seconds + nanoseconds / 1e9
}

/// A count as a float. Exact below 2^53; a counter beyond that is a rate's numerator, where the last digits are noise.
#[expect(clippy::cast_precision_loss, reason = "documented above")]
pub(crate) fn as_f64(count: u64) -> f64 {
    count as f64
}

/// Part of a whole as a percentage with one decimal; zero of nothing is zero.
pub(crate) fn percent(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { round(100.0 * as_f64(part) / as_f64(whole), 1) }
}

/// Rounds to `digits` after the point: readers, human or model, get no noise digits.
pub(crate) fn round(value: f64, digits: i32) -> f64 {
    let scale = 10f64.powi(digits);
    (value * scale).round() / scale
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn now_is_now_on_both_clocks() {
        let difference = at(since_boot()).duration_since(Timestamp::now());
        assert!(difference.as_secs_f64().abs() < 0.5, "{difference}");
    }

    #[test]
    fn times_are_utc_to_the_second() {
        assert_eq!(rfc3339_unix(86_400).unwrap(), "1970-01-02T00:00:00Z");
        assert_eq!(rfc3339(unix_seconds(0.999)), "1970-01-01T00:00:00Z");
        assert_eq!(rfc3339_unix(i64::MAX), None);
    }
}
