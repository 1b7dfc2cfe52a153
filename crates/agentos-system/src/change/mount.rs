//! What is mounted at a folder, and what is swapped to: one each, there or not.

use std::ffi::CString;
use std::os::fd::AsRawFd;

use agentos_api::change::Effect;
use agentos_api::query::path::{decode, encode};
use rustix::fs::OFlags;
use rustix::io::Errno;
use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};
use serde::{Deserialize, Serialize};

use super::context::Context;
use super::error::ChangeError;
use super::file::{Place, open_without_links};
use super::transition::{Irreversible, Position, Transit};
use crate::procfs;
use crate::procfs::mountinfo::{self, parse};

/// Largest table that is read.
const LARGEST: usize = 8 << 20;
/// Options of a mount, and the flags that they are.
const FLAGS: [(&str, MountFlags); 7] = [
    ("ro", MountFlags::RDONLY),
    ("nosuid", MountFlags::NOSUID),
    ("nodev", MountFlags::NODEV),
    ("noexec", MountFlags::NOEXEC),
    ("noatime", MountFlags::NOATIME),
    ("nodiratime", MountFlags::NODIRATIME),
    ("relatime", MountFlags::RELATIME),
];

/// What is mounted in this namespace.
///
/// # Errors
/// The kernel's.
pub(crate) fn mounts() -> Result<Vec<mountinfo::Mount>, ChangeError> {
    Ok(parse(&procfs::read("/proc/self/mountinfo", LARGEST)?))
}

/// A file system comes to a folder, or leaves it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Mount {
    pub(crate) place: Place,
    /// The device, as [`encode`] writes it.
    pub(crate) source: String,
    pub(crate) file_system: String,
    /// Options of the mount: `nosuid,nodev`.
    pub(crate) options: String,
    /// Options of the file system: `size=1048576`.
    pub(crate) data: String,
    pub(crate) there: bool,
    /// What is lost with it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) loses: Option<String>,
}

impl Mount {
    /// What is mounted there now: the last one, which covers the others.
    fn found(&self) -> Result<Option<mountinfo::Mount>, ChangeError> {
        Ok(mounts()?.into_iter().rev().find(|mount| mount.point == self.place.as_bytes()))
    }

    fn is(&self, found: Option<&mountinfo::Mount>) -> bool {
        let source = decode(&self.source).unwrap_or_default();
        found.is_some_and(|found| found.source == *source && found.file_system == self.file_system.as_bytes())
    }

    fn words(&self, there: bool) -> String {
        if there {
            format!("{} from {} ({})", self.file_system, self.source, self.options)
        } else {
            "nothing mounted".to_owned()
        }
    }

    fn mount(&self) -> Result<(), Errno> {
        let flags = self.options.split(',').fold(MountFlags::empty(), |flags, option| {
            flags
                | FLAGS
                    .iter()
                    .find(|(name, _)| *name == option)
                    .map_or(MountFlags::empty(), |(_, flag)| *flag)
        });
        // The folder is opened without links, and the mount is made on what was opened.
        let folder = open_without_links(self.place.as_bytes(), OFlags::PATH | OFlags::DIRECTORY)?;
        let at = format!("/proc/self/fd/{}", folder.as_raw_fd());
        let source = decode(&self.source).map_err(|_| Errno::INVAL)?;
        let data = CString::new(self.data.as_str()).map_err(|_| Errno::INVAL)?;
        mount(source.as_ref(), at, self.file_system.as_str(), flags, data.as_c_str())
    }
}

impl Transit for Mount {
    fn on(&self) -> String {
        format!("mount {}", self.place.text())
    }

    fn effect(&self, _context: &Context<'_>) -> Effect {
        Effect {
            on: self.on(),
            before: self.words(!self.there),
            after: self.words(self.there),
            diff: None,
            diff_omitted: None,
        }
    }

    fn position(&self, _context: &Context<'_>) -> Result<Position, ChangeError> {
        let found = self.found()?;
        Ok(match &found {
            None if self.there => Position::Before,
            None => Position::After,
            Some(_) if self.is(found.as_ref()) => {
                if self.there {
                    Position::After
                } else {
                    Position::Before
                }
            }
            Some(other) => Position::Elsewhere(format!(
                "{} from {}",
                String::from_utf8_lossy(&other.file_system),
                encode(&other.source)
            )),
        })
    }

    fn apply(&self, context: &Context<'_>) -> Result<(), ChangeError> {
        match self.position(context)? {
            Position::Before => {}
            other => {
                let found = match other {
                    Position::Elsewhere(found) => found,
                    _ => self.words(self.there),
                };
                return Err(ChangeError::Moved { what: self.on(), planned: self.words(!self.there), found });
            }
        }
        let done =
            if self.there { self.mount() } else { unmount(self.place.as_bytes(), UnmountFlags::NOFOLLOW) };
        done.map_err(|error| {
            let mut reason = std::io::Error::from(error).to_string();
            if error == Errno::BUSY {
                reason = format!(
                    "it is in use by {}",
                    holders(&self.place).unwrap_or_else(|_| "somebody".to_owned())
                );
            }
            ChangeError::failed(self.on(), reason)
        })
    }

    fn reversed(&self) -> Result<Self, Irreversible> {
        match (&self.loses, self.there) {
            (Some(why), false) => Err(Irreversible(why.clone())),
            _ => Ok(Self { there: !self.there, ..self.clone() }),
        }
    }

    fn paths(&self) -> Vec<Vec<u8>> {
        vec![self.place.as_bytes().to_vec()]
    }
}

