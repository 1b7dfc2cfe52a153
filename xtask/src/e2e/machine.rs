//! What is true of this machine, found out without agentd: the answers are held against it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::project;

/// A unit that logs wherever there is a journal.
pub(crate) const LOGGED: &str = "systemd-journald.service";

/// Facts that an answer has to hold.
#[derive(Debug)]
pub(crate) struct Machine {
    /// The machine's name, as the kernel has it.
    pub(crate) hostname: String,
    /// The running kernel's release.
    pub(crate) kernel: String,
    /// All memory, in GiB to one decimal.
    pub(crate) memory: String,
    /// The names of the network interfaces.
    pub(crate) interfaces: Vec<String>,
    /// Whether systemd is process 1 (`sd_booted(3)`).
    pub(crate) systemd: bool,
    /// What an answer about the log of [`LOGGED`] holds.
    pub(crate) journal: String,
    /// A word that was never used before.
    pub(crate) word: String,
    /// A folder made for this run; it holds a file named after the word, whose only line ends with the word reversed, and one with a password.
    pub(crate) folder: PathBuf,
}

impl Machine {
    /// Looks at the machine, and makes `folder` with a file to read.
    ///
    /// # Errors
    /// When something that every Linux has cannot be read.
    pub(crate) fn look(folder: &Path) -> Result<Self> {
        let line = |path: &str| -> Result<String> {
            Ok(fs::read_to_string(path).with_context(|| format!("cannot read {path}"))?.trim().to_owned())
        };
        let total = fs::read_to_string("/proc/meminfo")?
            .lines()
            .find_map(|line| line.strip_prefix("MemTotal:")?.trim().strip_suffix(" kB")?.parse::<f64>().ok())
            .context("no MemTotal in /proc/meminfo")?;
        let interfaces = fs::read_dir("/sys/class/net")?
            .map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()))
            // `bonding_masters` is a file among them.
            .filter(|name: &Result<String>| name.as_ref().is_ok_and(|name| name != "bonding_masters"))
            .collect::<Result<Vec<_>>>()?;
        let random = line("/proc/sys/kernel/random/uuid")?;
        let machine = Self {
            hostname: line("/proc/sys/kernel/hostname")?,
            kernel: line("/proc/sys/kernel/osrelease")?,
            memory: format!("{:.1} GiB", total / 1024.0 / 1024.0),
            interfaces,
            systemd: Path::new("/run/systemd/system").is_dir(),
            journal: journal()?,
            word: format!("quokka{}", random.split('-').next().unwrap_or_default()),
            folder: folder.to_owned(),
        };
        project::make_folder(folder)?;
        fs::write(machine.file(), format!("the answer is {}\n", machine.reversed()))?;
        let secret = format!("user = {}\ndb_password = hunter2{}\n", machine.reversed(), machine.word);
        fs::write(machine.secret_file(), secret)?;
        Ok(machine)
    }

    /// The file in the folder.
    pub(crate) fn file(&self) -> PathBuf {
        self.folder.join(format!("{}.txt", self.word))
    }

    /// Another file in it, with a password.
    pub(crate) fn secret_file(&self) -> PathBuf {
        self.folder.join("settings.ini")
    }

    /// A file that the agent is asked to write, and to take back.
    pub(crate) fn note(&self) -> PathBuf {
        self.folder.join("note.txt")
    }

    /// A file that the person allows in the chat.
    pub(crate) fn chat_note(&self) -> PathBuf {
        self.folder.join("allowed-in-the-chat.txt")
    }

    /// A folder that the agent is asked to make, and may not.
    pub(crate) fn refused_folder(&self) -> PathBuf {
        self.folder.join("refused")
    }

    /// A folder that a previewed command makes, and that is taken back.
    pub(crate) fn previewed_folder(&self) -> PathBuf {
        self.folder.join("previewed")
    }

    /// The word from its end: it stands in the file and in no path and no question.
    pub(crate) fn reversed(&self) -> String {
        self.word.chars().rev().collect()
    }
}

/// The last message of [`LOGGED`], as journalctl(1) has it; where it has none, or is not there, what is said of that.
fn journal() -> Result<String> {
    let Some(program) = crate::command::find("journalctl") else {
        return Ok("journal_unavailable".to_owned());
    };
    let last = |unit: &[&str]| {
        let mut command = Command::new(&program);
        command.args(["--quiet", "--lines", "1", "--output", "cat"]).args(unit);
        crate::command::output(&mut command)
    };
    let of_unit = last(&["--unit", LOGGED])?;
    Ok(match of_unit.lines().next() {
        // The scripted model shows the beginning of a long message only.
        Some(message) => message.chars().take(60).collect(),
        // A machine that never ran journald has no journal, which is not the same as one in which nothing happened.
        None if last(&[])?.is_empty() => "journal_unavailable".to_owned(),
        None => "The journal has nothing".to_owned(),
    })
}
