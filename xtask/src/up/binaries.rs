//! The programs of the stack, built by cargo.

use std::path::PathBuf;

use anyhow::Result;

use crate::command::{cargo, run, target_directory};

/// Where the built programs are.
#[derive(Clone, Debug)]
pub(crate) struct Binaries {
    folder: PathBuf,
}

impl Binaries {
    /// Builds agentd, agentctl and the scripted model: optimised, or for `development` quickly.
    ///
    /// # Errors
    /// When they do not build.
    pub(crate) fn build(development: bool) -> Result<Self> {
        let mut command = cargo();
        command.args(["build", "--locked", "--bins"]);
        if development {
            // As the tests build them: another choice of packages would build some of the libraries anew.
            command.arg("--workspace");
        } else {
            command.args(["--release", "-p", "agentd", "-p", "agentctl", "-p", "agentos-rehearsal"]);
        }
        run(&mut command)?;
        Ok(Self { folder: target_directory().join(if development { "debug" } else { "release" }) })
    }

    /// The daemon.
    pub(crate) fn agentd(&self) -> PathBuf {
        self.folder.join("agentd")
    }

    /// The command line.
    pub(crate) fn agentctl(&self) -> PathBuf {
        self.folder.join("agentctl")
    }

    /// The scripted model.
    pub(crate) fn rehearsal(&self) -> PathBuf {
        self.folder.join("agentos-rehearsal")
    }
}
