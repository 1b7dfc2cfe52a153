//! The machine at a glance. Asked often, so what was measured less than [`FRESH`] ago is given again.

use std::sync::Arc;
use std::time::{Duration, Instant};

use agentos_api::query::Health;
use agentos_api::query::health::{Args, Cpu, Disk, Load, Output, Ram, Swap};
use rustix::fs::StatVfs;

use crate::QueryError;
use crate::dispatch::Read;
use crate::machine::{Machine, Viewer, lock};
use crate::procfs::ticks::{percent, round, since_boot};
use crate::procfs::{decimal, keyed, read};

/// How long one measurement stands for the present.
const FRESH: Duration = Duration::from_millis(500);

/// The latest measurement and the CPU counters it was made from.
#[derive(Debug, Default)]
pub(crate) struct Kept {
    latest: Option<(Instant, Arc<Output>)>,
    counters: Option<CpuCounters>,
}

/// The first line of `/proc/stat`, all processors together, in ticks since boot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct CpuCounters {
    idle: u64,
    total: u64,
}

impl Machine {
    /// The machine at a glance, measured at most half a second ago; `measured_at` says when.
    ///
    /// # Errors
    /// [`QueryError::Io`] where `/proc` is missing.
    pub fn health(&self) -> Result<Arc<Output>, QueryError> {
        let mut kept = lock(&self.health);
        if let Some((at, output)) = &kept.latest
            && at.elapsed() < FRESH
        {
            return Ok(Arc::clone(output));
        }
        let counters = cpu_counters(&read("/proc/stat", 8192)?)
            .ok_or_else(|| QueryError::not_found("the line cpu of /proc/stat"))?;
        let interval = match (&kept.latest, kept.counters) {
            (Some((at, _)), Some(earlier)) => Some((at.elapsed(), earlier)),
            _ => None,
        };
        let output = Arc::new(measure(self, counters, interval)?);
        kept.counters = Some(counters);
        kept.latest = Some((Instant::now(), Arc::clone(&output)));
        Ok(output)
    }
}

impl Read for Health {
    fn read(machine: &Machine, _viewer: Viewer, _args: Args) -> Result<Output, QueryError> {
        machine.health().map(Arc::unwrap_or_clone)
    }
}

fn measure(
    machine: &Machine,
    now: CpuCounters,
    earlier: Option<(Duration, CpuCounters)>,
) -> Result<Output, QueryError> {
    let memory = read("/proc/meminfo", 16 << 10)?;
    let memory_bytes = |key| keyed::bytes(&memory, key).unwrap_or(0);
    let (total, available) = (memory_bytes("MemTotal"), memory_bytes("MemAvailable"));
    let swap = memory_bytes("SwapTotal");
    let uptime = since_boot();
    let (interval, since) = earlier
        .map_or((uptime, CpuCounters { idle: 0, total: 0 }), |(interval, counters)| {
            (interval.as_secs_f64(), counters)
        });
    let elapsed = now.total.saturating_sub(since.total);
    let busy = elapsed.saturating_sub(now.idle.saturating_sub(since.idle));
    let name = rustix::system::uname();
    Ok(Output {
        hostname: name.nodename().to_string_lossy().into_owned(),
        kernel: name.release().to_string_lossy().into_owned(),
        measured_at: format!("{:.3}", jiff::Timestamp::now()),
        uptime_seconds: round(uptime, 2),
        load: load(&read("/proc/loadavg", 256)?),
        cpu: Cpu {
            count: online_processors(),
            used_percent: percent(busy, elapsed),
            interval_seconds: round(interval, 3),
        },
        ram: Ram {
            total_bytes: total,
            available_bytes: available,
            used_bytes: total.saturating_sub(available),
            used_percent: percent(total.saturating_sub(available), total),
        },
        swap: Swap { total_bytes: swap, used_bytes: swap.saturating_sub(memory_bytes("SwapFree")) },
        disk: root_disk(machine)?,
    })
}

fn root_disk(machine: &Machine) -> Result<Disk, QueryError> {
    let usage = machine.guard.call("the root file system", Duration::from_secs(2), || {
        rustix::fs::statvfs("/").map_err(|error| QueryError::io("the root file system", error))
    })?;
    let (total, used, available) = sizes(&usage);
    Ok(Disk {
        mount_point: "/".to_owned(),
        total_bytes: total,
        available_bytes: available,
        used_bytes: used,
        used_percent: percent(used, used.saturating_add(available)),
    })
}

