//! `POST /system/query`: one question, checked, recorded, answered.

use std::sync::Arc;

use agentos_api::query::QueryRequest;
use agentos_api::{Code, Problem};
use axum::extract::State;
use axum::response::Response;
use serde::Serialize;
use serde_json::{Map, Value};

use super::json;
use crate::app::App;
use crate::body::JsonBody;
use crate::caller::Caller;
use crate::problem::{Refusal, query_problem};

/// What the ledger keeps of a query: the question. The answer is not kept: it may hold anything.
#[derive(Serialize)]
struct Asked<'a> {
    query: &'a str,
    args: &'a Map<String, Value>,
}

pub(crate) async fn answer(
    State(app): State<Arc<App>>,
    caller: Caller,
    JsonBody(request): JsonBody<QueryRequest>,
) -> Result<Response, Refusal> {
    let args = serde_json::to_vec(&request.args).map_err(|error| {
        Problem::new(Code::INTERNAL, format!("the arguments cannot be written as JSON: {error}"))
    })?;
    // A question that cannot be asked reads nothing, so it is refused before it is recorded.
    app.machine.check(&request.query, &args).map_err(|error| query_problem(&error))?;
    app.record(&caller, "system.query", &Asked { query: &request.query, args: &request.args }).await?;
    let viewer = caller.viewer();
    let name = request.query;
    let what = format!("the query {name}");
    let bytes = app
        .blocking(&what, move |app| {
            app.machine.query(&name, &args, viewer).map_err(|error| query_problem(&error))
        })
        .await?;
    Ok(json(bytes))
}
