//! Control groups by what they use. Of every group only what the order needs is read; the rest for the rows returned.

mod hierarchy;

use std::collections::HashMap;
use std::time::{Duration, Instant};

use agentos_api::query::Cgroups;
use agentos_api::query::cgroups::{Args, Cgroup, Output, Sort};
use rustix::fd::OwnedFd;

use crate::QueryError;
use crate::dispatch::Read;
use crate::machine::{Machine, Viewer};
use crate::procfs::cgroup::{unit_of, user_unit_of};
use crate::procfs::ticks::{as_f64, round};
use crate::procfs::{decimal, keyed, read_at, text_at};
use crate::samples::{Sampled, measure};
use crate::text;
pub(crate) use hierarchy::Hierarchy;

/// Groups that are looked at, at most.
const MOST: usize = 10_000;

/// What every group of the hierarchy used at one moment, by path.
#[derive(Debug)]
pub(crate) struct Sample {
    taken: Instant,
    groups: HashMap<String, Counters>,
    truncated: bool,
}

/// What the order needs of one group.
#[derive(Clone, Copy, Debug, Default)]
struct Counters {
    cpu_microseconds: Option<u64>,
    memory: u64,
    io: u64,
    tasks: u64,
}

impl Sampled for Sample {
    fn taken(&self) -> Instant {
        self.taken
    }
}

impl Sample {
    fn take(hierarchy: &Hierarchy) -> Result<Self, QueryError> {
        let taken = Instant::now();
        let mut groups = HashMap::new();
        let root = hierarchy.open("/", "under")?;
        let whole = Hierarchy::each(&root, "/", usize::MAX, &mut |path, group| {
            groups.insert(path.to_owned(), counters(group));
            groups.len() < MOST
        });
        Ok(Self { taken, groups, truncated: !whole })
    }

    /// CPU use of a group since an earlier sample in percent of one processor.
    fn cpu_percent(&self, earlier: &Self, path: &str) -> Option<f64> {
        let now = self.groups.get(path)?.cpu_microseconds?;
        let before = earlier.groups.get(path)?.cpu_microseconds?;
        let seconds = self.taken.saturating_duration_since(earlier.taken).as_secs_f64();
        // A group that was removed and made again counts from zero.
        let used = now.checked_sub(before)?;
        (seconds > 0.0).then(|| round(as_f64(used) / 1e4 / seconds, 1))
    }
}

impl Read for Cgroups {
    fn read(machine: &Machine, _viewer: Viewer, args: Args) -> Result<Output, QueryError> {
        let hierarchy = Hierarchy::find()?;
        let under = args.under.as_deref().unwrap_or("/");
        drop(hierarchy.open(under, "under")?);
        let afresh = args.measure_seconds.map(|seconds| Duration::from_secs(seconds.get()));
        let (base, now) = measure(&machine.cgroups, afresh, || Sample::take(&hierarchy))?;
        let text = args.text.as_ref().map(|text| text.to_lowercase());
        let mut rows: Vec<(&str, Counters, Option<f64>)> = now
            .groups
            .iter()
            .filter(|(path, _)| is_within(path, under, args.max_depth.as_usize()))
            .filter(|(path, _)| text.as_ref().is_none_or(|text| text::contains(path, text)))
            .map(|(path, counters)| (path.as_str(), *counters, now.cpu_percent(&base, path)))
            .collect();
        sort(&mut rows, args.sort);
        let total = rows.len() as u64;
        let (rows, next_offset) = text::page(rows, args.offset.as_usize(), args.limit.as_usize());
        let controllers = text_at(hierarchy.open("/", "under")?, "cgroup.controllers").unwrap_or_default();
        Ok(Output {
            cgroups: rows.into_iter().map(|(path, _, cpu)| cgroup(&hierarchy, path, cpu)).collect(),
            total,
            next_offset,
            truncated: now.truncated,
            mount_point: hierarchy.mount_point(),
            controllers: controllers.split_whitespace().map(str::to_owned).collect(),
            cpu_interval_seconds: round(now.taken.saturating_duration_since(base.taken).as_secs_f64(), 3),
        })
    }
}

/// `path` is below `under` by at most `depth` levels.
fn is_within(path: &str, under: &str, depth: usize) -> bool {
    path.strip_prefix(under.trim_end_matches('/'))
        .and_then(|rest| rest.strip_prefix('/'))
        .is_some_and(|rest| !rest.is_empty() && rest.split('/').count() <= depth)
}

fn sort(rows: &mut [(&str, Counters, Option<f64>)], order: Sort) {
    rows.sort_by(|(left_path, left, left_cpu), (right_path, right, right_cpu)| {
        match order {
            Sort::Memory => right.memory.cmp(&left.memory),
            Sort::Cpu => right_cpu.unwrap_or(0.0).total_cmp(&left_cpu.unwrap_or(0.0)),
            Sort::Io => right.io.cmp(&left.io),
            Sort::Tasks => right.tasks.cmp(&left.tasks),
            Sort::Path => std::cmp::Ordering::Equal,
        }
        .then_with(|| left_path.cmp(right_path))
    });
}

fn counters(group: &OwnedFd) -> Counters {
    let (read_bytes, written) = io(group).unwrap_or_default();
    Counters {
        cpu_microseconds: cpu_microseconds(group),
        memory: number(group, "memory.current").unwrap_or(0),
        io: read_bytes.saturating_add(written),
        tasks: number(group, "pids.current").unwrap_or(0),
    }
}

