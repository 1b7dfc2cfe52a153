//! Where scenarios come from: the ones built in, or a folder.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use crate::error::ScenarioError;
use crate::scenario::{MAX_FILE_BYTES, Scenario};

/// Most files read from a folder.
pub const MAX_FILES: usize = 200;

macro_rules! built_in {
    ($($name:literal,)*) => {
        /// The built-in files: name and text.
        const BUILT_IN: &[(&str, &str)] = &[$((concat!($name, ".toml"), include_str!(concat!("../scenarios/", $name, ".toml")))),*];
    };
}

// The order decides which one answers a sentence that several match, and how they are listed.
built_in! {
    "remember",
    "recall",
    "write-file",
    "make-folder",
    "undo-change",
    "change-status",
    "what-waits",
    "memory-usage",
    "cpu-usage",
    "wrong-argument",
    "unknown-query",
    "list-directory",
    "preview-command",
    "look-around",
    "kept-file",
    "read-file",
    "last-log-lines",
    "failed-services",
    "slow-last-night",
    "disk-space",
    "open-ports",
    "network-addresses",
    "who-is-logged-in",
    "what-happened",
    "what-system",
    "health",
    "service-status",
}

/// The scenarios that come with the program.
///
/// # Errors
/// Where a built-in file is not a scenario; a test holds that none is.
pub fn built_in() -> Result<Vec<Scenario>, ScenarioError> {
    BUILT_IN.iter().map(|(file, text)| Scenario::parse(file, text)).collect()
}

/// The scenarios of every `*.toml` file in `directory`, by name of file.
///
/// # Errors
/// Where the folder or a file cannot be read, is too large, or is no scenario: then none is given.
pub fn read(directory: &Path) -> Result<Vec<Scenario>, ScenarioError> {
    let unreadable = |path: &Path| {
        let path = path.to_owned();
        |source| ScenarioError::Unreadable { path, source }
    };
    let mut paths = Vec::new();
    for entry in std::fs::read_dir(directory).map_err(unreadable(directory))? {
        let path = entry.map_err(unreadable(directory))?.path();
        if path.extension().is_some_and(|extension| extension == "toml") {
            paths.push(path);
        }
        if paths.len() > MAX_FILES {
            let file = directory.display().to_string();
            return Err(ScenarioError::TooLarge { file, limit: format!("{MAX_FILES} files") });
        }
    }
    if paths.is_empty() {
        return Err(ScenarioError::Empty { path: directory.to_owned() });
    }
    paths.sort();
    paths
        .iter()
        .map(|path| {
            let mut text = String::new();
            // One byte more than is allowed tells a file that is too large from one that just fits.
            let bound = MAX_FILE_BYTES as u64 + 1;
            let read = File::open(path).and_then(|file| file.take(bound).read_to_string(&mut text));
            read.map_err(unreadable(path))?;
            Scenario::parse(&path.display().to_string(), &text)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_file_in_the_folder_is_built_in() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios");
        let mut in_folder: Vec<_> =
            read(&folder).unwrap().into_iter().map(|scenario| scenario.name).collect();
        let mut built_in: Vec<_> = built_in().unwrap().into_iter().map(|scenario| scenario.name).collect();
        in_folder.sort();
        built_in.sort();
        assert_eq!(in_folder, built_in);
    }

    #[test]
    fn each_sentence_is_answered_by_its_own_scenario() {
        let stage = crate::Stage::new(built_in().unwrap(), crate::Clock::System);
        for scenario in stage.scenarios() {
            for sentence in &scenario.ask {
                let (found, _) = stage.find(sentence).unwrap();
                assert_eq!(found.name, scenario.name, "{sentence}");
            }
        }
    }

    #[test]
    fn a_file_that_is_no_scenario_is_named_with_its_line() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("bad.toml"), "ask = [\"x\"]\nsay = \"y\"\nvolume = 11\n").unwrap();
        let error = read(folder.path()).unwrap_err().to_string();
        assert!(error.contains("bad.toml:3: ") && error.contains("volume"), "{error}");
    }

    #[test]
    fn an_empty_or_missing_folder_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        assert!(matches!(read(folder.path()), Err(ScenarioError::Empty { .. })));
        assert!(matches!(read(&folder.path().join("none")), Err(ScenarioError::Unreadable { .. })));
    }
}
