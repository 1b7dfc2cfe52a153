//! Errors of the libraries, as the problems that callers get; the one place where each finds its code and status.

use std::error::Error;

use agentos_api::parse::ParseError;
use agentos_api::{Code, PROBLEM_MEDIA_TYPE, Problem};
use agentos_changes::{ChangesError, Conflict};
use agentos_ledger::{AppendError, DataError, LedgerError};
use agentos_memory::MemoryError;
use agentos_objects::ObjectError;
use agentos_system::QueryError;
use agentos_system::change::ChangeError;
use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};

/// A problem on its way out.
#[derive(Debug)]
pub(crate) struct Refusal(pub(crate) Problem);

impl From<Problem> for Refusal {
    fn from(problem: Problem) -> Self {
        Self(problem)
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.0.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let media_type = HeaderValue::from_static(PROBLEM_MEDIA_TYPE);
        let retry_after = self.0.retry_after;
        let mut response = (status, [(header::CONTENT_TYPE, media_type)], Json(self.0)).into_response();
        if let Some(seconds) = retry_after {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}

/// The message of an error and of what caused it, as one sentence. Only for causes that name no secret.
pub(crate) fn with_causes(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

/// A body or URL that does not parse. `prefix` is the path of what was parsed within the request.
pub(crate) fn parse_problem(error: ParseError, prefix: &str) -> Problem {
    match error {
        ParseError::Syntax { reason } => {
            Problem::new(Code::MALFORMED_REQUEST, format!("the body is not JSON: {reason}"))
        }
        ParseError::Data { field, reason } => {
            let field = match (prefix, field.as_str()) {
                ("", _) => field,
                (_, "") => prefix.to_owned(),
                _ => format!("{prefix}.{field}"),
            };
            let problem = Problem::new(Code::INVALID_ARGUMENT, reason);
            if field.is_empty() { problem } else { problem.with_field(field) }
        }
    }
}

/// A query that has no answer.
pub(crate) fn query_problem(error: &QueryError) -> Problem {
    let detail = with_causes(error);
    match error {
        QueryError::UnknownQuery { near, .. } => Problem::new(Code::UNKNOWN_QUERY, detail)
            .with_near(near.clone())
            .with_hint("GET /catalog lists the queries; so does: agentctl tools"),
        QueryError::NotFound { near, .. } => Problem::new(Code::NOT_FOUND, detail).with_near(near.clone()),
        QueryError::InvalidArgument { field, reason } => {
            let field = if field == "args" { field.clone() } else { format!("args.{field}") };
            Problem::new(Code::INVALID_ARGUMENT, reason.clone()).with_field(field)
        }
        QueryError::Unavailable { code, hint, .. } => {
            let problem = Problem::new(Code::known(code).unwrap_or(Code::UNAVAILABLE), detail);
            match hint {
                Some(hint) => problem.with_hint(hint.clone()),
                None => problem,
            }
        }
        QueryError::Denied { .. } => Problem::new(Code::POLICY_DENIED, detail),
        QueryError::Forbidden { .. } => Problem::new(Code::FORBIDDEN, detail),
        QueryError::TooLarge { .. } => Problem::new(Code::TOO_LARGE, detail)
            .with_hint("ask for a part of it: offset and length, or a filter"),
        QueryError::TimedOut { .. } => Problem::new(Code::TIMED_OUT, detail),
        QueryError::Io { .. } => Problem::new(Code::UNAVAILABLE, detail),
    }
}

/// A change that does not go on.
pub(crate) fn changes_problem(error: &ChangesError) -> Problem {
    let detail = with_causes(error);
    match error {
        ChangesError::Invalid { field, reason } => {
            Problem::new(Code::INVALID_ARGUMENT, reason.clone()).with_field(field.clone())
        }
        ChangesError::Planning(error) => change_problem(error),
        ChangesError::NotFound(_) => {
            Problem::new(Code::NOT_FOUND, detail).with_hint("GET /changes lists them; so does: agentctl changes")
        }
        ChangesError::Denied(_) => Problem::new(Code::POLICY_DENIED, detail)
            .with_hint("Asking again, or in another way, gives the same answer. Who operates the machine can change the rule."),
        ChangesError::Quota(_) => Problem::new(Code::QUOTA_REACHED, detail)
            .with_hint("The person decides what waits (agentctl approvals), or lifts the quota for a while. Asking again before that gives the same answer."),
        ChangesError::Conflict(conflict) => conflict_problem(conflict, detail),
        ChangesError::Failed { .. } => Problem::new(Code::CHANGE_FAILED, detail)
            .with_hint("GET /changes/{id} has all of it; plan it again when the cause is gone"),
        ChangesError::Busy(_) => Problem::new(Code::BUSY, detail).with_hint("GET /approvals says what waits"),
        ChangesError::Ledger(error) => append_problem(error),
        ChangesError::Reading(error) => ledger_problem(error),
        ChangesError::Data(error) => data_problem(error),
        ChangesError::Objects(error) => objects_problem(error),
        ChangesError::Book(_) | ChangesError::Kept { .. } => Problem::new(Code::CHANGES_UNAVAILABLE, detail)
            .with_hint("stop agentd, delete changes.db in its state directory, and start it: it is made anew"),
    }
}

fn conflict_problem(conflict: &Conflict, detail: String) -> Problem {
    match conflict {
        Conflict::Stands { .. } | Conflict::QuestionStands { .. } => {
            Problem::new(Code::CHANGE_STANDS, detail)
        }
        Conflict::PlanChanged { .. } => {
            Problem::new(Code::PLAN_CHANGED, detail).with_hint("look at it again, and send its hash")
        }
        Conflict::PlanMoved { .. } => Problem::new(Code::PLAN_MOVED, detail)
            .with_hint("look at the new plan, and decide on that: agentctl approvals"),
        Conflict::Dependents { .. } => Problem::new(Code::CHANGE_HAS_DEPENDENTS, detail)
            .with_hint("take those back first, or all together: with_dependents"),
        Conflict::NotFresh { login: None, .. } => {
            Problem::new(Code::NOT_FRESH, detail).with_hint("run the command again")
        }
        Conflict::NotFresh { login: Some(_), .. } => Problem::new(Code::NOT_FRESH, detail).with_hint(
            "Log in anew, as you would from outside (ssh, or at the console), and run it there: that is what shows that one \
             still can. changes.confirm = \"new_connection\" in agentd.toml asks for less.",
        ),
    }
}

fn objects_problem(error: &ObjectError) -> Problem {
    let detail = with_causes(error);
    match error {
        ObjectError::Missing(_) | ObjectError::Damaged(_) => Problem::new(Code::CONTENT_NOT_KEPT, detail)
            .with_hint("more is kept with changes.keep_bytes of agentd.toml; what is gone stays gone"),
        ObjectError::OverQuota { .. } | ObjectError::TooLarge { .. } => Problem::new(Code::TOO_LARGE, detail),
        _ => Problem::new(Code::CHANGES_UNAVAILABLE, detail)
            .with_hint("is the disk of agentd's state directory full?"),
    }
}

/// A step that cannot be planned or made.
fn change_problem(error: &ChangeError) -> Problem {
    let detail = with_causes(error);
    match error {
        ChangeError::UnknownMutation { near, .. } => Problem::new(Code::UNKNOWN_MUTATION, detail)
            .with_near(near.clone())
            .with_hint("GET /catalog lists the mutations; so does: agentctl tools"),
        ChangeError::Moved { .. } => Problem::new(Code::PLAN_MOVED, detail)
            .with_hint("plan it again: what is there now is another thing"),
        ChangeError::Refused { .. } => Problem::new(Code::CHANGE_REFUSED, detail),
        ChangeError::Failed { .. } => Problem::new(Code::CHANGE_FAILED, detail),
        ChangeError::Objects(error) => objects_problem(error),
        ChangeError::Reading(error) => query_problem(error),
    }
}

/// An event that could not be recorded: nothing was done.
pub(crate) fn append_problem(error: &AppendError) -> Problem {
    match error {
        AppendError::Busy => Problem::new(Code::BUSY, with_causes(error)).with_hint("ask again in a moment"),
        _ => Problem::new(Code::LEDGER_UNAVAILABLE, format!("{}; nothing was done", with_causes(error)))
            .with_hint("GET /health says when it can be written again; agentd tries by itself"),
    }
}

/// A request too large, or too odd, to stand in an event.
pub(crate) fn data_problem(error: &DataError) -> Problem {
    match error {
        DataError::TooLarge => Problem::new(Code::TOO_LARGE, with_causes(error)),
        _ => Problem::new(Code::INVALID_ARGUMENT, with_causes(error)),
    }
}

/// A part of the ledger that cannot be answered.
pub(crate) fn ledger_problem(error: &LedgerError) -> Problem {
    match error {
        LedgerError::NoSuchSize { .. } => Problem::new(Code::NOT_FOUND, with_causes(error)),
        LedgerError::Time => Problem::new(Code::INVALID_ARGUMENT, with_causes(error)).with_field("since"),
        LedgerError::Append(error) => append_problem(error),
        LedgerError::Altered { .. } => Problem::new(Code::LEDGER_UNAVAILABLE, with_causes(error))
            .with_hint("run: systemctl restart agentd"),
        _ => Problem::new(Code::LEDGER_UNAVAILABLE, with_causes(error))
            .with_hint("check it offline: agentctl verify-ledger"),
    }
}

/// A memory that cannot be used, or a request it does not take.
pub(crate) fn memory_problem(error: &MemoryError) -> Problem {
    match error {
        MemoryError::Invalid { field, problem } => {
            Problem::new(Code::INVALID_ARGUMENT, problem.clone()).with_field(*field)
        }
        _ => Problem::new(Code::MEMORY_UNAVAILABLE, with_causes(error))
            .with_hint("GET /memory/health says more"),
    }
}
