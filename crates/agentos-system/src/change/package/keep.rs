//! The archives of packages that changes replaced, so that the same versions come back.
//!
//! They lie in a folder of root's under the names that apt gives them, and are used only where their content is still the
//! one that was noted. The oldest make room for new ones.

use std::fs::{self, DirBuilder, File, Permissions};
use std::io;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use agentos_objects::Hash;
use rustix::fs::OFlags;
use serde::{Deserialize, Serialize};

use super::answer::Download;
use super::apt::Apt;
use crate::QueryError;
use crate::change::error::ChangeError;
use crate::machine::Machine;
use crate::run::Program;
use crate::text::lossy;

/// Where they are kept.
const FOLDER: &str = "/var/cache/agentos-packages";
/// Where apt keeps what it downloaded.
const APT: &str = "/var/cache/apt/archives";
/// Bytes that are kept in all.
pub(crate) const MOST_BYTES: u64 = 1 << 30;
/// How long a download may take.
const TIME: Duration = Duration::from_mins(10);
const LONGEST_OUTPUT: usize = 1 << 20;

/// The archive of one version of a package.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Kept {
    /// `NAME_VERSION_ARCHITECTURE.deb`, as apt writes it.
    pub(crate) file: String,
    pub(crate) sha256: Hash,
    pub(crate) bytes: u64,
}

/// What an archive is of.
#[derive(Clone, Debug)]
pub(crate) struct Release<'v> {
    /// As apt prints it.
    pub(crate) name: &'v str,
    pub(crate) version: &'v str,
    pub(crate) architecture: &'v str,
}

impl Release<'_> {
    /// As apt names the file: a colon is not taken into a file's name.
    fn file(&self) -> String {
        let name = self.name.split(':').next().unwrap_or_default();
        format!("{name}_{}_{}.deb", self.version.replace(':', "%3a"), self.architecture)
    }
}

/// The folder.
#[derive(Debug)]
pub(crate) struct Keep {
    folder: PathBuf,
    apts: PathBuf,
}

impl Keep {
    /// That of a machine. It may not be there yet.
    ///
    /// # Errors
    /// Where the machine's root is no path.
    pub(crate) fn of(machine: &Machine) -> Result<Self, QueryError> {
        let path =
            |path: &str| Ok::<_, QueryError>(lossy(machine.own_path(path.as_bytes())?.as_bytes()).into());
        Ok(Self { folder: path(FOLDER)?, apts: path(APT)? })
    }

    /// The archives of these versions that can be had, each in the place of its version. Reads only. Where the configured
    /// archives have a version, it is theirs by the hash in their list, whatever lies in a cache.
    ///
    /// # Errors
    /// Where apt cannot be asked.
    pub(crate) fn find(&self, apt: &Apt, versions: &[Release<'_>]) -> Result<Vec<Option<Kept>>, QueryError> {
        let downloads = listed(apt, versions)?;
        let find = |version: &Release<'_>| {
            let file = version.file();
            if let Some(download) = downloads.iter().find(|download| same(&download.file, &file)) {
                let sha256 = download.sha256.as_deref()?.parse().ok()?;
                return Some(Kept { file, sha256, bytes: download.bytes });
            }
            let (sha256, bytes) =
                [&self.folder, &self.apts].into_iter().find_map(|folder| named(&folder.join(&file)).ok())?;
            Some(Kept { file, sha256, bytes })
        };
        Ok(versions.iter().map(find).collect())
    }

    /// The path of a kept archive, where it is there and still the same.
    pub(crate) fn path(&self, kept: &Kept) -> Option<String> {
        let path = self.folder.join(&kept.file);
        named(&path).is_ok_and(|(sha256, _)| sha256 == kept.sha256).then(|| path.display().to_string())
    }

