//! A load on agentd that knows what was acknowledged: questions that can be told apart on the ledger.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use agentos_client::Client;
use anyhow::{Result, ensure};
use serde_json::{Map, Value};

use crate::vm::ask::Ask;

const CLIENTS: usize = 4;

/// Questions under way from several clients, until it is stopped.
pub(super) struct Load {
    stop: Arc<AtomicBool>,
    acknowledged: Arc<Mutex<BTreeSet<String>>>,
    refused: Arc<AtomicU64>,
    threads: Vec<JoinHandle<()>>,
}

/// What a load was answered.
pub(super) struct Answered {
    /// The questions that were answered, by the path that they asked for.
    pub(super) acknowledged: BTreeSet<String>,
    /// How many were not answered.
    pub(super) refused: u64,
}

impl Load {
    /// Starts asking at that socket; `name` tells this load's questions from others.
    pub(super) fn start(socket: &Path, name: &'static str) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let acknowledged = Arc::new(Mutex::new(BTreeSet::new()));
        let refused = Arc::new(AtomicU64::new(0));
        let threads = (0..CLIENTS)
            .map(|client| {
                let (socket, stop) = (socket.to_owned(), Arc::clone(&stop));
                let (acknowledged, refused) = (Arc::clone(&acknowledged), Arc::clone(&refused));
                std::thread::spawn(move || {
                    let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build()
                    else {
                        return;
                    };
                    let agentd = Client::new(socket);
                    for number in 0_u64.. {
                        if stop.load(Ordering::Relaxed) {
                            return;
                        }
                        // Recorded before it is looked for; that there is no such file is an answer too.
                        let path = format!("/load/{name}/{client}/{number}");
                        let mut args = Map::new();
                        args.insert("path".to_owned(), Value::from(path.clone()));
                        let answer = runtime.block_on(agentd.query_value("file", &args));
                        let answered = match &answer {
                            Ok(_) => true,
                            Err(error) => error.problem().is_some_and(|problem| problem.status == 404),
                        };
                        if answered {
                            acknowledged.lock().unwrap_or_else(PoisonError::into_inner).insert(path);
                        } else {
                            refused.fetch_add(1, Ordering::Relaxed);
                            std::thread::sleep(Duration::from_millis(20));
                        }
                    }
                })
            })
            .collect();
        Self { stop, acknowledged, refused, threads }
    }

    /// Stops asking.
    pub(super) fn stop(self) -> Answered {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads {
            let _ = thread.join();
        }
        let acknowledged =
            std::mem::take(&mut *self.acknowledged.lock().unwrap_or_else(PoisonError::into_inner));
        Answered { acknowledged, refused: self.refused.load(Ordering::Relaxed) }
    }
}

/// Every acknowledged question is on the ledger.
pub(super) fn is_recorded(ask: &Ask, answered: &Answered) -> Result<()> {
    let mut missing = answered.acknowledged.clone();
    for event in ask.events("system.query")? {
        if let Some(path) = event.payload.to_value()?["data"]["args"]["path"].as_str() {
            missing.remove(path);
        }
    }
    ensure!(missing.is_empty(), "acknowledged and not on the ledger: {missing:?}");
    Ok(())
}
