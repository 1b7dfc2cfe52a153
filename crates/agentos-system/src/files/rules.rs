//! What the owner of the machine decides about a file, once it is known what the file is and by which names it is known.
//!
//! A rule speaks of paths, and a file may have many: symbolic and hard links, other mounts of the same file system, a folder
//! that stands elsewhere than where it is looked for. All that can be found out about that is, on the descriptor that will
//! be read, before anything of it is.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fmt;
use std::ops::Range;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;

use agentos_api::query::path::AbsolutePath;
use rustix::fs::{AtFlags, CWD, Statx, StatxFlags, statx};

use super::glob::Glob;
use super::protected::{is_below, same_file};
use super::{Located, device};
use crate::procfs::mountinfo::{self, Mount};
use crate::procfs::read;
use crate::{QueryError, Viewer};

/// Names that are looked at when patterns are compared with what is on the disk. With more, nothing is read.
const MOST_ENTRIES: usize = 50_000;
/// Most that is read of the list of mounts, in bytes.
const LONGEST_MOUNTINFO: usize = 4 << 20;

/// Decides about files for one caller.
pub trait Rules: fmt::Debug + Send + Sync {
    /// A file or folder was found, and will be read unless this refuses. `names` are all that are known of it, besides the
    /// one it was asked for by.
    ///
    /// # Errors
    /// Why it is not read.
    fn judge(&self, names: &[Vec<u8>]) -> Result<(), String>;

    /// The files that some rule keeps.
    fn kept(&self) -> &Kept;

    /// The part `part` of `content` as it may be shown, where that is not as it is. What surrounds the part is there so that
    /// something which begins before it, or ends behind it, is known.
    fn mask(&self, content: &[u8], part: Range<usize>) -> Option<Vec<u8>>;
}

/// Patterns of files that are kept from somebody, as they are compared with what is on the disk.
///
/// They are a tree, by the names in them: what many patterns begin with is looked up once, and what is below a folder that
/// is not there, never.
#[derive(Debug, Default)]
pub struct Kept {
    root: Node,
}

#[derive(Debug, Default)]
struct Node {
    /// A pattern ends here: the file at this place is meant.
    is_file: bool,
    /// A pattern goes on with `**` here: all below this place is meant.
    is_folder: bool,
    named: BTreeMap<Vec<u8>, Node>,
    wild: Vec<(String, Glob, Node)>,
}

impl Kept {
    /// Takes globs of absolute paths; what is no glob is left out. So is what the kernel makes up in `/proc`: a file there
    /// has the one path, and there are many.
    pub fn new<'a>(patterns: impl IntoIterator<Item = &'a str>) -> Self {
        let mut root = Node::default();
        for pattern in patterns.into_iter().filter(|pattern| !pattern.starts_with("/proc/")) {
            let names: Vec<&str> = pattern.split('/').skip(1).collect();
            let globs: Option<Vec<Glob>> = names.iter().map(|name| Glob::new(name, "path").ok()).collect();
            if let Some(globs) = globs {
                root.add(&names, &globs);
            }
        }
        Self { root }
    }

    /// Nothing is kept: then it does not matter what else a file is called.
    fn is_empty(&self) -> bool {
        !self.root.is_file && !self.root.is_folder && !self.root.is_broad() && self.root.named.is_empty()
    }
}

impl Node {
    fn add(&mut self, names: &[&str], globs: &[Glob]) {
        match (names, globs) {
            ([], _) | (_, []) => self.is_file = true,
            (["**", ..], _) => self.is_folder = true,
            ([name, names @ ..], [glob, globs @ ..]) if glob.is_wild() || name.contains('\\') => {
                let at = self.wild.iter().position(|(known, ..)| known == name).unwrap_or_else(|| {
                    self.wild.push(((*name).to_owned(), glob.clone(), Self::default()));
                    self.wild.len() - 1
                });
                if let Some((_, _, node)) = self.wild.get_mut(at) {
                    node.add(names, globs);
                }
            }
            ([name, names @ ..], [_, globs @ ..]) => {
                self.named.entry(name.as_bytes().to_vec()).or_default().add(names, globs);
            }
        }
    }

    /// So much is below it that it pays to ask first whether it is there.
    fn is_broad(&self) -> bool {
        self.named.len() > 1 || !self.wild.is_empty()
    }
}

impl Located {
    /// Refuses what the viewer's rules keep.
    ///
    /// # Errors
    /// [`QueryError::Denied`]; [`QueryError::Unavailable`] where it cannot be found out by which names it is known.
    pub(crate) fn permit(&self, viewer: &Viewer) -> Result<(), QueryError> {
        let Some(rules) = &viewer.rules else { return Ok(()) };
        let names = self.names(rules.kept())?;
        rules.judge(&names).map_err(|reason| QueryError::Denied { reason })
    }

    /// Every name that is known of it.
    fn names(&self, kept: &Kept) -> Result<Vec<Vec<u8>>, QueryError> {
        let mut names = vec![self.path.clone()];
        if self.attributes.stx_nlink == 0
            && let Some(before) = self.path.strip_suffix(b" (deleted)")
        {
            names.push(before.to_vec());
        }
        // What the kernel makes up of a process has the one path, and no pattern is of it.
        if kept.is_empty() || self.is_on_proc() {
            return Ok(names);
        }
        let mounts = mountinfo::parse(&read("/proc/thread-self/mountinfo", LONGEST_MOUNTINFO)?);
        names.extend(self.on_other_mounts(&mounts));
        let mut search = Search { away: away(&mounts, self), file: self, names, left: MOST_ENTRIES };
        search.below(&kept.root, b"")?;
        Ok(search.names)
    }

