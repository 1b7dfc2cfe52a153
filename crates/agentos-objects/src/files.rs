//! Large contents: a file each, made under another name and renamed once it is whole and durable.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use crate::{Hash, ObjectError};

/// The folder of the large contents.
#[derive(Debug)]
pub(crate) struct Files {
    folder: PathBuf,
    next: AtomicU64,
}

/// A content that is being written, and removed where nobody keeps it.
#[derive(Debug)]
pub(crate) struct Draft {
    path: PathBuf,
    pub(crate) file: File,
}

impl Drop for Draft {
    fn drop(&mut self) {
        // After it was kept the name is gone already.
        let _ = fs::remove_file(&self.path);
    }
}

impl Files {
    /// Opens the folder, makes it where it is missing, and removes drafts that an end cut off.
    pub(crate) fn open(folder: PathBuf) -> Result<Self, ObjectError> {
        let failed = |source| ObjectError::Io { path: folder.clone(), source };
        match fs::DirBuilder::new().mode(0o700).create(&folder) {
            Err(error) if error.kind() != ErrorKind::AlreadyExists => return Err(failed(error)),
            _ => {}
        }
        for entry in fs::read_dir(&folder).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            if entry.file_name().as_encoded_bytes().starts_with(b"draft-") {
                fs::remove_file(entry.path()).map_err(failed)?;
            }
        }
        Ok(Self { folder, next: AtomicU64::new(0) })
    }

    pub(crate) fn draft(&self) -> Result<Draft, ObjectError> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let path = self.folder.join(format!("draft-{number}"));
        let file = OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(&path);
        let file = file.map_err(|source| ObjectError::Io { path: path.clone(), source })?;
        Ok(Draft { path, file })
    }

    /// Gives a draft its name. Durable after [`Files::sync`].
    pub(crate) fn keep(&self, draft: &Draft, hash: &Hash) -> Result<(), ObjectError> {
        let path = self.path(hash);
        let result = draft.file.sync_data().and_then(|()| fs::rename(&draft.path, &path));
        result.map_err(|source| ObjectError::Io { path, source })
    }

    pub(crate) fn sync(&self) -> Result<(), ObjectError> {
        let sync = |path: &Path| File::open(path).and_then(|folder| folder.sync_all());
        sync(&self.folder).map_err(|source| ObjectError::Io { path: self.folder.clone(), source })
    }

    pub(crate) fn open_content(&self, hash: &Hash) -> Result<File, ObjectError> {
        let path = self.path(hash);
        File::open(&path).map_err(|source| match source.kind() {
            ErrorKind::NotFound => ObjectError::Missing(*hash),
            _ => ObjectError::Io { path, source },
        })
    }

    /// Removes a content; one that is not there is no error.
    pub(crate) fn remove(&self, hash: &Hash) -> Result<(), ObjectError> {
        let path = self.path(hash);
        match fs::remove_file(&path) {
            Err(source) if source.kind() != ErrorKind::NotFound => Err(ObjectError::Io { path, source }),
            _ => Ok(()),
        }
    }

    /// The contents that are there.
    pub(crate) fn all(&self) -> Result<Vec<Hash>, ObjectError> {
        let failed = |source: io::Error| ObjectError::Io { path: self.folder.clone(), source };
        let mut found = Vec::new();
        for entry in fs::read_dir(&self.folder).map_err(failed)? {
            let name = entry.map_err(failed)?.file_name();
            found.extend(name.to_str().and_then(|name| name.parse::<Hash>().ok()));
        }
        Ok(found)
    }

    fn path(&self, hash: &Hash) -> PathBuf {
        self.folder.join(hash.to_string())
    }
}
