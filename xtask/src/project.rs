//! Where the project keeps what it makes and does not commit: `.agentos` in the checkout, or, when root works in a
//! checkout that other users cannot enter, a folder of its own below `/var/lib`.

use std::fs;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use ring::digest::{SHA256, digest};

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

/// The first 16 hexadecimal digits of the SHA-256 of all parts, each counted with its length.
pub(crate) fn digest_text(parts: &[&[u8]]) -> String {
    let mut whole = Vec::new();
    for part in parts {
        whole.extend_from_slice(&(part.len() as u64).to_be_bytes());
        whole.extend_from_slice(part);
    }
    let mut text = hexadecimal(digest(&SHA256, &whole).as_ref());
    text.truncate(16);
    text
}

/// The bytes in hexadecimal digits.
pub(crate) fn hexadecimal(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    bytes
        .iter()
        .flat_map(|byte| [byte >> 4, byte & 15])
        .map(|digit| char::from(DIGITS[usize::from(digit)]))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_digest_tells_parts_apart() {
        assert_ne!(digest_text(&[b"ab", b"c"]), digest_text(&[b"a", b"bc"]));
        assert_eq!(digest_text(&[b"ab"]).len(), 16);
    }

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
