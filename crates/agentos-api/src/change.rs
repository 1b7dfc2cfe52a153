//! Changes: what is asked for, the plan of it, and what became of it.
//!
//! A change goes planned → (waiting) → applying → applied, failed, denied, expired or unknown, and from applied to undone.
//! Each step is an event on the ledger; this is what is answered about them.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::Bounded;
use crate::query::file::ContentEncoding;
use crate::query::shell::{Output, Refused};

/// Most steps of one change.
pub const MAX_STEPS: usize = 32;
/// Longest reason, in bytes.
pub const MAX_REASON_BYTES: usize = 1000;
/// Most effects that a plan shows for one step; `effects_total` says how many there are.
pub const MAX_SHOWN_EFFECTS: usize = 100;
/// Most bytes of one effect's diff.
pub const MAX_DIFF_BYTES: usize = 32 << 10;

/// One mutation with its arguments.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Step {
    /// The name of the mutation, from the catalogue.
    pub mutation: String,
    /// Its arguments, as its schema says.
    #[serde(default)]
    pub args: Map<String, Value>,
}

/// The body of `POST /system/mutate`: one mutation, or several that are planned, approved, made and undone as one.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MutateRequest {
    /// The name of the mutation, from the catalogue. Not together with `steps`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mutation: Option<String>,
    /// Its arguments, as its schema says.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub args: Map<String, Value>,
    /// Several mutations, in order, instead of one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    pub steps: Vec<Step>,
    /// Why: one sentence that the person reads before saying yes, and that stays on the record.
    #[schemars(length(min = 1, max = 1000))]
    pub reason: String,
    /// Only plan it: nothing is made, and nothing waits.
    #[serde(default)]
    pub dry_run: bool,
    /// Make it only if its plan has this hash: the plan that was looked at, with `dry_run`, before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plan_hash: Option<String>,
}

/// How much harm a change can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Risk {
    /// Nothing changes.
    Read,
    /// Small, local, undone exactly.
    Low,
    /// Others notice it, or undoing does not bring all of it back.
    Medium,
    /// Something can be lost, or somebody locked out.
    Destructive,
}

impl Risk {
    /// The word on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Low => "low",
            Self::Medium => "medium",
            Self::Destructive => "destructive",
        }
    }
}

/// Whether, and how, a change is taken back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "undo", rename_all = "snake_case")]
pub enum Undo {
    /// Exactly.
    Exact,
    /// Not all of it comes back.
    Partial {
        /// What does not.
        because: String,
    },
    /// Not at all.
    Impossible {
        /// Why.
        because: String,
    },
}

/// One thing that differs afterwards.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Effect {
    /// What: `file /etc/hosts`, `unit nginx.service`. The same thing has the same text in every change.
    pub on: String,
    /// How it is: `absent`, `regular file, 120 bytes, 0644 root:root`, `inactive`.
    pub before: String,
    /// How it will be.
    pub after: String,
    /// The difference of text contents, in the unified format of diff(1).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub diff: Option<String>,
    /// Why there is no `diff`, or only a part of it, where contents differ.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub diff_omitted: Option<String>,
}

/// What one step of a change would do.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct PlannedStep {
    /// The mutation.
    pub mutation: String,
    /// Its arguments. Contents of files are replaced by their size and SHA-256.
    pub args: Map<String, Value>,
    /// What it does, in a sentence.
    pub summary: String,
    /// How much harm it can do.
    pub risk: Risk,
    /// Whether it is taken back.
    #[serde(flatten)]
    pub undo: Undo,
    /// What differs afterwards; the first [`MAX_SHOWN_EFFECTS`].
    pub effects: Vec<Effect>,
    /// How many there are.
    pub effects_total: u64,
    /// It may lock the person out (firewall, network, ssh, who may log in): once made, it is taken back by itself unless
    /// somebody confirms it from a new login.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub can_lock_out: bool,
    /// What the plan cannot foresee: programs that notice, state that is not covered.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub not_covered: Vec<String>,
    /// What a command said that was run to find out what it does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub said: Option<Output>,
}

/// What a change would do.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Plan {
    /// What it does, in a sentence.
    pub summary: String,
    /// The largest of its steps' risks.
    pub risk: Risk,
    /// Whether it is taken back: the least of its steps.
    #[serde(flatten)]
    pub undo: Undo,
    /// Its steps, in order.
    pub steps: Vec<PlannedStep>,
    /// SHA-256 of the plan with the state it was made against, in hexadecimal. An approval is for this plan alone.
    pub hash: String,
}

