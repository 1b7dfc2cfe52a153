//! Fetching archives into a folder that is laid out as a registry, so that the folder is a mirror.
//!
//! A file stands there under its own name only when its hash has been found right: what was cut off stays a `.part`, and
//! what is there is not fetched again. curl(1) does the fetching: it is on every system, and brings proxies, TLS and the
//! machine's certificates along.

mod curl;

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use self::curl::{Batch, Report};
use crate::error::SetupError;
use crate::integrity::Integrity;
use crate::progress::{Event, Observer};
use crate::registry::{Registry, Scheme};

/// Largest archive that is fetched, in bytes.
const LARGEST: u64 = 512 << 20;

/// How often what failed for a reason that may pass is asked for again, after curl's own attempts.
const ROUNDS: u32 = 3;

/// An archive that is wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Archive {
    /// Its place in the registry: `name/-/name-1.0.0.tgz`.
    pub(crate) place: String,
    /// The hash it must have.
    pub(crate) integrity: Integrity,
}

/// A folder of archives, held by one process at a time.
#[derive(Debug)]
pub(crate) struct Downloads {
    folder: PathBuf,
    _lock: File,
}

/// From where archives come.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Origin<'a> {
    /// The registry; none where only what is there may be used.
    pub(crate) registry: Option<&'a Registry>,
    /// The curl(1) to run.
    pub(crate) curl: &'a Path,
}

impl Downloads {
    /// Takes `folder`, waiting for another process that has it. It is made if it is not there.
    ///
    /// # Errors
    /// When it cannot be made or locked.
    pub(crate) fn take(folder: &Path, observer: &mut dyn Observer) -> Result<Self, SetupError> {
        let lock = crate::folder::lock(folder, observer)?;
        Ok(Self { folder: folder.to_owned(), _lock: lock })
    }

    /// Where the archive is, or would be.
    pub(crate) fn path(&self, archive: &Archive) -> PathBuf {
        self.folder.join(&archive.place)
    }

    /// Those of `archives` that are not here, or are not what they should be.
    ///
    /// # Errors
    /// When a file cannot be read.
    pub(crate) fn missing<'a>(
        &self,
        archives: &'a [Archive],
        observer: &mut dyn Observer,
    ) -> Result<Vec<&'a Archive>, SetupError> {
        let mut missing = Vec::new();
        for (done, archive) in archives.iter().enumerate() {
            observer.tell(Event::Checking { done, total: archives.len() });
            if !is_right(&self.path(archive), &archive.integrity)? {
                missing.push(archive);
            }
        }
        Ok(missing)
    }

    /// Fetches `missing`.
    ///
    /// # Errors
    /// When one of them cannot be had or is not what it should be. What was fetched until then is kept.
    pub(crate) fn fetch(
        &self,
        missing: &[&Archive],
        origin: Origin<'_>,
        observer: &mut dyn Observer,
    ) -> Result<(), SetupError> {
        if missing.is_empty() {
            return Ok(());
        }
        let Some(registry) = origin.registry else {
            return Err(SetupError::Refused {
                message: format!(
                    "{} archives are not in {}, the first: {}",
                    missing.len(),
                    self.folder.display(),
                    missing[0].place
                ),
                hint: "run without --offline, or put them there".to_owned(),
            });
        };
        if let Some(folder) = registry.folder()
            && !folder.contains('%')
            && !Path::new(folder).is_dir()
        {
            return Err(unreachable(registry, "there is no such folder"));
        }
        for archive in missing {
            let path = self.path(archive);
            if let Some(parent) = path.parent() {
                make_folder(parent)?;
            }
        }
        let mut wanted = missing.to_vec();
        let mut received = 0;
        // A folder answers the same each time.
        let rounds = if registry.scheme() == Scheme::File { 1 } else { ROUNDS };
        for round in 0..rounds {
            if round > 0 {
                std::thread::sleep(Duration::from_secs(u64::from(round)));
            }
            let total = missing.len();
            let failed = self.round(
                &wanted,
                missing.len() - wanted.len(),
                total,
                &mut received,
                registry,
                origin.curl,
                observer,
            )?;
            if failed.is_empty() {
                return Ok(());
            }
            let last = round + 1 == rounds;
            if last || failed.iter().any(|failure| !failure.1.may_pass()) {
                return Err(self.verdict(registry, &failed));
            }
            wanted = failed.into_iter().map(|failure| failure.0).collect();
        }
        Ok(())
    }

    /// Asks for `wanted` once; answers what did not come.
    #[expect(clippy::too_many_arguments, reason = "the state of one loop")]
    fn round<'a>(
        &self,
        wanted: &[&'a Archive],
        before: usize,
        total: usize,
        received: &mut u64,
        registry: &Registry,
        curl: &Path,
        observer: &mut dyn Observer,
    ) -> Result<Vec<(&'a Archive, Failure)>, SetupError> {
        let transfers: Vec<(String, PathBuf)> = wanted
            .iter()
            .map(|archive| (registry.address_of(&archive.place), part(&self.path(archive))))
            .collect();
        let batch = Batch::start(curl, registry.scheme(), &transfers)?;
        let mut under_way: BTreeMap<usize, &'a Archive> = wanted.iter().copied().enumerate().collect();
        let mut failed = Vec::new();
        let mut done = before;
        let base = *received;
        let mut finished = 0;
        while let Some(report) = batch.next(Duration::from_millis(200)) {
            if let Report::Ended { number, code, status, message } = report
                && let Some(archive) = under_way.remove(&number)
            {
                let file = part(&self.path(archive));
                finished += size(&file);
                match self.settle(archive, &file, code, status, &message)? {
                    None => done += 1,
                    Some(failure) => failed.push((archive, failure)),
                }
            }
            let sizes = under_way.values().map(|archive| size(&part(&self.path(archive))));
            let (mut partial, mut largest) = (0, 0);
            for size in sizes {
                partial += size;
                largest = largest.max(size);
            }
            if largest > LARGEST {
                // A server that does not say how much it sends could send without end.
                return Err(SetupError::Refused {
                    message: format!("{registry} sends an archive of more than {} MB", LARGEST / 1_000_000),
                    hint: "name another registry with --registry".to_owned(),
                });
            }
            *received = base + finished + partial;
            observer.tell(Event::Fetching { done, total, bytes: *received });
        }
        let end = batch.end();
        failed.extend(under_way.into_values().map(|archive| (archive, Failure::Broken(end.clone()))));
        Ok(failed)
    }

    /// Checks a file that curl is done with, and gives it its name.
    fn settle(
        &self,
        archive: &Archive,
        file: &Path,
        code: u32,
        status: u32,
        message: &str,
    ) -> Result<Option<Failure>, SetupError> {
        if code != 0 {
            let _ = fs::remove_file(file);
            return Ok(Some(Failure::Curl { code, status, message: message.to_owned() }));
        }
        if !is_right(file, &archive.integrity)? {
            let _ = fs::remove_file(file);
            return Ok(Some(Failure::Integrity));
        }
        let path = self.path(archive);
        fs::rename(file, &path).map_err(SetupError::io("put in place", &path))?;
        Ok(None)
    }

    fn verdict(&self, registry: &Registry, failed: &[(&Archive, Failure)]) -> SetupError {
        if let Some((archive, _)) = failed.iter().find(|failure| failure.1 == Failure::Integrity) {
            return SetupError::Integrity { file: format!("{} from {registry}", archive.place) };
        }
        let no_room = failed.iter().any(|failure| failure.1.is_no_room());
        if no_room
            && let Ok(available) = crate::space::available(&self.folder)
            && available < (16 << 20)
        {
            return SetupError::Space {
                path: self.folder.clone(),
                available: available / 1_000_000,
                needed: available / 1_000_000 + 16,
            };
        }
        // What says most: an answer that was given before one that was not.
        let said = failed.iter().find(|failure| !failure.1.is_unreachable()).or(failed.first());
        let Some((archive, failure)) = said else {
            return unreachable(registry, "nothing was answered");
        };
        let what = registry.redact(&failure.to_string());
        if failure.is_unreachable() {
            return unreachable(registry, &what);
        }
        SetupError::Fetch {
            registry: registry.to_string(),
            count: failed.len(),
            first: format!("{}: {what}", archive.place),
        }
    }
}

