//! `/system/mutate`, `/changes`, `/approvals`, `/questions`, `/grants`: what changes the machine, and who says yes.

use std::ops::Range;
use std::sync::Arc;

use agentos_api::change::{
    ChangeFilter, ChangePage, ConfirmRequest, DecideRequest, GrantList, MutateRequest, OutputFilter, Status,
    UndoRequest,
};
use agentos_api::question::ApprovalList;
use agentos_api::{Bounded, Code, Problem, parse};
use agentos_changes::{Asked, Changes, ChangesError, Outcome, content_bytes};
use agentos_policy::{Quota, Spend, mask};
use agentos_system::change::Mask;
use agentos_system::{Moment, counting_programs, starts_programs};
use axum::extract::{Path, RawQuery, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::json;

use super::json;
use crate::app::App;
use crate::body::JsonBody;
use crate::caller::Caller;
use crate::changes::{Steps, shown};
use crate::chat::Waiting;
use crate::config::Confirm;
use crate::principal::Role;
use crate::problem::{Refusal, changes_problem, parse_problem};

pub(crate) async fn mutate(
    State(app): State<Arc<App>>,
    caller: Caller,
    JsonBody(request): JsonBody<MutateRequest>,
) -> Result<Response, Refusal> {
    ask(&app, &caller, request).await
}

/// Plans what is asked for, and makes it or has it wait.
pub(super) async fn ask(
    app: &Arc<App>,
    caller: &Caller,
    request: MutateRequest,
) -> Result<Response, Refusal> {
    let steps = app.changes.check(&request).map_err(|error| changes_problem(&error))?;
    app.spend(caller, spend(request.dry_run, content_bytes(&steps))).await?;
    if steps.iter().any(|step| starts_programs(&step.mutation)) {
        app.spend(caller, Spend::Programs { started: 0 }).await?;
    }
    let judge = Steps::new(app, caller);
    let asked = asked(caller);
    let outcome = app.change(caller, move |changes| changes.mutate(&asked, &request, &judge)).await?;
    Ok(answer(app, caller, outcome))
}

pub(crate) async fn undo(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path(id): Path<String>,
    JsonBody(request): JsonBody<UndoRequest>,
) -> Result<Response, Refusal> {
    let id = number(&id)?;
    app.spend(&caller, spend(request.dry_run, 0)).await?;
    let judge = Steps::new(&app, &caller);
    let asked = asked(&caller);
    let outcome = app.change(&caller, move |changes| changes.undo(id, &asked, &request, &judge)).await?;
    Ok(answer(&app, &caller, outcome))
}

pub(crate) async fn page(
    State(app): State<Arc<App>>,
    caller: Caller,
    RawQuery(query): RawQuery,
) -> Result<Response, Refusal> {
    let filter: ChangeFilter =
        parse::url_query(query.as_deref().unwrap_or_default()).map_err(|error| parse_problem(error, ""))?;
    list(&app, &caller, filter).await
}

pub(crate) async fn waiting(State(app): State<Arc<App>>, caller: Caller) -> Result<Response, Refusal> {
    let limit = Bounded::new(200).unwrap_or_default();
    let filter = ChangeFilter { status: Some(Status::Waiting), limit, ..ChangeFilter::default() };
    let list = app
        .blocking("reading what waits", move |app| {
            let problem = |error| changes_problem(&error);
            let ChangePage { changes, next } = app.changes.page(&filter).map_err(problem)?;
            let questions = app.changes.waiting_questions().map_err(problem)?;
            Ok(ApprovalList { changes, next, questions })
        })
        .await?;
    masked(&caller, &list)
}

pub(crate) async fn question(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<Response, Refusal> {
    let id = number(&id)?;
    let mut question = app
        .blocking("reading a question", move |app| {
            app.changes.question(id).map_err(|error| changes_problem(&error))
        })
        .await?;
    if caller.role == Role::Operator {
        question.chat_code = app.chat.code(Waiting::Question(&question));
    }
    masked(&caller, &question)
}

pub(crate) async fn decide_question(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path(id): Path<String>,
    JsonBody(request): JsonBody<DecideRequest>,
) -> Result<Response, Refusal> {
    let id = number(&id)?;
    only_operator(&app, &caller, "approval.refused", id).await?;
    let asked = asked(&caller);
    let question = app.change(&caller, move |changes| changes.decide_question(id, &asked, &request)).await?;
    masked(&caller, &question)
}

pub(crate) async fn show(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<Response, Refusal> {
    let id = number(&id)?;
    let change = app
        .blocking("reading a change", move |app| app.changes.get(id).map_err(|error| changes_problem(&error)))
        .await?;
    Ok(json(shown(change, &caller, &app)))
}

pub(crate) async fn output(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path(id): Path<String>,
    RawQuery(query): RawQuery,
) -> Result<Response, Refusal> {
    let id = number(&id)?;
    let filter: OutputFilter =
        parse::url_query(query.as_deref().unwrap_or_default()).map_err(|error| parse_problem(error, ""))?;
    let role = caller.role;
    let bytes = app
        .blocking_json("reading what a command wrote", move |app| {
            let masked = |text: &[u8], part: Range<usize>| {
                let secrets = mask::find(text);
                (!secrets.is_empty()).then(|| mask::replace(text, part, &secrets))
            };
            let mask: Option<Mask<'_>> = if role == Role::Operator { None } else { Some(&masked) };
            app.changes.output(id, &filter, mask).map_err(|error| changes_problem(&error))
        })
        .await?;
    Ok(json(bytes))
}

pub(crate) async fn decide(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path(id): Path<String>,
    JsonBody(request): JsonBody<DecideRequest>,
) -> Result<Response, Refusal> {
    let id = number(&id)?;
    only_operator(&app, &caller, "approval.refused", id).await?;
    let asked = asked(&caller);
    let change = app.change(&caller, move |changes| changes.decide(id, &asked, &request)).await?;
    Ok(json(shown(change, &caller, &app)))
}

pub(crate) async fn confirm(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path(id): Path<String>,
    JsonBody(ConfirmRequest {}): JsonBody<ConfirmRequest>,
) -> Result<Response, Refusal> {
    let id = number(&id)?;
    only_operator(&app, &caller, "approval.refused", id).await?;
    let (asked, connected) = (asked(&caller), caller.connected);
    let (machine, peer, confirm) = (Arc::clone(&app.machine), caller.peer.clone(), app.confirm);
    let login = move |moment: &Moment| match (confirm, &peer) {
        (Confirm::NewConnection, _) => Ok(None),
        (Confirm::NewLogin, Some(peer)) => machine.logged_in_after(peer, moment).map(Some),
        (Confirm::NewLogin, None) => Err("the process that asks cannot be seen from here".to_owned()),
    };
    let change = app.change(&caller, move |changes| changes.confirm(id, &asked, connected, &login)).await?;
    Ok(json(shown(change, &caller, &app)))
}

pub(crate) async fn grants(State(app): State<Arc<App>>, caller: Caller) -> Result<Response, Refusal> {
    only_operator(&app, &caller, "approval.refused", 0).await?;
    let bytes = app
        .blocking_json("reading grants", |app| {
            let grants = app.changes.grants().map_err(|error| changes_problem(&error))?;
            Ok(GrantList { grants })
        })
        .await?;
    Ok(json(bytes))
}

pub(crate) async fn revoke(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<Response, Refusal> {
    let id = number(&id)?;
    only_operator(&app, &caller, "approval.refused", id).await?;
    let asked = asked(&caller);
    let (revoked, grants) = app
        .change(&caller, move |changes| {
            let revoked = changes.revoke(&asked, id)?;
            Ok((revoked, changes.grants()?))
        })
        .await?;
    if let Some(which) = revoked.quota.as_deref().and_then(Quota::named) {
        app.policy.quotas().put_back(&revoked.to, which);
    }
    let bytes = serde_json::to_vec(&GrantList { grants })
        .map_err(|error| Problem::new(Code::INTERNAL, error.to_string()))?;
    Ok(json(bytes))
}

async fn list(app: &Arc<App>, caller: &Caller, filter: ChangeFilter) -> Result<Response, Refusal> {
    let page = app
        .blocking("reading changes", move |app| {
            app.changes.page(&filter).map_err(|error| changes_problem(&error))
        })
        .await?;
    masked(caller, &page)
}

/// An answer without the secrets in it, for the agent.
fn masked(caller: &Caller, answer: &impl Serialize) -> Result<Response, Refusal> {
    let bytes =
        serde_json::to_vec(answer).map_err(|error| Problem::new(Code::INTERNAL, error.to_string()))?;
    let bytes = match caller.role {
        Role::Operator => bytes,
        Role::Agent => agentos_policy::mask::json(bytes).0,
    };
    Ok(json(bytes))
}

fn answer(app: &App, caller: &Caller, outcome: Outcome) -> Response {
    match outcome {
        Outcome::Done(change) => json(shown(change, caller, app)),
        Outcome::Waits(change) => {
            app.notifier.something_waits(Waiting::Change(&change), &app.chat);
            (StatusCode::ACCEPTED, json(shown(change, caller, app))).into_response()
        }
    }
}

/// What a request uses up.
const fn spend(dry_run: bool, bytes: u64) -> Spend {
    if dry_run { Spend::Call } else { Spend::Change { bytes } }
}

pub(super) fn asked(caller: &Caller) -> Asked {
    Asked { actor: caller.actor.clone(), operator: caller.role == Role::Operator }
}

/// The number of a change in the path.
pub(super) fn number(text: &str) -> Result<u64, Problem> {
    text.parse().ok().filter(|number| (1..=i64::MAX as u64).contains(number)).ok_or_else(|| {
        Problem::new(Code::INVALID_ARGUMENT, "the number of a change is a whole number from 1")
            .with_field("id")
    })
}

/// Refuses the agent, and records that it tried.
pub(super) async fn only_operator(
    app: &Arc<App>,
    caller: &Caller,
    kind: &'static str,
    change: u64,
) -> Result<(), Problem> {
    if caller.role == Role::Operator {
        return Ok(());
    }
    app.record(caller, kind, &json!({ "change": change })).await?;
    Err(Problem::new(
        Code::FORBIDDEN,
        "only the person who operates this machine says yes or no, on the operator's socket",
    )
    .with_hint(
        "The person runs: agentctl approvals. No header, no other request and no other way does it for them.",
    ))
}

impl App {
    /// Does something with changes: to its end, also when the caller goes away.
    ///
    /// # Errors
    /// `busy`; `internal` if it panicked; otherwise what the work answers, as a problem.
    pub(crate) async fn change<T: Send + 'static>(
        self: &Arc<Self>,
        caller: &Caller,
        work: impl FnOnce(&Changes) -> Result<T, ChangesError> + Send + 'static,
    ) -> Result<T, Problem> {
        let places = match caller.role {
            Role::Agent => &self.changing,
            Role::Operator => &self.deciding,
        };
        let Ok(place) = Arc::clone(places).try_acquire_owned() else {
            return Err(Problem::new(Code::BUSY, "too many other changes are under way; nothing was done")
                .with_hint("ask again in a moment"));
        };
        let (app, caller) = (Arc::clone(self), caller.clone());
        let task = tokio::task::spawn_blocking(move || {
            let _place = place;
            let (result, started) = counting_programs(|| work(&app.changes));
            app.count_programs(&caller, started);
            result
        });
        match task.await {
            Ok(result) => result.map_err(|error| changes_problem(&error)),
            Err(error) => {
                tracing::error!(%error, "a change panicked");
                Err(Problem::new(
                    Code::INTERNAL,
                    "the change failed inside agentd; GET /changes says how far it came",
                )
                .with_hint("the journal has the reason: journalctl -u agentd"))
            }
        }
    }
}
