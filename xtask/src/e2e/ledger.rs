//! The ledger after the turns: `agentctl verify-ledger` finds it whole, and finds a change of one byte in a copy.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};

use crate::up::binaries::Binaries;

/// What `agentctl verify-ledger` ends with when the ledger is not as it was recorded.
const TAMPERED: i32 = 1;

/// Verifies the ledger in `state`.
///
/// # Errors
/// When it is not found whole.
pub(crate) fn is_whole(binaries: &Binaries, state: &Path) -> Result<()> {
    let (code, said) = verify(binaries, state)?;
    ensure!(code == 0, "the ledger of {} is not found whole (status {code}):\n{said}", state.display());
    Ok(())
}

/// Copies the stopped ledger in `state` to `copy`, finds the copy whole, changes one letter of `word` where it was
/// recorded, and expects that to be found.
///
/// # Errors
/// When the untouched copy is not whole, or the touched one is.
pub(crate) fn tampering_is_found(binaries: &Binaries, state: &Path, copy: &Path, word: &str) -> Result<()> {
    copy_folder(state, copy)?;
    is_whole(binaries, copy)?;
    let mut changed = 0;
    for entry in fs::read_dir(copy)? {
        let path = entry?.path();
        let mut bytes = fs::read(&path)?;
        let places: Vec<usize> = bytes
            .windows(word.len())
            .enumerate()
            .filter(|(_, window)| *window == word.as_bytes())
            .map(|(place, _)| place)
            .collect();
        for place in &places {
            if let Some(byte) = bytes.get_mut(*place) {
                *byte = b'Q';
            }
        }
        if !places.is_empty() {
            fs::write(&path, bytes)?;
            changed += places.len();
        }
    }
    ensure!(changed > 0, "{word} is in no file of the ledger's copy, though it was recorded");
    let (code, said) = verify(binaries, copy)?;
    if code != TAMPERED {
        bail!("a changed payload was not found (status {code}):\n{said}");
    }
    Ok(())
}

fn verify(binaries: &Binaries, state: &Path) -> Result<(i32, String)> {
    let output = Command::new(binaries.agentctl())
        .args(["verify-ledger", "--state-dir"])
        .arg(state)
        .output()
        .context("cannot start agentctl")?;
    let said = [output.stdout, output.stderr].concat();
    Ok((output.status.code().unwrap_or(-1), String::from_utf8_lossy(&said).into_owned()))
}

fn copy_folder(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir(to).with_context(|| format!("cannot make {}", to.display()))?;
    fs::set_permissions(to, fs::metadata(from)?.permissions())?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        // The folders beside the ledger are the memory's.
        if entry.file_type()?.is_file() {
            fs::copy(entry.path(), to.join(entry.file_name()))?;
        }
    }
    Ok(())
}
