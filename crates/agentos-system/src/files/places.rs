//! What is at the places that kept patterns stand for, found out once and asked of for each file.
//!
//! Looking takes hundreds of calls. A command opens thousands of files in the time in which nothing of that changes, so what was
//! found is used again, but only while it is [`FRESH`]: names are given by others meanwhile, and a look that is about as old
//! as one takes at most is as good as one that was made for the file alone. What the file itself is, and where, is
//! looked at for each file.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;
use std::time::{Duration, Instant};

use agentos_api::query::path::AbsolutePath;
use rustix::fs::{AtFlags, CWD, Statx, StatxFlags, statx};

use super::protected::{Protected, is_below};
use super::rules::{Kept, Node};
use super::{Located, device};
use crate::procfs::mountinfo::{self, Mount};
use crate::{QueryError, Viewer};

/// How long what was found is used.
const FRESH: Duration = Duration::from_millis(20);
/// Names that are looked at when patterns are compared with what is on the disk. With more, nothing is read.
const MOST_ENTRIES: usize = 50_000;

/// What was found out for one viewer a moment ago.
#[derive(Debug, Default)]
pub(crate) struct Known {
    since: Option<Instant>,
    mounts: Vec<Mount>,
    /// What is at the places, by the device of the file that is asked for, where that is on a server.
    places: HashMap<Option<(u32, u32)>, Result<Places, TooMany>>,
    /// The protected folders, as they were found.
    roots: Option<Vec<Option<Located>>>,
}

/// There is more where patterns lead than is looked at.
#[derive(Clone, Copy, Debug)]
struct TooMany;

/// What is at the places that patterns stand for.
#[derive(Debug, Default)]
struct Places {
    /// Files that are meant, by device and inode, with the places they are at.
    files: HashMap<(u32, u32, u64), Vec<Vec<u8>>>,
    /// Folders of which all is meant, where the place is a name for one that stands elsewhere: the place, and where it stands.
    folders: Vec<(Vec<u8>, Vec<u8>)>,
}

impl Known {
    /// Forgets what is too old.
    fn refresh(&mut self) {
        if self.since.is_none_or(|since| since.elapsed() > FRESH) {
            *self = Self { since: Some(Instant::now()), ..Self::default() };
        }
    }

    /// Finds out now what a viewer's files will be judged by. What goes wrong is found again for the first file.
    pub(crate) fn prepare(&mut self, protected: &Protected, viewer: &Viewer) {
        protected.look(self);
        if let Some(rules) = &viewer.rules
            && self.mounts().is_ok()
        {
            self.at(rules.kept(), None);
        }
    }

    /// What is at the places that `kept` stands for. The mounts are known.
    fn at(&mut self, kept: &Kept, key: Option<(u32, u32)>) -> &Result<Places, TooMany> {
        let Self { mounts, places, .. } = self;
        places.entry(key).or_insert_with(|| Places::find(kept, mounts, key))
    }

    /// The mounts of this machine.
    ///
    /// # Errors
    /// They cannot be read.
    pub(super) fn mounts(&mut self) -> Result<&[Mount], QueryError> {
        self.refresh();
        if self.mounts.is_empty() {
            self.mounts = mountinfo::now()?;
        }
        Ok(&self.mounts)
    }

    /// Whether a file is on a server, or behind a program, that may not answer; also where that cannot be told.
    pub(crate) fn is_remote(&mut self, file: &Located) -> bool {
        let own = device(&file.attributes);
        self.mounts()
            .map_or(true, |mounts| mounts.iter().any(|mount| mount.is_remote() && number(mount) == own))
    }

    /// The names that a file has at the places which `kept` stands for.
    ///
    /// # Errors
    /// [`QueryError::Unavailable`] where that is too much to look at.
    pub(super) fn names(&mut self, kept: &Kept, file: &Located) -> Result<Vec<Vec<u8>>, QueryError> {
        self.mounts()?;
        let own = device(&file.attributes);
        let key = self.mounts.iter().any(|mount| mount.is_remote() && number(mount) == own).then_some(own);
        self.at(kept, key).as_ref().map(|places| places.names(file)).map_err(|TooMany| too_many(file))
    }

    /// What `find` finds of the protected folders.
    pub(super) fn roots(&mut self, find: impl FnOnce() -> Vec<Option<Located>>) -> &[Option<Located>] {
        self.refresh();
        self.roots.get_or_insert_with(find)
    }
}

impl Places {
    /// Looks, for a file on that device.
    fn find(kept: &Kept, mounts: &[Mount], device: Option<(u32, u32)>) -> Result<Self, TooMany> {
        let mut search = Search { away: away(mounts, device), found: Self::default(), left: MOST_ENTRIES };
        search.below(&kept.root, b"")?;
        Ok(search.found)
    }

