//! Main memory and swap, from `/proc/meminfo`, `/proc/swaps` and `/proc/vmstat`.

use agentos_api::query::Memory;
use agentos_api::query::memory::{Args, Output, SwapArea};
use agentos_api::query::path::encode;
use rustix::fs::CWD;

use crate::QueryError;
use crate::dispatch::Read;
use crate::machine::{Machine, Viewer};
use crate::procfs::mountinfo::unescape;
use crate::procfs::ticks::percent;
use crate::procfs::{decimal, keyed, number, read, read_at};
use crate::queries::pressure;
use crate::text::lossy;

impl Read for Memory {
    fn read(_machine: &Machine, _viewer: Viewer, _args: Args) -> Result<Output, QueryError> {
        let meminfo = read("/proc/meminfo", 16 << 10)?;
        let bytes = |key| keyed::bytes(&meminfo, key).unwrap_or(0);
        let (total, available) = (bytes("MemTotal"), bytes("MemAvailable"));
        let used = total.saturating_sub(available);
        let (swap_total, swap_free) = (bytes("SwapTotal"), bytes("SwapFree"));
        Ok(Output {
            total_bytes: total,
            available_bytes: available,
            used_bytes: used,
            used_percent: percent(used, total),
            free_bytes: bytes("MemFree"),
            cached_bytes: bytes("Cached").saturating_add(bytes("Buffers")),
            anonymous_bytes: bytes("AnonPages"),
            shared_bytes: bytes("Shmem"),
            slab_reclaimable_bytes: bytes("SReclaimable"),
            slab_unreclaimable_bytes: bytes("SUnreclaim"),
            page_tables_bytes: bytes("PageTables"),
            dirty_bytes: bytes("Dirty"),
            committed_bytes: bytes("Committed_AS"),
            commit_limit_bytes: bytes("CommitLimit"),
            overcommit: number("/proc/sys/vm/overcommit_memory").map(|mode| overcommit(mode).to_owned()),
            huge_pages_bytes: bytes("Hugetlb"),
            swap_total_bytes: swap_total,
            swap_used_bytes: swap_total.saturating_sub(swap_free),
            swappiness: number("/proc/sys/vm/swappiness"),
            swap_areas: swap_areas(&read_at(CWD, "/proc/swaps", 64 << 10).unwrap_or_default()),
            oom_kills: read("/proc/vmstat", 64 << 10)
                .ok()
                .and_then(|vmstat| keyed::number(&vmstat, "oom_kill")),
            pressure: pressure::resource(CWD, "/proc/pressure/memory"),
        })
    }
}

/// The words of `proc_sys_vm(5)`.
fn overcommit(mode: u64) -> &'static str {
    match mode {
        0 => "heuristic",
        1 => "always",
        2 => "never",
        _ => "unknown",
    }
}

/// The areas in `/proc/swaps`: name, type, size and use in KiB, priority. The first line is a heading.
fn swap_areas(content: &[u8]) -> Vec<SwapArea> {
    content
        .split(|&byte| byte == b'\n')
        .skip(1)
        .filter_map(|line| {
            let mut fields =
                line.split(|byte| matches!(byte, b' ' | b'\t')).filter(|field| !field.is_empty());
            Some(SwapArea {
                path: encode(&unescape(fields.next()?)),
                kind: lossy(fields.next()?),
                total_bytes: decimal(fields.next()?)?.checked_mul(1024)?,
                used_bytes: decimal(fields.next()?)?.checked_mul(1024)?,
                priority: std::str::from_utf8(fields.next()?).ok()?.parse().ok()?,
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_numbers_are_those_of_free() {
        let machine = Machine::new(crate::MachineOptions::default());
        let answer = machine.query("memory", b"{}", Viewer::default()).unwrap();
        let output: Output = serde_json::from_slice(&answer).unwrap();
        let free = std::process::Command::new("free").arg("-b").output().unwrap().stdout;
        let free = String::from_utf8(free).unwrap();
        let total = free.lines().nth(1).unwrap().split_whitespace().nth(1).unwrap().to_owned();
        assert_eq!(output.total_bytes.to_string(), total);
        assert!(output.available_bytes <= output.total_bytes && output.free_bytes <= output.total_bytes);
        assert_eq!(output.used_bytes, output.total_bytes - output.available_bytes);
    }

    #[test]
    fn swap_areas_are_read_with_blanks_in_their_names() {
        let areas = swap_areas(
            b"Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n/dev/dm-1                               partition\t1000\t\t10\t\t-2\n/my\\040swap\tfile\t4\t0\t5\n",
        );
        assert_eq!(areas.len(), 2);
        assert_eq!((areas[0].total_bytes, areas[0].used_bytes, areas[0].priority), (1_024_000, 10_240, -2));
        assert_eq!(areas[1].path, "/my swap");
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_panic(content: Vec<u8>) {
            let _ = swap_areas(&content);
        }
    }
}
