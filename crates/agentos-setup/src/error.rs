//! Why a set-up stopped: what happened, on which object, and what to do next.

use std::io;
use std::path::{Path, PathBuf};

/// Why a set-up stopped.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// A file or folder could not be used.
    #[error("cannot {action} {path}")]
    Io {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
    /// A configuration or lock file says what cannot be followed; the message names the line or the entry.
    #[error("{path}: {message}")]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        message: String,
    },
    /// Something is missing or not as it must be.
    #[error("{message}")]
    Refused {
        /// What is not as it must be.
        message: String,
        /// What to do.
        hint: String,
    },
    /// A registry's address cannot be used.
    #[error("the registry's address cannot be used: {0}")]
    Registry(String),
    /// The registry did not answer.
    #[error("the registry {registry} cannot be reached: {message}")]
    Unreachable {
        /// The registry, without credentials.
        registry: String,
        /// How it failed.
        message: String,
    },
    /// The registry answered, and not with what was asked for.
    #[error("{count} of the packages could not be fetched from {registry}; the first: {first}")]
    Fetch {
        /// The registry, without credentials.
        registry: String,
        /// How many.
        count: usize,
        /// The first of them and what happened.
        first: String,
    },
    /// What came is not what the lock file names.
    #[error("{file} is not what the lock file names: its hash is another")]
    Integrity {
        /// The file, by its place in the registry.
        file: String,
    },
    /// A package's archive holds what a package must not.
    #[error("the archive of {package} is refused: {message}")]
    Archive {
        /// The package.
        package: String,
        /// What it holds.
        message: String,
    },
    /// There is not enough room.
    #[error("{path} has {available} MB free, and {needed} MB are needed")]
    Space {
        /// The folder.
        path: PathBuf,
        /// Free, in MB of 1,000,000 bytes.
        available: u64,
        /// Needed, in the same.
        needed: u64,
    },
    /// A service did not do what it was asked.
    #[error("{unit}: {message}")]
    Service {
        /// The unit.
        unit: &'static str,
        /// What happened.
        message: String,
    },
}

/// The kinds of failure that a caller may want to tell apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Anything else.
    Failed,
    /// Nothing came from the registry.
    Unreachable,
    /// There is not enough room.
    Space,
}

impl SetupError {
    /// For `map_err`: what was tried on `path`.
    pub(crate) fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { action, path, source }
    }

    /// Its kind.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Unreachable { .. } => Kind::Unreachable,
            Self::Space { .. } => Kind::Space,
            Self::Io { source, .. } if source.kind() == io::ErrorKind::StorageFull => Kind::Space,
            _ => Kind::Failed,
        }
    }

    /// What to do next.
    pub fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::Refused { hint, .. } => hint,
            Self::Unreachable { .. } => {
                "check the network, or name another registry or mirror with --registry; agentd works without the \
                 gateway meanwhile. Then run again: what has been fetched is kept"
            }
            Self::Fetch { .. } => "name a registry or mirror that holds them with --registry, and run again",
            Self::Integrity { .. } => {
                "do not use that registry before it is known why; name another one with --registry"
            }
            Self::Archive { .. } => {
                "nothing of it was put in place; the lock file should not name this package"
            }
            Self::Space { .. } => "make room and run again: what has been fetched is kept",
            Self::Io { source, .. } if source.kind() == io::ErrorKind::StorageFull => {
                "make room and run again: what has been fetched is kept"
            }
            Self::Registry(_) => "an address looks like https://registry.example/npm/ or file:///folder",
            Self::Io { .. } | Self::File { .. } | Self::Service { .. } => return None,
        };
        Some(hint.to_owned())
    }
}
