//! Every route of the API, in one table. A handler parses, records, calls one library function, maps its error.

mod change;
mod chat;
pub(crate) mod closed;
mod cosign;
pub(crate) mod documents;
mod events;
pub(crate) mod health;
mod memory;
mod query;
mod quota;
mod shell;
mod stream;

use std::sync::Arc;

use agentos_api::problem::near_matches;
use agentos_api::{Code, Problem};
use axum::Router;
use axum::http::{Method, Uri, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use bytes::Bytes;

use crate::app::App;
use crate::problem::Refusal;

const PATHS: [&str; 19] = [
    "/approvals",
    "/catalog",
    "/changes",
    "/events/log",
    "/events/stream",
    "/grants",
    "/health",
    "/ledger/checkpoint",
    "/ledger/consistency",
    "/ledger/cosignatures",
    "/ledger/diagnosis",
    "/memory/health",
    "/memory/ingest",
    "/memory/recall",
    "/memory/store",
    "/openapi.json",
    "/shell/exec",
    "/system/mutate",
    "/system/query",
];

/// The API.
pub(crate) fn router(app: Arc<App>) -> Router {
    Router::new()
        .route("/health", get(health::show))
        .route("/catalog", get(documents::catalog))
        .route("/openapi.json", get(documents::openapi))
        .route("/system/query", post(query::answer))
        .route("/shell/exec", post(shell::execute))
        .route("/system/mutate", post(change::mutate))
        .route("/changes", get(change::page))
        .route("/changes/{id}", get(change::show))
        .route("/changes/{id}/output", get(change::output))
        .route("/changes/{id}/undo", post(change::undo))
        .route("/changes/{id}/confirm", post(change::confirm))
        .route("/approvals", get(change::waiting))
        .route("/approvals/{id}", post(change::decide))
        .route("/approvals/{id}/chat", post(chat::decide))
        .route("/questions/{id}", get(change::question).post(change::decide_question))
        .route("/grants", get(change::grants).post(quota::lift))
        .route("/grants/{id}/revoke", post(change::revoke))
        .route("/events/log", get(events::page))
        .route("/events/stream", get(stream::follow))
        .route("/events/{id}/proof", get(events::proof))
        .route("/ledger/checkpoint", get(events::checkpoint))
        .route("/ledger/consistency", get(cosign::consistency))
        .route("/ledger/cosignatures", post(cosign::keep))
        .route("/ledger/diagnosis", get(events::diagnosis))
        .route("/memory/store", post(memory::store))
        .route("/memory/ingest", post(memory::ingest))
        .route("/memory/recall", post(memory::recall))
        .route("/memory/health", get(memory::health))
        .fallback(unknown_route)
        .method_not_allowed_fallback(wrong_method)
        .with_state(app)
}

/// JSON that is bytes already.
pub(crate) fn json(bytes: impl Into<Bytes>) -> Response {
    ([(header::CONTENT_TYPE, "application/json")], bytes.into()).into_response()
}

async fn unknown_route(uri: Uri) -> Refusal {
    let path: String = uri.path().chars().take(128).collect();
    let near = near_matches(&path, PATHS);
    Refusal(
        Problem::new(Code::UNKNOWN_ROUTE, format!("there is no route {path}"))
            .with_near(near)
            .with_hint("GET /openapi.json describes all routes"),
    )
}

async fn wrong_method(method: Method, uri: Uri) -> Refusal {
    Refusal(
        Problem::new(Code::METHOD_NOT_ALLOWED, format!("{} does not take {method}", uri.path()))
            .with_hint("GET /openapi.json describes all routes"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_paths_offered_as_near_are_the_documented_ones() {
        let document = agentos_api::openapi::document();
        let documented: Vec<&str> = document["paths"]
            .as_object()
            .unwrap()
            .keys()
            .map(String::as_str)
            .filter(|path| !path.contains('{'))
            .collect();
        assert_eq!(documented, PATHS);
    }
}
