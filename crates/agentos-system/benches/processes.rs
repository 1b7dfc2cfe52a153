//! What the query `processes` costs beside a bare loop over `/proc` that reads the same fields, and beside ps(1).
//!
//! The candidates take turns, so that a busy machine slows all of them; what is compared is CPU time, per process.
//! `cargo bench -p agentos-system --bench processes` (about 20 seconds).

use std::ffi::CStr;
use std::mem::MaybeUninit;
use std::process::{Command, Stdio};
use std::time::Duration;

use agentos_system::{Machine, MachineOptions, Viewer};
use rustix::fs::{AtFlags, CWD, Mode, OFlags, RawDir, openat, statat};

/// Turns of each candidate.
const TURNS: usize = 60;
/// Processes that are added to those of the machine, so that there is something to list.
const MORE_PROCESSES: usize = 150;

/// One of those that take turns.
struct Candidate<'a> {
    name: &'static str,
    run: Box<dyn FnMut() -> usize + 'a>,
    /// Which candidate it is compared with: the one that reads the same fields.
    beside: usize,
    /// CPU seconds of each turn.
    spent: Vec<f64>,
}

impl<'a> Candidate<'a> {
    fn new(name: &'static str, beside: usize, run: impl FnMut() -> usize + 'a) -> Self {
        Self { name, run: Box::new(run), beside, spent: Vec::new() }
    }

    /// The median turn, in microseconds.
    fn median(&self) -> f64 {
        let mut spent = self.spent.clone();
        spent.sort_by(f64::total_cmp);
        spent[spent.len() / 2] * 1e6
    }
}

fn main() {
    let children: Vec<_> = (0..MORE_PROCESSES)
        .filter_map(|_| Command::new("sleep").arg("120").stdin(Stdio::null()).spawn().ok())
        .collect();
    let machine = Machine::new(MachineOptions::default());
    let ask = |args: &str| {
        machine.query("processes", args.as_bytes(), Viewer::default()).map_or(0, |answer| answer.len())
    };
    // The first answer takes two samples; from then on one is kept.
    ask("{}");
    std::thread::sleep(Duration::from_millis(250));
    let mut candidates = [
        Candidate::new("raw loop: stat, owner, command line", 0, || raw_loop(false)),
        Candidate::new("raw loop: and the control group", 1, || raw_loop(true)),
        Candidate::new("query, 50 rows (default)", 0, || ask("{}")),
        Candidate::new("query, text filter", 0, || ask(r#"{"text":"no process has this"}"#)),
        // Each row names its unit, which is in the control group.
        Candidate::new("query, all rows", 1, || ask(r#"{"limit":1000}"#)),
        Candidate::new("ps aux", 0, ps),
    ];
    for _ in 0..TURNS {
        for candidate in &mut candidates {
            // Beyond the shortest interval between samples, so that no candidate waits for one.
            std::thread::sleep(Duration::from_millis(45));
            let before = cpu_seconds();
            std::hint::black_box((candidate.run)());
            candidate.spent.push(cpu_seconds() - before);
        }
    }
    let count = raw_loop(false);
    for candidate in &candidates {
        let median = candidate.median();
        #[expect(clippy::cast_precision_loss, reason = "a number of processes")]
        let each = median / count as f64;
        println!(
            "{:<40} {count:>5} processes  {median:>9.0} us CPU  {each:>6.2} us each  ratio {:>5.2}",
            candidate.name,
            median / candidates[candidate.beside].median()
        );
    }
    for mut child in children {
        let _ = child.kill();
        let _ = child.wait();
    }
}

/// CPU time of this process and of its ended children, in seconds.
fn cpu_seconds() -> f64 {
    let of = |who| {
        // SAFETY: `rusage` is a C structure of integers, for which all zeroes is a value, and it is ours to fill.
        let usage = unsafe {
            let mut usage: libc::rusage = std::mem::zeroed();
            libc::getrusage(who, &raw mut usage);
            usage
        };
        #[expect(clippy::cast_precision_loss, reason = "seconds and microseconds of one run")]
        let seconds = |time: libc::timeval| time.tv_sec as f64 + time.tv_usec as f64 / 1e6;
        seconds(usage.ru_utime) + seconds(usage.ru_stime)
    };
    of(libc::RUSAGE_SELF) + of(libc::RUSAGE_CHILDREN)
}

/// What a reader keeps of a process at the least.
#[expect(dead_code, reason = "kept, as an answer would, and not looked at")]
struct Bare {
    pid: Vec<u8>,
    stat: Vec<u8>,
    uid: u32,
    command: Vec<u8>,
    control_group: Option<Vec<u8>>,
}

/// Lists `/proc` and reads each process's `stat`, `cmdline` and, if asked, `cgroup` with three system calls each, and its
/// owner with one.
fn raw_loop(with_control_group: bool) -> usize {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let Ok(proc) = openat(CWD, c"/proc", flags, Mode::empty()) else { return 0 };
    let mut listing = [MaybeUninit::uninit(); 16 << 10];
    let mut buffer = [0; 4096];
    let mut path = Vec::with_capacity(64);
    let mut processes = Vec::with_capacity(1024);
    let mut entries = RawDir::new(&proc, &mut listing);
    while let Some(Ok(entry)) = entries.next() {
        let name = entry.file_name().to_bytes();
        if !name.first().is_some_and(u8::is_ascii_digit) {
            continue;
        }
        let mut read = |file: &str| {
            path.clear();
            path.extend_from_slice(name);
            path.extend_from_slice(file.as_bytes());
            let path = CStr::from_bytes_with_nul(&path).ok()?;
            let descriptor = openat(&proc, path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).ok()?;
            let length = rustix::io::read(&descriptor, &mut buffer[..]).ok()?;
            Some(buffer[..length].to_vec())
        };
        let (Some(stat), Some(command)) = (read("/stat\0"), read("/cmdline\0")) else { continue };
        let control_group = with_control_group.then(|| read("/cgroup\0")).flatten();
        let Ok(attributes) = statat(&proc, entry.file_name(), AtFlags::empty()) else { continue };
        processes.push(Bare { pid: name.to_vec(), stat, uid: attributes.st_uid, command, control_group });
    }
    std::hint::black_box(&processes).len()
}

fn ps() -> usize {
    Command::new("ps").arg("aux").output().map_or(0, |output| output.stdout.len())
}
