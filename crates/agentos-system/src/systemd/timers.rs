//! The query `timers`: what systemd starts by the clock, the next one first.

use agentos_api::query::Timers;
use agentos_api::query::timers::{Args, Output, Timer};
use rustix::time::{ClockId, clock_gettime};

use super::{ListedUnit, Manager, SERVICE};
use crate::bus::{BusError, Properties, number, text};
use crate::dispatch::Read;
use crate::machine::{Machine, Viewer};
use crate::{QueryError, moment};

const TIMER: &str = "org.freedesktop.systemd1.Timer";

/// Schedules of one timer.
const MAX_SCHEDULES: usize = 20;

impl Read for Timers {
    fn read(machine: &Machine, _viewer: Viewer, args: Args) -> Result<Output, QueryError> {
        super::ask(machine, &async |manager| read(manager, &args).await)
    }
}

async fn read(manager: Manager<'_>, args: &Args) -> Result<Output, BusError> {
    let mut units = manager.units(&[], &["*.timer"]).await?;
    units.retain(|unit| unit.load_state != "not-found" && (args.inactive || unit.active_state != "inactive"));
    let now = Now { realtime: moment::now_micros(), monotonic: monotonic() };
    let mut timers = Vec::new();
    for unit in units {
        let Some(path) = &unit.path else { continue };
        let properties = manager.peer.properties(SERVICE, path.as_str(), TIMER).await?;
        timers.push(timer(unit, &properties, now));
    }
    timers.sort_by(|(left, a), (right, b)| {
        left.unwrap_or(u64::MAX).cmp(&right.unwrap_or(u64::MAX)).then_with(|| a.unit.cmp(&b.unit))
    });
    let (total, offset) = (timers.len(), args.offset.as_usize());
    let timers: Vec<Timer> =
        timers.into_iter().skip(offset).take(args.limit.as_usize()).map(|(_, timer)| timer).collect();
    let next = offset + timers.len();
    let next_offset = (next < total && !timers.is_empty()).then_some(next as u64);
    Ok(Output { timers, total: total as u64, next_offset })
}

/// Both clocks at one moment, in microseconds.
#[derive(Clone, Copy, Debug)]
struct Now {
    realtime: u64,
    monotonic: u64,
}

fn monotonic() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    let (seconds, nanoseconds) =
        (u64::try_from(now.tv_sec).unwrap_or(0), u64::try_from(now.tv_nsec).unwrap_or(0));
    seconds.saturating_mul(1_000_000).saturating_add(nanoseconds / 1000)
}

fn timer(unit: ListedUnit, properties: &Properties, now: Now) -> (Option<u64>, Timer) {
    let next = next_elapse(
        properties.number("NextElapseUSecRealtime"),
        properties.number("NextElapseUSecMonotonic"),
        now,
    );
    let timer = Timer {
        unit: unit.name,
        description: unit.description,
        activates: properties.text("Unit").unwrap_or_default(),
        active_state: unit.active_state,
        sub_state: unit.sub_state,
        schedule: schedule(properties),
        next: next.and_then(moment::from_micros),
        next_in_seconds: next.map(|next| seconds(next.saturating_sub(now.realtime))),
        last: properties.number("LastTriggerUSec").and_then(moment::from_micros),
        persistent: properties.is("Persistent"),
    };
    (next, timer)
}

/// The earlier of the two moments a timer waits for, on the wall clock. Zero stands for none.
fn next_elapse(realtime: Option<u64>, monotonic: Option<u64>, now: Now) -> Option<u64> {
    let realtime = realtime.filter(|&at| at > 0);
    let monotonic = monotonic.filter(|&at| at > 0).map(|at| {
        let ahead = at.saturating_sub(now.monotonic);
        now.realtime.saturating_add(ahead)
    });
    match (realtime, monotonic) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    }
}

/// `OnCalendar=` rows hold the setting, its text and the next moment; the others the setting, microseconds and the next
/// moment.
fn schedule(properties: &Properties) -> Vec<String> {
    let calendar = properties.rows("TimersCalendar", MAX_SCHEDULES).filter_map(|fields| match fields {
        [setting, expression, ..] => Some(format!("{}={}", text(setting)?, text(expression)?)),
        _ => None,
    });
    let monotonic = properties.rows("TimersMonotonic", MAX_SCHEDULES).filter_map(|fields| match fields {
        [setting, value, ..] => {
            // The property is named `OnBootUSec` where the setting in the unit is `OnBootSec`.
            let setting = text(setting)?.replace("USec", "Sec");
            Some(format!("{setting}={}", span(number(value)?)))
        }
        _ => None,
    });
    calendar.chain(monotonic).collect()
}

/// Microseconds as systemd.time(7) writes a span: `1d 2h`, `15min`.
fn span(micros: u64) -> String {
    const UNITS: [(u64, &str); 7] = [
        (604_800_000_000, "w"),
        (86_400_000_000, "d"),
        (3_600_000_000, "h"),
        (60_000_000, "min"),
        (1_000_000, "s"),
        (1000, "ms"),
        (1, "us"),
    ];
    let mut rest = micros;
    let mut parts = Vec::new();
    for (size, name) in UNITS {
        if rest >= size {
            parts.push(format!("{}{name}", rest / size));
            rest %= size;
        }
    }
    if parts.is_empty() { "0".to_owned() } else { parts.join(" ") }
}

#[expect(clippy::cast_precision_loss, reason = "a wait stays far below 2^53 milliseconds")]
fn seconds(micros: u64) -> f64 {
    (micros / 1000) as f64 / 1000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Now = Now { realtime: 1_000_000_000, monotonic: 5_000_000 };

    #[test]
    fn the_earlier_of_both_clocks_is_next() {
        assert_eq!(next_elapse(Some(1_000_500_000), Some(5_100_000), NOW), Some(1_000_100_000));
        assert_eq!(next_elapse(Some(1_000_050_000), Some(5_100_000), NOW), Some(1_000_050_000));
        assert_eq!(next_elapse(Some(0), Some(4_000_000), NOW), Some(1_000_000_000), "it is due");
        assert_eq!(next_elapse(None, Some(0), NOW), None);
    }

    #[test]
    fn a_span_is_written_as_in_a_unit() {
        assert_eq!(span(900_000_000), "15min");
        assert_eq!(span(93_600_000_000), "1d 2h");
        assert_eq!(span(0), "0");
        assert_eq!(span(1_500), "1ms 500us");
    }
}