/// Where a change stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// It was planned with `dry_run`, and goes no further.
    Planned,
    /// It waits for a person's yes.
    Waiting,
    /// It is being made.
    Applying,
    /// It was made, and is taken back by itself unless somebody confirms it in time.
    Unconfirmed,
    /// It was made.
    Applied,
    /// It was not made; what of it had been made was taken back, unless `outcome` says otherwise.
    Failed,
    /// A person or the policy said no.
    Denied,
    /// Nobody said yes in time.
    Expired,
    /// It was made, and taken back by another change.
    Undone,
    /// agentd ended while it was being made, and what is there now is neither the state before nor the one after.
    Unknown,
}

impl Status {
    /// The word on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Planned => "planned",
            Self::Waiting => "waiting",
            Self::Applying => "applying",
            Self::Unconfirmed => "unconfirmed",
            Self::Applied => "applied",
            Self::Failed => "failed",
            Self::Denied => "denied",
            Self::Expired => "expired",
            Self::Undone => "undone",
            Self::Unknown => "unknown",
        }
    }

    /// Nothing will happen to it by itself or by a yes.
    pub const fn is_final(self) -> bool {
        !matches!(self, Self::Waiting | Self::Applying | Self::Unconfirmed)
    }
}

/// Who said yes or no, and when.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Decided {
    /// Who: as the ledger names them; `policy` where a rule decided.
    pub by: String,
    /// When: UTC, RFC 3339.
    pub at: String,
    /// The rule that decided or asked, where one did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rule: Option<String>,
    /// Why, in their words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// How a command ended that was run as a change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Ran {
    /// What it exited with; of one that a signal ended 128 and the signal's number, as in sh(1). Missing where it did not end
    /// by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit_status: Option<u8>,
    /// It was ended, with all that it started, because its time was over.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub timed_out: bool,
    /// Something that it started could not be ended.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub left: bool,
    /// How long it took, in milliseconds, with the end of what it left running.
    pub milliseconds: u64,
    /// Its standard output.
    pub stdout: Written,
    /// Its standard error.
    pub stderr: Written,
    /// What it asked of the system bus and was kept from.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub refused: Vec<Refused>,
}

/// One of the outputs of such a command.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Written {
    /// Bytes that it wrote altogether.
    pub bytes: u64,
    /// SHA-256 of all of them, in hexadecimal.
    pub sha256: String,
    /// How many are kept, from the beginning.
    pub kept: u64,
}

/// Which part of what a change's command wrote: the query part of `GET /changes/{id}/output`.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct OutputFilter {
    /// Which of the change's commands, from 1.
    #[serde(default)]
    pub command: Bounded<1, 32, 1>,
    /// Where to begin in its standard output, in bytes: the `next` of an answer, to go on.
    #[serde(default)]
    pub stdout_after: Bounded<0, 1_048_576, 0>,
    /// Where to begin in its standard error.
    #[serde(default)]
    pub stderr_after: Bounded<0, 1_048_576, 0>,
}

/// What a change's command wrote, as far as it is kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ChangeOutput {
    /// The number of the change.
    pub change: u64,
    /// Which of its commands.
    pub command: u64,
    /// It still runs: ask again from `next` on.
    pub running: bool,
    /// How it ended; missing while it runs, and where nobody saw it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ran: Option<Ran>,
    /// Its standard output.
    pub stdout: OutputPart,
    /// Its standard error.
    pub stderr: OutputPart,
}

/// A part of one of the outputs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct OutputPart {
    /// What is kept of it from there on. Secrets are masked for the agent.
    pub content: String,
    /// `text` or `base64`.
    pub encoding: ContentEncoding,
    /// Where it begins, in bytes.
    pub from: u64,
    /// Where to go on, in bytes.
    pub next: u64,
}

/// A change, as it is answered.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Change {
    /// Its number: counts up from 1 on each machine. 0 for one that was only planned.
    pub id: u64,
    /// Where it stands.
    pub status: Status,
    /// Who asked for it, as the ledger names them.
    pub actor: String,
    /// Why, in the words of who asked.
    pub reason: String,
    /// When it was planned: UTC, RFC 3339.
    pub created: String,
    /// When it last went on: UTC, RFC 3339.
    pub updated: String,
    /// What it does.
    pub plan: Plan,
    /// Until when it waits for a yes, or, unconfirmed, when it is taken back: UTC, RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<String>,
    /// The yes must come from the operator's own socket, never through a chat.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub operator_only: bool,
    /// Where a yes may come through the chat: what the person types there. Only the operator's socket answers it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub chat_code: Option<String>,
    /// Who or what decided.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decided: Option<Decided>,
    /// What became of it, where there is more to say than the status: why it failed, what is known of an unknown one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outcome: Option<String>,
    /// How the commands ended that it ran, in their order. What they wrote is at `GET /changes/{id}/output`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ran: Vec<Ran>,
    /// The change that this one takes back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub undoes: Option<u64>,
    /// The change by which this one was taken back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub undone_by: Option<u64>,
    /// What to do next, for who asked: what it waits for, and what the person types.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_step: Option<String>,
}

