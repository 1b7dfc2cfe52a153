//! Debian trees made by mmdebstrap: each is made once, kept in the cache under a name that says all that went into it,
//! and never written to again.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::str::FromStr;

use anyhow::{Context, Result, bail};
use rustix::fs::{FlockOperation, flock};

use crate::command::{cache_directory, find, run};
use crate::progress::Step;
use crate::project::digest_text;

/// How a tree is made smaller and quicker; a change makes new trees.
const OPTIONS: [&str; 5] = [
    "--skip=check/empty",
    "--aptopt=APT::Install-Recommends \"false\"",
    "--aptopt=Acquire::Languages \"none\"",
    "--dpkgopt=force-unsafe-io",
    "--dpkgopt=path-exclude=/usr/share/doc/*",
];

/// The release taken where the host is not a Debian.
const FALLBACK_SUITE: &str = "trixie";

/// The sources of the host's own apt, and what signs them.
const HOST_SOURCES: &str = "/etc/apt/sources.list.d/debian.sources";
const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// A release of Debian, by its code name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Suite(String);

impl Suite {
    /// The host's own, so that what was built here runs there.
    pub(super) fn of_host() -> Self {
        host_suite().unwrap_or_else(|| Self(FALLBACK_SUITE.to_owned()))
    }

    /// Its code name.
    pub(super) fn name(&self) -> &str {
        &self.0
    }
}

impl FromStr for Suite {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_lowercase()) {
            Ok(Self(text.to_owned()))
        } else {
            Err(format!("{text:?} is no code name of a Debian release, such as bookworm or trixie"))
        }
    }
}

/// What a tree is made of.
pub(super) struct Tree<'a> {
    /// What it is for: the beginning of its name in the cache, and what is shown while it is made.
    pub(super) name: &'a str,
    /// Of which release.
    pub(super) suite: &'a Suite,
    /// mmdebstrap's variant: `minbase` is a system, `extract` is unpacked packages.
    pub(super) variant: &'a str,
    /// Packages, separated by commas.
    pub(super) packages: &'a str,
    /// What is done to it before it is kept.
    pub(super) finish: fn(&Path) -> Result<()>,
}

/// The directory with the tree, made if it is not there.
///
/// # Errors
/// When mmdebstrap is missing and cannot be installed, or what it does fails.
pub(super) fn tree(tree: &Tree) -> Result<PathBuf> {
    install_tools(&[("mmdebstrap", "mmdebstrap"), ("unshare", "util-linux"), ("setpriv", "util-linux")])?;
    let suite = tree.suite.name();
    let parts = [suite, tree.variant, tree.packages, &OPTIONS.join("\n")];
    let key = digest_text(&parts.map(str::as_bytes));
    let directory = directory()?.join(format!("{}-{suite}-{key}", tree.name));
    // Two builds at once would each take minutes; the second waits for the first.
    let _lock = lock()?;
    if !directory.is_dir() {
        build(tree, &directory)?;
    }
    Ok(directory)
}

/// Where the trees are, and what is made from them.
///
/// # Errors
/// When it cannot be made.
pub(super) fn directory() -> Result<PathBuf> {
    let cache = cache_directory().join("vm");
    fs::create_dir_all(&cache).with_context(|| format!("cannot make {}", cache.display()))?;
    Ok(cache)
}

/// Waits until nobody else makes anything there, and keeps it so until what is returned is dropped.
///
/// # Errors
/// The kernel's.
pub(super) fn lock() -> Result<fs::File> {
    let lock = fs::File::create(directory()?.join("lock"))?;
    flock(&lock, FlockOperation::LockExclusive)?;
    Ok(lock)
}

fn build(tree: &Tree, directory: &Path) -> Result<()> {
    let suite = tree.suite.name();
    let step = Step::begin(format!("Getting Debian {suite}: {} (once, about a minute)", tree.name));
    let beside = |ending: &str| PathBuf::from(format!("{}.{ending}", directory.display()));
    let unfinished = beside("unfinished");
    if unfinished.exists() {
        fs::remove_dir_all(&unfinished)?;
    }
    let mut mmdebstrap = Command::new("mmdebstrap");
    mmdebstrap
        .args(["--quiet", &format!("--variant={}", tree.variant), &format!("--include={}", tree.packages)])
        .args(OPTIONS)
        .arg(suite)
        .arg(&unfinished);
    if let Some(text) = sources(tree.suite) {
        let file = beside("sources");
        fs::write(&file, text)?;
        mmdebstrap.arg(file);
    }
    let log = beside("log");
    let file = fs::File::create(&log)?;
    mmdebstrap.stdout(file.try_clone()?).stderr(file);
    run(&mut mmdebstrap).with_context(|| format!("the build failed; {} says why", log.display()))?;
    (tree.finish)(&unfinished)?;
    fs::rename(&unfinished, directory)?;
    step.done();
    Ok(())
}

/// Where `suite` comes from: the mirror of the host's own apt, if that is a Debian's.
fn sources(suite: &Suite) -> Option<String> {
    let host = host_suite()?;
    Some(of_suite(&fs::read_to_string(HOST_SOURCES).ok()?, &host, suite))
}

/// Debian's sources of one release, made those of another.
fn of_suite(sources: &str, from: &Suite, to: &Suite) -> String {
    let line = |line: &str| {
        if line.starts_with("Suites:") { line.replace(from.name(), to.name()) } else { line.to_owned() }
    };
    sources.lines().map(|text| line(text) + "\n").collect()
}

/// Installs what is missing of `tools`: programs, each with its package.
///
/// # Errors
/// When something is missing and apt is not there, or fails.
pub(super) fn install_tools(tools: &[(&str, &str)]) -> Result<()> {
    let mut missing: Vec<&str> =
        tools.iter().filter(|(program, _)| find(program).is_none()).map(|(_, package)| *package).collect();
    if !Path::new(KEYRING).exists() {
        missing.push("debian-archive-keyring");
    }
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
        command.args(["-qq", "-o", "DPkg::Lock::Timeout=120"]).args(words);
        run(command.env("DEBIAN_FRONTEND", "noninteractive").stdout(Stdio::null()))
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
fn host_suite() -> Option<Suite> {
    suite(&fs::read_to_string("/etc/os-release").ok()?)
}

fn suite(os_release: &str) -> Option<Suite> {
    let value = |key: &str| {
        let line = os_release.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='))?;
        Some(line.trim_matches('"').to_owned())
    };
    (value("ID")? == "debian").then(|| value("VERSION_CODENAME")).flatten()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(name: &str) -> Suite {
        name.parse().unwrap()
    }

    #[test]
    fn the_release_is_taken_from_a_debian_only() {
        assert_eq!(suite("ID=debian\nVERSION_CODENAME=bookworm\n"), Some(named("bookworm")));
        assert_eq!(suite("ID=\"debian\"\nVERSION_CODENAME=\"trixie\"\n"), Some(named("trixie")));
        assert_eq!(suite("ID=ubuntu\nVERSION_CODENAME=noble\n"), None);
    }

    #[test]
    fn a_suite_is_a_code_name_and_nothing_else() {
        for bad in ["", "--help", "Trixie", "trixie/updates", "a b"] {
            assert!(bad.parse::<Suite>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn the_sources_of_another_release_come_from_the_same_mirror() {
        let host = "Types: deb\nURIs: http://bookworm.example/debian\nSuites: bookworm bookworm-updates\n";
        let wanted = "Types: deb\nURIs: http://bookworm.example/debian\nSuites: trixie trixie-updates\n";
        assert_eq!(of_suite(host, &named("bookworm"), &named("trixie")), wanted);
    }
}
