//! The CPU counters of all processes at one moment.

use std::time::Instant;

use crate::QueryError;
use crate::procfs::stat::{self, ProcessStat};
use crate::procfs::ticks::{Ticks, as_f64, since_boot};
use crate::procfs::{Pid, Proc};
use crate::samples::Sampled;

/// Longest name the kernel prints in `/proc/PID/stat`: a worker thread's with what it works on.
const LONGEST_NAME: usize = 64;
/// Processes that are sampled at most: the most the kernel can have at once (`PID_MAX_LIMIT`) is more, and at 200 bytes
/// each this many take 100 MB.
const MOST: usize = 500_000;

/// One process as it was sampled, without a pointer to anywhere.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    pub(crate) pid: Pid,
    pub(crate) parent: Pid,
    pub(crate) state: u8,
    pub(crate) kernel_thread: bool,
    name_length: u8,
    name: [u8; LONGEST_NAME],
    pub(crate) cpu_ticks: u64,
    pub(crate) threads: u64,
    pub(crate) start_ticks: u64,
    pub(crate) resident_pages: u64,
}

impl Row {
    fn new(stat: &ProcessStat<'_>) -> Self {
        let length = stat.name.len().min(LONGEST_NAME);
        let mut name = [0; LONGEST_NAME];
        name[..length].copy_from_slice(&stat.name[..length]);
        Self {
            pid: stat.pid,
            parent: stat.parent,
            state: stat.state,
            kernel_thread: stat.kernel_thread,
            name_length: u8::try_from(length).unwrap_or(0),
            name,
            cpu_ticks: stat.cpu_ticks,
            threads: stat.threads,
            start_ticks: stat.start_ticks,
            resident_pages: stat.resident_pages,
        }
    }

    /// The short name.
    pub(crate) fn name(&self) -> &[u8] {
        self.name.get(..usize::from(self.name_length)).unwrap_or_default()
    }
}

/// All processes at one moment, by number.
#[derive(Debug)]
pub(crate) struct Sample {
    taken: Instant,
    /// Seconds since boot.
    at: f64,
    ticks: Ticks,
    pub(crate) rows: Vec<Row>,
}

impl Sampled for Sample {
    fn taken(&self) -> Instant {
        self.taken
    }
}

impl Sample {
    /// Reads all processes. One that ends meanwhile is left out.
    ///
    /// # Errors
    /// [`QueryError::Io`] where `/proc` cannot be listed.
    pub(crate) fn take(proc: &Proc, ticks: Ticks) -> Result<Self, QueryError> {
        let mut rows = Vec::with_capacity(256);
        let mut buffer = [0; 2048];
        let (taken, at) = (Instant::now(), since_boot());
        proc.each(|pid| {
            if rows.len() < MOST
                && let Ok(line) = proc.read(pid, "stat", &mut buffer)
                && let Some(stat) = stat::parse(line)
            {
                rows.push(Row::new(&stat));
            }
        })?;
        // The kernel lists them in this order already.
        rows.sort_by_key(|row| row.pid);
        Ok(Self { taken, at, ticks, rows })
    }

    /// The time between an earlier sample and this one, in seconds.
    pub(crate) fn seconds_since(&self, earlier: &Self) -> f64 {
        self.taken.saturating_duration_since(earlier.taken).as_secs_f64()
    }

    /// CPU ticks of a process from this sample to its later `row`; since its start where it is younger. A number that was given to
    /// another process in between is not mistaken for the same: start times differ.
    pub(crate) fn ticks_until(&self, row: &Row) -> u64 {
        self.rows
            .binary_search_by_key(&row.pid, |earlier| earlier.pid)
            .ok()
            .and_then(|index| self.rows.get(index))
            .filter(|earlier| earlier.start_ticks == row.start_ticks)
            .map_or(row.cpu_ticks, |earlier| row.cpu_ticks.saturating_sub(earlier.cpu_ticks))
    }

    /// `ticks` as a share of `interval` seconds, or of the process's life where that is shorter; 1 is a whole processor.
    pub(crate) fn share(&self, row: &Row, ticks: u64, interval: f64) -> f64 {
        let age = self.at - self.ticks.seconds(row.start_ticks);
        // A process cannot use more than its threads' time: what is beyond comes from a tick at the interval's edge.
        let span = interval.min(age.max(1.0 / as_f64(self.ticks.per_second)));
        if span > 0.0 { self.ticks.seconds(ticks) / span } else { 0.0 }
    }
}
