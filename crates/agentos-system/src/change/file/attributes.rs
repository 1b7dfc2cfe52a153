//! Permissions, owner and extended attributes: what a file or folder has beside its content.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rustix::fd::AsFd;
use rustix::fs::{
    Gid, Mode, Statx, Uid, XattrFlags, fchmod, fchown, fgetxattr, flistxattr, fremovexattr, fsetxattr,
};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use super::acl;
use crate::accounts::Accounts;

/// Most bytes of a file's extended attributes, their names included. The kernel's own bound is the same (xattr(7)).
const MOST_BYTES: usize = 64 << 10;
/// Attributes that stand for other things than themselves, or that only the kernel writes.
const NOT_KEPT: [&str; 2] = ["system.nfs4_acl", "security.evm"];

/// Permissions, owner and extended attributes. POSIX access control lists are among the last (acl(5)).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Attributes {
    /// The lower twelve bits of the mode.
    pub(crate) mode: u32,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    /// Extended attributes by name, in base64.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) extended: BTreeMap<String, String>,
}

impl Attributes {
    /// Of something new of root's.
    pub(crate) fn new(mode: u32) -> Self {
        Self { mode: mode & 0o7777, uid: 0, gid: 0, extended: BTreeMap::new() }
    }

    /// Of something new in a folder, as the kernel would make it: a set-group-ID folder hands its group down (inode(7)), a
    /// default access control list becomes the new thing's own (acl(5)).
    pub(crate) fn inherited(folder: &Self, mode: u32, is_folder: bool) -> Self {
        let mut new = Self::new(mode);
        if folder.mode & 0o2000 != 0 {
            new.gid = folder.gid;
            if is_folder {
                new.mode |= 0o2000;
            }
        }
        if let Some(list) = folder.extended.get(acl::DEFAULT) {
            if let Some(access) = acl::inherited(list, mode) {
                new.mode = new.mode & !0o777 | acl::mode_of(&access).unwrap_or(mode & 0o777);
                new.extended.insert(acl::ACCESS.to_owned(), access);
            }
            if is_folder {
                new.extended.insert(acl::DEFAULT.to_owned(), list.clone());
            }
        }
        new
    }

    /// Sets the permissions, and with them what an access control list says of the same.
    pub(crate) fn set_mode(&mut self, mode: u32) {
        self.mode = mode & 0o7777;
        if let Some(list) = self.extended.get_mut(acl::ACCESS)
            && let Some(changed) = acl::after_chmod(list, mode)
        {
            *list = changed;
        }
    }

    /// Those of an open file or folder; of something that cannot be opened, only what `found` says.
    ///
    /// # Errors
    /// The kernel's.
    pub(crate) fn read(descriptor: Option<impl AsFd>, found: &Statx) -> Result<Self, Errno> {
        let extended = match descriptor {
            Some(descriptor) => extended(descriptor)?,
            None => BTreeMap::new(),
        };
        Ok(Self {
            mode: u32::from(found.stx_mode) & 0o7777,
            uid: found.stx_uid,
            gid: found.stx_gid,
            extended,
        })
    }

    /// Gives an open file or folder these, where it has others.
    ///
    /// # Errors
    /// The kernel's.
    pub(crate) fn write(&self, descriptor: impl AsFd, has: &Self) -> Result<(), Errno> {
        let descriptor = descriptor.as_fd();
        let owner_changes = (self.uid, self.gid) != (has.uid, has.gid);
        if owner_changes {
            fchown(descriptor, Some(Uid::from_raw(self.uid)), Some(Gid::from_raw(self.gid)))?;
        }
        for name in has.extended.keys().filter(|name| !self.extended.contains_key(*name)) {
            match fremovexattr(descriptor, name.as_str()) {
                Err(Errno::NODATA) | Ok(()) => {}
                Err(error) => return Err(error),
            }
        }
        for (name, value) in &self.extended {
            if has.extended.get(name) != Some(value) {
                let value = STANDARD.decode(value).map_err(|_| Errno::INVAL)?;
                fsetxattr(descriptor, name.as_str(), &value, XattrFlags::empty())?;
            }
        }
        // A new owner takes the set-user-ID bits away (chown(2)), and an access control list sets the group's bits.
        if owner_changes || self.mode != has.mode || self.extended != has.extended {
            fchmod(descriptor, Mode::from_raw_mode(self.mode))?;
        }
        Ok(())
    }

    /// As ls(1) would say it: `0644 root:root`.
    pub(crate) fn text(&self, accounts: &Accounts) -> String {
        let user = accounts.user(self.uid).unwrap_or_else(|| self.uid.to_string());
        let group = accounts.group(self.gid).unwrap_or_else(|| self.gid.to_string());
        let mut text = format!("{:04o} {user}:{group}", self.mode);
        let lists = self.extended.keys().filter(|name| name.starts_with("system.posix_acl_")).count();
        match self.extended.len() - lists {
            0 => {}
            1 => text.push_str(", 1 extended attribute"),
            several => text.extend([", ", several.to_string().as_str(), " extended attributes"]),
        }
        if lists > 0 {
            text.push_str(", an access control list");
        }
        text
    }
}

fn extended(descriptor: impl AsFd) -> Result<BTreeMap<String, String>, Errno> {
    let descriptor = descriptor.as_fd();
    let names = match whole(|buffer| flistxattr(descriptor, buffer)) {
        Ok(names) => names,
        Err(Errno::OPNOTSUPP) => return Ok(BTreeMap::new()),
        Err(error) => return Err(error),
    };
    let mut found = BTreeMap::new();
    for name in names.split(|&byte| byte == 0).filter_map(|name| std::str::from_utf8(name).ok()) {
        if name.is_empty() || NOT_KEPT.contains(&name) {
            continue;
        }
        match whole(|buffer| fgetxattr(descriptor, name, buffer)) {
            Ok(value) => {
                found.insert(name.to_owned(), STANDARD.encode(&value));
            }
            // Removed meanwhile, or one that its file system lists and does not give.
            Err(Errno::NODATA | Errno::OPNOTSUPP) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(found)
}

/// What the kernel writes into a buffer. Most is short, and the kernel makes a buffer as large as the one that it is given.
fn whole(read: impl Fn(&mut [u8]) -> Result<usize, Errno>) -> Result<Vec<u8>, Errno> {
    for size in [512, MOST_BYTES] {
        let mut buffer = vec![0; size];
        match read(&mut buffer) {
            Err(Errno::RANGE) if size < MOST_BYTES => {}
            result => {
                buffer.truncate(result?);
                return Ok(buffer);
            }
        }
    }
    Err(Errno::RANGE)
}
