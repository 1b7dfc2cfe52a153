//! `POST /shell/exec`: a command, and how much it may do.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::change::MutateRequest;
use crate::mutation::Mutation;
use crate::mutation::shell as mutations;
use crate::query::{Query, QueryRequest, Shell};

/// How much a command may do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// It reads, and the kernel keeps it from changing anything. Nobody has to agree.
    #[default]
    Observe,
    /// It runs on a view of the files that keeps apart what it writes: what differs then is a change, which is shown, waits
    /// for a yes unless the policy allows each of its effects, is made exactly so, and can be taken back.
    Preview,
    /// It acts on the machine itself, once a person says yes to its words. What it does is not foreseen and cannot be taken back.
    Apply,
}

/// A command, and how much it may do.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct ExecRequest {
    /// How much it may do.
    #[serde(default)]
    pub mode: Mode,
    /// Why, for all modes but `observe`: one sentence that the person reads before saying yes, and that stays on the record.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Only look at what it does (`preview`) or at what would be asked (`apply`); nothing is made, and nothing waits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dry_run: Option<bool>,
    /// Make it only if its plan has this hash: the plan that was looked at, with `dry_run`, before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plan_hash: Option<String>,
    /// The arguments of the query `shell` or of the mutations `shell.preview` and `shell.apply`, which are given more time.
    #[serde(flatten)]
    #[schemars(with = "mutations::PreviewArgs")]
    pub args: Map<String, Value>,
}

/// What a request to run a command is.
#[derive(Clone, Debug)]
pub enum Exec {
    /// A question: observing is asking.
    Ask(QueryRequest),
    /// A change.
    Change(MutateRequest),
}

impl ExecRequest {
    /// What it is. An argument that is null was not given.
    ///
    /// # Errors
    /// The argument that belongs to another mode.
    pub fn into_exec(mut self) -> Result<Exec, &'static str> {
        self.args.retain(|_, value| !value.is_null());
        match self.mode {
            Mode::Observe => {
                // What is given beside it would be taken to have an effect.
                if self.dry_run.is_some() || self.plan_hash.is_some() {
                    return Err(if self.dry_run.is_some() { "dry_run" } else { "plan_hash" });
                }
                Ok(Exec::Ask(QueryRequest { query: Shell::NAME.to_owned(), args: self.args }))
            }
            Mode::Preview => Ok(Exec::Change(self.change(mutations::Preview::NAME))),
            Mode::Apply => Ok(Exec::Change(self.change(mutations::Apply::NAME))),
        }
    }

    fn change(self, mutation: &str) -> MutateRequest {
        MutateRequest {
            mutation: Some(mutation.to_owned()),
            args: self.args,
            steps: Vec::new(),
            reason: self.reason.unwrap_or_default(),
            dry_run: self.dry_run.unwrap_or_default(),
            plan_hash: self.plan_hash,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn exec(request: Value) -> Result<Exec, &'static str> {
        serde_json::from_value::<ExecRequest>(request).unwrap().into_exec()
    }

    #[test]
    fn observing_is_a_question_and_previewing_a_change() {
        match exec(json!({ "command": "ls", "words": null })).unwrap() {
            Exec::Ask(question) => {
                assert_eq!(question.query, "shell");
                assert_eq!(Value::from(question.args), json!({ "command": "ls" }));
            }
            Exec::Change(change) => panic!("{change:?}"),
        }
        match exec(json!({ "mode": "preview", "command": "rm x", "reason": "because", "dry_run": true }))
            .unwrap()
        {
            Exec::Change(change) => {
                assert_eq!(change.mutation.as_deref(), Some("shell.preview"));
                assert_eq!((change.reason.as_str(), change.dry_run), ("because", true));
                assert_eq!(Value::from(change.args), json!({ "command": "rm x" }));
            }
            Exec::Ask(question) => panic!("{question:?}"),
        }
        assert_eq!(exec(json!({ "command": "ls", "dry_run": true })).unwrap_err(), "dry_run");
    }
}
