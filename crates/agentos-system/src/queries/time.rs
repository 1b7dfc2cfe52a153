//! The clock: what time it is here, and whether it can be trusted.

use agentos_api::query::Time;
use agentos_api::query::time::{Args, Output};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use rustix::fs::{CWD, readlink};
use rustix::time::{ClockId, clock_gettime};

use crate::QueryError;
use crate::dispatch::Read;
use crate::machine::{Machine, Viewer};
use crate::procfs::ticks::{as_f64, at, rfc3339, rfc3339_unix, round, seconds_of, since_boot};
use crate::procfs::{number, read_at, text};

impl Read for Time {
    fn read(_machine: &Machine, _viewer: Viewer, _args: Args) -> Result<Output, QueryError> {
        let now = Timestamp::now();
        let uptime = since_boot();
        let awake = seconds_of(clock_gettime(ClockId::Monotonic));
        let (name, zone) = time_zone();
        let adjusted = kernel_clock();
        Ok(Output {
            utc: format!("{now:.3}"),
            local: format!("{:.3}", now.to_zoned(zone).strftime("%Y-%m-%dT%H:%M:%S%.3f%:z")),
            time_zone: name,
            synchronized: adjusted.map(|(synchronized, _)| synchronized),
            maximum_error_seconds: adjusted
                .filter(|(synchronized, _)| *synchronized)
                .map(|(_, error)| round(error, 6)),
            booted: rfc3339(at(0.0)),
            uptime_seconds: round(uptime, 2),
            // The two clocks are read one after the other.
            asleep_seconds: round((uptime - awake).max(0.0), 1),
            hardware_clock: number("/sys/class/rtc/rtc0/since_epoch")
                .and_then(|seconds| rfc3339_unix(i64::try_from(seconds).ok()?)),
            clock_source: text("/sys/devices/system/clocksource/clocksource0/current_clocksource"),
        })
    }
}

/// The machine's time zone as localtime(5) has it: `/etc/localtime` is a link into the zone files, or a copy of one.
fn time_zone() -> (String, TimeZone) {
    let linked = readlink("/etc/localtime", Vec::new())
        .ok()
        .and_then(|target| zone_name(&target.to_string_lossy()).map(str::to_owned));
    let name = linked.or_else(|| text("/etc/timezone")).unwrap_or_else(|| "UTC".to_owned());
    let zone =
        read_at(CWD, "/etc/localtime", 256 << 10).ok().and_then(|file| TimeZone::tzif(&name, &file).ok());
    match zone {
        Some(zone) => (name, zone),
        None => ("UTC".to_owned(), TimeZone::UTC),
    }
}

/// `Europe/Berlin` out of `/usr/share/zoneinfo/Europe/Berlin`.
fn zone_name(target: &str) -> Option<&str> {
    target.split_once("zoneinfo/").map(|(_, name)| name).filter(|name| !name.is_empty())
}

/// Whether the kernel's clock is kept in step, and its maximum error in seconds (adjtimex(2)).
fn kernel_clock() -> Option<(bool, f64)> {
    // SAFETY: `timex` is a C structure of integers, for which all zeroes is a value.
    let mut state: libc::timex = unsafe { std::mem::zeroed() };
    // SAFETY: `modes` is zero, so that the call only fills `state`, which is valid and ours for its duration.
    let answer = unsafe { libc::adjtimex(&raw mut state) };
    let error = u64::try_from(state.maxerror).unwrap_or(0);
    (answer >= 0).then(|| {
        let synchronized = answer != libc::TIME_ERROR && state.status & libc::STA_UNSYNC == 0;
        (synchronized, as_f64(error) / 1e6)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clock_is_this_machines() {
        let machine = Machine::new(crate::MachineOptions::default());
        let answer = machine.query("time", b"", Viewer::default()).unwrap();
        let output: Output = serde_json::from_slice(&answer).unwrap();
        let utc: Timestamp = output.utc.parse().unwrap();
        let local: Timestamp = output.local.parse().unwrap();
        assert_eq!(utc, local);
        assert!(utc.duration_since(Timestamp::now()).as_secs_f64().abs() < 2.0);
        let stat = std::fs::read_to_string("/proc/stat").unwrap();
        let boot: i64 = stat.lines().find_map(|line| line.strip_prefix("btime ")).unwrap().parse().unwrap();
        let booted: Timestamp = output.booted.parse().unwrap();
        assert!((booted.as_second() - boot).abs() <= 1, "{booted} {boot}");
        let date = std::process::Command::new("date").arg("+%:z").env_remove("TZ").output().unwrap().stdout;
        assert!(output.local.ends_with(String::from_utf8_lossy(&date).trim()), "{}", output.local);
    }

    #[test]
    fn the_zone_is_named_by_the_link() {
        assert_eq!(zone_name("/usr/share/zoneinfo/Europe/Berlin"), Some("Europe/Berlin"));
        assert_eq!(zone_name("../etc/zoneinfo/UTC"), Some("UTC"));
        assert_eq!(zone_name("/elsewhere"), None);
    }
}
