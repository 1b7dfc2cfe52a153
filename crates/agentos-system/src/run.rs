//! The one place where a program is started, for the few answers that have no other interface.
//!
//! No shell and no search path: the program is one of a fixed list of directories, gets its arguments as they are, an
//! environment of two variables and those it is given, and what input it is given. It is killed with all it started when its time or its output is used up,
//! and never outlives the call.

use std::cell::Cell;
use std::ffi::OsString;
use std::io::{Read as _, Write as _};
use std::ops::ControlFlow;
use std::os::fd::AsFd;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, Signal, kill_process_group};

use crate::QueryError;

/// Where programs are looked for: NixOS first, then the directories of other distributions.
const DIRECTORIES: [&str; 5] = ["/run/current-system/sw/bin", "/usr/bin", "/usr/sbin", "/bin", "/sbin"];

/// What is kept of a program's complaints.
const MAX_STDERR_BYTES: usize = 4096;

/// What is read at once.
const CHUNK_BYTES: usize = 64 << 10;

thread_local! {
    static STARTED: Cell<u64> = const { Cell::new(0) };
}

/// Does something, and answers how many programs were started for it on this thread.
pub fn counting_programs<T>(work: impl FnOnce() -> T) -> (T, u64) {
    let before = STARTED.with(Cell::get);
    let result = work();
    (result, STARTED.with(Cell::get).saturating_sub(before))
}

/// A program is about to be started on this thread.
pub(crate) fn count_one() {
    STARTED.with(|started| started.set(started.get().saturating_add(1)));
}

/// Whether answering a query of that name, or planning and making a mutation of it, may start programs.
pub fn starts_programs(name: &str) -> bool {
    matches!(
        name,
        "boots" | "failed_units" | "firewall" | "journal" | "packages" | "service" | "shell" | "shell.apply"
    ) || name.starts_with("firewall.")
}

/// A program and its arguments.
#[derive(Debug)]
pub(crate) struct Program {
    path: PathBuf,
    arguments: Vec<OsString>,
    environment: Vec<(&'static str, &'static str)>,
    folder: PathBuf,
    input: Vec<u8>,
    local_time: bool,
}

/// Most that a program is given to read: what a pipe holds (pipe(7)), so that writing it never waits.
const MAX_INPUT_BYTES: usize = 64 << 10;

/// How a program ended by itself.
#[derive(Debug)]
pub(crate) struct Ended {
    /// Its exit status.
    pub(crate) status: ExitStatus,
    /// The start of what it wrote to standard error, trimmed.
    pub(crate) stderr: String,
}

/// Why reading a program's output was over.
#[derive(Debug)]
pub(crate) enum Stream {
    /// It ended by itself.
    Ended(Ended),
    /// The reader had enough, and it was killed.
    Stopped,
    /// Its time was used up, and it was killed.
    TimedOut,
}

impl Program {
    /// The program `name`, if it is installed.
    pub(crate) fn find(name: &str) -> Option<Self> {
        DIRECTORIES
            .iter()
            .map(|directory| Path::new(directory).join(name))
            .find(|path| is_program(path))
            .map(Self::at)
    }

    fn at(path: PathBuf) -> Self {
        Self {
            path,
            arguments: Vec::new(),
            environment: Vec::new(),
            folder: PathBuf::from("/"),
            input: Vec::new(),
            local_time: false,
        }
    }

    /// Adds an argument. It reaches the program as it is; a value from outside belongs in `--option=value`, or after `--`.
    pub(crate) fn argument(mut self, argument: impl Into<OsString>) -> Self {
        self.arguments.push(argument.into());
        self
    }

    /// Lets the program have this machine's time zone; others write times in UTC.
    pub(crate) fn in_local_time(mut self) -> Self {
        self.local_time = true;
        self
    }

    /// Gives the program variables of its environment.
    pub(crate) fn environment(mut self, variables: &[(&'static str, &'static str)]) -> Self {
        self.environment.extend_from_slice(variables);
        self
    }

