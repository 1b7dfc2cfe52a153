//! The journal's archived files: those that journald has closed and never writes to again.
//!
//! They are known by their names (`system@SEQUENCE-NUMBER-TIME.journal`; of one that was not closed well,
//! `system@TIME-RANDOM.journal~`). Which time they cover is in their headers (systemd's
//! `JOURNAL_FILE_FORMAT`).

use std::io;

use rustix::fd::OwnedFd;
use rustix::fs::{AtFlags, FileType, Mode, OFlags, openat, statat};

use crate::change::open_without_links;
use crate::machine::Machine;
use crate::{QueryError, procfs};

/// Where journald keeps them: for good, and until the machine ends.
const FOLDERS: [&str; 2] = ["/var/log/journal", "/run/log/journal"];
/// Names looked at in one folder.
const MOST_NAMES: usize = 20_000;
/// The header's beginning, up to the time of the last entry.
const HEADER_BYTES: usize = 200;
const SIGNATURE: &[u8] = b"LPKSHHRH";
const ENTRIES_AT: usize = 152;
const FIRST_AT: usize = 184;
const LAST_AT: usize = 192;

/// An archived file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Archived {
    /// Its folder, and its name in it.
    pub(crate) folder: String,
    pub(crate) name: String,
    pub(crate) inode: u64,
    /// What it takes on the disk.
    pub(crate) bytes: u64,
    /// How many entries it has; none where its header cannot be read.
    pub(crate) entries: Option<u64>,
    /// The times of its first and its last entry, in microseconds since 1970.
    pub(crate) first: u64,
    pub(crate) last: u64,
}

/// The archived files of this machine's journal, the one with the oldest entries first.
///
/// # Errors
/// What cannot be read; a folder that is not there holds none.
pub(crate) fn archived(machine: &Machine) -> Result<Vec<Archived>, QueryError> {
    let id = machine.own_path(b"/etc/machine-id")?;
    let id = procfs::text(&id.to_string()).unwrap_or_default();
    if id.len() != 32 || !id.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Ok(Vec::new());
    }
    let mut files = Vec::new();
    for folder in FOLDERS {
        let path = machine.own_path(format!("{folder}/{id}").as_bytes())?.to_string();
        let open = match open_without_links(path.as_bytes(), OFlags::RDONLY | OFlags::DIRECTORY) {
            Ok(open) => open,
            Err(rustix::io::Errno::NOENT) => continue,
            Err(error) => return Err(QueryError::io(path, error)),
        };
        for name in procfs::names(&path, MOST_NAMES) {
            if let Some(time) = time_of(&name)
                && let Some(file) =
                    read(&open, &path, name, time).map_err(|error| QueryError::io(&path, error))?
            {
                files.push(file);
            }
        }
    }
    files.sort_by(|one, other| (one.last, &one.name).cmp(&(other.last, &other.name)));
    Ok(files)
}

/// One file; none where it is gone meanwhile or is no regular file.
fn read(folder: &OwnedFd, path: &str, name: String, time: u64) -> io::Result<Option<Archived>> {
    let found = match statat(folder, &name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(found) => found,
        Err(rustix::io::Errno::NOENT) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    if FileType::from_raw_mode(found.st_mode) != FileType::RegularFile {
        return Ok(None);
    }
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let header = match openat(folder, &name, flags, Mode::empty()) {
        Ok(file) => procfs::read_open(file, HEADER_BYTES)?.0,
        Err(rustix::io::Errno::NOENT) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let header = Header::of(&header);
    let written = u64::try_from(found.st_mtime).unwrap_or_default().saturating_mul(1_000_000);
    Ok(Some(Archived {
        folder: path.to_owned(),
        name,
        inode: found.st_ino,
        bytes: u64::try_from(found.st_blocks).unwrap_or_default().saturating_mul(512),
        entries: header.as_ref().map(|header| header.entries),
        first: header.as_ref().map_or(time, |header| header.first),
        // Of a file that cannot be read, nothing is younger than when it was last written.
        last: header.map_or_else(|| written.max(time), |header| header.last),
    }))
}

struct Header {
    entries: u64,
    first: u64,
    last: u64,
}

impl Header {
    /// None for what is no header, and for one of a file without entries.
    fn of(bytes: &[u8]) -> Option<Self> {
        let number = |at: usize| {
            let bytes = bytes.get(at..at + 8)?.try_into().ok()?;
            Some(u64::from_le_bytes(bytes))
        };
        let header = Self { entries: number(ENTRIES_AT)?, first: number(FIRST_AT)?, last: number(LAST_AT)? };
        let well = bytes.starts_with(SIGNATURE)
            && header.entries > 0
            && header.first > 0
            && header.last >= header.first;
        well.then_some(header)
    }
}

/// When the first entry of an archived file was made, by its name. None for a file that is in use, and for any other.
fn time_of(name: &str) -> Option<u64> {
    let (of, rest) = name.rsplit_once('@')?;
    if of.is_empty() || !of.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte)) {
        return None;
    }
    let hexadecimal =
        |text: &str, length: usize| text.len() == length && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    let time = if let Some(rest) = rest.strip_suffix(".journal") {
        let mut parts = rest.split('-');
        let (sequence, number, time) = (parts.next()?, parts.next()?, parts.next()?);
        (hexadecimal(sequence, 32) && hexadecimal(number, 16) && parts.next().is_none()).then_some(time)?
    } else {
        let (time, random) = rest.strip_suffix(".journal~")?.split_once('-')?;
        hexadecimal(random, 16).then_some(time)?
    };
    hexadecimal(time, 16).then(|| u64::from_str_radix(time, 16).ok()).flatten()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn archived_files_are_known_by_their_names() {
        let time = Some(0x0005_e1e2_d3c4_b5a6);
        for (name, first) in [
            ("system@0123456789abcdef0123456789abcdef-0000000000000001-0005e1e2d3c4b5a6.journal", time),
            ("user-1000@0123456789abcdef0123456789abcdef-0000000000000001-0005e1e2d3c4b5a6.journal", time),
            ("system@0005e1e2d3c4b5a6-0123456789abcdef.journal~", time),
            ("system.journal", None),
            ("user-1000.journal", None),
            ("system@x-y-z.journal", None),
            ("system@.journal~", None),
            ("a/b@0005e1e2d3c4b5a6-0123456789abcdef.journal~", None),
            ("@0005e1e2d3c4b5a6-0123456789abcdef.journal~", None),
        ] {
            assert_eq!(time_of(name), first, "{name}");
        }
    }

    proptest! {
        #[test]
        fn any_name_and_header_are_read_without_panic(name in "\\PC{0,80}|[a-f0-9@.~-]{0,80}", bytes in proptest::collection::vec(any::<u8>(), 0..220)) {
            let _ = time_of(&name);
            let _ = Header::of(&bytes);
        }
    }
}
