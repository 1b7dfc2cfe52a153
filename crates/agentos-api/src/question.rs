//! Questions that a rule of the policy asks a person about: what waits, and what became of it.
//!
//! A question goes waiting → approved → used, or is denied, or expires. A yes is for this question alone, once.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::change::{ChangeSummary, Decided};

/// Most bytes of a question's arguments, as JSON, that a person is asked about: they read all of it.
pub const MAX_ASKED_BYTES: usize = 16 << 10;
/// Most names of one file that a person is asked about.
pub const MAX_ASKED_NAMES: usize = 64;
/// Most questions that wait at once.
pub const MAX_WAITING: usize = 200;

/// Where a question stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Standing {
    /// It waits for a person's yes.
    Waiting,
    /// A person said yes: it is answered once, when it is asked again.
    Approved,
    /// It was asked again, and the yes is used up.
    Used,
    /// A person said no. Until it expires, the same question is refused with what they said.
    Denied,
    /// Nobody said yes in time, or it was not asked again in time.
    Expired,
}

impl Standing {
    /// The word on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Approved => "approved",
            Self::Used => "used",
            Self::Denied => "denied",
            Self::Expired => "expired",
        }
    }
}

/// A question that a rule asks about.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Question {
    /// Its number: changes and questions are counted together, so that a number means one thing.
    pub id: u64,
    /// Where it stands.
    pub status: Standing,
    /// Who asked, as the ledger names them.
    pub actor: String,
    /// The query.
    pub query: String,
    /// Its arguments, all of them.
    pub args: Map<String, Value>,
    /// Names of the file or folder it is about for which the policy keeps it, where there are any; encoded as paths in
    /// answers are. What else the file is called by then, a yes does not cover, unless the policy allows it by that name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub names: Vec<String>,
    /// The rule that asks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rule: Option<String>,
    /// Why, in the words of the rule.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub because: Option<String>,
    /// The yes must come from the operator's own socket, never through a chat.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub operator_only: bool,
    /// Where a yes may come through the chat: what the person types there. Only the operator's socket answers it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub chat_code: Option<String>,
    /// When it was asked: UTC, RFC 3339.
    pub created: String,
    /// When it last went on: UTC, RFC 3339.
    pub updated: String,
    /// Until when it waits, or a yes or no to it holds: UTC, RFC 3339.
    pub expires: String,
    /// SHA-256 of what is asked, by whom, under which names and rules, in hexadecimal. A yes is for this.
    pub hash: String,
    /// Who decided.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decided: Option<Decided>,
}

/// The answer to `GET /approvals`: all that waits for a yes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ApprovalList {
    /// The changes, the newest first; the first 200.
    pub changes: Vec<ChangeSummary>,
    /// The `before` at which `GET /changes` goes on; missing at the end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<u64>,
    /// The questions, the oldest first.
    #[serde(default)]
    pub questions: Vec<Question>,
}
