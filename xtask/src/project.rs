//! Where the project keeps what it makes and does not commit: `.agentos` in the checkout, or, when root works in a
//! checkout that other users cannot enter, a folder of its own below `/var/lib`.

use std::fs;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

pub(crate) use agentos_setup::digest::text as digest_text;

use crate::command::root;

/// The folder for installed runtimes and running state.
pub(crate) fn base() -> PathBuf {
    if rustix::process::geteuid().is_root() && !enterable(root()) {
        let checkout = digest_text(&[root().as_os_str().as_encoded_bytes()]);
        return Path::new("/var/lib").join(format!("agentos-checkout-{checkout}"));
    }
    root().join(".agentos")
}

/// Whether every user may pass through `path` and each folder above it.
pub(crate) fn enterable(path: &Path) -> bool {
    path.ancestors()
        .filter(|folder| !folder.as_os_str().is_empty())
        .all(|folder| fs::metadata(folder).is_ok_and(|metadata| metadata.mode() & 0o001 != 0))
}

/// Makes `path` and what is missing above it, open to be entered by every user.
///
/// # Errors
/// When it cannot be made, or is there and is no folder.
pub(crate) fn make_folder(path: &Path) -> Result<()> {
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o755)
        .create(path)
        .with_context(|| format!("cannot make the folder {}", path.display()))
}

/// Makes sure that the gateway's user can get to `path`.
///
/// # Errors
/// When it cannot; the message says what to do.
pub(crate) fn require_enterable(path: &Path) -> Result<()> {
    if enterable(path) {
        return Ok(());
    }
    bail!(
        "{} cannot be entered by other users, so the gateway's own user cannot get there; name a folder that can with \
         --state, and with AGENTOS_RUNTIME_DIR for what is installed",
        path.display()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_closed_folder_is_not_enterable() {
        let folder = std::env::temp_dir().join(format!("agentos-enterable-{}", std::process::id()));
        fs::DirBuilder::new().mode(0o700).create(&folder).unwrap();
        let inner = folder.join("inner");
        make_folder(&inner).unwrap();
        assert!(!enterable(&inner));
        assert!(enterable(Path::new("/")));
        fs::remove_dir_all(&folder).unwrap();
    }
}