/// A change in a list.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ChangeSummary {
    /// Its number.
    pub id: u64,
    /// Where it stands.
    pub status: Status,
    /// Who asked for it.
    pub actor: String,
    /// Why.
    pub reason: String,
    /// What it does, in a sentence.
    pub summary: String,
    /// How much harm it can do.
    pub risk: Risk,
    /// When it was planned: UTC, RFC 3339.
    pub created: String,
    /// When it last went on.
    pub updated: String,
    /// Until when it waits for a yes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<String>,
    /// The hash of its plan.
    pub plan_hash: String,
    /// The change that this one takes back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub undoes: Option<u64>,
    /// The change by which this one was taken back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub undone_by: Option<u64>,
}

/// Which changes: the query part of `GET /changes`.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ChangeFilter {
    /// Only those that stand there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<Status>,
    /// Only those with a smaller number: goes on where a page ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<u64>,
    /// Only those that touch this: the text of an effect's `on`, such as `file /etc/hosts`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on: Option<String>,
    /// Changes at most.
    #[serde(default)]
    pub limit: Bounded<1, 200, 50>,
}

/// A page of changes, the newest first.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ChangePage {
    /// The changes.
    pub changes: Vec<ChangeSummary>,
    /// The `before` at which to go on; missing at the end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<u64>,
}

/// The body of `POST /changes/{id}/undo`.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct UndoRequest {
    /// Why.
    #[schemars(length(min = 1, max = 1000))]
    pub reason: String,
    /// Only plan it.
    #[serde(default)]
    pub dry_run: bool,
    /// Also take back the later changes that depend on it, the newest first.
    #[serde(default)]
    pub with_dependents: bool,
    /// Make it only if its plan has this hash.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plan_hash: Option<String>,
}

/// The body of `POST /approvals/{id}` and `POST /questions/{id}`.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DecideRequest {
    /// Yes or no.
    pub decision: Decision,
    /// The hash of the plan, or of the question, that was looked at. Needed for a yes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plan_hash: Option<String>,
    /// Why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1000))]
    pub reason: Option<String>,
    /// With a yes: also to whatever the same rule asks about from the same caller, for this many seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub for_seconds: Option<Bounded<1, 86_400, 600>>,
}

/// The body of `POST /approvals/{id}/chat`: what a person typed in the chat, as the gateway says.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ChatDecideRequest {
    /// Yes or no.
    pub decision: Decision,
    /// The code that the person was sent. Needed for a yes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32))]
    pub code: Option<String>,
    /// Why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1000))]
    pub reason: Option<String>,
    /// The chat: `telegram`, `webchat`.
    #[schemars(length(min = 1, max = 64))]
    pub channel: String,
    /// Who typed it, as the chat knows them.
    #[schemars(length(min = 1, max = 128))]
    pub sender: String,
}

/// The answer to it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ChatDecided {
    /// The number of the change or question.
    pub id: u64,
    /// Where it stands now.
    pub status: String,
    /// What became of it, in a sentence for the chat.
    pub text: String,
}

/// Yes or no.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Decision {
    /// Yes.
    Approve,
    /// No.
    Deny,
}

/// The body of `POST /changes/{id}/confirm`.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ConfirmRequest {}

/// A yes for a while.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Grant {
    /// Its number: that of the change or question it was given with. Those that lift a quota count from 1,000,000,001.
    pub grant: u64,
    /// Who gave it.
    pub by: String,
    /// For whom.
    pub to: String,
    /// What the rule is called.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rule: Option<String>,
    /// Which rule, by what it says, and for which risk.
    pub rule_id: String,
    /// The quota that it lifts, where it is no yes to a rule.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quota: Option<String>,
    /// Until when: UTC, RFC 3339.
    pub until: String,
}

/// The body of `POST /grants`: a quota does not hold for a while.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LiftRequest {
    /// Whose, as the policy names them: `agent`, or `agent:openclaw`.
    #[schemars(length(max = 128))]
    pub to: String,
    /// Which, by its key: `changes_per_hour`.
    #[schemars(length(max = 64))]
    pub quota: String,
    /// For how many seconds.
    #[serde(default)]
    pub for_seconds: Bounded<1, 86_400, 600>,
}

/// The answer to `GET /grants`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct GrantList {
    /// Those that hold now, the oldest first.
    pub grants: Vec<Grant>,
}
