//! `GET /catalog` and `GET /openapi.json`: the same for the life of the process, so made once, when first asked for.

use std::sync::{Arc, OnceLock};

use axum::extract::State;
use axum::response::Response;
use bytes::Bytes;
use serde::Serialize;

use super::json;
use crate::app::App;
use crate::caller::Caller;
use crate::problem::Refusal;

/// The documents made so far.
#[derive(Debug, Default)]
pub(crate) struct Documents {
    catalog: OnceLock<Bytes>,
    openapi: OnceLock<Bytes>,
}

pub(crate) async fn catalog(State(app): State<Arc<App>>, _caller: Caller) -> Result<Response, Refusal> {
    serve(&app, |documents| &documents.catalog, agentos_api::catalog::catalog).await
}

pub(crate) async fn openapi(State(app): State<Arc<App>>, _caller: Caller) -> Result<Response, Refusal> {
    serve(&app, |documents| &documents.openapi, agentos_api::openapi::document).await
}

async fn serve<T: Serialize + Send + 'static>(
    app: &Arc<App>,
    slot: fn(&Documents) -> &OnceLock<Bytes>,
    make: fn() -> T,
) -> Result<Response, Refusal> {
    if let Some(bytes) = slot(&app.documents).get() {
        return Ok(json(bytes.clone()));
    }
    // Milliseconds of work: off the async threads.
    let bytes = app.blocking_json("the document", move |_| Ok(make())).await?;
    Ok(json(slot(&app.documents).get_or_init(|| bytes).clone()))
}
