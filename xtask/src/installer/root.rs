//! A Debian that a case may break: an overlay over the cached one, entered by namespaces without a network.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use rustix::process::{Pid, Signal, kill_process};

use super::stand_in;
use crate::command::cache_directory;
use crate::vm;

/// How long a case may wait for something that happens inside.
const PATIENCE: Duration = Duration::from_mins(1);

/// Mounts the overlay in namespaces of its own, so that nothing of it outlives the command, whatever ends it. A session
/// of its own has no terminal.
const ENTER: &str = r#"
set -e
image=$1 folder=$2 shared=$3 megabytes=$4
[ "$megabytes" = 0 ] || mount -t tmpfs -o "size=${megabytes}m" none "$folder"
mkdir -p "$folder/upper" "$folder/work" "$folder/root"
mount -t overlay -o "lowerdir=$image,upperdir=$folder/upper,workdir=$folder/work" overlay "$folder/root"
mount -t proc proc "$folder/root/proc"
mount --rbind /dev "$folder/root/dev"
mount --bind "$shared" "$folder/root/mnt"
shift 4
exec setsid chroot "$folder/root" "$@"
"#;

/// What all cases share: the cached Debian, and a folder with the script and the stand-ins, seen inside as `/mnt`.
pub(super) struct Trees {
    image: PathBuf,
    folder: PathBuf,
}

impl Trees {
    /// Makes them.
    ///
    /// # Errors
    /// When there is no Debian, or a stand-in cannot be built.
    pub(super) fn prepare(script: &Path) -> Result<Self> {
        let image = vm::debian()?;
        // Not in /tmp, which may itself be an overlay, on which no other can be laid.
        let folder = cache_directory().join(format!("installer-{}", std::process::id()));
        fs::create_dir_all(folder.join("shared"))?;
        let trees = Self { image, folder };
        fs::copy(script, trees.folder.join("shared/install.sh"))?;
        stand_in::build_all(&trees.folder.join("shared"))?;
        Ok(trees)
    }

    /// A Debian as it comes from the cache.
    ///
    /// # Errors
    /// When its folder cannot be made.
    pub(super) fn root(&self) -> Result<Root<'_>> {
        let folder = self.folder.join("root");
        if folder.exists() {
            fs::remove_dir_all(&folder)?;
        }
        fs::create_dir_all(folder.join("upper"))?;
        Ok(Root { trees: self, folder })
    }
}

impl Drop for Trees {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// One Debian. What is written in it stays from command to command.
pub(super) struct Root<'a> {
    trees: &'a Trees,
    folder: PathBuf,
}

/// How a command inside ended, and all that it printed.
#[derive(Debug)]
pub(super) struct Said {
    /// Its exit status.
    pub(super) status: Option<i32>,
    /// Standard output and standard error, as they came.
    pub(super) text: String,
}

impl Said {
    /// Fails unless it ended with `status` and said each of `texts`.
    ///
    /// # Errors
    /// With all that it said.
    pub(super) fn expect(&self, status: i32, texts: &[&str]) -> Result<()> {
        ensure!(
            self.status == Some(status),
            "expected status {status}, got {:?}:\n{}",
            self.status,
            self.text
        );
        for text in texts {
            ensure!(self.text.contains(text), "{text:?} is not in:\n{}", self.text);
        }
        Ok(())
    }

    /// Fails when it said `text`.
    ///
    /// # Errors
    /// With all that it said.
    pub(super) fn expect_not(&self, text: &str) -> Result<()> {
        ensure!(!self.text.contains(text), "{text:?} is in:\n{}", self.text);
        Ok(())
    }
}

