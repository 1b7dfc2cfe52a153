//! The ledger's files: where they are, with which rights they are made, and the lock that keeps a second writer out.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;

use crate::error::LedgerError;
use crate::note::{SigningKey, VerifierKey};

/// The database's name in the ledger's directory.
pub const DATABASE_FILE: &str = "ledger.db";
/// The private key's name in the ledger's directory. Mode 0600.
pub const KEY_FILE: &str = "ledger.key";
/// The public key's name in the ledger's directory: one C2SP verifier key.
pub const PUBLIC_KEY_FILE: &str = "ledger.vkey";
/// The lock's name in the ledger's directory.
pub const LOCK_FILE: &str = "ledger.lock";
/// A database that is still being made. It has never held an event.
const UNFINISHED_FILE: &str = "ledger.db.creating";

/// The longest key file that is read, in bytes.
const MAX_KEY_BYTES: u64 = 1024;

/// Where a ledger's files are.
#[derive(Clone, Debug)]
pub(crate) struct Files {
    directory: PathBuf,
}

pub(crate) fn file_error(action: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> LedgerError {
    let path = path.to_owned();
    move |source| LedgerError::File { action, path, source }
}

impl Files {
    /// The files in `directory`, which must exist. Its own path may go through links; the files in it may not.
    pub(crate) fn in_directory(directory: &Path) -> Result<Self, LedgerError> {
        let directory = directory.canonicalize().map_err(file_error("find the directory", directory))?;
        Ok(Self { directory })
    }

    pub(crate) fn database(&self) -> PathBuf {
        self.directory.join(DATABASE_FILE)
    }

    pub(crate) fn unfinished(&self) -> PathBuf {
        self.directory.join(UNFINISHED_FILE)
    }

    fn key(&self) -> PathBuf {
        self.directory.join(KEY_FILE)
    }

    pub(crate) fn public_key(&self) -> PathBuf {
        self.directory.join(PUBLIC_KEY_FILE)
    }

    /// Refuses files that somebody else could write or read, and what is no file.
    pub(crate) fn check(&self) -> Result<(), LedgerError> {
        let database = self.database();
        let beside = [with_suffix(&database, "-wal"), with_suffix(&database, "-shm"), self.public_key()];
        for path in [database, self.key(), self.directory.join(LOCK_FILE)].into_iter().chain(beside) {
            let metadata = match path.symlink_metadata() {
                Ok(metadata) => metadata,
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
                Err(error) => return Err(file_error("inspect", &path)(error)),
            };
            if let Some(found) = other_than_a_file(metadata.file_type()) {
                return Err(LedgerError::NotAFile { path, found });
            }
            let ours = rustix::process::geteuid().as_raw();
            if metadata.uid() != ours {
                return Err(LedgerError::Owner { path, owner: metadata.uid(), ours });
            }
        }
        Ok(())
    }

    /// Takes the lock where there is one already, for as long as the file is kept (flock(2)).
    pub(crate) fn lock_existing(&self) -> Result<Option<File>, LedgerError> {
        let path = self.directory.join(LOCK_FILE);
        match OpenOptions::new().read(true).custom_flags(no_follow()).open(&path) {
            Ok(file) => self.take(path, file).map(Some),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(file_error("open the lock", &path)(error)),
        }
    }

    /// Takes the lock for as long as the file is kept (flock(2)).
    pub(crate) fn lock(&self) -> Result<File, LedgerError> {
        let path = self.directory.join(LOCK_FILE);
        let file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .read(true)
            .write(true)
            .mode(0o600)
            .custom_flags(no_follow())
            .open(&path)
            .map_err(file_error("open the lock", &path))?;
        self.take(path, file)
    }

    fn take(&self, path: PathBuf, file: File) -> Result<File, LedgerError> {
        match file.try_lock() {
            Ok(()) => Ok(file),
            Err(TryLockError::WouldBlock) => Err(LedgerError::InUse(self.directory.clone())),
            Err(TryLockError::Error(source)) => Err(LedgerError::File { action: "lock", path, source }),
        }
    }

    /// What, other than the database itself, says that a ledger has been here; nothing in a truly new directory.
    pub(crate) fn traces(&self) -> Option<PathBuf> {
        let database = self.database();
        let wal = with_suffix(&database, "-wal");
        [self.key(), self.public_key(), wal].into_iter().find(|path| path.symlink_metadata().is_ok())
    }

    /// Leaves a trace that a beginning is under way, so that its key alone is not taken for a lost ledger's.
    pub(crate) fn mark_unfinished(&self) -> Result<(), LedgerError> {
        let path = self.unfinished();
        OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .mode(0o600)
            .custom_flags(no_follow())
            .open(&path)
            .map_err(file_error("create the database", &path))?;
        self.sync_directory()
    }

    /// Makes the key and its public half, or uses the key of a beginning that was interrupted.
    pub(crate) fn create_key(&self, origin: &str) -> Result<SigningKey, LedgerError> {
        let path = self.key();
        let key = if path.symlink_metadata().is_ok() {
            self.load_key()?
        } else {
            let (key, text) = SigningKey::generate(origin).map_err(LedgerError::Origin)?;
            write_whole(&path, &text, 0o600)?;
            key
        };
        self.publish_key(key.verifier())?;
        Ok(key)
    }

    /// Writes the public key beside the private one when it is not there. One that is there must be its own.
    pub(crate) fn publish_key(&self, key: &VerifierKey) -> Result<(), LedgerError> {
        let path = self.public_key();
        if path.symlink_metadata().is_ok() {
            self.check_published(key)
        } else {
            write_whole(&path, &format!("{key}\n"), 0o644)
        }
    }

    /// Whether the public key beside the private one, if there is one, is its own.
    pub(crate) fn check_published(&self, key: &VerifierKey) -> Result<(), LedgerError> {
        let path = self.public_key();
        if path.symlink_metadata().is_err() {
            return Ok(());
        }
        let published = read_public_key(&path)?;
        if published == *key {
            return Ok(());
        }
        Err(LedgerError::KeysDiffer { path })
    }

    /// Reads the private key, which only its owner may be able to read.
    pub(crate) fn load_key(&self) -> Result<SigningKey, LedgerError> {
        let path = self.key();
        let mut file = match OpenOptions::new().read(true).custom_flags(no_follow()).open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Err(LedgerError::KeyMissing { path, database: self.database() });
            }
            Err(error) => return Err(file_error("open the key", &path)(error)),
        };
        let metadata = file.metadata().map_err(file_error("inspect the key", &path))?;
        let mode = metadata.permissions().mode() & 0o7777;
        if mode & 0o077 != 0 {
            return Err(LedgerError::KeyMode { path, mode });
        }
        let text = read_bounded(&mut file).map_err(file_error("read the key", &path))?;
        SigningKey::parse(&text).map_err(|source| LedgerError::Key { path, source })
    }

    /// Makes names that were given or changed in the directory durable.
    pub(crate) fn sync_directory(&self) -> Result<(), LedgerError> {
        File::open(&self.directory)
            .and_then(|directory| directory.sync_all())
            .map_err(file_error("sync the directory", &self.directory))
    }
}