    /// Gets archives that [`Keep::find`] found: from apt's cache, or from the archives.
    ///
    /// # Errors
    /// [`ChangeError::Failed`] with the first that cannot be had any more.
    pub(crate) fn fetch(&self, apt: &Apt, wanted: &[(String, &Kept)]) -> Result<(), ChangeError> {
        let failed = |reason: String| ChangeError::failed("keeping what is replaced", reason);
        if wanted.is_empty() {
            return Ok(());
        }
        let made = DirBuilder::new().recursive(true).create(&self.folder);
        made.and_then(|()| readable(&self.folder, 0o755))
            .map_err(|error| failed(format!("{}: {error}", self.folder.display())))?;
        let mut words = Vec::new();
        for (spec, kept) in wanted {
            let there = self.path(kept).is_some();
            if !there && !self.take(kept).unwrap_or(false) {
                words.push(spec.clone());
            }
        }
        if !words.is_empty() {
            let words =
                apt.options().into_iter().chain(["download".to_owned(), "--".to_owned()]).chain(words);
            let program = words.fold(Apt::program("apt-get")?.folder(&self.folder), Program::argument);
            let (ended, _) = program.output(TIME, LONGEST_OUTPUT)?;
            if !ended.status.success() {
                return Err(failed(format!("apt-get download: {}; nothing was changed", ended.stderr)));
            }
        }
        for (_, kept) in wanted {
            let _ = readable(&self.folder.join(&kept.file), 0o644);
        }
        self.make_room(wanted);
        match wanted.iter().find(|(_, kept)| self.path(kept).is_none()) {
            None => Ok(()),
            Some((spec, _)) => Err(failed(format!(
                "{spec} cannot be had any more as it was when this was planned; plan it again. Nothing was changed"
            ))),
        }
    }

    /// Copies an archive out of apt's cache, where it is there and still the same.
    fn take(&self, kept: &Kept) -> io::Result<bool> {
        let from = self.apts.join(&kept.file);
        if !named(&from).is_ok_and(|(sha256, _)| sha256 == kept.sha256) {
            return Ok(false);
        }
        let to = self.folder.join(&kept.file);
        let _ = fs::remove_file(&to);
        let mut target = File::options().write(true).create_new(true).mode(0o600).open(&to)?;
        io::copy(&mut open(&from)?, &mut target)?;
        target.sync_all()?;
        Ok(true)
    }

    /// Deletes the oldest until there is room, and never what is wanted.
    fn make_room(&self, wanted: &[(String, &Kept)]) {
        let Ok(entries) = fs::read_dir(&self.folder) else { return };
        let mut files: Vec<(i64, u64, PathBuf)> = entries
            .flatten()
            .filter_map(|entry| {
                let metadata = entry.metadata().ok()?;
                // When it came here: the time of its content is that of the archive.
                metadata.is_file().then(|| (metadata.ctime(), metadata.len(), entry.path()))
            })
            .collect();
        let mut total: u64 = files.iter().map(|(_, bytes, _)| bytes).sum();
        files.sort();
        for (_, bytes, path) in files {
            let is_wanted =
                wanted.iter().any(|(_, kept)| path.file_name().is_some_and(|name| *name == *kept.file));
            if total <= MOST_BYTES || is_wanted {
                continue;
            }
            if fs::remove_file(&path).is_ok() {
                total = total.saturating_sub(bytes);
            }
        }
    }
}

/// apt reads archives as a user of its own, as it does in its own folder of them, which is as open.
fn readable(path: &Path, mode: u32) -> io::Result<()> {
    fs::set_permissions(path, Permissions::from_mode(mode))
}

/// What the configured archives have of these versions.
fn listed(apt: &Apt, versions: &[Release<'_>]) -> Result<Vec<Download>, QueryError> {
    let there = apt.archive_versions(versions.iter().map(|version| version.name))?;
    let has = |version: &&Release<'_>| {
        let base = version.name.split(':').next().unwrap_or_default();
        [version.name, base]
            .iter()
            .any(|name| there.get(*name).is_some_and(|there| there.iter().any(|it| it == version.version)))
    };
    let words: Vec<String> =
        versions.iter().filter(has).map(|version| format!("{}={}", version.name, version.version)).collect();
    if words.is_empty() {
        return Ok(Vec::new());
    }
    let command = ["download", "--"].into_iter().map(str::to_owned).chain(words).collect::<Vec<_>>();
    apt.to_download(&command)
}

/// apt prints names of files once with colons as they are, once encoded.
fn same(printed: &str, file: &str) -> bool {
    printed.replace(':', "%3a") == file
}

fn open(path: &Path) -> io::Result<File> {
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY;
    let file = File::options().read(true).custom_flags(flags.bits().cast_signed()).open(path)?;
    if file.metadata()?.is_file() { Ok(file) } else { Err(io::ErrorKind::InvalidInput.into()) }
}

fn named(path: &Path) -> io::Result<(Hash, u64)> {
    Hash::of_reader(open(path)?)
}
