//! `GET /health`: the machine at a glance, and whether agentd can do its work. Not an event.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use agentos_api::Problem;
use agentos_api::health::{HealthReport, LedgerHealth, Status};
use agentos_system::Machine;
use axum::extract::State;
use axum::response::Response;
use bytes::Bytes;

use super::json;
use crate::app::App;
use crate::caller::Caller;
use crate::problem::{Refusal, query_problem};

/// How long an answer stands for the present: a monitor that asks a thousand times a second costs one reading of `/proc`.
const FRESH: Duration = Duration::from_millis(500);

/// The last answer.
#[derive(Debug, Default)]
pub(crate) struct HealthCache {
    last: Mutex<Option<Answer>>,
}

#[derive(Clone, Debug)]
struct Answer {
    made: Instant,
    writable: bool,
    bytes: Bytes,
}

impl HealthCache {
    /// The last answer if it is fresh and the ledger is still as it says.
    pub(super) fn fresh(&self, writable: bool) -> Option<Bytes> {
        let last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        last.as_ref()
            .filter(|answer| answer.writable == writable && answer.made.elapsed() < FRESH)
            .map(|answer| answer.bytes.clone())
    }

    pub(super) fn keep(&self, writable: bool, bytes: Bytes) {
        let answer = Answer { made: Instant::now(), writable, bytes };
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Some(answer);
    }
}

pub(crate) async fn show(State(app): State<Arc<App>>, _caller: Caller) -> Result<Response, Refusal> {
    let status = app.ledger.status();
    let writable = status.unavailable.is_none();
    if let Some(bytes) = app.health.fresh(writable) {
        return Ok(json(bytes));
    }
    let bytes = app
        .blocking_json("the health", move |app| {
            let reason = status.unavailable.map(|trouble| trouble.reason);
            report(&app.machine, LedgerHealth { writable, size: status.size, reason })
        })
        .await?;
    app.health.keep(writable, bytes.clone());
    Ok(json(bytes))
}

/// The machine at a glance beside the state of the ledger.
pub(super) fn report(machine: &Machine, ledger: LedgerHealth) -> Result<HealthReport, Problem> {
    let machine = machine.health().map_err(|error| query_problem(&error))?;
    let status = if ledger.writable { Status::Ok } else { Status::Degraded };
    let version = env!("CARGO_PKG_VERSION").to_owned();
    Ok(HealthReport { status, version, ledger, machine: (*machine).clone() })
}