/// Writes a file, or replaces it, so that after a crash it is there whole or as it was before.
pub(crate) fn write_whole(path: &Path, text: &str, mode: u32) -> Result<(), LedgerError> {
    let temporary = with_suffix(path, ".creating");
    let write = || {
        let mut file = OpenOptions::new()
            .create(true)
            .truncate(true)
            .write(true)
            .mode(mode)
            .custom_flags(no_follow())
            .open(&temporary)?;
        file.set_permissions(std::fs::Permissions::from_mode(mode))?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        std::fs::rename(&temporary, path)
    };
    write().map_err(file_error("write", path))?;
    sync_parent(path)
}

/// Makes names that were given or changed beside `path` durable.
pub(crate) fn sync_parent(path: &Path) -> Result<(), LedgerError> {
    let directory = path.parent().filter(|parent| *parent != Path::new("")).unwrap_or(Path::new("."));
    File::open(directory)
        .and_then(|directory| directory.sync_all())
        .map_err(file_error("sync the directory", directory))
}

/// What stands in a file's place; nothing when it is a regular file.
fn other_than_a_file(kind: std::fs::FileType) -> Option<&'static str> {
    if kind.is_file() {
        None
    } else if kind.is_symlink() {
        Some("a symbolic link")
    } else if kind.is_dir() {
        Some("a directory")
    } else {
        Some("a device, a socket or a FIFO")
    }
}

/// Opens nothing through a symbolic link, and does not wait on a FIFO that stands in a file's place.
pub(crate) fn no_follow() -> i32 {
    (OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK).bits().cast_signed()
}

pub(crate) fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

fn read_bounded(file: &mut File) -> std::io::Result<String> {
    if !file.metadata()?.is_file() {
        return Err(std::io::Error::other("not a regular file"));
    }
    let mut text = String::new();
    file.take(MAX_KEY_BYTES).read_to_string(&mut text)?;
    Ok(text)
}

/// Reads a public key's file.
///
/// # Errors
/// [`LedgerError::File`] when it cannot be read, [`LedgerError::Key`] when it is not a C2SP verifier key.
pub fn read_public_key(path: &Path) -> Result<VerifierKey, LedgerError> {
    let mut file = OpenOptions::new()
        .read(true)
        .custom_flags((OFlags::CLOEXEC | OFlags::NONBLOCK).bits().cast_signed())
        .open(path)
        .map_err(file_error("open the public key", path))?;
    let text = read_bounded(&mut file).map_err(file_error("read the public key", path))?;
    text.parse().map_err(|source| LedgerError::Key { path: path.to_owned(), source })
}

/// Which file a path leads to: device and inode. Nothing when there is none.
pub(crate) fn identity(path: &Path) -> Option<(u64, u64)> {
    path.symlink_metadata().ok().map(|metadata| (metadata.dev(), metadata.ino()))
}
