//! A setting of the kernel's: one file below `/proc/sys`.

use agentos_api::change::Effect;
use rustix::fs::{CWD, Mode, OFlags, PROC_SUPER_MAGIC, ResolveFlags, fstatfs, openat, openat2};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use crate::change::context::Context;
use crate::change::error::ChangeError;
use crate::change::transition::{Irreversible, Position, Transit};
use crate::procfs::read_open;
use crate::queries::sysctl::path_of;
use crate::text::lossy;

/// Longest value, in bytes.
const LONGEST_VALUE: usize = 4096;

/// A setting gets another value.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Sysctl {
    /// As sysctl(8) writes it.
    pub(crate) name: String,
    pub(crate) from: String,
    pub(crate) to: String,
    /// The setting only ever goes one way; why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) one_way: Option<String>,
}

/// A value with its parts one blank apart: the kernel writes tabs where people write blanks.
pub(crate) fn normal(value: &str) -> String {
    value.split_ascii_whitespace().collect::<Vec<_>>().join(" ")
}

/// Opens the file of a setting: below `/proc/sys`, of the kernel's own file system, and through no link. Other mounts of that
/// file system may lie in the way: a container has `/proc/sys` read-only and `/proc/sys/net` not.
fn open(name: &str, flags: OFlags) -> Result<rustix::fd::OwnedFd, Errno> {
    let root = openat(CWD, c"/proc/sys", OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    let path = path_of(name);
    let below = path.strip_prefix("/proc/sys/").unwrap_or(&path);
    let descriptor = openat2(
        root,
        below,
        flags | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK,
        Mode::empty(),
        ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS,
    )?;
    if fstatfs(&descriptor)?.f_type == PROC_SUPER_MAGIC { Ok(descriptor) } else { Err(Errno::XDEV) }
}

/// The value of a setting.
///
/// # Errors
/// The kernel's: not found where there is no such setting.
pub(crate) fn read_setting(name: &str) -> Result<String, ChangeError> {
    let failed = |error: std::io::Error| ChangeError::io(format!("the setting {name}"), error);
    let descriptor = open(name, OFlags::RDONLY).map_err(|error| failed(error.into()))?;
    let (value, _) = read_open(descriptor, LONGEST_VALUE).map_err(failed)?;
    Ok(normal(&lossy(&value)))
}

impl Sysctl {
    fn write(&self, value: &str) -> Result<(), ChangeError> {
        let failed = |error: Errno| ChangeError::failed(self.on(), std::io::Error::from(error));
        let descriptor = open(&self.name, OFlags::WRONLY).map_err(failed)?;
        // The kernel takes a value by one write(2).
        let written = rustix::io::write(&descriptor, format!("{value}\n").as_bytes()).map_err(failed)?;
        if written <= value.len() {
            return Err(ChangeError::failed(self.on(), "the kernel took only a part of the value"));
        }
        Ok(())
    }
}

impl Transit for Sysctl {
    fn on(&self) -> String {
        format!("sysctl {}", self.name)
    }

    fn effect(&self, _: &Context<'_>) -> Effect {
        Effect {
            on: self.on(),
            before: self.from.clone(),
            after: self.to.clone(),
            diff: None,
            diff_omitted: None,
        }
    }

    fn position(&self, _: &Context<'_>) -> Result<Position, ChangeError> {
        let now = read_setting(&self.name)?;
        Ok(if now == self.to {
            Position::After
        } else if now == self.from {
            Position::Before
        } else {
            Position::Elsewhere(now)
        })
    }

    fn apply(&self, _: &Context<'_>) -> Result<(), ChangeError> {
        let now = read_setting(&self.name)?;
        if now != self.from {
            return Err(ChangeError::Moved { what: self.on(), planned: self.from.clone(), found: now });
        }
        self.write(&self.to)?;
        let now = read_setting(&self.name)?;
        if now == self.to {
            return Ok(());
        }
        if now != self.from {
            self.write(&self.from)?;
        }
        Err(ChangeError::failed(
            self.on(),
            format!("the kernel took {:?} as {now:?}; write it as the kernel does", self.to),
        ))
    }

    fn reversed(&self) -> Result<Self, Irreversible> {
        match &self.one_way {
            Some(reason) => Err(Irreversible(reason.clone())),
            None => Ok(Self {
                name: self.name.clone(),
                from: self.to.clone(),
                to: self.from.clone(),
                one_way: None,
            }),
        }
    }

    fn paths(&self) -> Vec<Vec<u8>> {
        vec![path_of(&self.name).into_bytes()]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_setting_is_read_as_its_parts() {
        assert_eq!(normal("4096\t131072\t6291456\n"), "4096 131072 6291456");
        let value = read_setting("vm.swappiness").unwrap();
        assert_eq!(value, std::fs::read_to_string("/proc/sys/vm/swappiness").unwrap().trim());
    }

    #[test]
    fn what_is_no_setting_is_not_found() {
        assert!(read_setting("no.such.setting").is_err());
        assert!(read_setting("kernel.//.//.//etc.passwd").is_err(), "no way out of /proc/sys");
    }
}
