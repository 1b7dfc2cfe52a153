//! The processes of the machine with their CPU use over a real interval.
//!
//! Of every process only `/proc/PID/stat` is read; what costs more (command line, unit) is read for the rows that are
//! returned, or where a filter needs it.

pub(crate) mod sample;

use std::cmp::Reverse;
use std::sync::Arc;
use std::time::Duration;

use agentos_api::query::Processes;
use agentos_api::query::processes::{Args, Counts, Output, Process, Sort, State};

use crate::QueryError;
use crate::accounts::Accounts;
use crate::dispatch::Read;
use crate::machine::{Machine, Viewer};
use crate::procfs::cgroup::{unified_path, unit_of};
use crate::procfs::ticks::{at, percent, rfc3339, round};
use crate::procfs::{Pid, Proc, keyed};
use crate::queries::health::online_processors;
use crate::samples::measure;
use crate::text;
use sample::{Row, Sample};

/// Longest command line that is shown, in characters.
const LONGEST_COMMAND: usize = 300;
impl Read for Processes {
    fn read(machine: &Machine, _viewer: Viewer, args: Args) -> Result<Output, QueryError> {
        let proc = Proc::open()?;
        let afresh = args.measure_seconds.map(|seconds| Duration::from_secs(seconds.get()));
        let (base, now) = measure(&machine.processes, afresh, || Sample::take(&proc, machine.ticks))?;
        let wanted = Wanted::new(&args, &machine.accounts)?;
        let mut rows: Vec<(&Row, u64)> = now
            .rows
            .iter()
            .filter(|row| wanted.takes(&proc, row))
            .map(|row| (row, base.ticks_until(row)))
            .collect();
        let interval = now.seconds_since(&base);
        sort(&mut rows, args.sort, &now, interval);
        let total = rows.len() as u64;
        let (rows, next_offset) = text::page(rows, args.offset.as_usize(), args.limit.as_usize());
        let shown = Shown {
            proc: &proc,
            machine,
            users: machine.accounts.users(),
            memory_total: memory_total()?,
            interval,
            now: &now,
        };
        Ok(Output {
            processes: rows.into_iter().map(|(row, ticks)| shown.process(row, ticks)).collect(),
            total,
            next_offset,
            cpu_interval_seconds: round(interval, 3),
            processors: online_processors(),
            memory_total_bytes: shown.memory_total,
            counts: counts(&now.rows),
            measured_at: rfc3339(jiff::Timestamp::now()),
        })
    }
}

/// The machine's memory.
pub(crate) fn memory_total() -> Result<u64, QueryError> {
    Ok(keyed::bytes(&crate::procfs::read("/proc/meminfo", 16 << 10)?, "MemTotal").unwrap_or(0))
}

/// The filters of one request.
struct Wanted {
    uid: Option<u32>,
    text: Option<String>,
    unit: Option<String>,
    state: Option<State>,
    parent: Option<Pid>,
    without_kernel_threads: bool,
}

impl Wanted {
    fn new(args: &Args, accounts: &Accounts) -> Result<Self, QueryError> {
        Ok(Self {
            uid: args.user.as_deref().map(|user| user_number(user, accounts, "user")).transpose()?,
            text: args.text.as_ref().map(|text| text.to_lowercase()).filter(|text| !text.is_empty()),
            unit: args.unit.clone(),
            state: args.state,
            parent: args.parent_pid.and_then(|pid| Pid::try_from(pid.get()).ok()),
            without_kernel_threads: args.without_kernel_threads,
        })
    }

    /// Cheap filters first: each of the others reads a file per process.
    fn takes(&self, proc: &Proc, row: &Row) -> bool {
        self.state.is_none_or(|state| state == self::state(row.state))
            && self.parent.is_none_or(|parent| parent == row.parent)
            && !(self.without_kernel_threads && row.kernel_thread)
            && self.uid.is_none_or(|uid| proc.attributes(row.pid).is_ok_and(|stat| stat.st_uid == uid))
            && self.unit.as_ref().is_none_or(|unit| unit_name(proc, row.pid).as_ref() == Some(unit))
            && self.text.as_ref().is_none_or(|text| {
                text::contains(&String::from_utf8_lossy(row.name()), text)
                    || text::contains(&command_line(proc, row.pid), text)
            })
    }
}

/// The number of a user given by name or number.
///
/// # Errors
/// [`QueryError::NotFound`] for a name that no account has.
pub(crate) fn user_number(user: &str, accounts: &Accounts, field: &str) -> Result<u32, QueryError> {
    if let Ok(uid) = user.parse() {
        return Ok(uid);
    }
    if user.is_empty() || user.len() > 256 {
        return Err(QueryError::invalid(field, "must be the name or the number of a user"));
    }
    let users = accounts.users();
    users.iter().find(|(_, name)| *name == user).map(|(uid, _)| *uid).ok_or_else(|| QueryError::NotFound {
        what: format!("the user {user}"),
        near: agentos_api::problem::near_matches(user, users.values().map(String::as_str)),
    })
}

