//! The file system of the machine: a minimal Debian of the host's own release, so that what was built here runs there.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use rustix::fs::{FlockOperation, flock};

use crate::command::{cache_directory, find, run};
use crate::progress::Step;
use crate::project::digest_text;

/// What is in it besides the essential packages.
const PACKAGES: &str =
    "ca-certificates,dbus,iproute2,libnss-systemd,libpam-systemd,nftables,procps,systemd,systemd-sysv";

/// How it is made smaller and quicker; a change makes a new image.
const OPTIONS: [&str; 6] = [
    "--variant=minbase",
    "--skip=check/empty",
    "--aptopt=APT::Install-Recommends \"false\"",
    "--aptopt=Acquire::Languages \"none\"",
    "--dpkgopt=force-unsafe-io",
    "--dpkgopt=path-exclude=/usr/share/doc/*",
];

/// Programs of the host, and the packages that have them.
const TOOLS: [(&str, &str); 4] = [
    ("mmdebstrap", "mmdebstrap"),
    ("systemd-nspawn", "systemd-container"),
    ("nsenter", "util-linux"),
    ("unshare", "util-linux"),
];

/// The release taken where the host is not a Debian.
const FALLBACK_SUITE: &str = "trixie";

/// The sources of the host's own apt.
const HOST_SOURCES: &str = "/etc/apt/sources.list.d/debian.sources";

/// The directory with the file system, built if it is not there. It is never written to again.
///
/// # Errors
/// When a tool is missing and cannot be installed, or the build fails.
pub(super) fn prepare() -> Result<PathBuf> {
    install_tools(&TOOLS)?;
    let suite = host_suite().unwrap_or_else(|| FALLBACK_SUITE.to_owned());
    let key = digest_text(&[suite.as_bytes(), PACKAGES.as_bytes(), OPTIONS.join("\n").as_bytes()]);
    let cache = cache_directory().join("vm");
    fs::create_dir_all(&cache).with_context(|| format!("cannot make {}", cache.display()))?;
    let image = cache.join(format!("{suite}-{key}"));
    // Two builds at once would each take minutes; the second waits for the first.
    let lock = fs::File::create(cache.join("lock"))?;
    flock(&lock, FlockOperation::LockExclusive)?;
    if !image.is_dir() {
        build(&suite, &image)?;
    }
    Ok(image)
}

fn build(suite: &str, image: &Path) -> Result<()> {
    let step = Step::begin(format!("Building a Debian {suite} for the machine (once, a few minutes)"));
    let unfinished = image.with_extension("unfinished");
    if unfinished.exists() {
        fs::remove_dir_all(&unfinished)?;
    }
    let mut mmdebstrap = Command::new("mmdebstrap");
    mmdebstrap.args(["--quiet", &format!("--include={PACKAGES}")]).args(OPTIONS).arg(suite).arg(&unfinished);
    if host_suite().is_some() && Path::new(HOST_SOURCES).exists() {
        mmdebstrap.arg(HOST_SOURCES);
    }
    let log = image.with_extension("log");
    let file = fs::File::create(&log)?;
    mmdebstrap.stdout(file.try_clone()?).stderr(file);
    run(&mut mmdebstrap).with_context(|| format!("the build failed; {} says why", log.display()))?;
    configure(&unfinished)?;
    fs::rename(&unfinished, image)?;
    step.done();
    Ok(())
}

/// Makes the journal persistent and quiets what only a real machine needs.
fn configure(root: &Path) -> Result<()> {
    fs::write(root.join("etc/hostname"), "agentos-test\n")?;
    fs::create_dir_all(root.join("var/log/journal"))?;
    for unit in
        ["systemd-timesyncd.service", "apt-daily.timer", "apt-daily-upgrade.timer", "e2scrub_all.timer"]
    {
        let link = root.join("etc/systemd/system").join(unit);
        if !link.exists() {
            std::os::unix::fs::symlink("/dev/null", link)?;
        }
    }
    Ok(())
}

/// Installs those of the programs that are missing, each from the package beside it.
///
/// # Errors
/// When apt cannot.
pub(super) fn install_tools(tools: &[(&str, &str)]) -> Result<()> {
    let mut missing: Vec<&str> =
        tools.iter().filter(|(program, _)| find(program).is_none()).map(|(_, package)| *package).collect();
    missing.dedup();
    if missing.is_empty() {
        return Ok(());
    }
    if find("apt-get").is_none() {
        bail!("install {} with this machine's package manager", missing.join(" "));
    }
    let step = Step::begin(format!("Installing {}", missing.join(" ")));
    let apt = |words: &[&OsStr]| {
        let mut command = Command::new("apt-get");
        command
            .arg("-qq")
            .args(words)
            .env("DEBIAN_FRONTEND", "noninteractive")
            .stdout(std::process::Stdio::null());
        run(&mut command)
    };
    apt(&["update".as_ref()])?;
    let mut words: Vec<&OsStr> =
        vec!["install".as_ref(), "--yes".as_ref(), "--no-install-recommends".as_ref()];
    words.extend(missing.iter().map(OsStr::new));
    apt(&words)?;
    step.done();
    Ok(())
}

/// The code name of the host's release, if it is a Debian.
fn host_suite() -> Option<String> {
    suite(&fs::read_to_string("/etc/os-release").ok()?)
}

fn suite(os_release: &str) -> Option<String> {
    let value = |key: &str| {
        let line = os_release.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='))?;
        Some(line.trim_matches('"').to_owned())
    };
    (value("ID")? == "debian").then(|| value("VERSION_CODENAME")).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_release_is_taken_from_a_debian_only() {
        assert_eq!(suite("ID=debian\nVERSION_CODENAME=bookworm\n").as_deref(), Some("bookworm"));
        assert_eq!(suite("ID=\"debian\"\nVERSION_CODENAME=\"trixie\"\n").as_deref(), Some("trixie"));
        assert_eq!(suite("ID=ubuntu\nVERSION_CODENAME=noble\n"), None);
    }
}
