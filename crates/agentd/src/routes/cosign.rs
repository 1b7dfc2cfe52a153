//! `/ledger/consistency`, `/ledger/cosignatures`: what a witness asks for, and what it brings back.

use std::sync::{Arc, PoisonError};

use agentos_api::ledger::{ConsistencyFilter, CosignRequest, CosignResponse};
use agentos_api::{Code, Problem, parse};
use agentos_ledger::{LedgerError, MAX_NOTE_BYTES, NoteError, digest_from_base64};
use axum::extract::{RawQuery, State};
use axum::response::Response;
use serde_json::json;

use super::json;
use crate::app::App;
use crate::body::JsonBody;
use crate::caller::Caller;
use crate::principal::Role;
use crate::problem::{Refusal, ledger_problem, parse_problem, with_causes};

pub(crate) async fn consistency(
    State(app): State<Arc<App>>,
    _caller: Caller,
    RawQuery(query): RawQuery,
) -> Result<Response, Refusal> {
    let filter: ConsistencyFilter =
        parse::url_query(query.as_deref().unwrap_or_default()).map_err(|error| parse_problem(error, ""))?;
    let bytes = app
        .blocking_json("the proof", move |app| {
            app.ledger.consistency_proof(filter.from, filter.to).map_err(|error| size_problem(&error))
        })
        .await?;
    Ok(json(bytes))
}

fn size_problem(error: &LedgerError) -> Problem {
    match error {
        LedgerError::NoSuchSize { .. } => Problem::new(Code::INVALID_ARGUMENT, with_causes(error))
            .with_field("from")
            .with_hint("GET /ledger/checkpoint says how many events there are"),
        other => ledger_problem(other),
    }
}

/// Keeps what a witness cosigned. It is checked first, recorded second and kept third; what is no news is none of these,
/// so that a witness does not make the ledger grow by looking at it.
pub(crate) async fn keep(
    State(app): State<Arc<App>>,
    caller: Caller,
    JsonBody(request): JsonBody<CosignRequest>,
) -> Result<Response, Refusal> {
    if caller.role != Role::Operator {
        app.record(&caller, "ledger.cosigning_refused", &json!({})).await?;
        return Err(Refusal(
            Problem::new(Code::FORBIDDEN, "cosignatures are taken on the operator's socket only")
                .with_hint("run on the witness's machine: agentctl witness run"),
        ));
    }
    if request.note.len() > MAX_NOTE_BYTES {
        let problem =
            Problem::new(Code::TOO_LARGE, format!("a checkpoint has at most {MAX_NOTE_BYTES} bytes"));
        return Err(Refusal(problem.with_field("note")));
    }
    let _alone = app.cosigning.lock().await;
    let note = Arc::new(request.note);
    let checked = Arc::clone(&note);
    let (head, news) = app
        .blocking("the cosignature", move |app| {
            let cosigned = app.cosigned.lock().unwrap_or_else(PoisonError::into_inner);
            let (head, news) = cosigned.news(&checked).map_err(|error| note_problem(&error))?;
            drop(cosigned);
            let proof = app.ledger.consistency_proof(head.size, None).map_err(|error| match error {
                LedgerError::NoSuchSize { .. } => mismatch(head.size),
                other => ledger_problem(&other),
            })?;
            if digest_from_base64(&proof.old_root) == Some(head.root) {
                Ok((head, news))
            } else {
                Err(mismatch(head.size))
            }
        })
        .await?;
    let size = head.size;
    for cosignature in &news {
        app.record(
            &caller,
            "ledger.cosigned",
            &json!({ "witness": cosignature.witness.name(), "size": size }),
        )
        .await?;
    }
    let recorded: Vec<String> =
        news.iter().map(|cosignature| cosignature.witness.name().to_owned()).collect();
    if !news.is_empty() {
        app.blocking("keeping the cosignature", move |app| {
            let mut cosigned = app.cosigned.lock().unwrap_or_else(PoisonError::into_inner);
            cosigned.keep(&head, &note, &news).map_err(|error| ledger_problem(&error))
        })
        .await?;
    }
    let bytes = serde_json::to_vec(&CosignResponse { size, recorded })
        .map_err(|error| Problem::new(Code::INTERNAL, error.to_string()))?;
    Ok(json(bytes))
}

fn note_problem(error: &NoteError) -> Problem {
    Problem::new(Code::INVALID_ARGUMENT, error.to_string()).with_field("note").with_hint(
        "the witness's key must be in agentd.toml, [ledger] witnesses; it is in force after: systemctl restart agentd",
    )
}

/// The ledger's own key signed something that the ledger does not hold: it was rolled back or rewritten.
fn mismatch(size: u64) -> Problem {
    tracing::error!(size, "a witness cosigned a checkpoint that this ledger signed and does not hold");
    Problem::new(
        Code::CHECKPOINT_MISMATCH,
        format!(
            "this ledger signed a checkpoint of {size} events that it does not hold: it is not what it was"
        ),
    )
    .with_hint(
        "keep the state directory and the witness's as evidence, and run: agentctl verify-ledger --full",
    )
}