/// Total, used and available bytes of a file system, as df(1) counts them.
pub(crate) fn sizes(usage: &StatVfs) -> (u64, u64, u64) {
    let bytes = |blocks: u64| blocks.saturating_mul(usage.f_frsize);
    (bytes(usage.f_blocks), bytes(usage.f_blocks.saturating_sub(usage.f_bfree)), bytes(usage.f_bavail))
}

/// `user nice system idle iowait irq softirq steal guest guest_nice`; guest time is part of user time already.
fn cpu_counters(stat: &[u8]) -> Option<CpuCounters> {
    let line = stat.split(|&byte| byte == b'\n').next()?.strip_prefix(b"cpu ")?;
    let mut total = 0u64;
    let mut idle = 0u64;
    let fields = line.trim_ascii().split(|&byte| byte == b' ').take(8);
    for (index, field) in fields.enumerate() {
        let ticks = decimal(field)?;
        total = total.checked_add(ticks)?;
        if matches!(index, 3 | 4) {
            idle = idle.checked_add(ticks)?;
        }
    }
    Some(CpuCounters { idle, total })
}

/// Processors that take work now.
pub(crate) fn online_processors() -> u32 {
    crate::procfs::text("/sys/devices/system/cpu/online")
        .and_then(|list| count_in_list(&list))
        .or_else(|| {
            std::thread::available_parallelism().ok().and_then(|count| u32::try_from(count.get()).ok())
        })
        .unwrap_or(1)
}

/// How many numbers a kernel list such as `0-3,8` holds.
fn count_in_list(list: &str) -> Option<u32> {
    list.split(',').try_fold(0u32, |count, range| {
        let (from, to) = range.split_once('-').unwrap_or((range, range));
        let (from, to): (u32, u32) = (from.parse().ok()?, to.parse().ok()?);
        count.checked_add(to.checked_sub(from)?.checked_add(1)?)
    })
}

fn load(content: &[u8]) -> Load {
    let content = String::from_utf8_lossy(content);
    let mut fields = content.split(' ').map(|field| field.parse().unwrap_or(0.0));
    let mut next = || fields.next().unwrap_or(0.0);
    Load { one_minute: next(), five_minutes: next(), fifteen_minutes: next() }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::MachineOptions;

    #[test]
    fn the_machine_is_the_one_that_other_interfaces_show() {
        let machine = Machine::new(MachineOptions::default());
        let health = machine.health().unwrap();
        let meminfo = std::fs::read_to_string("/proc/meminfo").unwrap();
        assert!(meminfo.contains(&format!("{} kB", health.ram.total_bytes / 1024)));
        assert_eq!(health.hostname, std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap().trim());
        let uptime = std::fs::read_to_string("/proc/uptime").unwrap();
        let uptime: f64 = uptime.split(' ').next().unwrap().parse().unwrap();
        assert!((uptime - health.uptime_seconds).abs() < 5.0);
        assert!(health.disk.used_bytes <= health.disk.total_bytes);
    }

    #[test]
    fn a_fresh_measurement_is_given_again_and_an_old_one_is_not() {
        let machine = Machine::new(MachineOptions::default());
        let first = machine.health().unwrap();
        assert!(Arc::ptr_eq(&first, &machine.health().unwrap()));
        std::thread::sleep(FRESH);
        let later = machine.health().unwrap();
        assert!(!Arc::ptr_eq(&first, &later));
        assert!(later.cpu.interval_seconds >= FRESH.as_secs_f64() && later.cpu.interval_seconds < 60.0);
        assert!((0.0..=100.0).contains(&later.cpu.used_percent));
    }

    #[test]
    fn guest_time_is_not_counted_twice() {
        let counters = cpu_counters(b"cpu  10 1 5 80 4 0 0 0 9 9\ncpu0 1\n").unwrap();
        assert_eq!(counters, CpuCounters { idle: 84, total: 100 });
    }

    #[test]
    fn processor_lists_are_counted() {
        assert_eq!(count_in_list("0-3,8,10-11"), Some(7));
        assert_eq!(count_in_list("3-1"), None);
        assert_eq!(count_in_list(""), None);
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_panic(content: Vec<u8>) {
            let _ = cpu_counters(&content);
            let _ = load(&content);
            let _ = count_in_list(&String::from_utf8_lossy(&content));
        }
    }
}
