//! Unpacking all packages to their places, several at a time.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _, symlink};
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::channel;

use crate::download::{Archive, Downloads};
use crate::error::SetupError;
use crate::lock::{Package, Selection};
use crate::progress::{Event, Observer};
use crate::space;
use crate::unpack::{Limits, unpack, unpacked_size};

/// Bytes that all archives together may unpack to.
const MOST: u64 = 8 << 30;

/// What a file takes beyond its content, in percent of that: the last block of each is not full.
const ROUNDING: u64 = 15;

/// Makes `folder` and unpacks the selection into it.
pub(super) fn fill(
    folder: &Path,
    selection: &Selection<'_>,
    downloads: &Downloads,
    observer: &mut dyn Observer,
) -> Result<(), SetupError> {
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o755)
        .create(folder)
        .map_err(SetupError::io("make the folder", folder))?;
    require_room(folder, selection, downloads)?;
    let mut by_depth: BTreeMap<usize, Vec<&Package>> = BTreeMap::new();
    for package in &selection.fetched {
        by_depth.entry(package.depth()).or_default().push(package);
    }
    let total = selection.fetched.len();
    let mut done = 0;
    // A package's folder is made before those inside of it.
    for packages in by_depth.into_values() {
        several(
            &packages,
            |package| put(package, folder, downloads),
            |_| {
                done += 1;
                observer.tell(Event::Unpacking { done, total });
            },
        )?;
    }
    for package in &selection.bundled {
        let inner = folder.join(&package.path);
        if !inner.join("package.json").is_file() {
            return Err(SetupError::Archive {
                package: package.path.clone(),
                message: "the archive that it should come in does not have it".to_owned(),
            });
        }
        make_executable(package, &inner)?;
    }
    programs(folder, selection)
}

fn require_room(folder: &Path, selection: &Selection<'_>, downloads: &Downloads) -> Result<(), SetupError> {
    let mut sum = 0_u64;
    for package in &selection.fetched {
        if let Some(archive) = archive(package) {
            sum = sum.saturating_add(unpacked_size(&downloads.path(&archive))?);
        }
    }
    if sum > MOST {
        return Err(SetupError::Refused {
            message: format!(
                "the archives unpack to {} MB; {} are the most",
                sum / 1_000_000,
                MOST / 1_000_000
            ),
            hint: "see what the lock file names".to_owned(),
        });
    }
    space::require(&[(folder, sum + sum / 100 * ROUNDING)])
}

fn archive(package: &Package) -> Option<Archive> {
    let integrity = package.integrity.clone()?;
    Some(Archive { place: package.archive(), integrity })
}

fn put(package: &Package, folder: &Path, downloads: &Downloads) -> Result<(), SetupError> {
    let Some(archive) = archive(package) else { return Ok(()) };
    let target = folder.join(&package.path);
    // The archive of the package around it may hold one at this place; the lock file has the last word.
    super::remove(&target)?;
    unpack(&downloads.path(&archive), &archive.place, &target, Limits::default())?;
    make_executable(package, &target)
}

fn make_executable(package: &Package, folder: &Path) -> Result<(), SetupError> {
    for file in package.programs.values() {
        let path = folder.join(file);
        // Some archives lack what they name; npm makes no program of that either.
        if path.is_file() {
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755))
                .map_err(SetupError::io("make a program of", &path))?;
        }
    }
    Ok(())
}

/// Links in `bin` to the programs of the packages that are asked for by name.
fn programs(folder: &Path, selection: &Selection<'_>) -> Result<(), SetupError> {
    let bin = folder.join("bin");
    fs::DirBuilder::new().mode(0o755).create(&bin).map_err(SetupError::io("make the folder", &bin))?;
    for (name, file) in &selection.programs {
        let link = bin.join(name);
        symlink(Path::new("..").join(file), &link).map_err(SetupError::io("make the link", &link))?;
    }
    Ok(())
}

/// Does `work` on each of `items` on as many threads as there are processors, and tells `seen` of each that is done. After
/// a failure no more are begun.
fn several<T: Sync>(
    items: &[T],
    work: impl Fn(&T) -> Result<(), SetupError> + Sync,
    mut seen: impl FnMut(&T),
) -> Result<(), SetupError> {
    let next = AtomicUsize::new(0);
    let failure = Mutex::new(None);
    let threads = std::thread::available_parallelism().map_or(1, usize::from).min(8).min(items.len());
    let (sender, receiver) = channel();
    std::thread::scope(|scope| {
        for _ in 0..threads {
            let (sender, next, failure, work) = (sender.clone(), &next, &failure, &work);
            scope.spawn(move || {
                while let Some(item) = items.get(next.fetch_add(1, Ordering::Relaxed)) {
                    if let Err(error) = work(item) {
                        next.store(items.len(), Ordering::Relaxed);
                        if let Ok(mut failure) = failure.lock() {
                            failure.get_or_insert(error);
                        }
                        return;
                    }
                    if sender.send(item).is_err() {
                        return;
                    }
                }
            });
        }
        drop(sender);
        for item in receiver {
            seen(item);
        }
    });
    match failure.into_inner() {
        Ok(None) => Ok(()),
        Ok(Some(error)) => Err(error),
        Err(_) => Err(SetupError::Refused {
            message: "unpacking ended by a fault of this program".to_owned(),
            hint: "report it, with what was printed".to_owned(),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_failure_ends_the_work() {
        let items: Vec<usize> = (0..1000).collect();
        let worked = AtomicUsize::new(0);
        let fail = |item: &usize| {
            worked.fetch_add(1, Ordering::Relaxed);
            if *item == 3 { Err(SetupError::Registry("three".to_owned())) } else { Ok(()) }
        };
        let error = several(&items, fail, |_| {}).unwrap_err().to_string();
        assert!(error.contains("three"));
        assert!(worked.into_inner() < 1000);
        let mut seen = 0;
        several(&items, |_| Ok(()), |_| seen += 1).unwrap();
        assert_eq!(seen, 1000);
    }
}