/// Who uses what is below a place: processes with a folder or a file there, and mounts on it. Empty where nobody does.
///
/// # Errors
/// Where there is no `/proc`.
pub(crate) fn holders(place: &Place) -> Result<String, ChangeError> {
    const MOST: usize = 10;
    let below = |path: &[u8]| {
        path.strip_prefix(place.as_bytes()).is_some_and(|rest| matches!(rest.first(), None | Some(b'/')))
    };
    let mut found: Vec<String> = mounts()?
        .into_iter()
        .filter(|mount| mount.point != place.as_bytes() && below(&mount.point))
        .map(|mount| format!("the mount at {}", encode(&mount.point)))
        .collect();
    let proc = procfs::Proc::open()?;
    let mut pids = Vec::new();
    proc.each(|pid| pids.push(pid))?;
    for pid in pids {
        if found.len() >= MOST {
            break;
        }
        let link = |name: &str| {
            rustix::fs::readlink(format!("/proc/{pid}/{name}"), Vec::new())
                .is_ok_and(|path| below(path.as_bytes()))
        };
        let descriptors = procfs::names(&format!("/proc/{pid}/fd"), 65_536);
        if link("cwd")
            || link("root")
            || link("exe")
            || descriptors.iter().any(|name| link(&format!("fd/{name}")))
        {
            let name = procfs::text(&format!("/proc/{pid}/comm")).unwrap_or_default();
            found.push(format!("{} ({pid})", name.trim()));
        }
    }
    found.truncate(MOST);
    Ok(found.join(", "))
}

/// A device or file of the swap space.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Swap {
    pub(crate) place: Place,
    /// The priority that it had: of several the highest is used first.
    pub(crate) priority: Option<u16>,
    pub(crate) there: bool,
}

/// One that is in use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct InUse {
    pub(crate) path: Vec<u8>,
    pub(crate) used_kib: u64,
    pub(crate) priority: i32,
}

/// What is swapped to: `/proc/swaps` (proc(5)).
///
/// # Errors
/// The kernel's.
pub(crate) fn swaps() -> Result<Vec<InUse>, ChangeError> {
    Ok(parse_swaps(&procfs::read("/proc/swaps", LARGEST)?))
}

fn parse_swaps(content: &[u8]) -> Vec<InUse> {
    content
        .split(|&byte| byte == b'\n')
        .skip(1)
        .filter_map(|line| {
            let mut words = line.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty());
            let path = mountinfo::unescape(words.next()?);
            let used_kib = procfs::decimal(words.nth(2)?)?;
            let priority = std::str::from_utf8(words.next()?).ok()?.parse().ok()?;
            Some(InUse { path, used_kib, priority })
        })
        .collect()
}

impl Transit for Swap {
    fn on(&self) -> String {
        format!("swap {}", self.place.text())
    }

    fn effect(&self, _context: &Context<'_>) -> Effect {
        let word = |there| if there { "in use" } else { "not in use" };
        Effect {
            on: self.on(),
            before: word(!self.there).to_owned(),
            after: word(self.there).to_owned(),
            diff: None,
            diff_omitted: None,
        }
    }

    fn position(&self, _context: &Context<'_>) -> Result<Position, ChangeError> {
        let is = swaps()?.iter().any(|one| one.path == self.place.as_bytes());
        Ok(if is == self.there { Position::After } else { Position::Before })
    }

    fn apply(&self, context: &Context<'_>) -> Result<(), ChangeError> {
        if self.position(context)? == Position::After {
            let effect = self.effect(context);
            return Err(ChangeError::Moved { what: self.on(), planned: effect.before, found: effect.after });
        }
        let failed = |error: std::io::Error| ChangeError::failed(self.on(), error);
        let file = open_without_links(self.place.as_bytes(), OFlags::RDONLY)
            .map_err(|error| failed(error.into()))?;
        let path = CString::new(if self.there {
            // What was opened is what is swapped to, whatever has the name by then.
            format!("/proc/self/fd/{}", file.as_raw_fd()).into_bytes()
        } else {
            self.place.as_bytes().to_vec()
        })
        .map_err(|error| failed(error.into()))?;
        let result = if self.there {
            const PREFER: i32 = 0x8000;
            let flags = self.priority.map_or(0, |priority| PREFER | i32::from(priority & 0x7fff));
            // SAFETY: the path ends with NUL and lives until the call returns.
            unsafe { libc::swapon(path.as_ptr(), flags) }
        } else {
            // SAFETY: as above.
            unsafe { libc::swapoff(path.as_ptr()) }
        };
        if result == 0 { Ok(()) } else { Err(failed(std::io::Error::last_os_error())) }
    }

    fn reversed(&self) -> Result<Self, Irreversible> {
        Ok(Self { there: !self.there, ..self.clone() })
    }

    fn paths(&self) -> Vec<Vec<u8>> {
        vec![self.place.as_bytes().to_vec()]
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn swap_space_is_read() {
        let swaps = parse_swaps(b"Filename\tType\tSize\tUsed\tPriority\n/dev/dm-1   partition 8388604 12 -2\n/a\\040b file 4 0 5\n");
        assert_eq!(swaps[0], InUse { path: b"/dev/dm-1".to_vec(), used_kib: 12, priority: -2 });
        assert_eq!(swaps[1].path, b"/a b");
    }

    proptest! {
        #[test]
        fn any_table_is_read_without_panic(content: Vec<u8>) {
            let _ = parse_swaps(&content);
        }
    }
}