fn sort(rows: &mut [(&Row, u64)], order: Sort, now: &Sample, interval: f64) {
    match order {
        Sort::Cpu => rows.sort_by(|(left, left_ticks), (right, right_ticks)| {
            let share = |row: &Row, ticks| now.share(row, ticks, interval);
            share(right, *right_ticks)
                .total_cmp(&share(left, *left_ticks))
                .then_with(|| right.cpu_ticks.cmp(&left.cpu_ticks))
                .then_with(|| left.pid.cmp(&right.pid))
        }),
        Sort::Memory => rows.sort_by_key(|(row, _)| (Reverse(row.resident_pages), row.pid)),
        Sort::CpuTime => rows.sort_by_key(|(row, _)| (Reverse(row.cpu_ticks), row.pid)),
        Sort::Threads => rows.sort_by_key(|(row, _)| (Reverse(row.threads), row.pid)),
        Sort::Started => rows.sort_by_key(|(row, _)| (Reverse(row.start_ticks), Reverse(row.pid))),
        Sort::Pid => rows.sort_by_key(|(row, _)| row.pid),
        Sort::Name => {
            rows.sort_by(|(left, _), (right, _)| (left.name(), left.pid).cmp(&(right.name(), right.pid)));
        }
    }
}

fn counts(rows: &[Row]) -> Counts {
    let mut counts = Counts { processes: rows.len() as u64, ..Counts::default() };
    for row in rows {
        counts.threads += row.threads;
        counts.kernel_threads += u64::from(row.kernel_thread);
        match state(row.state) {
            State::Running => counts.running += 1,
            State::Uninterruptible => counts.uninterruptible += 1,
            State::Stopped | State::Traced => counts.stopped += 1,
            State::Zombie => counts.zombies += 1,
            State::Sleeping | State::Idle | State::Other => {}
        }
    }
    counts
}

/// What a row needs beside itself to be shown.
struct Shown<'m> {
    proc: &'m Proc,
    machine: &'m Machine,
    users: Arc<std::collections::HashMap<u32, String>>,
    memory_total: u64,
    interval: f64,
    now: &'m Sample,
}

impl Shown<'_> {
    fn process(&self, row: &Row, ticks: u64) -> Process {
        let units = self.machine.ticks;
        let name = text::lossy(row.name());
        let command = if row.kernel_thread { String::new() } else { command_line(self.proc, row.pid) };
        // Zero for a process that ended since: it was running when it was counted.
        let uid = self.proc.attributes(row.pid).map_or(0, |stat| stat.st_uid);
        let resident = row.resident_pages.saturating_mul(units.page_bytes);
        Process {
            pid: row.pid,
            parent_pid: row.parent,
            command: if command.is_empty() {
                format!("[{name}]")
            } else {
                text::shortened(command, LONGEST_COMMAND)
            },
            name,
            state: state(row.state),
            user: self
                .users
                .get(&uid)
                .cloned()
                .or_else(|| self.machine.accounts.user(uid))
                .unwrap_or_else(|| uid.to_string()),
            uid,
            cpu_percent: round(100.0 * self.now.share(row, ticks, self.interval), 1),
            cpu_seconds: round(units.seconds(row.cpu_ticks), 2),
            resident_bytes: resident,
            memory_percent: percent(resident, self.memory_total),
            threads: row.threads,
            started: rfc3339(at(units.seconds(row.start_ticks))),
            unit: if row.kernel_thread { None } else { unit_name(self.proc, row.pid) },
            kernel_thread: row.kernel_thread,
        }
    }
}

/// The arguments joined by blanks; empty for a kernel thread, a zombie, or a process that has ended.
pub(crate) fn command_line(proc: &Proc, pid: Pid) -> String {
    let mut buffer = [0; 4096];
    let content = proc.read(pid, "cmdline", &mut buffer).unwrap_or_default();
    let joined: Vec<u8> = content.iter().map(|&byte| if byte == 0 { b' ' } else { byte }).collect();
    String::from_utf8_lossy(joined.trim_ascii_end()).into_owned()
}

/// The systemd unit a process belongs to.
pub(crate) fn unit_name(proc: &Proc, pid: Pid) -> Option<String> {
    let mut buffer = [0; 4096];
    unit_of(unified_path(proc.read(pid, "cgroup", &mut buffer).ok()?)?)
}

/// The kernel's letter as a word.
pub(crate) fn state(letter: u8) -> State {
    match letter {
        b'R' => State::Running,
        b'S' => State::Sleeping,
        b'D' => State::Uninterruptible,
        b'Z' | b'X' => State::Zombie,
        b'T' => State::Stopped,
        b't' => State::Traced,
        b'I' => State::Idle,
        _ => State::Other,
    }
}

#[cfg(test)]
mod tests;
