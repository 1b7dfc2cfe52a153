//! SIGHUP: the configuration and the policy are read again. What can change under way does, once it is on the record; what
//! cannot is named; and when one of the two files cannot be used, nothing changes.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use agentos_ledger::{CosignedFile, Ledger};
use serde_json::{Map, Value, json};

use crate::config::{Config, ConfigError, DEFAULT_PATH};
use crate::limits::LiveLimits;
use crate::notify;
use crate::policy::{LivePolicy, LoadError, Loaded};
use crate::problem::with_causes;
use crate::work::record_own;

/// The configuration that holds, and where it comes from.
pub(crate) struct Reloader {
    /// The file that was named at the start; the default one where none was.
    pub(crate) file: Option<PathBuf>,
    pub(crate) running: Config,
    pub(crate) limits: Arc<LiveLimits>,
    pub(crate) policy: Arc<LivePolicy>,
}

/// What a reload came to, for systemd and the log.
enum Outcome {
    /// The file holds; these keys wait for a restart.
    Loaded { needs_restart: Vec<String> },
    /// The file cannot be used.
    Rejected(Rejected),
    /// It could not be recorded, so nothing was changed.
    NotRecorded(String),
}

/// What is wrong with a file.
struct Rejected {
    /// The event that records it.
    kind: &'static str,
    /// What the file is, for people.
    what: &'static str,
    file: PathBuf,
    line: Option<usize>,
    problem: &'static str,
    key: Option<&'static str>,
    /// All of it, for the log.
    message: String,
}

impl Rejected {
    fn config(error: &ConfigError, file: PathBuf) -> Self {
        let (problem, key) = error.summary();
        let (line, message) = (error.line(), with_causes(error));
        Self { kind: "config.rejected", what: "configuration", file, line, problem, key, message }
    }

    fn policy(error: &LoadError, file: PathBuf) -> Self {
        let (problem, line) = (error.kind(), error.line());
        // The error of a policy says its cause itself.
        let message = match error {
            LoadError::Parse { .. } => error.to_string(),
            other => with_causes(other),
        };
        Self { kind: "policy.rejected", what: "policy", file, line, problem, key: None, message }
    }
}

impl Reloader {
    /// Reads the configuration again and answers what `systemctl status` shows of it; nothing where all is in force.
    pub(crate) async fn reload(
        &mut self,
        ledger: Option<Arc<Ledger>>,
        cosigned: Option<Arc<Mutex<CosignedFile>>>,
    ) -> Option<String> {
        notify::reloading();
        let (file, policy_file) = (self.file.clone(), self.running.policy.clone());
        let path = self.path();
        let config_file = PathBuf::from(&path);
        let read = tokio::task::spawn_blocking(move || {
            let config =
                Config::load(file.as_deref()).map_err(|error| Rejected::config(&error, config_file))?;
            // A path that was changed waits for a restart, like the state directory's.
            let policy = Loaded::load(&policy_file).map_err(|error| Rejected::policy(&error, policy_file))?;
            Ok((config, policy))
        })
        .await;
        let outcome = match read {
            Ok(Ok((config, policy))) => self.take(config, policy, ledger, cosigned).await,
            Ok(Err(rejected)) => reject(rejected, ledger).await,
            Err(error) => Outcome::NotRecorded(format!("reading the configuration failed: {error}")),
        };
        match outcome {
            Outcome::Loaded { needs_restart } if needs_restart.is_empty() => None,
            Outcome::Loaded { needs_restart } => {
                Some(format!("restart needed for {}", needs_restart.join(", ")))
            }
            Outcome::Rejected(Rejected { file, line, what, .. }) => {
                let line = line.map(|line| format!(", line {line}")).unwrap_or_default();
                Some(format!("{}{line}: not loaded, the {what} from before holds", file.display()))
            }
            Outcome::NotRecorded(reason) => Some(format!("{path}: not loaded: {reason}")),
        }
    }

    fn path(&self) -> String {
        self.file.clone().unwrap_or_else(|| PathBuf::from(DEFAULT_PATH)).display().to_string()
    }

    async fn take(
        &mut self,
        config: Config,
        policy: Loaded,
        ledger: Option<Arc<Ledger>>,
        cosigned: Option<Arc<Mutex<CosignedFile>>>,
    ) -> Outcome {
        let changed = config.differences(&self.running);
        let (applied, waiting): (Map<String, Value>, Map<String, Value>) =
            changed.into_iter().partition(|(key, _)| key.starts_with("limits.") || key == "ledger.witnesses");
        let needs_restart: Vec<String> = waiting.into_iter().map(|(key, _)| key).collect();
        // Limits are numbers, and the keys of witnesses are public. Of the other keys the record holds the names only.
        let event = json!({
            "file": self.path(),
            "applied": applied,
            "needs_restart": needs_restart,
            "policy": policy.on_record(),
        });
        if let Err(reason) = record(ledger, "config.loaded", event).await {
            tracing::error!("the configuration is not loaded, because that cannot be recorded: {reason}");
            return Outcome::NotRecorded(reason);
        }
        self.limits.set(config.limits);
        self.running.limits = config.limits;
        self.policy.set(policy);
        if applied.contains_key("ledger.witnesses") {
            self.running.ledger.witnesses.clone_from(&config.ledger.witnesses);
            if let Err(error) = believe(cosigned, &config).await {
                tracing::error!("those witnesses are not believed before a restart: {error}");
            }
        }
        for (key, value) in &applied {
            tracing::info!("{key} is {value} from now on");
        }
        if !needs_restart.is_empty() {
            tracing::warn!(
                "changed, but in force only after a restart (systemctl restart agentd): {}",
                needs_restart.join(", ")
            );
        }
        tracing::info!("the configuration is loaded");
        Outcome::Loaded { needs_restart }
    }
}

/// Believes the witnesses of the configuration. Where the ledger is not open yet, it is opened with them.
async fn believe(cosigned: Option<Arc<Mutex<CosignedFile>>>, config: &Config) -> Result<(), String> {
    let (Some(cosigned), Some(witnesses)) = (cosigned, config.ledger.witness_keys()) else { return Ok(()) };
    tokio::task::spawn_blocking(move || {
        cosigned.lock().unwrap_or_else(PoisonError::into_inner).believe(witnesses)
    })
    .await
    .map_err(|error| error.to_string())?
    .map_err(|error| with_causes(&error))
}

async fn reject(rejected: Rejected, ledger: Option<Arc<Ledger>>) -> Outcome {
    let Rejected { kind, what, file, line, problem, key, message } = &rejected;
    tracing::error!("the {what} is not loaded, the one from before holds: {message}");
    let mut event = json!({ "file": file.display().to_string(), "problem": problem });
    if let Some(line) = line {
        event["line"] = (*line).into();
    }
    if let Some(key) = key {
        event["key"] = (*key).into();
    }
    if let Err(reason) = record(ledger, kind, event).await {
        tracing::error!("that it was not loaded cannot be recorded: {reason}");
    }
    Outcome::Rejected(rejected)
}

async fn record(ledger: Option<Arc<Ledger>>, kind: &'static str, data: Value) -> Result<(), String> {
    let ledger = ledger.ok_or("the ledger cannot be used")?;
    tokio::task::spawn_blocking(move || record_own(&ledger, kind, &data))
        .await
        .map_err(|error| error.to_string())?
        .map_err(|error| format!("{error:#}"))
}
