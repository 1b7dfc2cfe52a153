//! Unpacking a package's archive (npm's: a gzipped tar with everything below one folder) into a folder of its own.
//!
//! The folder and all in it belong to whoever unpacks. Nothing leaves it: a path that is absolute or goes up, a link of
//! any kind, a device, or more than the limits allow refuses the archive. npm passes links over; no package of ours has
//! any.

use std::ffi::OsStr;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{DirBuilderExt as _, FileExt as _, OpenOptionsExt as _};
use std::path::{Component, Path, PathBuf};

use flate2::read::MultiGzDecoder;
use tar::{Archive, EntryType};

use crate::error::SetupError;

/// What one archive may hold at most.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Files.
    pub entries: usize,
    /// Bytes in all, unpacked.
    pub bytes: u64,
    /// Bytes of a path.
    pub path: usize,
    /// Folders within folders.
    pub depth: usize,
}

impl Default for Limits {
    /// OpenClaw itself has 11,000 files; Node.js is one program of 130 MB.
    fn default() -> Self {
        Self { entries: 100_000, bytes: 1 << 30, path: 1024, depth: 48 }
    }
}

/// Unpacks `archive` of the package called `name` into `folder`, which is made and must not be there.
///
/// # Errors
/// When it cannot be written, or holds what a package must not. What was written until then is left to be removed.
pub fn unpack(archive: &Path, name: &str, folder: &Path, limits: Limits) -> Result<(), SetupError> {
    let file = File::open(archive).map_err(SetupError::io("read", archive))?;
    make_folder(folder)?;
    unpack_from(file, folder, limits).map_err(|error| match error {
        Trouble::Refused(message) => SetupError::Archive { package: name.to_owned(), message },
        Trouble::Io(path, error) => SetupError::io("write", &path)(error),
    })
}

/// The number of bytes that `archive` says it holds unpacked (RFC 1952: the last four bytes, modulo 2³²).
pub(crate) fn unpacked_size(archive: &Path) -> Result<u64, SetupError> {
    let read = || -> io::Result<u64> {
        let file = File::open(archive)?;
        let mut bytes = [0; 4];
        file.read_exact_at(&mut bytes, file.metadata()?.len().saturating_sub(4))?;
        Ok(u32::from_le_bytes(bytes).into())
    };
    read().map_err(SetupError::io("read", archive))
}

enum Trouble {
    Refused(String),
    Io(PathBuf, io::Error),
}

fn unpack_from(file: File, folder: &Path, limits: Limits) -> Result<(), Trouble> {
    let broken = |error: io::Error| Trouble::Refused(format!("it cannot be unpacked: {error}"));
    // Headers and padding count too: a bomb of empty entries is one as well.
    let most = limits.bytes.saturating_add(1024 * limits.entries as u64);
    let mut archive = Archive::new(MultiGzDecoder::new(io::BufReader::new(file)).take(most));
    let mut bytes = 0_u64;
    let mut made = Folders::default();
    let mut empty = true;
    for (number, entry) in archive.entries().map_err(broken)?.enumerate() {
        let mut entry = entry.map_err(broken)?;
        if number >= limits.entries {
            return Err(Trouble::Refused(format!("it has more than {} entries", limits.entries)));
        }
        let kind = entry.header().entry_type();
        if kind == EntryType::XGlobalHeader {
            continue;
        }
        let name = entry.path_bytes().into_owned();
        let shown = String::from_utf8_lossy(&name).into_owned();
        let below = below_first(&name, limits).map_err(|why| Trouble::Refused(format!("{shown:?} {why}")))?;
        match kind {
            // Folders are made for the files in them.
            EntryType::Directory => continue,
            EntryType::Regular | EntryType::Continuous => {}
            EntryType::Link | EntryType::Symlink => {
                return Err(Trouble::Refused(format!("{shown:?} is a link")));
            }
            _ => return Err(Trouble::Refused(format!("{shown:?} is neither a file nor a folder"))),
        }
        let Some(below) = below else {
            return Err(Trouble::Refused(format!("{shown:?} stands outside of the package's folder")));
        };
        bytes = bytes.saturating_add(entry.size());
        if bytes > limits.bytes {
            return Err(Trouble::Refused(format!("it unpacks to more than {} bytes", limits.bytes)));
        }
        let executable = entry.header().mode().unwrap_or(0) & 0o111 != 0;
        empty = false;
        let path = folder.join(&below);
        let wrote = |error| Trouble::Io(path.clone(), error);
        made.make(folder, &below).map_err(wrote)?;
        // Links are refused, so that the file is in the folder that was just made, whatever came before.
        let mut written = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(if executable { 0o755 } else { 0o644 })
            .custom_flags(rustix::fs::OFlags::NOFOLLOW.bits().cast_signed())
            .open(&path)
            .map_err(wrote)?;
        let size = entry.size();
        copy(&mut entry, &mut written, size).map_err(|(reading, error)| {
            if reading { broken(error) } else { Trouble::Io(path.clone(), error) }
        })?;
    }
    // To the end, where the checksum of the whole stands.
    io::copy(&mut archive.into_inner(), &mut io::sink()).map_err(broken)?;
    if empty { Err(Trouble::Refused("it holds no file".to_owned())) } else { Ok(()) }
}

