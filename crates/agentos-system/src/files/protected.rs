//! Files whose content is kept from the agent: agentd's keys and state, by whatever name they are reached.
//!
//! Within one mount a file with one link has one path, so comparing paths is enough. A second link, or another mount of the
//! same file system, makes another path possible; then the protected directories are searched for the file itself.

use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use agentos_api::query::path::AbsolutePath;
use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, Statx, openat};

use super::places::Known;
use super::{Located, attributes_at};
use crate::QueryError;

/// Entries of protected directories that are searched for one file. With more it is refused, unsearched.
const MOST_ENTRIES: usize = 100_000;
/// Levels of protected directories that are searched.
const MOST_LEVELS: usize = 16;

/// What is protected.
#[derive(Debug)]
pub(crate) struct Protected {
    roots: Vec<PathBuf>,
}

impl Protected {
    pub(crate) fn new(roots: Vec<PathBuf>) -> Self {
        Self { roots }
    }

    /// The paths of what is protected, as far as it is there, without links in them.
    pub(crate) fn found(&self) -> Vec<Vec<u8>> {
        self.roots.iter().filter_map(|root| Some(find(root)?.path)).collect()
    }

    /// What is at the protected folders' paths.
    pub(super) fn look<'a>(&self, known: &'a mut Known) -> &'a [Option<Located>] {
        known.roots(|| self.roots.iter().map(|root| find(root)).collect())
    }

    /// Refuses a file that is protected.
    ///
    /// # Errors
    /// [`QueryError::Forbidden`].
    pub(crate) fn check(&self, file: &Located, known: &mut Known) -> Result<(), QueryError> {
        let found = self.look(known);
        for (root, found) in self.roots.iter().zip(found) {
            let hidden = is_below(&file.path, root.as_os_str().as_bytes())
                || found.as_ref().is_some_and(|root| is_below(&file.path, &root.path) || holds(root, file));
            if hidden {
                return Err(QueryError::Forbidden {
                    reason: format!(
                        "{} belongs to agentd itself; only the operator may read it",
                        file.text()
                    ),
                });
            }
        }
        Ok(())
    }
}

/// What is at a protected folder's path.
fn find(root: &Path) -> Option<Located> {
    AbsolutePath::new(root.as_os_str().as_bytes()).ok().and_then(|path| Located::find(&path).ok())
}

/// `path` is `root` or below it, by whole components.
pub(super) fn is_below(path: &[u8], root: &[u8]) -> bool {
    let root = root.strip_suffix(b"/").unwrap_or(root);
    path.strip_prefix(root).is_some_and(|rest| matches!(rest.first(), None | Some(b'/')))
}

fn same_file(left: &Statx, right: &Statx) -> bool {
    device(left) == device(right) && left.stx_ino == right.stx_ino
}

pub(super) fn device(attributes: &Statx) -> (u32, u32) {
    (attributes.stx_dev_major, attributes.stx_dev_minor)
}

/// The file is `root`, or reachable below it by another name than its own.
fn holds(root: &Located, file: &Located) -> bool {
    if same_file(&root.attributes, &file.attributes) {
        return true;
    }
    let one_path_only =
        file.attributes.stx_nlink == 1 && file.attributes.stx_mnt_id == root.attributes.stx_mnt_id;
    if device(&root.attributes) != device(&file.attributes) || one_path_only {
        return false;
    }
    // An unreadable or endless directory hides the file as well: the safe side.
    root.directory().is_ok_and(|directory| {
        let mut left = MOST_ENTRIES;
        contains(directory, &file.attributes, MOST_LEVELS, &mut left).unwrap_or(true)
    })
}

/// Searches an open directory. Inode numbers in directory entries are enough, as the device is the same.
fn contains(
    directory: rustix::fd::OwnedFd,
    file: &Statx,
    levels: usize,
    left: &mut usize,
) -> Result<bool, rustix::io::Errno> {
    let mut entries = Dir::new(directory)?;
    while let Some(entry) = entries.read() {
        let entry = entry?;
        let name = entry.file_name();
        if matches!(name.to_bytes(), b"." | b"..") {
            continue;
        }
        *left = left.saturating_sub(1);
        if *left == 0 {
            return Ok(true);
        }
        if entry.ino() == file.stx_ino {
            return Ok(true);
        }
        let is_directory = match entry.file_type() {
            FileType::Unknown => attributes_at(entries.fd()?, name, AtFlags::empty())
                .is_ok_and(|found| FileType::from_raw_mode(found.stx_mode.into()) == FileType::Directory),
            kind => kind == FileType::Directory,
        };
        if is_directory {
            if levels == 0 {
                return Ok(true);
            }
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
            match openat(entries.fd()?, name, flags, Mode::empty()) {
                Ok(below) => {
                    if contains(below, file, levels - 1, left)? {
                        return Ok(true);
                    }
                }
                Err(rustix::io::Errno::NOENT) => {}
                Err(error) => return Err(error),
            }
        }
    }
    Ok(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_below_by_whole_components() {
        assert!(is_below(b"/var/lib/agentos/key", b"/var/lib/agentos"));
        assert!(is_below(b"/var/lib/agentos", b"/var/lib/agentos/"));
        assert!(!is_below(b"/var/lib/agentos-notes/x", b"/var/lib/agentos"));
        assert!(!is_below(b"/var/lib", b"/var/lib/agentos"));
    }
}
