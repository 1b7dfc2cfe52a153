//! SIGHUP: the configuration is read again. What can change under way does, once it is on the record; what cannot is
//! named; and a file that cannot be used changes nothing.

use std::path::PathBuf;
use std::sync::Arc;

use agentos_ledger::Ledger;
use serde_json::{Map, Value, json};

use crate::config::{Config, ConfigError, DEFAULT_PATH};
use crate::limits::LiveLimits;
use crate::notify;
use crate::problem::with_causes;
use crate::work::record_own;

/// The configuration that holds, and where it comes from.
pub(crate) struct Reloader {
    /// The file that was named at the start; the default one where none was.
    pub(crate) file: Option<PathBuf>,
    pub(crate) running: Config,
    pub(crate) limits: Arc<LiveLimits>,
}

/// What a reload came to, for systemd and the log.
enum Outcome {
    /// The file holds; these keys wait for a restart.
    Loaded { needs_restart: Vec<String> },
    /// The file cannot be used.
    Rejected(ConfigError),
    /// It could not be recorded, so nothing was changed.
    NotRecorded(String),
}

impl Reloader {
    /// Reads the configuration again and answers what `systemctl status` shows of it; nothing where all is in force.
    pub(crate) async fn reload(&mut self, ledger: Option<Arc<Ledger>>) -> Option<String> {
        notify::reloading();
        let file = self.file.clone();
        let read = tokio::task::spawn_blocking(move || Config::load(file.as_deref())).await;
        let outcome = match read {
            Ok(Ok(config)) => self.take(config, ledger).await,
            Ok(Err(error)) => self.reject(error, ledger).await,
            Err(error) => Outcome::NotRecorded(format!("reading the configuration failed: {error}")),
        };
        let path = self.path();
        match outcome {
            Outcome::Loaded { needs_restart } if needs_restart.is_empty() => None,
            Outcome::Loaded { needs_restart } => {
                Some(format!("restart needed for {}", needs_restart.join(", ")))
            }
            Outcome::Rejected(error) => {
                let line = error.line().map(|line| format!(", line {line}")).unwrap_or_default();
                Some(format!("{path}{line}: not loaded, the configuration from before holds"))
            }
            Outcome::NotRecorded(reason) => Some(format!("{path}: not loaded: {reason}")),
        }
    }

    fn path(&self) -> String {
        self.file.clone().unwrap_or_else(|| PathBuf::from(DEFAULT_PATH)).display().to_string()
    }

    async fn take(&mut self, config: Config, ledger: Option<Arc<Ledger>>) -> Outcome {
        let changed = config.differences(&self.running);
        let (applied, waiting): (Map<String, Value>, Map<String, Value>) =
            changed.into_iter().partition(|(key, _)| key.starts_with("limits."));
        let needs_restart: Vec<String> = waiting.into_iter().map(|(key, _)| key).collect();
        // Limits are numbers. Of the other keys the record holds the names only.
        let event = json!({ "file": self.path(), "applied": applied, "needs_restart": needs_restart });
        if let Err(reason) = record(ledger, "config.loaded", event).await {
            tracing::error!("the configuration is not loaded, because that cannot be recorded: {reason}");
            return Outcome::NotRecorded(reason);
        }
        self.limits.set(config.limits);
        self.running.limits = config.limits;
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

    async fn reject(&self, error: ConfigError, ledger: Option<Arc<Ledger>>) -> Outcome {
        tracing::error!(
            "the configuration is not loaded, the one from before holds: {}",
            with_causes(&error)
        );
        let (problem, key) = error.summary();
        let mut event = json!({ "file": self.path(), "problem": problem });
        if let Some(line) = error.line() {
            event["line"] = line.into();
        }
        if let Some(key) = key {
            event["key"] = key.into();
        }
        if let Err(reason) = record(ledger, "config.rejected", event).await {
            tracing::error!("that it was not loaded cannot be recorded: {reason}");
        }
        Outcome::Rejected(error)
    }
}

async fn record(ledger: Option<Arc<Ledger>>, kind: &'static str, data: Value) -> Result<(), String> {
    let ledger = ledger.ok_or("the ledger cannot be used")?;
    tokio::task::spawn_blocking(move || record_own(&ledger, kind, &data))
        .await
        .map_err(|error| error.to_string())?
        .map_err(|error| format!("{error:#}"))
}
