//! The unified control-group hierarchy: where it is mounted, and its groups, opened by descriptor.

use std::os::unix::ffi::OsStrExt;

use agentos_api::query::path::encode;
use rustix::fd::OwnedFd;
use rustix::fs::{CWD, Dir, FileType, Mode, OFlags, ResolveFlags, openat, openat2};

use crate::QueryError;
use crate::procfs::{mountinfo, read};
use crate::text::lossy;

/// Levels of groups that are looked at, whatever the request says: the kernel allows any number.
const MOST_LEVELS: usize = 32;

const DIRECTORY: OFlags =
    OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC).union(OFlags::NOFOLLOW);

/// The mounted hierarchy.
#[derive(Debug)]
pub(crate) struct Hierarchy {
    mount_point: Vec<u8>,
    root: OwnedFd,
}

impl Hierarchy {
    /// Finds it: at `/sys/fs/cgroup`, or beside version 1 at `/sys/fs/cgroup/unified`, or elsewhere.
    ///
    /// # Errors
    /// [`QueryError::Unavailable`] with `cgroup2_unavailable` where it is not mounted.
    pub(crate) fn find() -> Result<Self, QueryError> {
        let mounts = mountinfo::parse(&read("/proc/self/mountinfo", 4 << 20)?);
        let Some(mount) = mounts.into_iter().find(|mount| mount.file_system == b"cgroup2") else {
            return Err(QueryError::unavailable(
                "cgroup2_unavailable",
                "no control groups of version 2 are mounted on this machine",
                "boot with systemd.unified_cgroup_hierarchy=1, or mount -t cgroup2 none /sys/fs/cgroup",
            ));
        };
        let root = openat(CWD, std::ffi::OsStr::from_bytes(&mount.point), DIRECTORY, Mode::empty())
            .map_err(|error| QueryError::io(encode(&mount.point), error))?;
        Ok(Self { mount_point: mount.point, root })
    }

    /// Where it is mounted.
    pub(crate) fn mount_point(&self) -> String {
        encode(&self.mount_point)
    }

    /// Opens a group by its path in the hierarchy. `field` names the argument it came in. Nothing outside of the hierarchy
    /// can be reached (`RESOLVE_BENEATH`, openat2(2)).
    ///
    /// # Errors
    /// [`QueryError::InvalidArgument`] for what is no such path, [`QueryError::NotFound`] where there is no such group.
    pub(crate) fn open(&self, path: &str, field: &str) -> Result<OwnedFd, QueryError> {
        let relative = path.trim_matches('/');
        if !path.starts_with('/')
            || path.contains('\0')
            || path.len() > 4095
            || relative.split('/').any(|part| part == "..")
        {
            return Err(QueryError::invalid(field, "must be a path in the hierarchy, such as /system.slice"));
        }
        let relative = if relative.is_empty() { "." } else { relative };
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
        openat2(&self.root, relative, DIRECTORY, Mode::empty(), resolve)
            .map_err(|error| QueryError::io(format!("the control group {path}"), error))
    }

    /// Calls `visit` with the path and the directory of each group below `start`, in any order, until it answers `false`.
    /// A group that is removed meanwhile is passed over.
    pub(crate) fn each(
        start: &OwnedFd,
        path: &str,
        levels: usize,
        visit: &mut dyn FnMut(&str, &OwnedFd) -> bool,
    ) -> bool {
        let Ok(mut entries) = Dir::read_from(start) else { return true };
        while let Some(Ok(entry)) = entries.read() {
            let name = entry.file_name();
            if entry.file_type() != FileType::Directory || matches!(name.to_bytes(), b"." | b"..") {
                continue;
            }
            let Ok(group) = openat(start, name, DIRECTORY, Mode::empty()) else { continue };
            let below = format!("{}/{}", path.trim_end_matches('/'), lossy(name.to_bytes()));
            let go_on = visit(&below, &group)
                && (levels <= 1 || Self::each(&group, &below, levels.min(MOST_LEVELS) - 1, visit));
            if !go_on {
                return false;
            }
        }
        true
    }
}
