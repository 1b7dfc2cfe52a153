//! The API while the ledger cannot be used: why, what to do, and the events that are as they were recorded. Nothing is
//! recorded, so nothing else is read, and nothing is changed.

use std::sync::Arc;

use agentos_api::health::LedgerHealth;
use agentos_api::ledger::LedgerState;
use agentos_api::{Code, Problem};
use agentos_ledger::Evidence;
use agentos_system::Machine;
use axum::Router;
use axum::extract::{RawQuery, State};
use axum::response::Response;
use axum::routing::{any, get};

use super::health::{HealthCache, report};
use super::{events, json, unknown_route, wrong_method};
use crate::caller::Caller;
use crate::diagnosis::Closed;
use crate::limits::LiveLimits;
use crate::problem::{Refusal, ledger_problem};
use crate::workers::blocking_json;

/// What these routes share.
pub(crate) struct ClosedApp {
    pub(crate) closed: Arc<Closed>,
    pub(crate) machine: Arc<Machine>,
    pub(crate) limits: Arc<LiveLimits>,
    pub(crate) health: HealthCache,
}

/// The routes.
pub(crate) fn router(app: Arc<ClosedApp>) -> Router {
    let mut router = Router::new()
        .route("/health", get(health))
        .route("/ledger/diagnosis", get(diagnosis))
        .route("/events/log", get(page))
        .route("/events/{id}/proof", any(refuse))
        .route("/changes/{id}", any(refuse))
        .route("/changes/{id}/undo", any(refuse))
        .route("/changes/{id}/confirm", any(refuse))
        .route("/approvals/{id}", any(refuse))
        .route("/grants/{id}/revoke", any(refuse));
    for path in super::PATHS {
        if !["/health", "/ledger/diagnosis", "/events/log"].contains(&path) {
            router = router.route(path, any(refuse));
        }
    }
    router.fallback(unknown_route).method_not_allowed_fallback(wrong_method).with_state(app)
}

fn refused(closed: &Closed, more: &str) -> Problem {
    Problem::new(Code::LEDGER_UNAVAILABLE, format!("{}; {more}", closed.reason))
        .with_hint("GET /ledger/diagnosis says what was found and what to do; so does: agentctl health")
}

async fn refuse(State(app): State<Arc<ClosedApp>>, _caller: Caller) -> Refusal {
    refused(&app.closed, "nothing was done").into()
}

async fn health(State(app): State<Arc<ClosedApp>>, _caller: Caller) -> Result<Response, Refusal> {
    if let Some(bytes) = app.health.fresh(false) {
        return Ok(json(bytes));
    }
    let shared = Arc::clone(&app);
    let bytes = blocking_json(&app.limits, "the health", move || {
        let size = shared.closed.diagnosis().examination.map_or(0, |examination| examination.readable);
        let reason = Some(shared.closed.reason.clone());
        report(&shared.machine, LedgerHealth { writable: false, size, reason })
    })
    .await?;
    app.health.keep(false, bytes.clone());
    Ok(json(bytes))
}

async fn diagnosis(State(app): State<Arc<ClosedApp>>, _caller: Caller) -> Result<Response, Refusal> {
    let shared = Arc::clone(&app);
    Ok(json(blocking_json(&app.limits, "the diagnosis", move || Ok(shared.closed.diagnosis())).await?))
}

async fn page(
    State(app): State<Arc<ClosedApp>>,
    _caller: Caller,
    RawQuery(query): RawQuery,
) -> Result<Response, Refusal> {
    let filter = events::filter(query.as_deref())?;
    let evidence = readable(&app.closed)?;
    let bytes = blocking_json(&app.limits, "reading the ledger", move || {
        evidence.page(&filter).map_err(|error| ledger_problem(&error))
    })
    .await?;
    Ok(json(bytes))
}

/// The ledger as far as it is whole, if that is known and is more than nothing.
fn readable(closed: &Closed) -> Result<Arc<Evidence>, Problem> {
    if closed.diagnosis().state == LedgerState::Waiting {
        return Err(refused(closed, "no event can be read before the ledger is open"));
    }
    match closed.evidence() {
        Some(evidence) if evidence.readable() > 0 => Ok(evidence),
        Some(_) => Err(refused(closed, "no event in it is known to be as it was recorded")),
        None => Err(refused(closed, "no event is shown before all of it was examined")),
    }
}
