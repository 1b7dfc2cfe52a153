//! What can be wrong with scenarios and with serving them.

use std::path::PathBuf;

/// Why scenarios cannot be played.
#[derive(Debug, thiserror::Error)]
pub enum ScenarioError {
    /// A file or the folder cannot be read.
    #[error("cannot read {}: check that it exists and may be read", path.display())]
    Unreadable {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// The folder holds no scenario.
    #[error("{} holds no *.toml file: give a folder with scenarios", path.display())]
    Empty {
        /// The folder.
        path: PathBuf,
    },
    /// A file is not a scenario.
    #[error("{file}:{line}: {reason}")]
    Invalid {
        /// The file's name as it was given.
        file: String,
        /// The line, counted from 1.
        line: usize,
        /// What is wrong there, in one sentence.
        reason: String,
    },
    /// There are more files, or larger ones, than are read.
    #[error("{file} is more than what is read: at most {limit}")]
    TooLarge {
        /// The file or folder.
        file: String,
        /// The bound, with its unit.
        limit: String,
    },
}
