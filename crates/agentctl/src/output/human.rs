//! Numbers as people read them: sizes in IEC units, spans of time, moments in local time.

use jiff::tz::TimeZone;
use jiff::{Timestamp, Zoned};

/// A size: `0 B`, `1023 B`, `1.5 KiB`, `12 GiB` (IEC 80000-13 units, powers of 1024).
#[expect(clippy::cast_precision_loss, reason = "two digits are shown")]
pub(crate) fn bytes(bytes: u64) -> String {
    const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    let mut value = bytes as f64 / 1024.0;
    let mut units = UNITS.iter();
    let mut unit = units.next();
    // 1023.95 would be shown as 1024.0.
    while value >= 1023.95 {
        let Some(larger) = units.next() else { break };
        value /= 1024.0;
        unit = Some(larger);
    }
    let unit = unit.unwrap_or(&"KiB");
    if value < 9.95 { format!("{value:.1} {unit}") } else { format!("{value:.0} {unit}") }
}

/// A span of time in its two largest units: `0.35 s`, `42 s`, `3 min 5 s`, `2 h 10 min`, `12 d 3 h`.
pub(crate) fn duration(seconds: f64) -> String {
    if !seconds.is_finite() || seconds < 0.0 {
        return format!("{seconds} s");
    }
    if seconds < 10.0 && seconds.fract() != 0.0 {
        return if seconds < 0.001 { format!("{:.0} µs", seconds * 1e6) } else { format!("{seconds:.2} s") };
    }
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "not negative, and `as` saturates"
    )]
    let whole = seconds.round() as u64;
    let two = |large: u64, large_unit: &str, small: u64, small_unit: &str| {
        if small == 0 {
            format!("{large} {large_unit}")
        } else {
            format!("{large} {large_unit} {small} {small_unit}")
        }
    };
    match whole {
        0..60 => format!("{whole} s"),
        60..3_600 => two(whole / 60, "min", whole % 60, "s"),
        3_600..86_400 => two(whole / 3_600, "h", whole / 60 % 60, "min"),
        _ => two(whole / 86_400, "d", whole / 3_600 % 24, "h"),
    }
}

/// A percentage: `7.3 %`, `100 %`.
pub(crate) fn percent(value: f64) -> String {
    if value.abs() < 99.95 { format!("{value:.1} %") } else { format!("{value:.0} %") }
}

/// A whole number with its thousands apart: `1,234,567`.
pub(crate) fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut grouped = String::with_capacity(digits.len() + digits.len() / 3);
    for (position, digit) in digits.chars().enumerate() {
        if position > 0 && (digits.len() - position).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

/// A number of things: `1 event`, `1,234 events`.
pub(crate) fn counted(number: u64, thing: &str) -> String {
    format!("{} {thing}{}", count(number), if number == 1 { "" } else { "s" })
}

/// How moments are shown: against which now, in which zone.
#[derive(Clone, Debug)]
pub(crate) struct Clock {
    fixed: Option<Timestamp>,
    pub(crate) zone: TimeZone,
}

impl Clock {
    /// The machine's clock and zone.
    pub(crate) fn system() -> Self {
        Self { fixed: None, zone: TimeZone::system() }
    }

    /// A clock that stands still.
    #[cfg(test)]
    pub(crate) fn fixed(now: Timestamp, zone: TimeZone) -> Self {
        Self { fixed: Some(now), zone }
    }

    /// What time it is.
    pub(crate) fn now(&self) -> Timestamp {
        self.fixed.unwrap_or_else(Timestamp::now)
    }

    fn local(&self, moment: Timestamp) -> Zoned {
        moment.to_zoned(self.zone.clone())
    }

    /// Local date and time of day: `2026-01-02 04:04:05`.
    pub(crate) fn absolute(&self, moment: Timestamp) -> String {
        self.local(moment).strftime("%Y-%m-%d %H:%M:%S").to_string()
    }

    /// How long ago, or how long until: `5 s ago`, `3 min ago`, `in 2 h`.
    pub(crate) fn relative(&self, moment: Timestamp) -> String {
        let seconds = self.now().as_second().saturating_sub(moment.as_second());
        let span = seconds.unsigned_abs();
        let text = match span {
            0 => return "now".to_owned(),
            1..60 => format!("{span} s"),
            60..3_600 => format!("{} min", span / 60),
            3_600..172_800 => format!("{} h", span / 3_600),
            _ => format!("{} d", span / 86_400),
        };
        if seconds > 0 { format!("{text} ago") } else { format!("in {text}") }
    }

    /// Both, with the offset from UTC: `2026-01-02 04:04:05 +01:00 (3 min ago)`.
    pub(crate) fn full(&self, moment: Timestamp) -> String {
        let local = self.local(moment);
        format!("{} ({})", local.strftime("%Y-%m-%d %H:%M:%S %:z"), self.relative(moment))
    }

    /// The zone's name for a column's head: `UTC`, `CET`.
    pub(crate) fn zone_name(&self) -> String {
        self.local(self.now()).strftime("%Z").to_string()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn sizes_are_in_iec_units() {
        let shown: Vec<String> =
            [0, 1023, 1024, 1536, 10 << 20, (1 << 30) - 1, u64::MAX].into_iter().map(bytes).collect();
        assert_eq!(shown, ["0 B", "1023 B", "1.0 KiB", "1.5 KiB", "10 MiB", "1.0 GiB", "16 EiB"]);
    }

    #[test]
    fn spans_show_their_two_largest_units() {
        let shown: Vec<String> =
            [0.0, 0.000_25, 0.35, 42.0, 60.0, 185.4, 7_800.0, 86_400.0 * 12.0 + 3.0 * 3_600.0]
                .into_iter()
                .map(duration)
                .collect();
        assert_eq!(
            shown,
            ["0 s", "250 µs", "0.35 s", "42 s", "1 min", "3 min 5 s", "2 h 10 min", "12 d 3 h"]
        );
    }

    #[test]
    fn thousands_are_set_apart() {
        assert_eq!([counted(1, "event"), counted(2000, "event")], ["1 event", "2,000 events"]);
        assert_eq!([0, 999, 1000, 1_234_567].map(count), ["0", "999", "1,000", "1,234,567"]);
    }

    #[test]
    fn a_moment_is_shown_in_local_time_and_against_now() {
        let zone = TimeZone::fixed(jiff::tz::offset(1));
        let clock = Clock::fixed("2026-01-02T03:04:05Z".parse().unwrap(), zone);
        let at = |text: &str| text.parse().unwrap();
        assert_eq!(clock.full(at("2026-01-02T03:01:00.5Z")), "2026-01-02 04:01:00 +01:00 (3 min ago)");
        assert_eq!(clock.relative(at("2026-01-02T05:04:05Z")), "in 2 h");
        assert_eq!(clock.relative(at("2025-12-25T03:04:05Z")), "8 d ago");
        assert_eq!(clock.relative(clock.now()), "now");
    }

    proptest! {
        #[test]
        fn any_number_has_a_short_form(number in any::<u64>(), real in any::<f64>()) {
            prop_assert!(bytes(number).len() <= 9, "{}", bytes(number));
            prop_assert!(!duration(real).is_empty());
            prop_assert_eq!(count(number).replace(',', ""), number.to_string());
        }

        #[test]
        fn any_moment_can_be_shown(second in jiff::Timestamp::MIN.as_second()..jiff::Timestamp::MAX.as_second()) {
            let clock = Clock::fixed(Timestamp::UNIX_EPOCH, TimeZone::UTC);
            prop_assert!(!clock.full(Timestamp::from_second(second).unwrap()).is_empty());
        }
    }
}
