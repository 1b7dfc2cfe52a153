//! `POST /system/query`: one question, checked, judged, recorded, answered.

use std::sync::Arc;

use agentos_api::query::QueryRequest;
use agentos_api::{Code, MASKED_HEADER, Problem};
use agentos_policy::Spend;
use agentos_system::{counting_programs, starts_programs};
use axum::extract::State;
use axum::http::{HeaderName, HeaderValue};
use axum::response::Response;
use serde::Serialize;
use serde_json::{Map, Value};

use super::json;
use crate::app::App;
use crate::body::JsonBody;
use crate::caller::Caller;
use crate::judge::Judge;
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
    app.spend(&caller, Spend::Call).await?;
    let args = serde_json::to_vec(&request.args).map_err(|error| {
        Problem::new(Code::INTERNAL, format!("the arguments cannot be written as JSON: {error}"))
    })?;
    // A question that cannot be asked reads nothing, so it is refused before it is recorded.
    app.machine.check(&request.query, &args).map_err(|error| query_problem(&error))?;
    let judge = Judge::new(app.policy.now(), &caller, &request);
    if let Some((problem, event)) = judge.refusal() {
        app.record(&caller, "policy.denied", &event).await?;
        return Err(problem.into());
    }
    if starts_programs(&request.query) {
        app.spend(&caller, Spend::Programs { started: 0 }).await?;
    }
    app.record(&caller, "system.query", &Asked { query: &request.query, args: &request.args }).await?;
    let viewer = caller.viewer(judge.clone());
    let name = request.query;
    let what = format!("the query {name}");
    let (shown, asking) = (Arc::clone(&judge), caller.clone());
    let answered = app
        .blocking(&what, move |app| {
            let (answer, started) = counting_programs(|| app.machine.query(&name, &args, viewer));
            app.count_programs(&asking, started);
            Ok(shown.shown(answer.map_err(|error| query_problem(&error))?))
        })
        .await;
    // What a file is turns out when it is found; then the policy may say otherwise than by the words of the question.
    if let Some((problem, event)) = judge.refusal() {
        app.record(&caller, "policy.denied", &event).await?;
        return Err(problem.into());
    }
    let (bytes, masked) = answered?;
    let mut response = json(bytes);
    if masked > 0 {
        response.headers_mut().insert(HeaderName::from_static(MASKED_HEADER), HeaderValue::from(masked));
    }
    Ok(response)
}
