//! Whether there is room, before anything is written.

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use crate::error::SetupError;

/// What an administrator calls a megabyte.
const MEGABYTE: u64 = 1_000_000;

/// Fails unless each folder's file system has room for all that goes to it. Folders that are not there yet count as the
/// nearest one above.
///
/// # Errors
/// [`SetupError::Space`] with the figures.
pub(crate) fn require(needs: &[(&Path, u64)]) -> Result<(), SetupError> {
    let mut sums: Vec<(u64, PathBuf, u64)> = Vec::new();
    for (folder, needed) in needs {
        let Some((present, device)) = nearest(folder) else { continue };
        match sums.iter_mut().find(|(known, ..)| *known == device) {
            Some((_, _, sum)) => *sum = sum.saturating_add(*needed),
            None => sums.push((device, present, *needed)),
        }
    }
    for (_, folder, needed) in sums {
        let available = available(&folder)?;
        if needed > available {
            return Err(SetupError::Space {
                path: folder,
                available: available / MEGABYTE,
                needed: needed.div_ceil(MEGABYTE),
            });
        }
    }
    Ok(())
}

/// Bytes that may still be written to the file system of `folder`.
pub(crate) fn available(folder: &Path) -> Result<u64, SetupError> {
    let status = rustix::fs::statvfs(folder)
        .map_err(|error| SetupError::io("ask for the free space of", folder)(error.into()))?;
    // What is set aside for root is left to the system's own needs.
    Ok(status.f_bavail.saturating_mul(status.f_frsize))
}

fn nearest(folder: &Path) -> Option<(PathBuf, u64)> {
    folder
        .ancestors()
        .filter(|folder| !folder.as_os_str().is_empty())
        .find_map(|folder| Some((folder.to_owned(), std::fs::metadata(folder).ok()?.dev())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_goes_to_one_disk_is_added_up_and_the_figures_are_told() {
        let folder = tempfile::tempdir().unwrap();
        let missing = folder.path().join("not/there/yet");
        require(&[(&missing, 1)]).unwrap();
        let half = available(folder.path()).unwrap() / 2 + (64 << 20);
        let error = require(&[(folder.path(), half), (&missing, half)]).unwrap_err().to_string();
        assert!(error.contains("MB free") && error.contains("MB are needed"), "{error}");
    }
}
