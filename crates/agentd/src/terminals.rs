//! A line on the terminals of those who may say yes, when something begins to wait: as write(1) does it, and as bounded.
//!
//! What is in it may be the agent's words, and where it goes is a person's terminal. So it is one line of printable ASCII; a
//! terminal whose owner does not want messages (mesg(1): no write permission for its group) gets none; and however much begins
//! to wait, a terminal gets one line in ten seconds.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{IsTerminal, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use agentos_api::query::sessions::{Output, Session};
use agentos_system::{Machine, Viewer};
use nix::unistd::{Gid, User};
use rustix::fs::{CWD, Mode, OFlags, ResolveFlags, openat, openat2};

use crate::config::Group;

/// One line in so long.
const EVERY: Duration = Duration::from_secs(10);
/// Characters of a line.
const LONGEST: usize = 200;
/// Terminals that are written to.
const MOST: usize = 64;
/// `S_IWGRP` (inode(7)): mesg(1) sets and clears it.
const GROUP_WRITES: u32 = 0o020;

/// Whose terminals get a line.
#[derive(Debug)]
pub(crate) struct Terminals {
    machine: Arc<Machine>,
    /// The group of the operator's socket; without one, root alone.
    group: Option<Group>,
    last: Mutex<Option<Instant>>,
    /// Somebody waits to write that there is more.
    more: AtomicBool,
}

impl Terminals {
    pub(crate) fn new(machine: Arc<Machine>, group: Option<Group>) -> Arc<Self> {
        Arc::new(Self { machine, group, last: Mutex::new(None), more: AtomicBool::new(false) })
    }

    /// Writes `text`, or a little later that there is more. Returns at once.
    pub(crate) fn tell(self: &Arc<Self>, text: &str) {
        let terminals = Arc::clone(self);
        let wait = self.wait();
        if wait.is_zero() {
            let line = line(text);
            tokio::task::spawn_blocking(move || terminals.write(&line));
        } else if !self.more.swap(true, Ordering::AcqRel) {
            tokio::spawn(async move {
                tokio::time::sleep(wait).await;
                terminals.more.store(false, Ordering::Release);
                let _ = terminals.wait();
                let line = line("more waits for your yes. Look at it with: agentctl approvals");
                let _ = tokio::task::spawn_blocking(move || terminals.write(&line)).await;
            });
        }
    }

    /// How long until the next line; nothing, where it is now, which then counts as written.
    fn wait(&self) -> Duration {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let left = last.map_or(Duration::ZERO, |last| EVERY.saturating_sub(last.elapsed()));
        if left.is_zero() {
            *last = Some(Instant::now());
        }
        left
    }

    fn write(&self, line: &str) {
        let sessions = match self.sessions() {
            Ok(sessions) => sessions,
            Err(reason) => {
                tracing::debug!("nobody's terminal is known: {reason}");
                return;
            }
        };
        let mut told = BTreeSet::new();
        for session in sessions {
            let Some(tty) = session.tty.as_deref().filter(|tty| is_terminal_name(tty)) else { continue };
            if told.len() >= MOST || !told.insert(tty.to_owned()) {
                continue;
            }
            let Some(uid) = self.operator(&session) else { continue };
            if let Err(reason) = write_to(tty, uid, line) {
                tracing::debug!("{tty} gets no line: {reason}");
            }
        }
    }

    fn sessions(&self) -> Result<Vec<Session>, String> {
        let viewer = Viewer { operator: true, rules: None };
        let answer = self.machine.query("sessions", b"{}", viewer).map_err(|error| error.to_string())?;
        let output: Output = serde_json::from_slice(&answer).map_err(|error| error.to_string())?;
        Ok(output.sessions)
    }

