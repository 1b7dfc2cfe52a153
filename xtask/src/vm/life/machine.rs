//! The machine of these statements: what it boots from, and what is asked of it.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::command::{cache_directory, root};
use crate::vm::ask::Ask;
use crate::vm::nspawn::{Disk, Guest, Share};
use crate::vm::tally::wait_for;

/// How long systemd may take to start agentd.
pub(super) const START_TIME: Duration = Duration::from_secs(30);

/// A machine that keeps its disk when it is booted again.
pub(super) struct Machine {
    image: PathBuf,
    disk: Disk,
    shares: Vec<Share>,
    guest: Option<Guest>,
}

impl Machine {
    /// Boots it, without the package, which it sees as `/package.deb`; a newer one as `/newer.deb`, and as `/mirror` what
    /// was downloaded to install the gateway's runtime with. What a person starts the installation with is `/install.sh`.
    pub(super) fn boot(image: &Path, package: &Path, newer: &Path) -> Result<Self> {
        let shares = vec![
            Share { from: package.to_owned(), to: "/package.deb" },
            Share { from: newer.to_owned(), to: "/newer.deb" },
            Share { from: cache_directory().join("npm"), to: "/mirror" },
            Share { from: root().join("scripts/install.sh"), to: "/install.sh" },
        ];
        let disk = Disk::new()?;
        let guest = Some(Guest::boot(image, &disk, &shares)?);
        Ok(Self { image: image.to_owned(), disk, shares, guest })
    }

    /// The booted machine.
    #[expect(clippy::expect_used, reason = "it is away only while it reboots")]
    pub(super) fn guest(&self) -> &Guest {
        self.guest.as_ref().expect("the machine is booted")
    }

    /// Powers it off and boots it again from the same disk.
    pub(super) fn reboot(&mut self) -> Result<()> {
        if let Some(guest) = self.guest.take() {
            guest.power_off()?;
        }
        self.guest = Some(Guest::boot(&self.image, &self.disk, &self.shares)?);
        Ok(())
    }

    /// Powers it off for good.
    pub(super) fn power_off(mut self) -> Result<()> {
        self.guest.take().map_or(Ok(()), Guest::power_off)
    }

    /// Runs a few lines of shell inside.
    pub(super) fn shell(&self, script: &str) -> Result<String> {
        self.guest().shell(script)
    }

    /// Runs a few lines of shell inside, and answers their status and all they print.
    pub(super) fn tried(&self, script: &str) -> Result<(i32, String)> {
        let output = self.guest().command(&["sh", "-c", script]).output()?;
        let said = [output.stdout, output.stderr].concat();
        Ok((output.status.code().unwrap_or(-1), String::from_utf8_lossy(&said).into_owned()))
    }

    /// A property of a unit.
    pub(super) fn property(&self, unit: &str, property: &str) -> Result<String> {
        let value = self.guest().run(&["systemctl", "show", "--value", "--property", property, unit])?;
        Ok(value.trim().to_owned())
    }

    /// A client of the person's socket.
    pub(super) fn ask(&self) -> Result<Ask> {
        Ask::new(self.guest().path("/run/agentos/operator.sock"))
    }

    /// Waits until agentd answers.
    pub(super) fn agentd_answers(&self) -> Result<Ask> {
        let ask = self.ask()?;
        wait_for("agentd answers", START_TIME, || if ask.is_up() { Ok(()) } else { bail!("it does not") })
            .with_context(|| self.log("agentd"))?;
        Ok(ask)
    }

    /// Waits until the unit is in that state.
    pub(super) fn unit_is(&self, unit: &str, state: &str, limit: Duration) -> Result<()> {
        wait_for(unit, limit, || {
            let now = self.property(unit, "ActiveState")?;
            if now == state { Ok(()) } else { bail!("{unit} is {now}, not {state}") }
        })
        .with_context(|| self.log(unit))
    }

    /// The end of a unit's log.
    pub(super) fn log(&self, unit: &str) -> String {
        self.guest()
            .run(&["journalctl", "--no-pager", "--lines=25", "--output=cat", "--unit", unit])
            .unwrap_or_else(|error| format!("{error:#}"))
    }

    /// Writes a file of the machine.
    pub(super) fn write(&self, inside: &str, content: &str) -> Result<()> {
        fs::write(self.guest().path(inside), content)
            .with_context(|| format!("cannot write {inside} in the machine"))
    }

    /// Reads a file of the machine.
    pub(super) fn read(&self, inside: &str) -> Result<String> {
        fs::read_to_string(self.guest().path(inside))
            .with_context(|| format!("cannot read {inside} in the machine"))
    }

    /// Whether the machine has that path.
    pub(super) fn has(&self, inside: &str) -> bool {
        fs::symlink_metadata(self.guest().path(inside)).is_ok()
    }

    /// The whole ledger is verified, offline, as root does it.
    pub(super) fn ledger_is_whole(&self) -> Result<()> {
        self.guest()
            .run(&["agentctl", "verify-ledger", "--full", "--state-dir", "/var/lib/agentos"])
            .map(|_| ())
            .context("the ledger is not whole")
    }
}
