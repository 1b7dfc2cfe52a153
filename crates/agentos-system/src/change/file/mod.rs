//! Paths of the file system: what has them, with which content and attributes, and how that is changed.
//!
//! A path is resolved when a change is planned, to a folder without symbolic links in its path and a name in it. When it is
//! made, that folder is opened anew with no link followed (`RESOLVE_NO_SYMLINKS`, openat2(2)), and everything happens below
//! that descriptor. A link that is put in the way makes it fail; nothing makes it write elsewhere.

mod acl;
mod attributes;
mod build;
mod overlay;
mod place;
mod rename;
mod state;
mod swap;
pub(super) mod together;
mod transition;
mod unnamed;

pub(crate) use attributes::Attributes;
pub(crate) use overlay::FileOverlay;
pub(crate) use place::{Place, open_without_links, resolve};
pub(crate) use rename::Rename;
pub(crate) use state::{Content, FileState};
pub(crate) use transition::FileTransition;