    /// Where it is by the other mounts of its file system.
    fn on_other_mounts<'a>(&'a self, mounts: &'a [Mount]) -> impl Iterator<Item = Vec<u8>> + 'a {
        let own = mounts.iter().find(|mount| mount.id == self.attributes.stx_mnt_id);
        own.into_iter().flat_map(move |own| {
            let inside = below(&self.path, &own.point).map(|rest| joined(&own.root, rest));
            mounts
                .iter()
                .filter(|other| other.id != own.id && same_device(other, own))
                .filter_map(move |other| Some(joined(&other.point, below(inside.as_deref()?, &other.root)?)))
        })
    }
}

/// The points of mounts on a server, or behind a program, that may not answer, where the file is not.
fn away<'a>(mounts: &'a [Mount], file: &Located) -> Vec<&'a [u8]> {
    let remote = [&b"nfs"[..], b"cifs", b"smb", b"ceph", b"fuse", b"9p", b"afs", b"autofs"];
    let elsewhere = |mount: &Mount| (mount.major, mount.minor) != device(&file.attributes);
    mounts
        .iter()
        .filter(|mount| elsewhere(mount) && remote.iter().any(|kind| mount.file_system.starts_with(kind)))
        .map(|mount| mount.point.as_slice())
        .collect()
}

/// Patterns being compared with what is on the disk, for one file.
struct Search<'a> {
    away: Vec<&'a [u8]>,
    file: &'a Located,
    /// The file's names that are known so far.
    names: Vec<Vec<u8>>,
    left: usize,
}

impl Search<'_> {
    /// Looks at all places that the patterns below `node` stand for, within `place`.
    fn below(&mut self, node: &Node, place: &[u8]) -> Result<(), QueryError> {
        if self.away.iter().any(|point| is_below(place, point)) {
            return Ok(());
        }
        // A place that is not there is no file and has none below it.
        if node.is_file || node.is_folder || node.is_broad() {
            let Some(found) = look(place) else { return Ok(()) };
            if node.is_file && same_file(&found, &self.file.attributes) {
                self.names.push(place.to_vec());
            }
        }
        if node.is_folder {
            self.add_below(place);
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

    fn names_in(&mut self, folder: &[u8]) -> Result<Vec<Vec<u8>>, QueryError> {
        let path = if folder.is_empty() { Path::new("/") } else { Path::new(OsStr::from_bytes(folder)) };
        let entries = std::fs::read_dir(path).into_iter().flatten().flatten();
        let names: Vec<Vec<u8>> = entries.take(self.left).map(|entry| entry.file_name().into_vec()).collect();
        self.left -= names.len();
        if self.left > 0 {
            return Ok(names);
        }
        Err(QueryError::Unavailable {
            code: "unavailable",
            reason: format!(
                "more than {MOST_ENTRIES} names are where the policy keeps files, so it cannot be told whether {} is one of them",
                self.file.text()
            ),
            hint: Some("narrow the patterns of the policy, or ask on the operator's socket".into()),
        })
    }

    /// Adds the file's name below the folder `place`, where the folder stands elsewhere than it seems.
    fn add_below(&mut self, place: &[u8]) {
        let Some(folder) = AbsolutePath::new(place).ok().and_then(|path| Located::find(&path).ok()) else {
            return;
        };
        if folder.path != place && is_below(&self.file.path, &folder.path) {
            let rest = self.file.path.get(folder.path.len()..).unwrap_or_default();
            self.names.push(joined(place, rest));
        }
    }
}

/// What is at a place, with links followed.
fn look(place: &[u8]) -> Option<Statx> {
    let place = if place.is_empty() { &b"/"[..] } else { place };
    statx(CWD, place, AtFlags::NO_AUTOMOUNT | AtFlags::STATX_DONT_SYNC, StatxFlags::BASIC_STATS).ok()
}

/// What follows `folder` in `path`, where it is in it.
fn below<'a>(path: &'a [u8], folder: &[u8]) -> Option<&'a [u8]> {
    is_below(path, folder).then(|| path.get(folder.strip_suffix(b"/").unwrap_or(folder).len()..))?
}

/// Two parts of a path as one, with one slash between them.
fn joined(folder: &[u8], rest: &[u8]) -> Vec<u8> {
    let folder = folder.strip_suffix(b"/").unwrap_or(folder);
    let rest = rest.strip_prefix(b"/").unwrap_or(rest);
    if rest.is_empty() && !folder.is_empty() { folder.to_vec() } else { [folder, b"/", rest].concat() }
}

fn same_device(left: &Mount, right: &Mount) -> bool {
    (left.major, left.minor) == (right.major, right.minor)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_of_a_path_are_put_together_with_one_slash() {
        for (folder, rest, whole) in [
            ("/", "/a", "/a"),
            ("/a", "/b/c", "/a/b/c"),
            ("/a/", "b", "/a/b"),
            ("/a", "", "/a"),
            ("", "a", "/a"),
            ("/", "", "/"),
        ] {
            assert_eq!(joined(folder.as_bytes(), rest.as_bytes()), whole.as_bytes(), "{folder} {rest}");
        }
        assert_eq!(below(b"/mnt/x/y", b"/mnt/x"), Some(&b"/y"[..]));
        assert_eq!(below(b"/y", b"/"), Some(&b"/y"[..]));
        assert_eq!(below(b"/mnt/xy", b"/mnt/x"), None);
    }
}