/// Everything of one group; of one that was removed meanwhile only its name.
fn cgroup(hierarchy: &Hierarchy, path: &str, cpu_percent: Option<f64>) -> Cgroup {
    let group = hierarchy.open(path, "under").ok();
    let group = group.as_ref();
    let number = |file: &str| group.and_then(|group| number(group, file));
    let keyed = |file: &str, key: &str| {
        group
            .and_then(|group| read_at(group, file, 4096).ok())
            .and_then(|content| keyed::number(&content, key))
    };
    let io = group.and_then(io);
    Cgroup {
        path: path.to_owned(),
        unit: user_unit_of(path.as_bytes()).or_else(|| unit_of(path.as_bytes())),
        memory_bytes: number("memory.current"),
        memory_peak_bytes: number("memory.peak"),
        memory_limit_bytes: number("memory.max"),
        swap_bytes: number("memory.swap.current"),
        oom_kills: keyed("memory.events", "oom_kill"),
        cpu_percent,
        cpu_seconds: group.and_then(cpu_microseconds).map(|used| round(as_f64(used) / 1e6, 2)),
        io_read_bytes: io.map(|(read, _)| read),
        io_written_bytes: io.map(|(_, written)| written),
        tasks: number("pids.current"),
        tasks_limit: number("pids.max"),
        populated: keyed("cgroup.events", "populated").unwrap_or(0) > 0,
    }
}

fn number(group: &OwnedFd, file: &str) -> Option<u64> {
    decimal(text_at(group, file)?.as_bytes())
}

fn cpu_microseconds(group: &OwnedFd) -> Option<u64> {
    keyed::number(&read_at(group, "cpu.stat", 4096).ok()?, "usage_usec")
}

/// Bytes read and written of all devices in `io.stat`: `8:0 rbytes=1 wbytes=2 rios=…`.
fn io(group: &OwnedFd) -> Option<(u64, u64)> {
    Some(io_bytes(&read_at(group, "io.stat", 64 << 10).ok()?))
}

fn io_bytes(content: &[u8]) -> (u64, u64) {
    let sum = |key: &[u8]| {
        content
            .split(u8::is_ascii_whitespace)
            .filter_map(|pair| decimal(pair.strip_prefix(key)?))
            .fold(0u64, u64::saturating_add)
    };
    (sum(b"rbytes="), sum(b"wbytes="))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::MachineOptions;

    fn ask(args: &str) -> Result<Output, QueryError> {
        let machine = Machine::new(MachineOptions::default());
        let bytes = machine.query("cgroups", args.as_bytes(), Viewer::default())?;
        Ok(serde_json::from_slice(&bytes).unwrap())
    }

    #[test]
    fn the_hierarchy_of_this_machine_is_read_or_its_absence_is_said() {
        match ask(r#"{"sort":"cpu","limit":5}"#) {
            Ok(output) => {
                let controllers =
                    std::fs::read_to_string(format!("{}/cgroup.controllers", output.mount_point)).unwrap();
                assert_eq!(output.controllers.join(" "), controllers.trim());
                assert!(output.cgroups.len() <= 5 && output.total >= output.cgroups.len() as u64);
                assert!(output.cpu_interval_seconds >= 0.2);
            }
            Err(QueryError::Unavailable { code, .. }) => assert_eq!(code, "cgroup2_unavailable"),
            Err(other) => panic!("{other}"),
        }
    }

    #[test]
    fn a_busy_group_shows_what_it_uses() {
        let Ok(hierarchy) = Hierarchy::find() else { return };
        let name = format!("/agentos-test-{}", std::process::id());
        let directory = format!("{}{name}", hierarchy.mount_point());
        if std::fs::create_dir(&directory).is_err() {
            return;
        }
        let mut busy = std::process::Command::new("sh").args(["-c", "while :; do :; done"]).spawn().unwrap();
        let moved = std::fs::write(format!("{directory}/cgroup.procs"), busy.id().to_string());
        let answer = ask(&format!(r#"{{"text":"{}","measure_seconds":1}}"#, &name[1..].to_uppercase()));
        let _ = busy.kill();
        let _ = busy.wait();
        std::fs::remove_dir(&directory).unwrap();
        moved.unwrap();
        let group = &answer.unwrap().cgroups[0];
        assert_eq!(group.path, name);
        assert!(group.populated);
        assert!((1.0..150.0).contains(&group.cpu_percent.unwrap()), "{:?}", group.cpu_percent);
    }

    #[test]
    fn nothing_outside_of_the_hierarchy_is_reached() {
        for under in ["/../..", "/..", "system.slice", "", "/a\\u0000"] {
            match ask(&format!(r#"{{"under":"{under}"}}"#)) {
                Err(QueryError::InvalidArgument { field, .. }) => assert_eq!(field, "under", "{under}"),
                Err(QueryError::Unavailable { .. }) => return,
                other => panic!("{under}: {other:?}"),
            }
        }
        assert!(matches!(ask(r#"{"under":"/no/such"}"#), Err(QueryError::NotFound { .. })));
    }

    #[test]
    fn a_group_is_within_another_by_whole_names() {
        assert!(is_within("/system.slice/a.service", "/system.slice", 1));
        assert!(is_within("/system.slice", "/", 1));
        assert!(!is_within("/system.slice/a.service/x", "/system.slice", 1));
        assert!(!is_within("/system.slice-2/a", "/system.slice", 9));
        assert!(!is_within("/system.slice", "/system.slice", 9));
    }

    #[test]
    fn io_of_all_devices_is_added_up() {
        assert_eq!(io_bytes(b"8:0 rbytes=10 wbytes=5 rios=1\n8:16 rbytes=1 wbytes=2\n"), (11, 7));
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_panic(content: Vec<u8>) {
            let _ = io_bytes(&content);
        }
    }
}
