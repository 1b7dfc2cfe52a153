//! `POST /approvals/{id}/chat`: what a person typed in the chat, as the gateway says. Off unless the owner of the machine
//! switches it on.

use std::sync::Arc;

use agentos_api::change::{Change, ChatDecideRequest, ChatDecided, DecideRequest, Decision};
use agentos_api::event::Actor;
use agentos_api::question::Question;
use agentos_api::{Code, Problem};
use agentos_changes::{Asked, ChangesError, Conflict};
use agentos_policy::Spend;
use axum::extract::{Path, State};
use axum::response::Response;
use serde_json::json;

use super::change::number;
use super::json;
use crate::app::App;
use crate::body::JsonBody;
use crate::caller::Caller;
use crate::chat::{Waiting, Wrong};
use crate::principal::Role;
use crate::problem::{Refusal, changes_problem};

/// Longest name of a chat, and of somebody in it, in bytes.
const LONGEST: (usize, usize) = (64, 128);

/// What waits under a number.
enum Thing {
    Change(Box<Change>),
    Question(Box<Question>),
}

impl Thing {
    fn waiting(&self) -> Waiting<'_> {
        match self {
            Self::Change(change) => Waiting::Change(change),
            Self::Question(question) => Waiting::Question(question),
        }
    }
}

pub(crate) async fn decide(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path(id): Path<String>,
    JsonBody(request): JsonBody<ChatDecideRequest>,
) -> Result<Response, Refusal> {
    let id = number(&id)?;
    let by = person(&caller, &request)?;
    app.spend(&caller, Spend::Call).await?;
    if caller.role != Role::Agent {
        return Err(Problem::new(Code::FORBIDDEN, "this is for what comes through the chat")
            .with_hint("On this socket the person decides with: agentctl approvals")
            .into());
    }
    if !app.chat.is_on() {
        return Err(refuse(
            &app,
            &caller,
            (id, &request),
            "a yes through the chat is switched off on this machine",
        )
        .await);
    }
    let thing = find(&app, id).await?;
    if let Some(why) = thing.waiting().kept_from_chats() {
        return Err(refuse(&app, &caller, (id, &request), why).await);
    }
    if request.decision == Decision::Approve {
        match app.chat.check(thing.waiting(), request.code.as_deref().unwrap_or_default()) {
            Ok(()) => {}
            Err(Wrong::Code { left }) => {
                let why =
                    format!("this is not the code that the person was sent for it; {left} more can be tried");
                return Err(refuse(&app, &caller, (id, &request), &why).await);
            }
            Err(Wrong::Locked) => {
                let why = "too many codes for it were wrong, so only the operator's socket takes a yes to it";
                return Err(refuse(&app, &caller, (id, &request), why).await);
            }
        }
    }
    // For what the code is for: what was planned anew meanwhile has another.
    let decision = DecideRequest {
        decision: request.decision,
        plan_hash: Some(thing.waiting().hash().to_owned()),
        reason: request.reason,
        for_seconds: None,
    };
    let asked = Asked { actor: by, operator: false };
    let decided = match thing {
        Thing::Change(_) => {
            let result = app.change(&caller, move |changes| match changes.decide(id, &asked, &decision) {
                Err(ChangesError::Conflict(moved @ Conflict::PlanMoved { .. })) => {
                    Ok(Err((moved, changes.get(id)?)))
                }
                other => other.map(Ok),
            });
            match result.await? {
                Ok(change) => of_change(&change),
                Err((moved, anew)) => {
                    // Another plan has another code, which the person does not have yet.
                    app.notifier.something_waits(Waiting::Change(&anew), &app.chat);
                    return Err(changes_problem(&moved.into()).into());
                }
            }
        }
        Thing::Question(_) => {
            let question =
                app.change(&caller, move |changes| changes.decide_question(id, &asked, &decision)).await?;
            of_question(&question)
        }
    };
    let bytes =
        serde_json::to_vec(&decided).map_err(|error| Problem::new(Code::INTERNAL, error.to_string()))?;
    Ok(json(bytes))
}

async fn find(app: &Arc<App>, id: u64) -> Result<Thing, Problem> {
    app.blocking("reading what waits", move |app| {
        let missing = match app.changes.get(id) {
            Ok(change) => return Ok(Thing::Change(Box::new(change))),
            Err(error @ ChangesError::NotFound(_)) => error,
            Err(error) => return Err(changes_problem(&error)),
        };
        match app.changes.question(id) {
            Ok(question) => Ok(Thing::Question(Box::new(question))),
            Err(ChangesError::NotFound(_)) => Err(changes_problem(&missing)),
            Err(error) => Err(changes_problem(&error)),
        }
    })
    .await
}

/// Whoever typed it, as the ledger names them: `chat:openclaw/telegram:4711`. The gateway of that user says so.
fn person(caller: &Caller, request: &ChatDecideRequest) -> Result<Actor, Problem> {
    for (field, text, longest) in
        [("channel", &request.channel, LONGEST.0), ("sender", &request.sender, LONGEST.1)]
    {
        if text.is_empty() || text.len() > longest {
            let detail = format!("must be 1 to {longest} bytes");
            return Err(Problem::new(Code::INVALID_ARGUMENT, detail).with_field(field));
        }
    }
    let user = caller.actor.as_str().split('/').next().unwrap_or_default();
    let user = user.split_once(':').map_or(user, |(_, user)| user);
    let plain = |text: &str, most: usize| -> String {
        let admitted = |character: char| character.is_ascii_alphanumeric() || "._@+-".contains(character);
        text.chars().map(|character| if admitted(character) { character } else { '-' }).take(most).collect()
    };
    let name = format!("chat:{user}/{}:{}", plain(&request.channel, 24), plain(&request.sender, 48));
    Actor::new(name).map_err(|error| Problem::new(Code::INTERNAL, error.to_string()))
}

/// Refuses, and records who tried what.
async fn refuse(app: &App, caller: &Caller, (id, request): (u64, &ChatDecideRequest), why: &str) -> Refusal {
    let event = json!({
        "change": id,
        "chat": {"channel": request.channel, "sender": request.sender, "decision": request.decision},
        "why": why,
    });
    if let Err(problem) = app.record(caller, "approval.refused", &event).await {
        return problem.into();
    }
    Problem::new(Code::FORBIDDEN, why)
        .with_hint(format!("The person decides with: agentctl approvals show {id}"))
        .into()
}

fn of_change(change: &Change) -> ChatDecided {
    let outcome = change.outcome.as_ref().map(|outcome| format!(": {outcome}")).unwrap_or_default();
    ChatDecided {
        id: change.id,
        status: change.status.as_str().to_owned(),
        text: format!("Change {} is {}{outcome}.", change.id, change.status.as_str()),
    }
}

fn of_question(question: &Question) -> ChatDecided {
    let next = match question.status {
        agentos_api::question::Standing::Approved => " Tell the agent to ask again: it is answered once.",
        _ => "",
    };
    ChatDecided {
        id: question.id,
        status: question.status.as_str().to_owned(),
        text: format!("Question {} is {}.{next}", question.id, question.status.as_str()),
    }
}
