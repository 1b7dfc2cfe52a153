//! `POST /shell/exec`: a command that observes is a question, and is treated as one in every respect.

use std::sync::Arc;

use agentos_api::shell::ExecRequest;
use axum::extract::State;
use axum::response::Response;

use super::query;
use crate::app::App;
use crate::body::JsonBody;
use crate::caller::Caller;
use crate::problem::Refusal;

pub(crate) async fn execute(
    State(app): State<Arc<App>>,
    caller: Caller,
    JsonBody(request): JsonBody<ExecRequest>,
) -> Result<Response, Refusal> {
    query::ask(&app, caller, request.into_query()).await
}
