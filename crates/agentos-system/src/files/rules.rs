//! What the owner of the machine decides about a file, once it is known what the file is and by which names it is known.
//!
//! A rule speaks of paths, and a file may have many: symbolic and hard links, other mounts of the same file system, a folder
//! that stands elsewhere than where it is looked for. All that can be found out about that is, on the descriptor that will
//! be read, before anything of it is.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::fmt;
use std::ops::Range;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;

use agentos_api::query::path::AbsolutePath;
use rustix::fs::{AtFlags, CWD, StatxFlags, statx};

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
#[derive(Debug, Default)]
pub struct Kept {
    /// The part of each pattern before `**`, and whether there was one: then it names a folder, and all below it is meant.
    heads: Vec<(Vec<String>, bool)>,
}

impl Kept {
    /// Takes globs of absolute paths.
    pub fn new<'a>(patterns: impl IntoIterator<Item = &'a str>) -> Self {
        let mut heads: Vec<(Vec<String>, bool)> = patterns
            .into_iter()
            .map(|pattern| {
                let mut names = pattern.split('/').skip(1);
                let head =
                    names.by_ref().take_while(|name| *name != "**").map(str::to_owned).collect::<Vec<_>>();
                let is_folder = pattern.split('/').any(|name| name == "**");
                (head, is_folder)
            })
            .filter(|(head, _)| !head.is_empty())
            .collect();
        heads.sort();
        heads.dedup();
        Self { heads }
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
        let mounts = mountinfo::parse(&read("/proc/thread-self/mountinfo", LONGEST_MOUNTINFO)?);
        names.extend(self.on_other_mounts(&mounts));
        let mut search = Search { mounts: &mounts, file: self, listed: HashMap::new(), left: MOST_ENTRIES };
        for (head, is_folder) in &kept.heads {
            for place in search.places(head)? {
                if *is_folder {
                    search.add_below(&place, &mut names);
                } else if search.is_the_file(&place) {
                    names.push(place);
                }
            }
        }
        Ok(names)
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

/// Patterns being compared with what is on the disk, for one file.
struct Search<'a> {
    mounts: &'a [Mount],
    file: &'a Located,
    /// The names in each folder that was listed.
    listed: HashMap<Vec<u8>, Vec<Vec<u8>>>,
    left: usize,
}

impl Search<'_> {
    /// The paths that the names of a pattern stand for.
    fn places(&mut self, head: &[String]) -> Result<Vec<Vec<u8>>, QueryError> {
        let mut places = vec![Vec::new()];
        for name in head {
            let glob = Glob::new(name, "path")?;
            let mut next = Vec::new();
            for place in places {
                if !glob.is_wild() {
                    next.push(joined(&place, name.as_bytes()));
                } else if !self.may_wait(&place) {
                    let names = self.names_in(&place)?.iter().filter(|found| glob.matches(found));
                    next.extend(names.map(|found| joined(&place, found)));
                }
            }
            places = next;
        }
        places.retain(|place| !self.may_wait(place));
        Ok(places)
    }

    fn names_in(&mut self, folder: &[u8]) -> Result<&[Vec<u8>], QueryError> {
        if !self.listed.contains_key(folder) {
            let path = if folder.is_empty() { Path::new("/") } else { Path::new(OsStr::from_bytes(folder)) };
            let entries = std::fs::read_dir(path).into_iter().flatten().flatten();
            let names: Vec<Vec<u8>> =
                entries.take(self.left).map(|entry| entry.file_name().into_vec()).collect();
            self.left -= names.len();
            if self.left == 0 {
                return Err(QueryError::Unavailable {
                    code: "unavailable",
                    reason: format!(
                        "more than {MOST_ENTRIES} names are where the policy keeps files, so it cannot be told whether {} is one of them",
                        self.file.text()
                    ),
                    hint: Some("narrow the patterns of the policy, or ask on the operator's socket".into()),
                });
            }
            self.listed.insert(folder.to_vec(), names);
        }
        Ok(self.listed.get(folder).map(Vec::as_slice).unwrap_or_default())
    }

    /// The place is on a server, or behind a program, that may not answer; and the file is not there.
    fn may_wait(&self, place: &[u8]) -> bool {
        let of = self.mounts.iter().filter(|mount| below(place, &mount.point).is_some());
        of.max_by_key(|mount| mount.point.len()).is_some_and(|mount| {
            let elsewhere = mount.id != self.file.attributes.stx_mnt_id
                && (mount.major, mount.minor) != device(&self.file.attributes);
            let kind = mount.file_system.as_slice();
            let remote = [&b"nfs"[..], b"cifs", b"smb", b"ceph", b"fuse", b"9p", b"afs", b"autofs"];
            elsewhere && remote.iter().any(|prefix| kind.starts_with(prefix))
        })
    }

    /// The place, with links followed, is the file itself.
    fn is_the_file(&self, place: &[u8]) -> bool {
        let flags = AtFlags::NO_AUTOMOUNT | AtFlags::STATX_DONT_SYNC;
        statx(CWD, place, flags, StatxFlags::BASIC_STATS)
            .is_ok_and(|found| same_file(&found, &self.file.attributes))
    }

    /// Adds the file's name below the folder `place`, where the folder stands elsewhere than it seems.
    fn add_below(&self, place: &[u8], names: &mut Vec<Vec<u8>>) {
        let Some(folder) = AbsolutePath::new(place).ok().and_then(|path| Located::find(&path).ok()) else {
            return;
        };
        if folder.path != place && is_below(&self.file.path, &folder.path) {
            let rest = self.file.path.get(folder.path.len()..).unwrap_or_default();
            names.push(joined(place, rest));
        }
    }
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
