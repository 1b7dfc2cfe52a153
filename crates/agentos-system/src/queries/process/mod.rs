//! One process in full. Everything is read through one descriptor of `/proc/PID`, so that it is of one process, even when
//! it ends and its number is given to another meanwhile.

mod descriptors;
mod parse;

use agentos_api::query::Process;
use agentos_api::query::path::encode;
use agentos_api::query::process::{Args, Io, Memory, Output, Variable};
use rustix::fd::OwnedFd;
use rustix::fs::{AtFlags, readlinkat, statat};
use rustix::io::Errno;

use crate::QueryError;
use crate::dispatch::Read;
use crate::machine::{Machine, Viewer};
use crate::procfs::cgroup::{unified_path, unit_of, user_unit_of};
use crate::procfs::ticks::{at, percent, rfc3339, round, since_boot};
use crate::procfs::{Pid, Proc, decimal, keyed, read_at, stat, text_at};
use crate::queries::processes::sample::Sample;
use crate::queries::processes::{memory_total, state};
use crate::text::lossy;

/// Most that is read of a command line, and of an environment.
const LONGEST_ARGUMENTS: usize = 64 << 10;
const LONGEST_ENVIRONMENT: usize = 256 << 10;
/// Variables and children that are shown, at most.
const MOST_VARIABLES: usize = 1000;
const MOST_CHILDREN: usize = 200;

impl Read for Process {
    fn read(machine: &Machine, viewer: Viewer, args: Args) -> Result<Output, QueryError> {
        if args.environment && !viewer.operator {
            return Err(QueryError::Forbidden {
                reason: "the values of an environment often hold secrets, so only the operator may see them; without \
                         `environment` the names are shown"
                    .to_owned(),
            });
        }
        let pid =
            Pid::try_from(args.pid.get()).map_err(|_| QueryError::invalid("pid", "is no process number"))?;
        let proc = Proc::open()?;
        let one = One { pid, directory: proc.process(pid).map_err(|_| gone(pid))? };
        one.describe(machine, &proc, &args)
    }
}

fn gone(pid: Pid) -> QueryError {
    QueryError::not_found(format!("process {pid}"))
}

/// A process, held.
struct One {
    pid: Pid,
    directory: OwnedFd,
}

impl One {
    fn describe(&self, machine: &Machine, proc: &Proc, args: &Args) -> Result<Output, QueryError> {
        let line = self.read("stat", 4096)?;
        let stat = stat::parse(&line).ok_or_else(|| gone(self.pid))?;
        let status = self.read("status", 16 << 10)?;
        let attributes = statat(&self.directory, c".", AtFlags::empty()).map_err(|_| gone(self.pid))?;
        let (uid, gid) = (
            effective(&status, "Uid").unwrap_or(attributes.st_uid),
            effective(&status, "Gid").unwrap_or(attributes.st_gid),
        );
        let (arguments, arguments_truncated) =
            parse::arguments(&self.optional("cmdline", LONGEST_ARGUMENTS + 1), LONGEST_ARGUMENTS);
        let cgroup = self.optional("cgroup", 16 << 10);
        let cgroup = unified_path(&cgroup);
        let environment = parse::environment(&self.optional("environ", LONGEST_ENVIRONMENT), MOST_VARIABLES);
        let started = machine.ticks.seconds(stat.start_ticks);
        let running = (since_boot() - started).max(0.0);
        let cpu_seconds = machine.ticks.seconds(stat.cpu_ticks);
        let (executable, executable_deleted) = self.executable();
        let descriptors = descriptors::read(&self.directory, args.open_files_limit.as_usize());
        let (open_files_total, open_files, sockets) =
            descriptors.map_or((None, Vec::new(), Vec::new()), |open| {
                let sockets = descriptors::sockets(&open.files);
                (Some(open.total), open.files, sockets)
            });
        let yes = |key| keyed::number(&status, key).is_some_and(|value| value > 0);
        Ok(Output {
            pid: self.pid,
            parent_pid: stat.parent,
            parent_name: text_at(proc, &format!("{}/comm", stat.parent)),
            children: children(machine, proc, self.pid)?,
            name: lossy(stat.name),
            state: state(stat.state),
            kernel_thread: stat.kernel_thread,
            arguments,
            arguments_truncated,
            executable,
            executable_deleted,
            working_directory: self.link("cwd"),
            root_directory: self.link("root").filter(|root| root != "/"),
            user: machine.accounts.user(uid).unwrap_or_else(|| uid.to_string()),
            uid,
            group: machine.accounts.group(gid).unwrap_or_else(|| gid.to_string()),
            gid,
            started: rfc3339(at(started)),
            running_seconds: round(running, 1),
            cpu_seconds: round(cpu_seconds, 2),
            cpu_percent_since_start: if running > 0.0 {
                round(100.0 * cpu_seconds / running, 2)
            } else {
                0.0
            },
            nice: stat.nice,
            threads: stat.threads,
            memory: self.memory(machine, &stat, &status)?,
            io: self.io(),
            unit: cgroup.and_then(unit_of),
            user_unit: cgroup.and_then(user_unit_of),
            cgroup: cgroup.map(encode),
            oom_score: text_at(&self.directory, "oom_score").and_then(|score| decimal(score.as_bytes())),
            no_new_privileges: yes("NoNewPrivs"),
            seccomp_filtered: yes("Seccomp"),
            effective_capabilities: keyed::text(&status, "CapEff"),
            limits: parse::limits(&self.optional("limits", 16 << 10)),
            environment: environment
                .into_iter()
                .map(|(name, value)| Variable { name, value: args.environment.then_some(value) })
                .collect(),
            environment_redacted: !args.environment,
            open_files_total,
            open_files,
            sockets,
        })
    }

