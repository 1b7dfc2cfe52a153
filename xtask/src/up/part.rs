//! One running program of the stack: in a process group of its own, logged to a file, ended when xtask ends, however
//! that comes about.

use std::fs::{self, File};
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process_group, set_parent_process_death_signal};

use super::identity::Identity;

/// How often a part is looked at while something is waited for.
pub(crate) const TICK: Duration = Duration::from_millis(50);

/// How long a part that is dropped may take to end by itself.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// A running program.
#[derive(Debug)]
pub(crate) struct Part {
    name: &'static str,
    child: Child,
    log: PathBuf,
    grace: Duration,
    ended: bool,
}

impl Part {
    /// Starts `command` as `identity`, what it prints going to `log`. Asked to stop, it gets `grace` before it is killed.
    ///
    /// # Errors
    /// When it cannot be started.
    pub(crate) fn start(
        name: &'static str,
        mut command: Command,
        log: &Path,
        identity: Identity,
        grace: Duration,
    ) -> Result<Self> {
        let output = File::create(log).with_context(|| format!("cannot write {}", log.display()))?;
        command.stdin(Stdio::null()).stdout(output.try_clone()?).stderr(output).process_group(0);
        let separate = matches!(identity, Identity::Separate(_));
        if let Identity::Separate(number) = identity {
            // The standard library drops every supplementary group with them.
            command.uid(number).gid(number);
        }
        let prepare = move || {
            // After the change of user, which would clear it (prctl(2)): no part outlives xtask, not even its SIGKILL.
            set_parent_process_death_signal(Some(Signal::TERM))?;
            if separate {
                rustix::thread::set_no_new_privs(true)?;
            }
            Ok(())
        };
        // SAFETY: between fork and exec `prepare` makes two prctl(2) calls and nothing else: it allocates nothing and
        // takes no lock.
        unsafe { command.pre_exec(prepare) };
        let child = command
            .spawn()
            .with_context(|| format!("cannot start {name}: {}", command.get_program().to_string_lossy()))?;
        Ok(Self { name, child, log: log.to_owned(), grace, ended: false })
    }

    /// The number of its process.
    pub(crate) fn process(&self) -> u32 {
        self.child.id()
    }

    /// What it printed so far.
    pub(crate) fn printed(&self) -> String {
        fs::read(&self.log).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
    }

    /// Fails when it has ended.
    ///
    /// # Errors
    /// When it has: with its status and the end of its log.
    pub(crate) fn check(&mut self) -> Result<()> {
        let Some(status) = self.child.try_wait().with_context(|| format!("cannot watch {}", self.name))?
        else {
            return Ok(());
        };
        self.ended = true;
        let how = match (status.code(), status.signal()) {
            (Some(code), _) => format!("ended with status {code}"),
            (None, Some(signal)) => format!("was ended by signal {signal}"),
            (None, None) => "ended".to_owned(),
        };
        bail!("{} {how}; its log {} ends with:\n{}", self.name, self.log.display(), self.tail())
    }

    fn tail(&self) -> String {
        let printed = self.printed();
        let lines: Vec<&str> = printed.lines().rev().take(15).collect();
        lines.into_iter().rev().map(|line| format!("  {line}")).collect::<Vec<_>>().join("\n")
    }

    /// Waits until `ready` answers with something, the part ends, or `limit` is over.
    ///
    /// # Errors
    /// When the part ends or the time is over: with the end of its log.
    pub(crate) async fn wait_for<T>(
        &mut self,
        limit: Duration,
        mut ready: impl AsyncFnMut() -> Option<T>,
    ) -> Result<T> {
        let started = Instant::now();
        loop {
            self.check()?;
            if let Some(value) = ready().await {
                return Ok(value);
            }
            if started.elapsed() > limit {
                bail!(
                    "{} is not ready after {} s; its log {} ends with:\n{}",
                    self.name,
                    limit.as_secs(),
                    self.log.display(),
                    self.tail()
                );
            }
            tokio::time::sleep(TICK).await;
        }
    }

    /// Asks it to stop, waits as long as it was granted, then kills it and all it started.
    pub(crate) async fn stop(&mut self) {
        self.signal(Signal::TERM);
        let started = Instant::now();
        while !self.ended && started.elapsed() < self.grace {
            match self.child.try_wait() {
                Ok(None) => tokio::time::sleep(TICK).await,
                Ok(Some(_)) | Err(_) => self.ended = true,
            }
        }
        self.kill();
    }

    fn kill(&mut self) {
        // Also after it ended by itself: what it started may still be there.
        self.signal(Signal::KILL);
        if !self.ended {
            self.ended = self.child.wait().is_ok();
        }
    }

    fn signal(&self, signal: Signal) {
        if let Some(group) = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw) {
            // ESRCH: nothing is left of the group, which is what is wanted.
            let _ = kill_process_group(group, signal);
        }
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        if self.ended {
            return;
        }
        // The orderly way is `stop`; here there is nobody to wait for long.
        self.signal(Signal::TERM);
        let started = Instant::now();
        while !self.ended && started.elapsed() < LAST_WORDS {
            std::thread::sleep(TICK);
            self.ended = !matches!(self.child.try_wait(), Ok(None));
        }
        self.kill();
    }
}
