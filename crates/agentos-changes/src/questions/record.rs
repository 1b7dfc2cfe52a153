//! What is known of a question: what its events say, one after the other.

use agentos_api::change::Decided;
use agentos_api::question::{Question, Standing};
use agentos_ledger::{CanonicalJson, DataError};
use agentos_objects::Hash;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::book::Book;
use crate::grants::principal;
use crate::record::Seen;

/// What happens to a question, as it stands in the ledger.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "step", rename_all = "snake_case")]
pub(super) enum Happening {
    Waiting {
        query: String,
        args: Map<String, Value>,
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        names: Vec<String>,
        rules: Vec<String>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        rule: Option<String>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        because: Option<String>,
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        operator_only: bool,
        expires: String,
        hash: String,
    },
    Approved {
        hash: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
    },
    Denied {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
    },
    Used,
    Expired,
}

impl Happening {
    pub(super) const fn kind(&self) -> &'static str {
        match self {
            Self::Waiting { .. } => "question.waiting",
            Self::Approved { .. } => "question.approved",
            Self::Denied { .. } => "question.denied",
            Self::Used => "question.used",
            Self::Expired => "question.expired",
        }
    }
}

/// The data of an event about a question.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Data {
    pub(super) question: u64,
    #[serde(flatten)]
    pub(super) happening: Happening,
}

/// What is known of a question.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Record {
    pub(crate) question: Question,
    pub(super) rules: Vec<String>,
}

impl Record {
    /// What is the same for each time the same caller asks the same.
    pub(crate) fn key(&self) -> String {
        // What is on the ledger has a canonical form. One without is never looked for.
        key(&self.question.actor, &self.question.query, &self.question.args).unwrap_or_default()
    }

    /// What is known after `happening`. Nothing for an event that has no beginning.
    fn after(before: Option<Self>, id: u64, happening: &Happening, seen: Seen<'_>) -> Option<Self> {
        if let Happening::Waiting { query, args, names, rules, rule, because, operator_only, expires, hash } =
            happening
        {
            let question = Question {
                id,
                status: Standing::Waiting,
                actor: seen.actor.to_owned(),
                query: query.clone(),
                args: args.clone(),
                names: names.clone(),
                rule: rule.clone(),
                because: because.clone(),
                operator_only: *operator_only,
                chat_code: None,
                created: seen.ts.to_owned(),
                updated: seen.ts.to_owned(),
                expires: expires.clone(),
                hash: hash.clone(),
                decided: None,
            };
            return Some(Self { question, rules: rules.clone() });
        }
        let mut record = before?;
        let question = &mut record.question;
        seen.ts.clone_into(&mut question.updated);
        let decided = |reason: &Option<String>| {
            Some(Decided {
                by: seen.actor.to_owned(),
                at: seen.ts.to_owned(),
                rule: question.rule.clone(),
                reason: reason.clone(),
            })
        };
        match happening {
            Happening::Waiting { .. } => {}
            Happening::Approved { reason, .. } => {
                question.decided = decided(reason);
                question.status = Standing::Approved;
            }
            Happening::Denied { reason } => {
                question.decided = decided(reason);
                question.status = Standing::Denied;
            }
            Happening::Used => question.status = Standing::Used,
            Happening::Expired => question.status = Standing::Expired,
        }
        Some(record)
    }
}

/// Takes in an event about questions.
pub(crate) fn take(book: &Book, payload: &str, seen: Seen<'_>) -> rusqlite::Result<()> {
    let data = serde_json::from_str::<Value>(payload)
        .ok()
        .and_then(|payload| serde_json::from_value::<Data>(payload.get("data")?.clone()).ok());
    match data {
        Some(data) => take_in(book, &data, seen),
        None => Ok(()),
    }
}

pub(super) fn take_in(book: &Book, data: &Data, seen: Seen<'_>) -> rusqlite::Result<()> {
    let before = book.question(data.question)?;
    match Record::after(before, data.question, &data.happening, seen) {
        Some(after) => book.put_question(&after),
        None => Ok(()),
    }
}

/// Of who asks what, with the arguments in canonical form: two questions that differ in a byte have two.
pub(super) fn key(actor: &str, query: &str, args: &Map<String, Value>) -> Result<String, DataError> {
    of(&json!({"args": args, "principal": principal(actor), "query": query}))
}

pub(super) fn of(value: &Value) -> Result<String, DataError> {
    Ok(Hash::of(CanonicalJson::from_value(value)?.as_str().as_bytes()).to_string())
}