/// Copies `size` bytes; an error says whether it was in the reading.
fn copy(from: &mut impl Read, to: &mut impl io::Write, size: u64) -> Result<(), (bool, io::Error)> {
    let mut buffer = vec![0; usize::try_from(size.clamp(1, 128 << 10)).unwrap_or(1)];
    let mut copied = 0;
    loop {
        match from.read(&mut buffer) {
            Ok(0) => break,
            Ok(read) => {
                to.write_all(&buffer[..read]).map_err(|error| (false, error))?;
                copied += read as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err((true, error)),
        }
    }
    if copied == size { Ok(()) } else { Err((true, io::ErrorKind::UnexpectedEof.into())) }
}

/// The path without its first folder; none for that folder itself.
fn below_first(name: &[u8], limits: Limits) -> Result<Option<PathBuf>, &'static str> {
    if name.len() > limits.path {
        return Err("is too long a path");
    }
    if name.contains(&0) {
        return Err("holds a zero byte");
    }
    let mut below = PathBuf::new();
    let mut depth = 0;
    for part in Path::new(OsStr::from_bytes(name)).components() {
        match part {
            Component::Normal(part) => {
                depth += 1;
                if depth > 1 {
                    below.push(part);
                }
            }
            Component::CurDir => {}
            Component::ParentDir => return Err("goes up"),
            Component::RootDir | Component::Prefix(_) => return Err("is absolute"),
        }
    }
    if depth > limits.depth {
        return Err("is too deep");
    }
    Ok((depth > 1).then_some(below))
}

/// Makes folders, and remembers the last one: files of one folder stand together in an archive.
#[derive(Default)]
struct Folders {
    last: Option<PathBuf>,
}

impl Folders {
    fn make(&mut self, folder: &Path, below: &Path) -> io::Result<()> {
        let Some(parent) = below.parent() else { return Ok(()) };
        if self.last.as_deref() != Some(parent) {
            fs::DirBuilder::new().recursive(true).mode(0o755).create(folder.join(parent))?;
            self.last = Some(parent.to_owned());
        }
        Ok(())
    }
}

fn make_folder(folder: &Path) -> Result<(), SetupError> {
    let failed = SetupError::io("make the folder", folder);
    let make = || {
        if let Some(parent) = folder.parent() {
            fs::DirBuilder::new().recursive(true).mode(0o755).create(parent)?;
        }
        fs::DirBuilder::new().mode(0o755).create(folder)
    };
    make().map_err(failed)
}
