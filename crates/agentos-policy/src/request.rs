//! What is judged: who wants what, and when.

use agentos_api::change::Risk;
use agentos_api::query::path::decode;
use serde_json::{Map, Value};

/// Which of the two sockets the request came through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// The agent's.
    Agent,
    /// The person's.
    Operator,
}

impl Role {
    /// The word in the file.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Agent => "agent",
            Self::Operator => "operator",
        }
    }
}

/// When it is, as far as rules ask.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Moment {
    /// The weekday here, Monday 0.
    pub weekday: u8,
    /// Minutes since midnight here.
    pub minute: u16,
    /// Seconds of a clock that does not go back.
    pub seconds: u64,
}

/// What somebody wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subject<'a> {
    /// A question answered, by the name of its query.
    Query(&'a str),
    /// One step of a change made.
    Mutation {
        /// The mutation.
        name: &'a str,
        /// The risk of this step, as its plan says.
        risk: Risk,
    },
}

impl Subject<'_> {
    /// The name of the query or mutation.
    pub const fn name(&self) -> &str {
        match self {
            Self::Query(name) | Self::Mutation { name, .. } => name,
        }
    }
}

/// A question that somebody wants answered, or a step of a change that somebody wants made.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// Who.
    pub role: Role,
    /// Who, as the ledger names them: `agent:openclaw/main`.
    pub actor: &'a str,
    /// What.
    pub subject: Subject<'a>,
    /// Its arguments.
    pub arguments: &'a Map<String, Value>,
    /// Every name that is known of the file or folder it asks about, or of those that a step touches; none where there is
    /// none.
    pub paths: &'a [Vec<u8>],
    /// The systemd units that a step touches, beside those its argument `unit` names.
    pub units: &'a [String],
    /// When.
    pub moment: Moment,
}

impl Request<'_> {
    /// The risk of a change; nothing for a question.
    pub(crate) const fn risk(&self) -> Option<Risk> {
        match self.subject {
            Subject::Query(_) => None,
            Subject::Mutation { risk, .. } => Some(risk),
        }
    }
}

/// The `path` among the arguments, as bytes, with empty names and `.` left out: `/etc//./shadow` is `/etc/shadow`.
pub fn path_argument(arguments: &Map<String, Value>) -> Option<Vec<u8>> {
    let bytes = decode(arguments.get("path")?.as_str()?).ok()?.into_owned();
    let mut path = Vec::with_capacity(bytes.len());
    for name in bytes.split(|&byte| byte == b'/').filter(|name| !matches!(*name, b"" | b".")) {
        path.push(b'/');
        path.extend_from_slice(name);
    }
    if path.is_empty() {
        path.push(b'/');
    }
    Some(path)
}
