//! What the owner of the machine decides about a file, once it is known what the file is and by which names it is known.
//!
//! A rule speaks of paths, and a file may have many: symbolic and hard links, other mounts of the same file system, a folder
//! that stands elsewhere than where it is looked for. All that can be found out about that is, on the descriptor that will
//! be read, before anything of it is.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;

use super::Located;
use super::glob::Glob;
use super::places::{Known, joined};
use super::protected::is_below;
use crate::procfs::mountinfo::Mount;
use crate::{QueryError, Viewer};

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
    pub(super) root: Node,
}

#[derive(Debug, Default)]
pub(super) struct Node {
    /// A pattern ends here: the file at this place is meant.
    pub(super) is_file: bool,
    /// A pattern goes on with `**` here: all below this place is meant.
    pub(super) is_folder: bool,
    pub(super) named: BTreeMap<Vec<u8>, Node>,
    pub(super) wild: Vec<(String, Glob, Node)>,
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
    pub(super) fn is_broad(&self) -> bool {
        self.named.len() > 1 || !self.wild.is_empty()
    }
}

impl Located {
    /// Refuses what the viewer's rules keep.
    ///
    /// # Errors
    /// [`QueryError::Denied`]; [`QueryError::Unavailable`] where it cannot be found out by which names it is known.
    pub(crate) fn permit(&self, viewer: &Viewer, known: &mut Known) -> Result<(), QueryError> {
        let Some(rules) = &viewer.rules else { return Ok(()) };
        let names = self.names(rules.kept(), known)?;
        rules.judge(&names).map_err(|reason| QueryError::Denied { reason })
    }

    /// Every name that is known of it.
    fn names(&self, kept: &Kept, known: &mut Known) -> Result<Vec<Vec<u8>>, QueryError> {
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
        names.extend(self.on_other_mounts(known.mounts()?));
        names.extend(known.names(kept, self)?);
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

/// What follows `folder` in `path`, where it is in it.
fn below<'a>(path: &'a [u8], folder: &[u8]) -> Option<&'a [u8]> {
    is_below(path, folder).then(|| path.get(folder.strip_suffix(b"/").unwrap_or(folder).len()..))?
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
