//! One line of `/proc/PID/stat` (`proc_pid_stat(5)`), read without an allocation.

use super::{Pid, decimal};

/// The kernel's flag for its own threads (`PF_KTHREAD`, include/linux/sched.h).
const KERNEL_THREAD: u64 = 0x0020_0000;

/// What `/proc/PID/stat` says of a process. The name borrows from the buffer that was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ProcessStat<'b> {
    pub(crate) pid: Pid,
    /// At most 64 bytes, of any value: parentheses, blanks and line ends too.
    pub(crate) name: &'b [u8],
    /// `R`, `S`, `D`, `Z`, `T`, `t`, `I`, `X`.
    pub(crate) state: u8,
    pub(crate) parent: Pid,
    pub(crate) kernel_thread: bool,
    /// Time in user and kernel mode, in ticks.
    pub(crate) cpu_ticks: u64,
    pub(crate) nice: i64,
    pub(crate) threads: u64,
    /// Ticks after boot. With the pid it names a process for as long as the machine is up.
    pub(crate) start_ticks: u64,
    pub(crate) virtual_bytes: u64,
    pub(crate) resident_pages: u64,
}

/// Parses the line; `None` where it is not one.
///
/// The name ends at the last `)`: all fields after it are numbers, and the name itself may hold any byte.
pub(crate) fn parse(line: &[u8]) -> Option<ProcessStat<'_>> {
    let open = line.iter().position(|&byte| byte == b'(')?;
    let close = line.iter().rposition(|&byte| byte == b')')?;
    let pid = Pid::try_from(decimal(line.get(..open)?.trim_ascii_end())?).ok()?;
    let name = line.get(open + 1..close)?;
    // Fields are counted as the manual page does: the state is the third.
    let mut fields = line.get(close + 1..)?.trim_ascii().split(|&byte| byte == b' ');
    let &[state] = fields.next()? else { return None };
    let parent = Pid::try_from(decimal(fields.next()?)?).ok()?;
    let flags = decimal(fields.nth(4)?)?;
    let user = decimal(fields.nth(4)?)?;
    let system = decimal(fields.next()?)?;
    let nice = signed(fields.nth(3)?)?;
    let threads = decimal(fields.next()?)?;
    let start_ticks = decimal(fields.nth(1)?)?;
    let virtual_bytes = decimal(fields.next()?)?;
    // The kernel counts pages per CPU and may briefly be below zero.
    let resident_pages = u64::try_from(signed(fields.next()?)?).unwrap_or(0);
    Some(ProcessStat {
        pid,
        name,
        state,
        parent,
        kernel_thread: flags & KERNEL_THREAD != 0,
        cpu_ticks: user.checked_add(system)?,
        nice,
        threads,
        start_ticks,
        virtual_bytes,
        resident_pages,
    })
}

fn signed(field: &[u8]) -> Option<i64> {
    match field.strip_prefix(b"-") {
        Some(digits) => i64::try_from(decimal(digits)?).ok()?.checked_neg(),
        None => i64::try_from(decimal(field)?).ok(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const TAIL: &str =
        "S 4 5 6 0 -1 4194560 7 8 9 10 120 30 13 14 20 -5 3 0 98765 4096000 250 18446744073709551615 1 1 0";

    #[test]
    fn the_fields_are_those_of_the_manual_page() {
        let line = format!("42 (my) (prog) {TAIL}\n");
        let stat = parse(line.as_bytes()).unwrap();
        assert_eq!(
            stat,
            ProcessStat {
                pid: 42,
                name: b"my) (prog",
                state: b'S',
                parent: 4,
                kernel_thread: false,
                cpu_ticks: 150,
                nice: -5,
                threads: 3,
                start_ticks: 98_765,
                virtual_bytes: 4_096_000,
                resident_pages: 250,
            }
        );
    }

    #[test]
    fn a_cut_line_is_refused() {
        let line = format!("42 (x) {TAIL}");
        let needed = line.find("18446744073709551615").unwrap() - 1;
        for length in 0..needed - 3 {
            assert_eq!(parse(&line.as_bytes()[..length]), None, "{length}");
        }
    }

    #[test]
    fn the_line_of_this_process_agrees_with_the_kernel() {
        let content = std::fs::read("/proc/self/stat").unwrap();
        let stat = parse(&content).unwrap();
        assert_eq!(stat.pid, std::process::id());
        assert_eq!(stat.parent, std::os::unix::process::parent_id());
        // The line is of the first thread, which waits while the tests run in others.
        assert!(matches!(stat.state, b'R' | b'S'));
        assert!(!stat.kernel_thread);
    }

    proptest! {
        #[test]
        fn any_name_is_read_back(pid in 1u32..4_194_304, name in proptest::collection::vec(any::<u8>(), 0..64)) {
            let mut line = format!("{pid} (").into_bytes();
            line.extend_from_slice(&name);
            line.extend_from_slice(format!(") {TAIL}\n").as_bytes());
            let stat = parse(&line).unwrap();
            prop_assert_eq!(stat.name, &name[..]);
            prop_assert_eq!(stat.pid, pid);
            prop_assert_eq!(stat.start_ticks, 98_765);
        }

        #[test]
        fn any_bytes_are_read_without_panic(line: Vec<u8>) {
            let _ = parse(&line);
        }
    }
}
