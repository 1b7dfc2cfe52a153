//! The policy that holds: read like the configuration, put in force as a whole, named by its hash on the record.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use agentos_ledger::to_hex;
use agentos_policy::{DEFAULT, Policy, PolicyError, Quotas, Rates};
use agentos_system::Kept;
use ring::digest::{SHA256, digest};
use serde_json::{Value, json};

use crate::config::{ConfigError, DEFAULT_POLICY, read};
use crate::principal::Role;

/// A policy, where it comes from, and what it has let through.
#[derive(Debug)]
pub(crate) struct Loaded {
    pub(crate) policy: Policy,
    kept_from_agent: Kept,
    kept_from_operator: Kept,
    pub(crate) rates: Mutex<Rates>,
    /// Nothing where it is the one that is built in.
    pub(crate) file: Option<PathBuf>,
    sha256: String,
}

/// Why a policy cannot be used. agentd neither starts without one nor goes on with half of one.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LoadError {
    #[error(
        "cannot read the policy {path}; name another file with the key policy of agentd.toml, or put it back"
    )]
    Read { path: PathBuf, source: std::io::Error },
    #[error(transparent)]
    Rights(ConfigError),
    #[error("{path}, {source}\nmend it, and check it with: agentctl policy check {path}")]
    Parse { path: PathBuf, source: PolicyError },
}

impl LoadError {
    /// The line at fault, from 1.
    pub(crate) fn line(&self) -> Option<usize> {
        match self {
            Self::Parse { source, .. } => Some(source.line),
            Self::Read { .. } | Self::Rights(_) => None,
        }
    }

    /// The kind of error, without anything that stands in the file.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Self::Read { .. } => "not_readable",
            Self::Rights(_) => "writable_by_others",
            Self::Parse { .. } => "not_understood",
        }
    }
}

impl Loaded {
    /// Reads the policy at `path`. Where the default file is not there, the same text holds: it is built in.
    ///
    /// # Errors
    /// [`LoadError`].
    pub(crate) fn load(path: &Path) -> Result<Self, LoadError> {
        let (text, file) = match read(path) {
            Ok(text) => (text, Some(path.to_owned())),
            Err(ConfigError::Read { source, .. })
                if source.kind() == std::io::ErrorKind::NotFound && path == Path::new(DEFAULT_POLICY) =>
            {
                (DEFAULT.to_owned(), None)
            }
            Err(ConfigError::Read { path, source }) => return Err(LoadError::Read { path, source }),
            Err(error) => return Err(LoadError::Rights(error)),
        };
        let policy =
            Policy::parse(&text).map_err(|source| LoadError::Parse { path: path.to_owned(), source })?;
        let mut hash = [0; 32];
        hash.copy_from_slice(digest(&SHA256, text.as_bytes()).as_ref());
        let kept = |role| Kept::new(policy.kept_paths(role));
        let (kept_from_agent, kept_from_operator) =
            (kept(agentos_policy::Role::Agent), kept(agentos_policy::Role::Operator));
        Ok(Self {
            policy,
            kept_from_agent,
            kept_from_operator,
            rates: Mutex::default(),
            file,
            sha256: to_hex(&hash),
        })
    }

    /// What the record holds of it.
    pub(crate) fn on_record(&self) -> Value {
        let file =
            self.file.as_ref().map_or_else(|| "built in".to_owned(), |file| file.display().to_string());
        json!({ "file": file, "rules": self.policy.rules(), "sha256": self.sha256 })
    }

    /// What may be kept from callers of this role.
    pub(crate) fn kept(&self, role: Role) -> &Kept {
        match role {
            Role::Agent => &self.kept_from_agent,
            Role::Operator => &self.kept_from_operator,
        }
    }

    /// What rules with a rate have let through.
    pub(crate) fn rates(&self) -> std::sync::MutexGuard<'_, Rates> {
        self.rates.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The other one says the same, word for word.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        self.sha256 == other.sha256 && self.file == other.file
    }
}

/// The policy, as it is from one request to the next.
#[derive(Debug)]
pub(crate) struct LivePolicy {
    now: RwLock<Arc<Loaded>>,
    /// What was used lately: a reload forgives nothing.
    quotas: Mutex<Quotas>,
}

impl LivePolicy {
    pub(crate) fn new(loaded: Loaded) -> Arc<Self> {
        Arc::new(Self { now: RwLock::new(Arc::new(loaded)), quotas: Mutex::default() })
    }

    /// The policy that holds now. A request keeps the one it began with.
    pub(crate) fn now(&self) -> Arc<Loaded> {
        Arc::clone(&self.now.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// What was used of the quotas.
    pub(crate) fn quotas(&self) -> std::sync::MutexGuard<'_, Quotas> {
        self.quotas.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts another in force. One that says the same changes nothing: what its rates have counted goes on to count.
    pub(crate) fn set(&self, loaded: Loaded) {
        let mut now = self.now.write().unwrap_or_else(PoisonError::into_inner);
        if !now.is_same(&loaded) {
            *now = Arc::new(loaded);
        }
    }
}
