//! What the gateway runs on: Node.js and OpenClaw as a lock file pins them, unpacked into `runtime-HASH`. An
//! installation that was cut off at any point leaves nothing that looks like a whole one, and what it fetched is kept.
//!
//! npm is not needed and no package's install script is run; `docs/ARCHITECTURE.md` says why that is enough.

mod fill;
mod openclaw;
mod prune;

use std::fs::{self, File};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use crate::digest;
use crate::download::{Archive, Downloads, Origin};
use crate::error::SetupError;
use crate::folder;
use crate::lock::{self, Lock, Platform, Selection};
use crate::progress::{Event, Observer};
use crate::registry::Registry;
use crate::space;

pub use self::prune::prune;

/// The file in a runtime's folder that is written last.
const MARKER: &str = ".complete";

/// Where set-ups find the runtime that is to be used: a link beside the runtimes.
pub const CURRENT: &str = "current";

/// What was measured of the project's own lock file, rounded up: asked for before anything is fetched. What is needed
/// exactly is known, and asked for again, when the archives are here.
#[derive(Clone, Copy, Debug)]
pub struct Expected {
    /// Bytes of the archives.
    pub download: u64,
    /// Bytes of what they unpack to.
    pub installed: u64,
}

/// A project's `package.json` and lock file.
#[derive(Debug)]
pub struct Pinned {
    package: Vec<u8>,
    text: Vec<u8>,
    lock: Lock,
    folder: PathBuf,
}

/// How to install.
#[derive(Debug)]
pub struct Options<'a> {
    /// The registry; none: only what has been fetched already.
    pub registry: Option<&'a Registry>,
    /// The curl(1) to run.
    pub curl: &'a Path,
    /// The folder with what is fetched.
    pub downloads: &'a Path,
    /// What to have room for, if that is known before.
    pub expected: Option<Expected>,
}

/// An installed runtime.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Runtime {
    folder: PathBuf,
}

impl Pinned {
    /// Reads `package.json` and `package-lock.json` of `folder`.
    ///
    /// # Errors
    /// When they cannot be read or followed.
    pub fn read(folder: &Path) -> Result<Self, SetupError> {
        let read = |name: &str| {
            let path = folder.join(name);
            let length = fs::metadata(&path).map_err(SetupError::io("read", &path))?.len();
            if length > lock::LONGEST {
                let message = format!("it has {length} bytes; {} are read at most", lock::LONGEST);
                return Err(SetupError::File { path, message });
            }
            fs::read(&path).map_err(SetupError::io("read", &path))
        };
        let package = read("package.json")?;
        let text = read("package-lock.json")?;
        let broken = |message| SetupError::File { path: folder.join("package-lock.json"), message };
        let lock = std::str::from_utf8(&text)
            .map_err(|error| error.to_string())
            .and_then(Lock::parse)
            .map_err(broken)?;
        Ok(Self { package, text, lock, folder: folder.to_owned() })
    }

    /// The registry that the `.npmrc` beside them names.
    ///
    /// # Errors
    /// When it names one that cannot be used, or cannot be read.
    pub fn registry(&self) -> Result<Option<Registry>, SetupError> {
        let path = self.folder.join(".npmrc");
        match fs::read_to_string(&path) {
            Ok(text) => Registry::of_npmrc(&text),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(SetupError::io("read", &path)(error)),
        }
    }

    /// The name of the folder it is installed to: it tells one lock file from another.
    pub fn name(&self) -> String {
        format!("runtime-{}", digest::text(&[&self.package, &self.text]))
    }

    /// The runtime below `parent`, if it is installed whole.
    pub fn installed(&self, parent: &Path) -> Option<Runtime> {
        let runtime = Runtime { folder: parent.join(self.name()) };
        runtime.folder.join(MARKER).is_file().then_some(runtime)
    }

    fn select(&self, platform: &Platform) -> Result<Selection<'_>, SetupError> {
        let path = self.folder.join("package-lock.json");
        self.lock.select(platform).map_err(|message| SetupError::File { path, message })
    }

    /// Fetches every archive that this machine needs into `downloads`, and answers how many there are.
    ///
    /// # Errors
    /// When one cannot be had.
    pub fn download(&self, options: &Options<'_>, observer: &mut dyn Observer) -> Result<usize, SetupError> {
        let selection = self.select(&Platform::current())?;
        let archives = archives(&selection);
        let downloads = Downloads::take(options.downloads, observer)?;
        fetch(&downloads, &archives, options, None, observer)?;
        Ok(archives.len())
    }

    /// Installs it below `parent` unless it is there. Two that install at once wait for each other.
    ///
    /// # Errors
    /// When an archive cannot be had or is refused, or there is no room. What was fetched is kept.
    pub fn install(
        &self,
        parent: &Path,
        options: &Options<'_>,
        observer: &mut dyn Observer,
    ) -> Result<Runtime, SetupError> {
        if let Some(runtime) = self.installed(parent) {
            return Ok(runtime);
        }
        let selection = self.select(&Platform::current())?;
        let _lock = folder::lock(parent, observer)?;
        if let Some(runtime) = self.installed(parent) {
            return Ok(runtime);
        }
        let runtime = Runtime { folder: parent.join(self.name()) };
        let partial = parent.join(format!("{}.partial", self.name()));
        // The lock is held: nobody is at work in what was cut off.
        for leftover in [&partial, &runtime.folder] {
            remove(leftover)?;
        }
        let archives = archives(&selection);
        let downloads = Downloads::take(options.downloads, observer)?;
        fetch(&downloads, &archives, options, Some(parent), observer)?;
        fill::fill(&partial, &selection, &downloads, observer)?;
        openclaw::finish(&partial)?;
        for (name, content) in [("package.json", &self.package), ("package-lock.json", &self.text)] {
            let path = partial.join(name);
            fs::write(&path, content).map_err(SetupError::io("write", &path))?;
        }
        seal(&partial, &runtime.folder, parent, observer)?;
        Ok(runtime)
    }
}