    /// The number of the session's user, if they may say yes: root, and the members of the group.
    fn operator(&self, session: &Session) -> Option<u32> {
        let user = User::from_name(&session.user).ok().flatten()?;
        let uid = user.uid.as_raw();
        if session.uid.is_some_and(|known| known != uid) {
            return None;
        }
        if uid == 0 {
            return Some(uid);
        }
        let group = match self.group.as_ref()? {
            Group::Number(number) => nix::unistd::Group::from_gid(Gid::from_raw(*number)),
            Group::Name(name) => nix::unistd::Group::from_name(name),
        };
        let group = group.ok().flatten()?;
        (user.gid == group.gid || group.mem.contains(&user.name)).then_some(uid)
    }
}

/// A name below `/dev` that a terminal of a person's has: `pts/3`, `tty1`. What utmp says is a program's word.
fn is_terminal_name(name: &str) -> bool {
    let digits = |text: &str| (1..=7).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
    name.strip_prefix("pts/").is_some_and(digits) || name.strip_prefix("tty").is_some_and(digits)
}

/// Writes a line to the terminal, if it is one, belongs to that user, and takes messages.
fn write_to(tty: &str, uid: u32, line: &str) -> Result<(), String> {
    let failed = |error: rustix::io::Errno| error.to_string();
    let directory = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let dev: OwnedFd = openat(CWD, c"/dev", directory, Mode::empty()).map_err(failed)?;
    // NOCTTY: it does not become agentd's own. NONBLOCK: one that is stopped keeps nobody waiting.
    let flags = OFlags::WRONLY | OFlags::NOCTTY | OFlags::NONBLOCK | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let beneath = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    let mut terminal = File::from(openat2(&dev, tty, flags, Mode::empty(), beneath).map_err(failed)?);
    let attributes = terminal.metadata().map_err(|error| error.to_string())?;
    if !attributes.file_type().is_char_device() || !terminal.is_terminal() {
        return Err("it is no terminal".to_owned());
    }
    if attributes.uid() != uid {
        return Err(format!("it belongs to the user {}, not to {uid}", attributes.uid()));
    }
    if attributes.mode() & GROUP_WRITES == 0 {
        return Err("its owner wants no messages (mesg n)".to_owned());
    }
    // One write: what does not fit is lost, and nobody waits for it.
    terminal.write(line.as_bytes()).map(drop).map_err(|error| error.to_string())
}

/// A line of printable ASCII: on a line of its own, whatever was on the screen.
fn line(text: &str) -> String {
    let plain: String = text
        .chars()
        .take(LONGEST)
        .map(|character| match character {
            ' '..='~' => character,
            _ if character.is_whitespace() || character.is_control() => ' ',
            _ => '?',
        })
        .collect();
    format!("\r\nAgentOS: {plain}\r\n")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn only_terminals_of_people_are_named() {
        for name in ["pts/0", "pts/1234567", "tty1", "tty63"] {
            assert!(is_terminal_name(name), "{name}");
        }
        for name in [
            "",
            "pts/",
            "pts/ptmx",
            "pts/../sda",
            "pts/1/../../sda",
            "/dev/pts/1",
            "tty",
            "ttyS0",
            "sda",
            "tty1\0",
            "pts/12345678",
        ] {
            assert!(!is_terminal_name(name), "{name}");
        }
    }

    #[test]
    fn what_is_no_terminal_of_that_user_gets_nothing() {
        // The kernel's, which is a character device and no terminal.
        assert!(write_to("null", 0, "x").unwrap_err().contains("no terminal"));
        assert!(write_to("does-not-exist", 0, "x").is_err());
        assert!(write_to("../etc/passwd", 0, "x").is_err());
        assert!(write_to("fd/1", 0, "x").is_err(), "a link is not followed");
    }

    proptest! {
        #[test]
        fn any_text_becomes_one_line_that_moves_nothing(text in ".{0,400}") {
            let line = line(&text);
            let inner = line.strip_prefix("\r\n").and_then(|line| line.strip_suffix("\r\n")).unwrap();
            prop_assert!(inner.bytes().all(|byte| (b' '..=b'~').contains(&byte)), "{inner:?}");
            prop_assert!(inner.len() <= LONGEST + 9);
        }
    }
}