fn unreachable(registry: &Registry, message: &str) -> SetupError {
    SetupError::Unreachable { registry: registry.to_string(), message: message.to_owned() }
}

/// Why a file did not come.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Failure {
    /// It came, and is another.
    Integrity,
    /// curl says why: its code, the status of the answer if there was one, and words.
    Curl { code: u32, status: u32, message: String },
    /// curl ended before.
    Broken(String),
}

impl Failure {
    /// Whether asking again may help.
    fn may_pass(&self) -> bool {
        match self {
            // A proxy may have cut it, or answered with a page of its own.
            Self::Integrity => true,
            Self::Curl { code: 22, status, .. } => matches!(status, 408 | 425 | 429 | 500..),
            // Not: no such file, no room, a certificate that is not trusted, an address that is not one.
            Self::Curl { code, .. } => !matches!(code, 1 | 3 | 23 | 35 | 37 | 47 | 58..=60 | 63 | 77),
            Self::Broken(_) => false,
        }
    }

    /// Whether nobody answered, or nobody who could be trusted to be the registry (libcurl-errors(3)).
    fn is_unreachable(&self) -> bool {
        match self {
            Self::Curl { code: 22, status, .. } => *status >= 500,
            Self::Curl { code, .. } => {
                matches!(code, 5..=7 | 16 | 18 | 28 | 35 | 52 | 55 | 56 | 60 | 77 | 92 | 97)
            }
            Self::Integrity | Self::Broken(_) => false,
        }
    }

    fn is_no_room(&self) -> bool {
        matches!(self, Self::Curl { code: 23, .. })
    }
}

impl std::fmt::Display for Failure {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Integrity => formatter.write_str("its hash is another"),
            Self::Curl { code: 22, status, .. } => write!(formatter, "the answer was {status}"),
            Self::Curl { code, message, .. } if message.is_empty() => write!(formatter, "curl error {code}"),
            Self::Curl { message, .. } => formatter.write_str(message),
            Self::Broken(how) => formatter.write_str(how),
        }
    }
}

fn part(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".part");
    name.into()
}

fn size(path: &Path) -> u64 {
    fs::metadata(path).map_or(0, |metadata| metadata.len())
}

fn make_folder(folder: &Path) -> Result<(), SetupError> {
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o755)
        .create(folder)
        .map_err(SetupError::io("make the folder", folder))
}

fn is_right(path: &Path, integrity: &Integrity) -> Result<bool, SetupError> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(SetupError::io("read", path)(error)),
    };
    let metadata = file.metadata().map_err(SetupError::io("read", path))?;
    if !metadata.is_file() || metadata.len() > LARGEST {
        return Ok(false);
    }
    integrity.holds(file).map_err(SetupError::io("read", path))
}
