//! What OpenClaw's own install script would do, done without running it.
//!
//! The package comes with a file that says "not installed yet". As long as it is there the command line tries to finish the
//! installation itself, in a folder that the gateway's user cannot write. The script removes it after it has removed what
//! an older version may have left in `dist`, and has fetched a native library that may be missing. Here the folder is
//! new and the lock file names the library, so that what is left to do is to see that `dist` is whole.

use std::fs;
use std::path::Path;

use crate::error::SetupError;

/// The file that says so, as `scripts/lib/package-lifecycle-marker.mjs` of the package has it.
const PENDING: &str = ".openclaw-lifecycle-pending";

/// The names of the files in `dist`.
const INVENTORY: &str = "dist/postinstall-inventory.json";

/// Most that is read of that.
const LONGEST: u64 = 16 << 20;

/// Finishes OpenClaw in the runtime at `folder`, if it is there.
pub(super) fn finish(folder: &Path) -> Result<(), SetupError> {
    let package = folder.join("node_modules/openclaw");
    let pending = package.join(PENDING);
    if !pending.is_file() {
        return Ok(());
    }
    let inventory = package.join(INVENTORY);
    let length = fs::metadata(&inventory).map_err(SetupError::io("read", &inventory))?.len();
    let refuse = |message: String| SetupError::Archive { package: "openclaw".to_owned(), message };
    if length > LONGEST {
        return Err(refuse(format!("{INVENTORY} is longer than {LONGEST} bytes")));
    }
    let content = fs::read(&inventory).map_err(SetupError::io("read", &inventory))?;
    let files: Vec<String> =
        serde_json::from_slice(&content).map_err(|error| refuse(format!("{INVENTORY}: {error}")))?;
    if let Some(missing) = files.iter().find(|file| !package.join(file).is_file()) {
        return Err(refuse(format!("{missing} is missing, which {INVENTORY} names")));
    }
    fs::remove_file(&pending).map_err(SetupError::io("remove", &pending))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_whole_package_is_finished_and_one_with_a_hole_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let package = folder.path().join("node_modules/openclaw");
        finish(folder.path()).unwrap();
        fs::create_dir_all(package.join("dist")).unwrap();
        fs::write(package.join(PENDING), "pending\n").unwrap();
        assert!(finish(folder.path()).is_err());
        fs::write(package.join(INVENTORY), r#"["dist/a.js"]"#).unwrap();
        assert!(finish(folder.path()).unwrap_err().to_string().contains("dist/a.js is missing"));
        fs::write(package.join("dist/a.js"), "").unwrap();
        finish(folder.path()).unwrap();
        assert!(!package.join(PENDING).exists());
    }
}