/// Whether there is room, then what is missing.
fn fetch(
    downloads: &Downloads,
    archives: &[Archive],
    options: &Options<'_>,
    parent: Option<&Path>,
    observer: &mut dyn Observer,
) -> Result<(), SetupError> {
    let missing = downloads.missing(archives, observer)?;
    if let Some(expected) = options.expected {
        let present: u64 = archives
            .iter()
            .filter_map(|archive| fs::metadata(downloads.path(archive)).ok())
            .map(|m| m.len())
            .sum();
        let download = if missing.is_empty() { 0 } else { expected.download.saturating_sub(present) };
        let mut needs = vec![(options.downloads, download)];
        needs.extend(parent.map(|parent| (parent, expected.installed)));
        space::require(&needs)?;
    }
    downloads.fetch(&missing, Origin { registry: options.registry, curl: options.curl }, observer)
}

/// Every archive once, also where a package stands in two places.
fn archives(selection: &Selection<'_>) -> Vec<Archive> {
    let mut archives: Vec<Archive> = Vec::new();
    for package in &selection.fetched {
        if let Some(integrity) = &package.integrity {
            let archive = Archive { place: package.archive(), integrity: integrity.clone() };
            if !archives.contains(&archive) {
                archives.push(archive);
            }
        }
    }
    archives
}

/// Writes all of `partial` to the disk, then the marker, then gives it its name: whatever has the name is whole, also after
/// a power cut.
fn seal(partial: &Path, folder: &Path, parent: &Path, observer: &mut dyn Observer) -> Result<(), SetupError> {
    observer.tell(Event::Syncing);
    let synced = SetupError::io("write to the disk", partial);
    let sync = || -> std::io::Result<()> {
        let opened = File::open(partial)?;
        rustix::fs::syncfs(&opened)?;
        File::create(partial.join(MARKER))?.sync_all()?;
        opened.sync_all()
    };
    sync().map_err(synced)?;
    let put = || -> std::io::Result<()> {
        fs::rename(partial, folder)?;
        File::open(parent)?.sync_all()
    };
    put().map_err(SetupError::io("put in place", folder))
}

fn remove(folder: &Path) -> Result<(), SetupError> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(SetupError::io("remove", folder)(error))
        }
        _ => Ok(()),
    }
}

impl Runtime {
    /// Its folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The Node.js program.
    pub fn node(&self) -> PathBuf {
        self.folder.join("bin/node")
    }

    /// OpenClaw's command line, a script for [`Runtime::node`].
    pub fn openclaw(&self) -> PathBuf {
        self.folder.join("bin/openclaw")
    }

    /// The folder that holds `node`.
    pub fn node_folder(&self) -> PathBuf {
        self.folder.join("bin")
    }

    /// OpenClaw's package.
    pub fn openclaw_package(&self) -> PathBuf {
        self.folder.join("node_modules/openclaw")
    }

    /// Whether the link beside the runtimes leads to it.
    pub fn is_current(&self) -> bool {
        let link = self.folder.with_file_name(CURRENT);
        fs::read_link(link).is_ok_and(|target| Some(target.as_os_str()) == self.folder.file_name())
    }

    /// Makes the link beside the runtimes lead to it. Whoever follows the link finds the old one or the new one.
    ///
    /// # Errors
    /// When the link cannot be made.
    pub fn make_current(&self) -> Result<(), SetupError> {
        if self.is_current() {
            return Ok(());
        }
        let link = self.folder.with_file_name(CURRENT);
        let next = self.folder.with_file_name(".current.next");
        let switch = || -> std::io::Result<()> {
            match fs::remove_file(&next) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
            symlink(self.folder.file_name().unwrap_or_default(), &next)?;
            fs::rename(&next, &link)?;
            File::open(self.folder.parent().unwrap_or(Path::new("/")))?.sync_all()
        };
        switch().map_err(SetupError::io("set the link", &link))
    }
}