impl Root<'_> {
    /// Runs a few lines of shell inside.
    ///
    /// # Errors
    /// When they cannot be started.
    pub(super) fn shell(&self, script: &str) -> Result<Said> {
        said(&mut self.command(script, 0))
    }

    /// Runs a few lines of shell inside that find `variables` in their environment.
    ///
    /// # Errors
    /// When they cannot be started.
    pub(super) fn shell_knowing(&self, variables: &[(&str, &str)], script: &str) -> Result<Said> {
        said(self.command(script, 0).envs(variables.iter().copied()))
    }

    /// Runs a few lines of shell inside, on a file system that holds only so much, and is gone afterwards.
    ///
    /// # Errors
    /// When they cannot be started.
    pub(super) fn shell_within(&self, megabytes: u32, script: &str) -> Result<Said> {
        said(&mut self.command(script, megabytes))
    }

    /// Runs the installer inside with these arguments.
    ///
    /// # Errors
    /// When it cannot be started.
    pub(super) fn install(&self, arguments: &str) -> Result<Said> {
        self.shell(&format!("/mnt/install.sh {arguments}"))
    }

    /// Runs it with `typed` on a terminal.
    ///
    /// # Errors
    /// When it cannot be started.
    pub(super) fn install_typing(&self, typed: &str, arguments: &str) -> Result<Said> {
        self.shell(&format!(
            "echo '{typed}' | TERM=xterm script -qec '/mnt/install.sh {arguments}' /dev/null"
        ))
    }

    /// Starts a few lines of shell, waits until `reached` exists, and ends every process inside at once, as a power cut
    /// does.
    ///
    /// # Errors
    /// When it is never reached.
    pub(super) fn cut_off(&self, script: &str, reached: &str) -> Result<()> {
        let mut child = self
            .command(script, 0)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .context("cannot start")?;
        let outcome = self.wait_for(reached, &mut child);
        // unshare waits for process 1 of the namespace, and that one's end is the end of all others in it.
        let first = fs::read_to_string(format!("/proc/{0}/task/{0}/children", child.id()))?;
        match first.trim().parse().ok().and_then(Pid::from_raw) {
            Some(first) => kill_process(first, Signal::KILL)?,
            None => child.kill()?,
        }
        child.wait()?;
        outcome
    }

    fn wait_for(&self, reached: &str, child: &mut Child) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        while !self.written(reached).exists() {
            if let Some(status) = child.try_wait()? {
                bail!("it ended ({status}) before {reached} was there");
            }
            ensure!(Instant::now() < deadline, "{reached} did not appear within {} s", PATIENCE.as_secs());
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok(())
    }

    /// A file that was written inside, as the host reaches it.
    pub(super) fn written(&self, inside: &str) -> PathBuf {
        self.folder.join("upper").join(inside.trim_start_matches('/'))
    }

    /// Everything that differs from the cached Debian, with its size and time. What is opened for writing is in it.
    ///
    /// # Errors
    /// When it cannot be listed.
    pub(super) fn differences(&self) -> Result<String> {
        let listing = r"%P %y %m %U:%G %s %T@ %l\n";
        crate::command::output(Command::new("find").arg(self.folder.join("upper")).args([
            "-mindepth",
            "1",
            "-printf",
            listing,
        ]))
    }

    fn command(&self, script: &str, megabytes: u32) -> Command {
        let mut command = Command::new("unshare");
        command.args([
            "--mount",
            "--pid",
            "--net",
            "--ipc",
            "--fork",
            "--kill-child",
            "--propagation=private",
        ]);
        command.args(["sh", "-c", ENTER, "sh"]);
        command.args([&self.trees.image, &self.folder, &self.trees.folder.join("shared")]);
        command.arg(megabytes.to_string());
        command.args(["sh", "-c", &format!("exec 2>&1\n{script}")]);
        command.env_clear().env("HOME", "/root").env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
        command.stdin(Stdio::null());
        command
    }
}

fn said(command: &mut Command) -> Result<Said> {
    let output = command.output().context("cannot start unshare")?;
    let text = [output.stdout, output.stderr].concat();
    Ok(Said { status: output.status.code(), text: String::from_utf8_lossy(&text).into_owned() })
}
