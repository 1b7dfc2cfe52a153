//! `POST /system/query`: one question, checked, judged, agreed to where a rule asks, recorded, answered.

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
use crate::judge::{Judge, Stand};
use crate::problem::{Refusal, query_problem};

/// What a file is called may change between two looks at it. So often people are asked about it anew.
const MOST_LOOKS: usize = 4;

/// What the ledger keeps of a query: the question, and by whose yes it is answered. The answer is not kept: it may hold
/// anything.
#[derive(Serialize)]
struct Asked<'a> {
    query: &'a str,
    args: &'a Map<String, Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    approval: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    grant: Option<u64>,
}

pub(crate) async fn answer(
    State(app): State<Arc<App>>,
    caller: Caller,
    JsonBody(request): JsonBody<QueryRequest>,
) -> Result<Response, Refusal> {
    ask(&app, caller, request).await
}

/// Answers a question, by whatever route it came.
pub(super) async fn ask(app: &Arc<App>, caller: Caller, request: QueryRequest) -> Result<Response, Refusal> {
    app.spend(&caller, Spend::Call).await?;
    let args = serde_json::to_vec(&request.args).map_err(|error| {
        Problem::new(Code::INTERNAL, format!("the arguments cannot be written as JSON: {error}"))
    })?;
    // A question that cannot be asked reads nothing, so it is refused before it is recorded.
    app.machine.check(&request.query, &args).map_err(|error| query_problem(&error))?;
    let judge = Judge::new(app.policy.now(), &caller, &request);
    if starts_programs(&request.query) {
        app.spend(&caller, Spend::Programs { started: 0 }).await?;
    }
    for _ in 0..MOST_LOOKS {
        may_go_on(app, &caller, &judge).await?;
        let (approval, grant) = judge.by();
        let event = Asked { query: &request.query, args: &request.args, approval, grant };
        app.record(&caller, "system.query", &event).await?;
        let viewer = caller.viewer(judge.for_files());
        let (name, args) = (request.query.clone(), args.clone());
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
        if judge.stand() != Stand::Open {
            continue;
        }
        let (bytes, masked) = answered?;
        let mut response = json(bytes);
        if masked > 0 {
            response.headers_mut().insert(HeaderName::from_static(MASKED_HEADER), HeaderValue::from(masked));
        }
        return Ok(response);
    }
    Err(Problem::new(
        Code::BUSY,
        "what this names is another file each time it is looked at; it was not read",
    )
    .into())
}

/// Refuses a question that the policy keeps, and one that it asks about to which nobody agreed.
async fn may_go_on(app: &Arc<App>, caller: &Caller, judge: &Arc<Judge>) -> Result<(), Problem> {
    match judge.stand() {
        Stand::Open => Ok(()),
        Stand::Asked => app.agree(caller, judge).await,
        Stand::Kept => {
            let Some((problem, event)) = judge.refusal() else { return Ok(()) };
            app.record(caller, "policy.denied", &event).await?;
            Err(problem)
        }
    }
}
