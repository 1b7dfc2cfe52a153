//! `POST /shell/exec`: a command, and how much it may do.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::query::{Query, QueryRequest, Shell, shell};

/// How much a command may do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// It reads, and the kernel keeps it from changing anything.
    #[default]
    Observe,
}

/// A command, and how much it may do.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct ExecRequest {
    /// How much it may do.
    #[serde(default)]
    pub mode: Mode,
    /// The arguments of the query `shell`.
    #[serde(flatten)]
    #[schemars(with = "shell::Args")]
    pub args: Map<String, Value>,
}

impl ExecRequest {
    /// The question that it is: observing is asking.
    pub fn into_query(self) -> QueryRequest {
        QueryRequest { query: Shell::NAME.to_owned(), args: self.args }
    }
}
