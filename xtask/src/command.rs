//! Running other programs: what is run is shown, and a failure says what was run.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};

use anyhow::{Context, Result, bail};

/// The root of the checkout.
pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap_or(Path::new("."))
}

/// The cargo that runs this xtask.
pub(crate) fn cargo() -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(root());
    command
}

/// Where cargo puts what it builds.
pub(crate) fn target_directory() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from)
}

/// Where costly things are kept that any checkout can use again: `AGENTOS_CACHE_DIR`, or `agentos` in the user's cache.
pub(crate) fn cache_directory() -> PathBuf {
    if let Some(directory) = std::env::var_os("AGENTOS_CACHE_DIR") {
        return directory.into();
    }
    let base = std::env::var_os("XDG_CACHE_HOME")
        .map(PathBuf::from)
        .or_else(|| std::env::var_os("HOME").map(|home| Path::new(&home).join(".cache")))
        .unwrap_or_else(|| root().join(".agentos/cache"));
    base.join("agentos")
}

/// Runs `command` with the terminal as it is, and fails when it does.
///
/// # Errors
/// When it cannot be started or does not end with 0; the message holds the command line.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    let status: ExitStatus = command.status().with_context(|| format!("cannot start: {}", line(command)))?;
    if !status.success() {
        bail!("{status}: {}", line(command));
    }
    Ok(())
}

/// Runs `command` and answers what it printed on standard output, as text.
///
/// # Errors
/// When it cannot be started, does not end with 0, or prints what is not UTF-8.
pub(crate) fn output(command: &mut Command) -> Result<String> {
    let output = command.output().with_context(|| format!("cannot start: {}", line(command)))?;
    if !output.status.success() {
        bail!("{}: {}\n{}", output.status, line(command), String::from_utf8_lossy(&output.stderr));
    }
    String::from_utf8(output.stdout).with_context(|| format!("not UTF-8: {}", line(command)))
}

/// The path of a program on the `PATH`, if it is there.
pub(crate) fn find(program: &str) -> Option<PathBuf> {
    std::env::split_paths(&std::env::var_os("PATH")?)
        .map(|directory| directory.join(program))
        .find(|path| path.is_file())
}

fn line(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(OsStr::to_string_lossy).collect::<Vec<_>>().join(" ")
}
