//! Removing runtimes that are not wanted any more. One that a process runs from stays until a later set-up finds it idle:
//! Node.js reads its scripts when it first needs them, and would not find them.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use super::CURRENT;
use crate::error::SetupError;
use crate::folder;
use crate::progress::{Event, Observer};

/// Removes every runtime below `parent` that the link does not lead to and no process uses. Answers the names of those that
/// are used still.
///
/// # Errors
/// When one cannot be removed.
pub fn prune(parent: &Path, observer: &mut dyn Observer) -> Result<Vec<String>, SetupError> {
    let _lock = folder::lock(parent, observer)?;
    let current = fs::read_link(parent.join(CURRENT)).ok();
    let mut idle = Vec::new();
    let mut used = Vec::new();
    let whole = fs::canonicalize(parent).map_err(SetupError::io("open the folder", parent))?;
    let in_use = in_use(&whole);
    for entry in fs::read_dir(parent).map_err(SetupError::io("list", parent))? {
        let name = entry.map_err(SetupError::io("list", parent))?.file_name();
        let Some(text) = name.to_str().filter(|name| name.starts_with("runtime-")) else { continue };
        if current.as_deref() == Some(Path::new(text)) {
            continue;
        }
        if in_use.contains(&name) { used.push(text.to_owned()) } else { idle.push(text.to_owned()) }
    }
    for name in idle {
        observer.tell(Event::Removing { name: &name });
        // Under another name first, so that half of it never looks like a whole one.
        let target = parent.join(format!("{}.partial", name.trim_end_matches(".partial")));
        if !name.ends_with(".partial") {
            super::remove(&target)?;
            fs::rename(parent.join(&name), &target).map_err(SetupError::io("remove", &parent.join(&name)))?;
        }
        super::remove(&target)?;
    }
    Ok(used)
}

/// The names of the folders directly below `parent` that a process has its program in, works in or has mapped files of.
fn in_use(parent: &Path) -> BTreeSet<OsString> {
    let mut names = BTreeSet::new();
    let mut note = |path: &Path| {
        if let Ok(below) = path.strip_prefix(parent)
            && let Some(first) = below.components().next()
        {
            names.insert(first.as_os_str().to_owned());
        }
    };
    // What ends meanwhile, or may not be looked at, uses nothing that this caller could remove.
    let Ok(processes) = fs::read_dir("/proc") else { return names };
    for process in processes.flatten() {
        if !process.file_name().as_bytes().first().is_some_and(u8::is_ascii_digit) {
            continue;
        }
        for link in ["exe", "cwd"] {
            if let Ok(target) = fs::read_link(process.path().join(link)) {
                note(&target);
            }
        }
        let Ok(maps) = fs::read(process.path().join("maps")) else { continue };
        for line in maps.split(|byte| *byte == b'\n') {
            if let Some(at) = line.iter().position(|byte| *byte == b'/') {
                note(Path::new(std::ffi::OsStr::from_bytes(&line[at..])));
            }
        }
    }
    names
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;
    use std::process::{Command, Stdio};

    use super::*;

    #[test]
    fn what_a_process_runs_from_stays_and_the_rest_goes() {
        let parent = tempfile::tempdir().unwrap();
        for name in ["runtime-1", "runtime-2", "runtime-3", "runtime-4.partial"] {
            fs::create_dir_all(parent.path().join(name).join("bin")).unwrap();
        }
        fs::create_dir(parent.path().join("other")).unwrap();
        symlink("runtime-3", parent.path().join(CURRENT)).unwrap();
        let program = parent.path().join("runtime-2/bin/sleep");
        fs::copy("/bin/sleep", &program).unwrap();
        let mut process = Command::new(&program).arg("60").stdout(Stdio::null()).spawn().unwrap();
        let used = prune(parent.path(), &mut |_: Event<'_>| {});
        process.kill().unwrap();
        process.wait().unwrap();
        assert_eq!(used.unwrap(), ["runtime-2"]);
        let left = |name: &str| parent.path().join(name).exists();
        assert!(!left("runtime-1") && left("runtime-2") && left("runtime-3") && left("other"));
        assert!(!left("runtime-4.partial"));
        assert!(prune(parent.path(), &mut |_: Event<'_>| {}).unwrap().is_empty());
        assert!(!left("runtime-2") && left("runtime-3"));
    }
}
