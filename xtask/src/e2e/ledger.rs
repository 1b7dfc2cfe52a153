//! The ledger after the turns: `agentctl verify-ledger` finds it whole, and finds in copies of it what somebody changed.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::command::output;
use crate::runtime::Runtime;
use crate::up::binaries::Binaries;
use crate::up::places::Places;

/// What `agentctl verify-ledger` ends with when the ledger is not as it was recorded.
const TAMPERED: i32 = 1;

/// A ledger and what checks it.
pub(crate) struct Evidence {
    agentctl: PathBuf,
    node: PathBuf,
    state: PathBuf,
    checkpoints: PathBuf,
}

impl Evidence {
    /// The ledger of a stack.
    pub(crate) fn of(places: &Places, binaries: &Binaries, runtime: &Runtime) -> Self {
        Self {
            agentctl: binaries.agentctl(),
            node: runtime.node(),
            state: places.agentd_state(),
            checkpoints: places.checkpoints(),
        }
    }

    /// Verifies the ledger where it is.
    ///
    /// # Errors
    /// When it is not found whole.
    pub(crate) fn is_whole(&self) -> Result<()> {
        let (code, said) = self.verify(&self.state)?;
        ensure!(
            code == 0,
            "the ledger of {} is not found whole (status {code}):\n{said}",
            self.state.display()
        );
        Ok(())
    }

    /// Lets root loose on copies of the stopped ledger below `folder`, and expects each change to be found.
    ///
    /// # Errors
    /// When an untouched copy is not whole, or a touched one is.
    pub(crate) fn tampering_is_found(&self, folder: &Path, word: &str) -> Result<()> {
        let untouched = self.copy(&folder.join("untouched"))?;
        let (code, said) = self.verify(&untouched)?;
        ensure!(code == 0, "an untouched copy is not found whole (status {code}):\n{said}");
        let attacks = [
            (
                "edited",
                format!(
                    "UPDATE events SET payload = replace(payload, '{word}', 'elsewhere') WHERE id = \
                                (SELECT max(id) FROM events WHERE payload LIKE '%{word}%')"
                ),
            ),
            (
                "deleted",
                format!(
                    "DELETE FROM events WHERE id = (SELECT min(id) FROM events WHERE payload LIKE '%{word}%')"
                ),
            ),
            ("truncated", "DELETE FROM events WHERE id > (SELECT max(id) - 2 FROM events)".to_owned()),
        ];
        for (name, statement) in attacks {
            let copy = self.copy(&folder.join(name))?;
            self.change(&copy.join("ledger.db"), &statement)?;
            let (code, said) = self.verify(&copy)?;
            ensure!(code == TAMPERED, "the copy that was {name} is not found out (status {code}):\n{said}");
        }
        Ok(())
    }

    fn verify(&self, state: &Path) -> Result<(i32, String)> {
        let mut command = Command::new(&self.agentctl);
        command
            .args(["verify-ledger", "--full", "--state-dir"])
            .arg(state)
            .arg("--trusted")
            .arg(&self.checkpoints);
        let output = command.output().context("cannot start agentctl")?;
        let said = [output.stdout, output.stderr].concat();
        Ok((output.status.code().unwrap_or(-1), String::from_utf8_lossy(&said).into_owned()))
    }

    /// Runs one statement on a database, as root can: triggers that are in the way are dropped.
    fn change(&self, database: &Path, statement: &str) -> Result<()> {
        let script = "const { DatabaseSync } = require('node:sqlite');
            const database = new DatabaseSync(process.argv[1]);
            for (const { name } of database.prepare(\"SELECT name FROM sqlite_master WHERE type = 'trigger'\").all())
              database.exec(`DROP TRIGGER \"${name}\"`);
            console.log(database.prepare(process.argv[2]).run().changes);
            database.close();";
        let mut command = Command::new(&self.node);
        command.args(["--no-warnings", "-e", script]).arg(database).arg(statement);
        let changed: u32 =
            output(&mut command)?.trim().parse().context("SQLite does not say what changed")?;
        ensure!(changed > 0, "nothing was changed by: {statement}");
        Ok(())
    }

    fn copy(&self, to: &Path) -> Result<PathBuf> {
        fs::create_dir_all(to).with_context(|| format!("cannot make {}", to.display()))?;
        fs::set_permissions(to, fs::metadata(&self.state)?.permissions())?;
        for entry in fs::read_dir(&self.state)? {
            let entry = entry?;
            if entry.file_type()?.is_file() {
                fs::copy(entry.path(), to.join(entry.file_name()))?;
            }
        }
        Ok(to.to_owned())
    }
}
