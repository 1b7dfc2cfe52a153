//! `POST /shell/exec`: a command that observes is a question, one that is previewed or applied is a change, and each is treated as
//! one in every respect.

use std::sync::Arc;

use agentos_api::shell::{Exec, ExecRequest};
use agentos_api::{Code, Problem};
use axum::extract::State;
use axum::response::Response;

use super::{change, query};
use crate::app::App;
use crate::body::JsonBody;
use crate::caller::Caller;
use crate::problem::Refusal;

pub(crate) async fn execute(
    State(app): State<Arc<App>>,
    caller: Caller,
    JsonBody(request): JsonBody<ExecRequest>,
) -> Result<Response, Refusal> {
    match request.into_exec() {
        Ok(Exec::Ask(question)) => query::ask(&app, caller, question).await,
        Ok(Exec::Change(request)) => change::ask(&app, &caller, request).await,
        Err(field) => Err(Problem::new(
            Code::INVALID_ARGUMENT,
            format!("{field} belongs to the modes preview and apply; a command that observes changes nothing anyway"),
        )
        .with_field(field)
        .into()),
    }
}
