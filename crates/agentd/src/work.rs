//! What agentd works with: the ledger, the machine, the memory. Begun together, with the start on the record, or not at
//! all; and what it means where it cannot be begun.

use std::sync::Arc;

use agentos_api::event::{Actor, EventType};
use agentos_changes::Changes;
use agentos_ledger::{CosignedFile, Ledger, LedgerError, LedgerOptions, NewEvent};
use agentos_memory::{Memory, MemoryOptions};
use agentos_objects::Objects;
use agentos_system::Machine;
use anyhow::{Context, Result};
use jiff::tz::TimeZone;
use serde_json::json;

use crate::config::Config;
use crate::policy::LivePolicy;
use crate::state::{Room, StateDirectory};

/// All that answers requests.
pub(crate) struct Work {
    pub(crate) ledger: Arc<Ledger>,
    pub(crate) machine: Arc<Machine>,
    pub(crate) memory: Arc<Memory>,
    pub(crate) changes: Arc<Changes>,
    pub(crate) cosigned: CosignedFile,
}

/// How a beginning came out, where agentd goes on.
pub(crate) enum Begun {
    /// Everything works.
    Work(Work),
    /// The ledger is not what was recorded. Nothing was written.
    NotWhole(LedgerError),
    /// There is no room, or nothing can be written, in the state directory: it may pass.
    Waiting { room: Room, reason: String },
}

/// Opens everything and records the start. Without that record there is nothing to serve.
///
/// # Errors
/// What neither says something about the ledger's truth nor passes by itself: rights, a failing disk, another process.
pub(crate) fn begin(
    config: &Config,
    state: &StateDirectory,
    machine: &Arc<Machine>,
    policy: &Arc<LivePolicy>,
) -> Result<Begun> {
    let ledger = match open_ledger(config, state) {
        Ok(ledger) => Arc::new(ledger),
        Err(error) if error.damage().is_some() => return Ok(Begun::NotWhole(error)),
        Err(error) => {
            let error = anyhow::Error::new(error)
                .context("the ledger cannot be used, and without it nothing may be done");
            return waiting_or(state, error);
        }
    };
    let rest = || {
        let memory = open_memory(config, state)?;
        let started = json!({
            "version": env!("CARGO_PKG_VERSION"),
            "pid": std::process::id(),
            "policy": policy.now().on_record(),
        });
        record_own(&ledger, "agentd.start", &started)?;
        let changes = open_changes(config, state, &ledger, machine, policy)?;
        crate::quota::restore(policy, &ledger, &changes)
            .context("what was used of the quotas cannot be read")?;
        let witnesses = config.ledger.witness_keys().unwrap_or_default();
        let cosigned = CosignedFile::open(state.path(), ledger.public_key(), witnesses)
            .context("what witnesses cosigned cannot be read")?;
        Ok((Arc::new(memory), Arc::new(changes), cosigned))
    };
    match rest() {
        Ok((memory, changes, cosigned)) => {
            Ok(Begun::Work(Work { ledger, machine: Arc::clone(machine), memory, changes, cosigned }))
        }
        Err(error) => waiting_or(state, error),
    }
}

/// A failure while the disk is full or read-only is put down to that; any other is handed back.
fn waiting_or(state: &StateDirectory, error: anyhow::Error) -> Result<Begun> {
    let by_kind = error.chain().filter_map(|cause| cause.downcast_ref::<std::io::Error>()).find_map(
        |error| match error.kind() {
            std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => Some(Room::Full),
            std::io::ErrorKind::ReadOnlyFilesystem => Some(Room::ReadOnly),
            _ => None,
        },
    );
    match by_kind.unwrap_or_else(|| state.room()) {
        Room::Enough => Err(error),
        room => Ok(Begun::Waiting { room, reason: format!("{error:#}") }),
    }
}

fn open_ledger(config: &Config, state: &StateDirectory) -> Result<Ledger, LedgerError> {
    let origin = config
        .ledger
        .origin
        .clone()
        .unwrap_or_else(|| rustix::system::uname().nodename().to_string_lossy().into_owned());
    let mut options = LedgerOptions::new(state.path(), origin);
    options.witness_file.clone_from(&config.ledger.checkpoint_file);
    Ledger::open(&options)
}

fn open_memory(config: &Config, state: &StateDirectory) -> Result<Memory> {
    let directory = config.memory_directory();
    std::fs::create_dir_all(&directory).with_context(|| format!("cannot make {}", directory.display()))?;
    let mut options = MemoryOptions::new(directory, state.path().join("memory-index.db"));
    // A day's file is the day of the people at this machine.
    options.time_zone = TimeZone::system();
    Memory::open(options).context("the memory cannot be used")
}

/// The store of what changes replace.
///
/// # Errors
/// When it cannot be opened.
pub(crate) fn open_objects(config: &Config, state: &StateDirectory) -> Result<Objects> {
    Objects::open(&agentos_objects::Options {
        directory: state.path().join("objects"),
        quota_bytes: config.changes.keep_bytes,
    })
    .context("what changes replace cannot be kept")
}

/// Opens what changes the machine. What an end cut off is settled before anything is served.
fn open_changes(
    config: &Config,
    state: &StateDirectory,
    ledger: &Arc<Ledger>,
    machine: &Arc<Machine>,
    policy: &Arc<LivePolicy>,
) -> Result<Changes> {
    let settings = &config.changes;
    let objects = open_objects(config, state)?;
    let mut options = agentos_changes::Options::new(state.path());
    options.expire_after = settings.expire_after();
    options.confirm_within = settings.confirm_within();
    let policy = Arc::clone(policy);
    options.rules =
        Some(Arc::new(move |operator, actor| crate::judge::for_a_plan(policy.now(), operator, actor)));
    // Where systemd runs, it keeps a timer for each such change, so that agentd's own end does not keep it.
    if let Ok(program) = std::env::current_exe() {
        options.take_back = vec![program.display().to_string()];
        if let Some(file) = &config.file {
            options.take_back.extend(["--config".to_owned(), file.display().to_string()]);
        }
        options.take_back.push("--take-back".to_owned());
    }
    Changes::open(options, Arc::clone(ledger), Arc::clone(machine), objects)
        .context("changes cannot be opened")
}

/// Records what agentd itself does, and waits until it is durable.
///
/// # Errors
/// When it is not recorded.
pub(crate) fn record_own(ledger: &Ledger, kind: &'static str, data: &serde_json::Value) -> Result<()> {
    let event = NewEvent::new(EventType::new(kind)?, Actor::new("agentd")?, data)?;
    ledger.append_blocking(event).with_context(|| format!("cannot record {kind}"))?;
    Ok(())
}
