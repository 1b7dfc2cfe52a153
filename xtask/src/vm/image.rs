//! The file system of the machine: a minimal Debian, the same for nspawn, for QEMU and for the live medium.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use anyhow::Result;

use super::bootstrap::{Suite, Tree, install_tools, tree};

/// What is in it besides the essential packages.
const PACKAGES: &str = "ca-certificates,curl,dbus,iproute2,kmod,libnss-systemd,libpam-systemd,nftables,procps,\
                        qemu-guest-agent,systemd,systemd-sysv,udev";

/// Units that do nothing but cost time in a machine that is thrown away.
const QUIET: [&str; 4] =
    ["systemd-timesyncd.service", "apt-daily.timer", "apt-daily-upgrade.timer", "e2scrub_all.timer"];

/// The file system of a machine in nspawn, built if it is not there. It is never written to again.
///
/// # Errors
/// When a tool is missing and cannot be installed, or the build fails.
pub(super) fn prepare() -> Result<PathBuf> {
    install_tools(&[("systemd-nspawn", "systemd-container"), ("nsenter", "util-linux")])?;
    debian(&Suite::of_host())
}

/// The file system of `suite`, built if it is not there. It is never written to again.
///
/// # Errors
/// When the build fails.
pub(super) fn debian(suite: &Suite) -> Result<PathBuf> {
    tree(&Tree { name: "root", suite, variant: "minbase", packages: PACKAGES, finish: configure })
}

/// The file system of a machine in nspawn whose names and clock come over the network: the same, with systemd's services for
/// them.
///
/// # Errors
/// When the build fails.
pub(super) fn networked() -> Result<PathBuf> {
    let packages = format!("{PACKAGES},systemd-resolved,systemd-timesyncd");
    let suite = Suite::of_host();
    let finish = |root: &Path| {
        configure(root)?;
        // It is what is tested, and would not run in a container.
        fs::remove_file(root.join("etc/systemd/system/systemd-timesyncd.service"))?;
        let folder = root.join("etc/systemd/system/systemd-timesyncd.service.d");
        fs::create_dir_all(&folder)?;
        let text = "[Unit]\nConditionCapability=\nConditionVirtualization=\n\
                    [Service]\nAmbientCapabilities=\nCapabilityBoundingSet=\n";
        Ok(fs::write(folder.join("container.conf"), text)?)
    };
    tree(&Tree { name: "networked", suite: &suite, variant: "minbase", packages: &packages, finish })
}

/// The file system of a live medium of `suite`: the same, with what finds names in a network that nobody configured.
///
/// # Errors
/// When the build fails.
pub(super) fn live(suite: &Suite) -> Result<PathBuf> {
    let packages = format!("{PACKAGES},systemd-resolved");
    tree(&Tree { name: "live", suite, variant: "minbase", packages: &packages, finish: configure })
}

/// Makes the journal persistent and quiets what only a real machine needs.
fn configure(root: &Path) -> Result<()> {
    fs::write(root.join("etc/hostname"), "agentos-test\n")?;
    fs::create_dir_all(root.join("var/log/journal"))?;
    mask(root, &QUIET)
}

/// Makes sure that none of `units` is ever started.
///
/// # Errors
/// When a link cannot be made.
pub(super) fn mask(root: &Path, units: &[&str]) -> Result<()> {
    for unit in units {
        let link = root.join("etc/systemd/system").join(unit);
        if link.symlink_metadata().is_ok() {
            fs::remove_file(&link)?;
        }
        symlink("/dev/null", link)?;
    }
    Ok(())
}
