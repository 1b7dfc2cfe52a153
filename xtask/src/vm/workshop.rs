//! The workshop: a file system with the programs that make machines and run them, so that none of them has to fit into
//! the system of whoever develops, and everybody has the same versions.
//!
//! A program of it sees its own files, a few devices, and the folders of this machine that it is given, at their own
//! paths. What is mounted for it ends with it, and it ends with xtask.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::Result;

use super::bootstrap::{Suite, Tree, tree};
use crate::command::root as checkout;

/// The release it is of, whatever the machines are.
const SUITE: &str = "trixie";

const PACKAGES: &str = "busybox-static,e2fsprogs,erofs-utils,grub-common,grub-efi-amd64-bin,grub-pc-bin,gzip,kmod,lz4,\
                        mtools,ovmf,qemu-system-x86,qemu-utils,xorriso,xz-utils,zstd";

/// The programs that make machines.
pub(super) struct Workshop {
    root: PathBuf,
}

impl Workshop {
    /// Gets them if they are not there.
    ///
    /// # Errors
    /// When the build fails.
    pub(super) fn open() -> Result<Self> {
        let suite: Suite = SUITE.parse().map_err(anyhow::Error::msg)?;
        let parts = Tree {
            name: "workshop",
            suite: &suite,
            variant: "minbase",
            packages: PACKAGES,
            finish: |_| Ok(()),
        };
        Ok(Self { root: tree(&parts)? })
    }

    /// One of its programs, which sees `folders` and can write there. It runs as the very process that is spawned.
    pub(super) fn command(&self, program: &str, folders: &[&Path]) -> Command {
        inside(&self.root, program, folders)
    }

    /// A file of it.
    pub(super) fn path(&self, inside: &str) -> PathBuf {
        self.root.join(inside)
    }
}

/// A program of the Debian in `root`, as [`Workshop::command`] runs one.
pub(super) fn inside(root: &Path, program: &str, folders: &[&Path]) -> Command {
    // Each of these becomes the next by exec, so the process that is spawned is the program in the end.
    let mut command = Command::new("setpriv");
    command
        .args(["--pdeathsig", "KILL", "unshare", "--mount", "--propagation", "private", "sh"])
        .arg(checkout().join("xtask/src/vm/workshop/enter.sh"))
        .arg(root)
        .args(folders)
        .args(["--", program])
        .stdin(Stdio::null())
        .env_clear()
        .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
        .env("LC_ALL", "C.UTF-8");
    command
}