    /// Has the program run in a folder, rather than in `/`.
    pub(crate) fn folder(mut self, folder: &Path) -> Self {
        folder.clone_into(&mut self.folder);
        self
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Gives the program something to read on its standard input.
    ///
    /// # Errors
    /// [`QueryError::TooLarge`].
    pub(crate) fn input(mut self, input: Vec<u8>) -> Result<Self, QueryError> {
        if input.len() > MAX_INPUT_BYTES {
            return Err(QueryError::TooLarge {
                what: format!("the input of {}", self.name()),
                limit_bytes: MAX_INPUT_BYTES as u64,
            });
        }
        self.input = input;
        Ok(self)
    }

    /// Runs the program and hands what it writes to `reader`, piece by piece, until it ends, the reader has enough, or
    /// `time` has passed.
    ///
    /// # Errors
    /// [`QueryError::Io`] where the program cannot be started or its output not be read.
    pub(crate) fn stream(
        &self,
        time: Duration,
        mut reader: impl FnMut(&[u8]) -> ControlFlow<()>,
    ) -> Result<Stream, QueryError> {
        let deadline = Instant::now() + time;
        let mut running = self.start().map_err(|error| self.failed(error))?;
        let (Some(mut stdout), Some(mut stderr)) = (running.child.stdout.take(), running.child.stderr.take())
        else {
            return Err(self.failed(std::io::Error::other("its output is not connected")));
        };
        let mut complaints = Vec::new();
        let mut buffer = vec![0; CHUNK_BYTES];
        let (mut stdout_open, mut stderr_open) = (true, true);
        while stdout_open || stderr_open {
            let Some(left) = deadline.checked_duration_since(Instant::now()) else {
                return Ok(Stream::TimedOut);
            };
            let (stdout_ready, stderr_ready) =
                wait_for_output((stdout_open, &stdout), (stderr_open, &stderr), left)
                    .map_err(|error| self.failed(error))?;
            if stdout_ready {
                let length = stdout.read(&mut buffer).map_err(|error| self.failed(error))?;
                stdout_open = length > 0;
                if length > 0 && reader(&buffer[..length]).is_break() {
                    return Ok(Stream::Stopped);
                }
            }
            if stderr_ready {
                let length = stderr.read(&mut buffer).map_err(|error| self.failed(error))?;
                stderr_open = length > 0;
                let room = MAX_STDERR_BYTES.saturating_sub(complaints.len());
                complaints.extend_from_slice(&buffer[..length.min(room)]);
            }
        }
        let Some(status) = running.wait_until(deadline).map_err(|error| self.failed(error))? else {
            return Ok(Stream::TimedOut);
        };
        let stderr = String::from_utf8_lossy(&complaints).trim().to_owned();
        Ok(Stream::Ended(Ended { status, stderr }))
    }

    /// Runs the program to its end and gives what it wrote, which may be `limit_bytes` long.
    ///
    /// # Errors
    /// [`QueryError::TooLarge`], [`QueryError::TimedOut`], and those of [`Program::stream`].
    pub(crate) fn output(&self, time: Duration, limit_bytes: usize) -> Result<(Ended, Vec<u8>), QueryError> {
        let mut output = Vec::new();
        let stream = self.stream(time, |piece| {
            output.extend_from_slice(piece);
            if output.len() > limit_bytes { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })?;
        match stream {
            Stream::Ended(ended) => Ok((ended, output)),
            Stream::TimedOut => Err(QueryError::TimedOut { what: self.name(), after: time }),
            Stream::Stopped => Err(QueryError::TooLarge {
                what: format!("the output of {}", self.name()),
                limit_bytes: limit_bytes as u64,
            }),
        }
    }

    fn start(&self) -> std::io::Result<Running> {
        let stdin = if self.input.is_empty() { Stdio::null() } else { Stdio::from(self.filled_pipe()?) };
        let mut command = Command::new(&self.path);
        command.args(&self.arguments).env_clear().env("LC_ALL", "C.UTF-8");
        if !self.local_time {
            command.env("TZ", "UTC");
        }
        let child = command
            .envs(self.environment.iter().copied())
            .current_dir(&self.folder)
            .stdin(stdin)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .spawn()?;
        count_one();
        Ok(Running { child, ended: false })
    }

    /// The reading end of a pipe that holds the input and has no writer any more.
    fn filled_pipe(&self) -> std::io::Result<std::io::PipeReader> {
        let (reader, mut writer) = std::io::pipe()?;
        rustix::pipe::fcntl_setpipe_size(&writer, MAX_INPUT_BYTES)?;
        writer.write_all(&self.input)?;
        Ok(reader)
    }

    fn name(&self) -> String {
        self.path.display().to_string()
    }

    fn failed(&self, source: std::io::Error) -> QueryError {
        QueryError::Io { what: format!("the output of {}", self.name()), source }
    }
}

fn is_program(path: &Path) -> bool {
    path.metadata().is_ok_and(|metadata| metadata.is_file() && metadata.permissions().mode() & 0o111 != 0)
}

/// Waits until one of the two pipes has something to read or was closed, at most `left`.
pub(crate) fn wait_for_output(
    (stdout_open, stdout): (bool, impl AsFd),
    (stderr_open, stderr): (bool, impl AsFd),
    left: Duration,
) -> std::io::Result<(bool, bool)> {
    let interest = |open| if open { PollFlags::IN } else { PollFlags::empty() };
    let (stdout, stderr) = (stdout.as_fd(), stderr.as_fd());
    let mut descriptors = [
        PollFd::from_borrowed_fd(stdout, interest(stdout_open)),
        PollFd::from_borrowed_fd(stderr, interest(stderr_open)),
    ];
    // A closed pipe keeps reporting that it hung up, so only the open ones are asked about.
    let asked = match (stdout_open, stderr_open) {
        (true, false) => &mut descriptors[..1],
        (false, true) => &mut descriptors[1..],
        _ => &mut descriptors[..],
    };
    let timeout = Timespec {
        tv_sec: left.as_secs().try_into().unwrap_or(i64::MAX),
        tv_nsec: left.subsec_nanos().into(),
    };
    match poll(asked, Some(&timeout)) {
        Ok(_) | Err(rustix::io::Errno::INTR) => {}
        Err(error) => return Err(error.into()),
    }
    let [stdout, stderr] = descriptors.map(|descriptor| !descriptor.revents().is_empty());
    Ok((stdout_open && stdout, stderr_open && stderr))
}

/// A started program, killed with its process group and reaped when it is dropped.
struct Running {
    child: Child,
    ended: bool,
}

impl Running {
    /// Its exit status; `None` where it has not ended by `deadline`.
    fn wait_until(&mut self, deadline: Instant) -> std::io::Result<Option<ExitStatus>> {
        // Both pipes are closed, so the end is near: a pause that starts short keeps the common case fast.
        let mut pause = Duration::from_micros(100);
        loop {
            if let Some(status) = self.child.try_wait()? {
                self.ended = true;
                return Ok(Some(status));
            }
            if Instant::now() >= deadline {
                return Ok(None);
            }
            std::thread::sleep(pause);
            pause = (pause * 2).min(Duration::from_millis(20));
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if self.ended {
            return;
        }
        // Not reaped yet, so its number, and its group's, still belong to it.
        if let Some(group) = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw) {
            let _ = kill_process_group(group, Signal::KILL);
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Program {
        Program::find("sh").unwrap().argument("-c").argument(script)
    }

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_program_gets_its_arguments_as_they_are_and_no_environment() {
        let printf =
            Program::find("printf").unwrap().argument("%s|%s").argument("$(id) 'x").argument("--help;ls");
        let (ended, output) = printf.output(5 * SECOND, 1000).unwrap();
        assert!(ended.status.success());
        assert_eq!(output, b"$(id) 'x|--help;ls");
        let (_, environment) = Program::find("env").unwrap().output(5 * SECOND, 1000).unwrap();
        let mut names: Vec<_> =
            environment.split(|&byte| byte == b'\n').filter(|line| !line.is_empty()).collect();
        names.sort_unstable();
        assert_eq!(names, [b"LC_ALL=C.UTF-8".as_slice(), b"TZ=UTC"]);
    }

    #[test]
    fn it_runs_in_its_folder_with_its_variables() {
        let program =
            shell("echo \"$PWD $HOME\"").environment(&[("HOME", "/root")]).folder(Path::new("/usr"));
        assert_eq!(program.output(5 * SECOND, 1000).unwrap().1, b"/usr /root\n");
    }

    #[test]
    fn its_status_and_complaints_are_given() {
        let (ended, output) = shell("echo out; echo bad >&2; exit 3").output(5 * SECOND, 1000).unwrap();
        assert_eq!((ended.status.code(), ended.stderr.as_str()), (Some(3), "bad"));
        assert_eq!(output, b"out\n");
        let (ended, _) = shell("head -c 100000 /dev/zero | tr '\\0' x >&2").output(5 * SECOND, 1000).unwrap();
        assert_eq!(ended.stderr.len(), MAX_STDERR_BYTES);
    }

    #[test]
    fn its_input_is_what_it_is_given() {
        let input = vec![b'x'; MAX_INPUT_BYTES];
        let cat = Program::find("cat").unwrap().input(input.clone()).unwrap();
        assert_eq!(cat.output(5 * SECOND, 1 << 20).unwrap().1, input);
        // One that does not read it ends nevertheless.
        let (ended, _) = shell("exit 0").input(input).unwrap().output(5 * SECOND, 10).unwrap();
        assert!(ended.status.success());
        assert!(shell("").input(vec![0; MAX_INPUT_BYTES + 1]).is_err());
    }

    #[test]
    fn endless_output_is_cut_off() {
        let started = Instant::now();
        let error =
            shell("while :; do echo xxxxxxxxxxxxxxxx; done").output(20 * SECOND, 1 << 20).unwrap_err();
        assert!(matches!(error, QueryError::TooLarge { limit_bytes: 1_048_576, .. }), "{error}");
        assert!(started.elapsed() < 15 * SECOND);
    }

    #[test]
    fn a_program_that_hangs_is_killed_with_all_it_started() {
        let started = Instant::now();
        let mut seen = Vec::new();
        let stream = shell("sleep 1000 & echo $!; wait")
            .stream(SECOND, |piece| {
                seen.extend_from_slice(piece);
                ControlFlow::Continue(())
            })
            .unwrap();
        assert!(matches!(stream, Stream::TimedOut));
        assert!(started.elapsed() < 5 * SECOND);
        let grandchild = String::from_utf8(seen).unwrap();
        // The kill is delivered to the whole group; init reaps the orphan a little later.
        let deadline = Instant::now() + 5 * SECOND;
        let alive = || {
            std::fs::read_to_string(format!("/proc/{}/stat", grandchild.trim()))
                .is_ok_and(|stat| !stat.contains(") Z") && !stat.contains(") X"))
        };
        while alive() {
            assert!(Instant::now() < deadline, "the grandchild {grandchild} still runs");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    #[test]
    fn a_program_that_closes_its_output_and_hangs_is_killed() {
        let started = Instant::now();
        let error = shell("exec >&- 2>&-; sleep 1000").output(SECOND, 10).unwrap_err();
        assert!(matches!(error, QueryError::TimedOut { .. }), "{error}");
        assert!(started.elapsed() < 5 * SECOND);
    }

    #[test]
    fn what_is_not_installed_is_not_found() {
        assert!(Program::find("no-such-program").is_none());
        assert!(Program::find("").is_none());
    }
}
