//! `POST /grants`: a person lifts a quota for a while.

use std::sync::Arc;

use agentos_api::change::{GrantList, LiftRequest};
use agentos_api::{Code, Problem};
use agentos_policy::Quota;
use axum::extract::State;
use axum::response::Response;

use super::change::{asked, only_operator};
use super::json;
use crate::app::App;
use crate::body::JsonBody;
use crate::caller::Caller;
use crate::judge::now;
use crate::problem::Refusal;

pub(crate) async fn lift(
    State(app): State<Arc<App>>,
    caller: Caller,
    JsonBody(request): JsonBody<LiftRequest>,
) -> Result<Response, Refusal> {
    only_operator(&app, &caller, "approval.refused", 0).await?;
    let known = Quota::EACH.map(Quota::as_str).join(", ");
    let which = Quota::named(&request.quota).ok_or_else(|| {
        Problem::new(Code::INVALID_ARGUMENT, format!("there is no quota of that name; there are: {known}"))
            .with_field("quota")
    })?;
    if app.policy.now().policy.quota(&request.to, which).is_none() {
        let detail = format!("the policy has no quota {which} of that principal");
        return Err(Problem::new(Code::INVALID_ARGUMENT, detail)
            .with_field("to")
            .with_hint("name it as the policy does: agent for [quota.agent]")
            .into());
    }
    let (asked, seconds) = (asked(&caller), request.for_seconds.get());
    let to = request.to.clone();
    let grants = app
        .change(&caller, move |changes| {
            changes.lift(&asked, &to, which.as_str(), seconds)?;
            changes.grants()
        })
        .await?;
    // Recorded before it is in force, like anything else.
    app.policy.quotas().lift(&request.to, which, now().seconds.saturating_add(seconds));
    let bytes = serde_json::to_vec(&GrantList { grants })
        .map_err(|error| Problem::new(Code::INTERNAL, error.to_string()))?;
    Ok(json(bytes))
}
