//! `cargo xtask package`: the Debian package, from release builds and the files of `packaging/`, by dpkg-deb(1). The same
//! commit makes the same package, byte for byte.

mod control;
mod notices;
mod tree;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use self::tree::Tree;
use crate::command::{self, cargo, find, root, run as run_command, target_directory};
use crate::progress::Step;
use crate::{plugin, runtime};

/// Options of `cargo xtask package`.
#[derive(Debug, Default, clap::Args)]
#[command(after_help = "Example:\n  cargo xtask package && apt install ./target/package/agentos_*.deb")]
pub(crate) struct Arguments {
    /// Put this after the version, as in `0.1.0+SUFFIX`.
    #[arg(long, value_name = "SUFFIX", value_parser = suffix)]
    suffix: Option<String>,
    /// Build quickly instead of optimised.
    #[arg(long)]
    dev: bool,
}

/// The programs of the package: cargo's package, and where the program goes.
const PROGRAMS: [(&str, &str); 4] = [
    ("agentd", "usr/bin/agentd"),
    ("agentctl", "usr/bin/agentctl"),
    ("agentos-setup", "usr/sbin/agentos-setup"),
    ("agentos-rehearsal", "usr/lib/agentos/agentos-rehearsal"),
];

/// Builds the package and says where it is and how large.
///
/// # Errors
/// Those of [`debian`].
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let package = debian(arguments.suffix.as_deref(), arguments.dev)?;
    let size = fs::metadata(&package)?.len();
    println!("{} ({:.1} MiB)", package.display(), mebibytes(size));
    Ok(())
}

/// Builds the package, optimised or for `development` quickly; with a suffix, one that counts as newer than the same without.
///
/// # Errors
/// When something does not build, or a program that makes packages is missing: the message names it.
pub(crate) fn debian(suffix: Option<&str>, development: bool) -> Result<PathBuf> {
    if find("dpkg-deb").is_none() {
        bail!("dpkg-deb is not installed; run: apt-get install dpkg (on NixOS: nix-shell -p dpkg)");
    }
    let mut build = cargo();
    build.args(["build", "--locked", "--bins"]);
    if development {
        // As the tests build them: another choice of packages would build some of the libraries anew.
        build.arg("--workspace");
    } else {
        build.arg("--release");
        for (package, _) in PROGRAMS {
            build.args(["--package", package]);
        }
    }
    run_command(&mut build)?;
    plugin::build(&runtime::install()?)?;
    let step = Step::begin("putting the Debian package together");
    let version = match suffix {
        Some(suffix) => format!("{}+{suffix}", env!("CARGO_PKG_VERSION")),
        None => env!("CARGO_PKG_VERSION").to_owned(),
    };
    let architecture = command::output(Command::new("dpkg").arg("--print-architecture"))?;
    let name = format!("agentos_{version}_{}", architecture.trim());
    let folder = target_directory().join("package");
    let programs = target_directory().join(if development { "debug" } else { "release" });
    let tree = Tree::lay_out(&folder.join(&name), &programs, &version)?;
    control::write_all(&tree, &version, architecture.trim())?;
    let package = folder.join(format!("{name}.deb"));
    run_command(
        Command::new("dpkg-deb")
            .args(["--root-owner-group", "-Zxz", "--build"])
            .args([tree.root(), &package])
            // What dpkg-deb(1) clamps the times of the files to.
            .env("SOURCE_DATE_EPOCH", committed()?)
            .stdout(std::process::Stdio::null()),
    )?;
    step.done();
    Ok(package)
}

/// When what is checked out was committed, in seconds since 1970.
fn committed() -> Result<String> {
    let mut git = Command::new("git");
    git.args(["log", "-1", "--format=%ct"]).current_dir(root());
    Ok(command::output(&mut git).context("the time of a package is that of its commit")?.trim().to_owned())
}

/// Bytes in MiB.
#[expect(clippy::cast_precision_loss, reason = "a size that a person reads")]
pub(crate) fn mebibytes(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

fn suffix(text: &str) -> Result<String, String> {
    if text.is_empty() || !text.chars().all(|character| character.is_ascii_alphanumeric() || character == '.')
    {
        return Err("a suffix has letters, digits and dots only".to_owned());
    }
    Ok(text.to_owned())
}

/// Writes a file of the package, with what is missing above it.
fn write(path: &Path, content: &[u8]) -> Result<()> {
    let parent = path.parent().with_context(|| format!("{} has no folder", path.display()))?;
    fs::create_dir_all(parent).with_context(|| format!("cannot make {}", parent.display()))?;
    fs::write(path, content).with_context(|| format!("cannot write {}", path.display()))
}