    fn names(&self, file: &Located) -> Vec<Vec<u8>> {
        let at = self.files.get(&identity(&file.attributes)).into_iter().flatten().cloned();
        let below = self.folders.iter().filter(|(_, stands)| is_below(&file.path, stands));
        let below =
            below.map(|(place, stands)| joined(place, file.path.get(stands.len()..).unwrap_or_default()));
        at.chain(below).collect()
    }
}

fn identity(attributes: &Statx) -> (u32, u32, u64) {
    let (major, minor) = device(attributes);
    (major, minor, attributes.stx_ino)
}

fn too_many(file: &Located) -> QueryError {
    QueryError::Unavailable {
        code: "unavailable",
        reason: format!(
            "more than {MOST_ENTRIES} names are where the policy keeps files, so it cannot be told whether {} is one of them",
            file.text()
        ),
        hint: Some("narrow the patterns of the policy, or ask on the operator's socket".into()),
    }
}

fn number(mount: &Mount) -> (u32, u32) {
    (mount.major, mount.minor)
}

/// The points of mounts that may not answer, where a file on that device is not.
fn away(mounts: &[Mount], device: Option<(u32, u32)>) -> Vec<&[u8]> {
    mounts
        .iter()
        .filter(|mount| mount.is_remote() && Some(number(mount)) != device)
        .map(|mount| mount.point.as_slice())
        .collect()
}

/// Patterns being compared with what is on the disk.
struct Search<'a> {
    away: Vec<&'a [u8]>,
    found: Places,
    left: usize,
}

impl Search<'_> {
    /// Looks at all places that the patterns below `node` stand for, within `place`.
    fn below(&mut self, node: &Node, place: &[u8]) -> Result<(), TooMany> {
        if self.away.iter().any(|point| is_below(place, point)) {
            return Ok(());
        }
        // A place that is not there is no file and has none below it.
        if node.is_file || node.is_folder || node.is_broad() {
            let Some(found) = look(place) else { return Ok(()) };
            if node.is_file {
                self.found.files.entry(identity(&found)).or_default().push(place.to_vec());
            }
        }
        if node.is_folder {
            self.add_folder(place);
        }
        for (name, node) in &node.named {
            self.below(node, &joined(place, name))?;
        }
        if !node.wild.is_empty() {
            for name in self.names_in(place)? {
                for (_, glob, node) in &node.wild {
                    if glob.matches(&name) {
                        self.below(node, &joined(place, &name))?;
                    }
                }
            }
        }
        Ok(())
    }

    fn names_in(&mut self, folder: &[u8]) -> Result<Vec<Vec<u8>>, TooMany> {
        let path = if folder.is_empty() { Path::new("/") } else { Path::new(OsStr::from_bytes(folder)) };
        let entries = std::fs::read_dir(path).into_iter().flatten().flatten();
        let names: Vec<Vec<u8>> = entries.take(self.left).map(|entry| entry.file_name().into_vec()).collect();
        self.left -= names.len();
        if self.left > 0 { Ok(names) } else { Err(TooMany) }
    }

    /// Notes a folder that stands elsewhere than it seems.
    fn add_folder(&mut self, place: &[u8]) {
        let folder = AbsolutePath::new(place).ok().and_then(|path| Located::find(&path).ok());
        if let Some(folder) = folder.filter(|folder| folder.path != place) {
            self.found.folders.push((place.to_vec(), folder.path));
        }
    }
}

/// What is at a place, with links followed.
fn look(place: &[u8]) -> Option<Statx> {
    let place = if place.is_empty() { &b"/"[..] } else { place };
    statx(CWD, place, AtFlags::NO_AUTOMOUNT | AtFlags::STATX_DONT_SYNC, StatxFlags::BASIC_STATS).ok()
}

/// Two parts of a path as one, with one slash between them.
pub(super) fn joined(folder: &[u8], rest: &[u8]) -> Vec<u8> {
    let folder = folder.strip_suffix(b"/").unwrap_or(folder);
    let rest = rest.strip_prefix(b"/").unwrap_or(rest);
    if rest.is_empty() && !folder.is_empty() { folder.to_vec() } else { [folder, b"/", rest].concat() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn located(path: &Path) -> Located {
        Located::find(&AbsolutePath::new(path.as_os_str().as_bytes()).unwrap()).unwrap()
    }

    #[test]
    fn a_name_that_is_given_meanwhile_counts_a_moment_later() {
        let folder = tempfile::tempdir().unwrap();
        let (file, kept) = (folder.path().join("file"), folder.path().join("kept"));
        std::fs::write(&file, "x").unwrap();
        let pattern = Kept::new([kept.to_str().unwrap()]);
        let mut known = Known::default();
        assert!(known.names(&pattern, &located(&file)).unwrap().is_empty());
        std::fs::hard_link(&file, &kept).unwrap();
        std::thread::sleep(FRESH + Duration::from_millis(1));
        let names = known.names(&pattern, &located(&file)).unwrap();
        assert_eq!(names, [kept.as_os_str().as_bytes()]);
    }
}
