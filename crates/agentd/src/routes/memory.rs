//! `/memory/*`: what is remembered, on the record like everything else.
//!
//! The ledger keeps that something was stored or looked for, and by whom. Of what is stored it keeps a hash and a size, no
//! copy: the ledger never forgets, and a person must be able to have a memory forgotten.

use std::sync::Arc;

use agentos_api::memory::{IngestRequest, RecallRequest, StoreRequest};
use agentos_api::{Code, Problem};
use agentos_ledger::to_hex;
use agentos_memory::Memory;
use axum::extract::State;
use axum::response::Response;
use ring::digest::{SHA256, digest};
use serde::Serialize;

use super::json;
use crate::app::App;
use crate::body::JsonBody;
use crate::caller::Caller;
use crate::problem::{Refusal, memory_problem};

/// What the ledger keeps of something stored.
#[derive(Serialize)]
struct Stored<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    category: Option<&'a str>,
    /// Of the request as JSON, its fields in the order of the API's types.
    sha256: String,
    bytes: usize,
}

impl<'a> Stored<'a> {
    fn of(request: &impl Serialize, category: Option<&'a str>) -> Result<Self, Problem> {
        let bytes = serde_json::to_vec(request).map_err(|error| {
            Problem::new(Code::INTERNAL, format!("the request cannot be written as JSON: {error}"))
        })?;
        let mut hash = [0; 32];
        hash.copy_from_slice(digest(&SHA256, &bytes).as_ref());
        Ok(Self { category, sha256: to_hex(&hash), bytes: bytes.len() })
    }
}

pub(crate) async fn store(
    State(app): State<Arc<App>>,
    caller: Caller,
    JsonBody(request): JsonBody<StoreRequest>,
) -> Result<Response, Refusal> {
    Memory::check_store(&request).map_err(|error| memory_problem(&error))?;
    app.record(&caller, "memory.store", &Stored::of(&request, Some(&request.category))?).await?;
    let bytes = app
        .blocking_json("storing", move |app| {
            app.memory.store(&request).map_err(|error| memory_problem(&error))
        })
        .await?;
    Ok(json(bytes))
}

pub(crate) async fn ingest(
    State(app): State<Arc<App>>,
    caller: Caller,
    JsonBody(request): JsonBody<IngestRequest>,
) -> Result<Response, Refusal> {
    Memory::check_ingest(&request).map_err(|error| memory_problem(&error))?;
    app.record(&caller, "memory.ingest", &Stored::of(&request, None)?).await?;
    let bytes = app
        .blocking_json("storing", move |app| {
            app.memory.ingest(&request).map_err(|error| memory_problem(&error))
        })
        .await?;
    Ok(json(bytes))
}

pub(crate) async fn recall(
    State(app): State<Arc<App>>,
    caller: Caller,
    JsonBody(request): JsonBody<RecallRequest>,
) -> Result<Response, Refusal> {
    app.memory.check_recall(&request).map_err(|error| memory_problem(&error))?;
    app.record(&caller, "memory.recall", &request).await?;
    let bytes = app
        .blocking_json("recalling", move |app| {
            app.memory.recall(&request).map_err(|error| memory_problem(&error))
        })
        .await?;
    Ok(json(bytes))
}

pub(crate) async fn health(State(app): State<Arc<App>>, _caller: Caller) -> Result<Response, Refusal> {
    Ok(json(app.blocking_json("the memory's health", |app| Ok(app.memory.health())).await?))
}
