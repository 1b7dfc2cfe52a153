//! `/events/log`, `/events/{id}/proof`, `/ledger/*`: reading the ledger, which is not itself an event.

use std::sync::Arc;

use agentos_api::event::EventFilter;
use agentos_api::{Code, Problem, parse};
use axum::extract::{Path, RawQuery, State};
use axum::response::Response;

use super::json;
use crate::app::App;
use crate::caller::Caller;
use crate::problem::{Refusal, append_problem, ledger_problem, parse_problem};

/// The filter in the URL.
pub(super) fn filter(query: Option<&str>) -> Result<EventFilter, Problem> {
    parse::url_query(query.unwrap_or_default()).map_err(|error| parse_problem(error, ""))
}

pub(crate) async fn page(
    State(app): State<Arc<App>>,
    _caller: Caller,
    RawQuery(query): RawQuery,
) -> Result<Response, Refusal> {
    let filter = filter(query.as_deref())?;
    let bytes = app
        .blocking_json("reading the ledger", move |app| {
            app.ledger.page(&filter).map_err(|error| ledger_problem(&error))
        })
        .await?;
    Ok(json(bytes))
}

pub(crate) async fn proof(
    State(app): State<Arc<App>>,
    _caller: Caller,
    Path(id): Path<String>,
) -> Result<Response, Refusal> {
    let id: u64 = id.parse().ok().filter(|id| *id > 0).ok_or_else(|| {
        Problem::new(Code::INVALID_ARGUMENT, "the id of an event is a whole number from 1").with_field("id")
    })?;
    let bytes = app
        .blocking_json("the proof", move |app| {
            app.ledger.inclusion_proof(id, None).map_err(|error| ledger_problem(&error))?.ok_or_else(|| {
                Problem::new(Code::NOT_FOUND, format!("there is no event {id}"))
                    .with_hint("GET /ledger/checkpoint says how many there are")
            })
        })
        .await?;
    Ok(json(bytes))
}

pub(crate) async fn checkpoint(State(app): State<Arc<App>>, _caller: Caller) -> Result<Response, Refusal> {
    let bytes = app
        .blocking_json("the checkpoint", |app| {
            app.ledger.checkpoint_blocking().map_err(|error| append_problem(&error))
        })
        .await?;
    Ok(json(bytes))
}

pub(crate) async fn diagnosis(State(app): State<Arc<App>>, _caller: Caller) -> Result<Response, Refusal> {
    let bytes =
        app.blocking_json("the diagnosis", |app| Ok(app.advice.of_open(&app.ledger.status()))).await?;
    Ok(json(bytes))
}