    /// A file that every process has: without it, the process has ended.
    fn read(&self, file: &str, limit: usize) -> Result<Vec<u8>, QueryError> {
        match read_at(&self.directory, file, limit) {
            Ok(content) if !content.is_empty() => Ok(content),
            Ok(_) => Err(gone(self.pid)),
            Err(error) if matches!(Errno::from_io_error(&error), Some(Errno::NOENT | Errno::SRCH)) => {
                Err(gone(self.pid))
            }
            Err(error) => Err(QueryError::io(format!("/proc/{}/{file}", self.pid), error)),
        }
    }

    /// A file that the kernel may keep from this process, or not have.
    fn optional(&self, file: &str, limit: usize) -> Vec<u8> {
        read_at(&self.directory, file, limit).unwrap_or_default()
    }

    fn link(&self, name: &str) -> Option<String> {
        readlinkat(&self.directory, name, Vec::new()).ok().map(|target| encode(target.as_bytes()))
    }

    /// The program file, and whether it is gone. The kernel appends ` (deleted)` then, which could also be its name: that
    /// it has no link left tells.
    fn executable(&self) -> (Option<String>, bool) {
        let deleted = statat(&self.directory, c"exe", AtFlags::empty()).is_ok_and(|file| file.st_nlink == 0);
        let path = self.link("exe");
        match (deleted, path) {
            (true, Some(path)) => (Some(path.strip_suffix(" (deleted)").unwrap_or(&path).to_owned()), true),
            (deleted, path) => (path, deleted),
        }
    }

    fn memory(
        &self,
        machine: &Machine,
        stat: &stat::ProcessStat<'_>,
        status: &[u8],
    ) -> Result<Memory, QueryError> {
        let resident = stat.resident_pages.saturating_mul(machine.ticks.page_bytes);
        Ok(Memory {
            resident_bytes: resident,
            proportional_bytes: keyed::bytes(&self.optional("smaps_rollup", 8192), "Pss"),
            peak_resident_bytes: keyed::bytes(status, "VmHWM"),
            swap_bytes: keyed::bytes(status, "VmSwap"),
            virtual_bytes: stat.virtual_bytes,
            percent: percent(resident, memory_total()?),
        })
    }

    fn io(&self) -> Option<Io> {
        let content = self.optional("io", 4096);
        Some(Io {
            read_bytes: keyed::number(&content, "read_bytes")?,
            written_bytes: keyed::number(&content, "write_bytes")?,
        })
    }
}

/// The second of the four numbers of `Uid:` and `Gid:` in `/proc/PID/status` (`proc_pid_status(5)`).
fn effective(status: &[u8], key: &str) -> Option<u32> {
    let mut numbers = keyed::value(status, key)?.split(|byte| matches!(byte, b'\t' | b' '));
    u32::try_from(decimal(numbers.nth(1)?)?).ok()
}

fn children(machine: &Machine, proc: &Proc, pid: Pid) -> Result<Vec<Pid>, QueryError> {
    let sample = Sample::take(proc, machine.ticks)?;
    Ok(sample.rows.iter().filter(|row| row.parent == pid).map(|row| row.pid).take(MOST_CHILDREN).collect())
}

#[cfg(test)]
mod tests;
