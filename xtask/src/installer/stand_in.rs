//! Packages that stand in for AgentOS's own and do on demand what a package does when things go wrong.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result};

use crate::command;

/// A scripted step that hangs when the case says so, after it has said that it was reached.
const BEFORE: &str = "#!/bin/sh\n[ ! -e /hang-before ] || { touch /reached; sleep 1000; }\n";

/// The groups come from here. What it sees of the caller's environment is kept for the case to look at.
const AFTER: &str = "#!/bin/sh
set -e
env > /postinst-environment
getent group agentos-operators >/dev/null || groupadd --system agentos-operators
[ ! -e /hang-after ] || { touch /reached; sleep 1000; }
";

/// Keeps what it was called with, and what everybody could have read of it.
const SETUP: &str = "#!/bin/sh
printf '%s\\n' \"$*\" > /setup-arguments
env > /setup-environment
cat /proc/[0-9]*/cmdline > /command-lines
[ ! -e /setup-fails ] || exit 1
exit 3
";

/// Holds dpkg's lock for a moment.
const ANOTHER: &str = "#!/bin/sh\ntouch /reached\nsleep 4\n";

struct StandIn {
    file: &'static str,
    name: &'static str,
    version: &'static str,
    architecture: &'static str,
    /// Megabytes that it has on the disk.
    megabytes: usize,
    settings: &'static str,
    before: &'static str,
    after: &'static str,
}

/// The one that the cases vary.
const PLAIN: StandIn = StandIn {
    file: "agentos.deb",
    name: "agentos",
    version: "0.1.0",
    architecture: "",
    megabytes: 0,
    settings: "shipped = 1\n",
    before: BEFORE,
    after: AFTER,
};

/// Builds all of them into `folder`.
///
/// # Errors
/// When dpkg-deb cannot.
pub(super) fn build_all(folder: &Path) -> Result<()> {
    let own = command::output(Command::new("dpkg").arg("--print-architecture"))?;
    let foreign = if own.trim() == "amd64" { "arm64" } else { "amd64" };
    for stand_in in [
        PLAIN,
        StandIn { file: "newer.deb", version: "0.2.0", settings: "shipped = 2\n", ..PLAIN },
        StandIn { file: "rebuilt.deb", settings: "shipped = 3\n", megabytes: 1, ..PLAIN },
        StandIn { file: "large.deb", megabytes: 150, ..PLAIN },
        StandIn { file: "foreign.deb", architecture: foreign, ..PLAIN },
        StandIn { file: "another.deb", name: "another", after: ANOTHER, ..PLAIN },
    ] {
        stand_in.build(folder, own.trim())?;
    }
    let whole = fs::read(folder.join("agentos.deb"))?;
    fs::write(folder.join("broken.deb"), &whole[..whole.len() / 2])?;
    Ok(())
}

impl StandIn {
    fn build(&self, folder: &Path, own: &str) -> Result<()> {
        let tree = folder.join("tree");
        let architecture = if self.architecture.is_empty() { own } else { self.architecture };
        let control = format!(
            "Package: {}\nVersion: {}\nArchitecture: {architecture}\nMaintainer: Nobody <nobody@localhost>\n\
             Description: stands in\n",
            self.name, self.version
        );
        let settings = format!("etc/{}/agentd.toml", self.name);
        let payload = format!("usr/lib/{}/payload", self.name);
        write(&tree.join("DEBIAN/control"), &control, 0o644)?;
        write(&tree.join("DEBIAN/conffiles"), &format!("/{settings}\n"), 0o644)?;
        write(&tree.join("DEBIAN/preinst"), self.before, 0o755)?;
        write(&tree.join("DEBIAN/postinst"), self.after, 0o755)?;
        write(&tree.join(&settings), self.settings, 0o644)?;
        write(&tree.join(&payload), "", 0o644)?;
        fs::write(tree.join(&payload), vec![0; self.megabytes << 20])?;
        if self.name == "agentos" {
            write(&tree.join("usr/sbin/agentos-setup"), SETUP, 0o755)?;
            write(&tree.join("usr/bin/agentctl"), "#!/bin/sh\n", 0o755)?;
        }
        let sums = command::output(
            Command::new("sh").current_dir(&tree).args(["-c", "find etc usr -type f | sort | xargs md5sum"]),
        )?;
        write(&tree.join("DEBIAN/md5sums"), &sums, 0o644)?;
        command::run(
            Command::new("dpkg-deb")
                .args(["--root-owner-group", "-Zgzip", "--build"])
                .arg(&tree)
                .arg(folder.join(self.file))
                .stdout(Stdio::null()),
        )?;
        fs::remove_dir_all(&tree)?;
        Ok(())
    }
}

fn write(path: &Path, content: &str, mode: u32) -> Result<()> {
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent)?;
    }
    fs::write(path, content).with_context(|| format!("cannot write {}", path.display()))?;
    fs::set_permissions(path, fs::Permissions::from_mode(mode))?;
    Ok(())
}
