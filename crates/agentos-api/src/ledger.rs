//! What the ledger says about itself: signed checkpoints and the proofs that hold against them (RFC 6962, C2SP
//! tlog-checkpoint). Each of these can be checked offline; `docs/LEDGER.md` describes how.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::event::Event;

/// The ledger's signed statement of its size and contents.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Checkpoint {
    /// The ledger's name: the note's first line, and the name of its key.
    pub origin: String,
    /// How many events it covers.
    pub size: u64,
    /// The RFC 6962 tree's root at that size, in base64.
    pub root: String,
    /// The whole C2SP signed note, to be kept somewhere that this machine's root cannot write.
    pub note: String,
    /// The key that signed it, as a C2SP verifier key (`name+hash+base64`).
    pub public_key: String,
}

/// Shows that one event is in the tree that a checkpoint names.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct InclusionProof {
    /// The event itself.
    pub event: Event,
    /// Its position in the tree, from 0: its id less one.
    pub leaf_index: u64,
    /// Its leaf hash, in base64.
    pub leaf_hash: String,
    /// The size of the tree that the proof is for.
    pub size: u64,
    /// The hashes from the leaf's sibling up to the root's child, in base64.
    pub hashes: Vec<String>,
    /// The signed checkpoint of that size.
    pub checkpoint: Checkpoint,
}

/// Shows that the tree of one size is the beginning of the tree of another: nothing before was changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ConsistencyProof {
    /// The smaller size.
    pub old_size: u64,
    /// The root at the smaller size, in base64.
    pub old_root: String,
    /// The larger size.
    pub new_size: u64,
    /// The root at the larger size, in base64.
    pub new_root: String,
    /// The proof's hashes, in base64 (RFC 9162, section 2.1.4).
    pub hashes: Vec<String>,
    /// The signed checkpoint of the larger size.
    pub checkpoint: Checkpoint,
}

/// Between which two sizes `GET /ledger/consistency` shows that the ledger only grew.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ConsistencyFilter {
    /// The smaller size: that of a checkpoint kept from before.
    pub from: u64,
    /// The larger size. Left out: the present one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<u64>,
}

/// What a witness brings back: `POST /ledger/cosignatures`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CosignRequest {
    /// A checkpoint of this ledger with the witness's line (C2SP tlog-cosignature) behind the ledger's own; at most
    /// 16,384 bytes.
    pub note: String,
}

/// Whether cosignatures were kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CosignResponse {
    /// How many events the checkpoint covers.
    pub size: u64,
    /// The witnesses whose cosignatures were recorded and kept; none where they have cosigned as much before.
    pub recorded: Vec<String>,
}

/// The answer to `GET /ledger/diagnosis`: whether the ledger can be used and, where it cannot, what was found and what to
/// do. Reading it is not an event.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Diagnosis {
    /// Whether the ledger can be used.
    pub state: LedgerState,
    /// Why it cannot be, in a sentence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// What kept it from being opened, where it is not what was recorded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub damage: Option<Damage>,
    /// What reading all of it came to, where it is not what was recorded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub examination: Option<Examination>,
    /// What to do, one step after another. Nothing of it is done by agentd.
    pub next_steps: Vec<String>,
}

/// Whether the ledger can be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum LedgerState {
    /// It is open, and events can be recorded.
    Writable,
    /// It is open, and events cannot be recorded just now. agentd tries again by itself.
    Unwritable,
    /// It could not be opened for want of room or of a file system that can be written. agentd tries again by itself.
    Waiting,
    /// It is not what was recorded. It is kept as evidence, and nothing is written to it; only a start of agentd on a whole
    /// ledger leads out of this.
    NotWhole,
}

/// What is wrong with a ledger.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Damage {
    /// What kind: `hash_mismatch`, `tail_missing`, `database_missing`, `key_foreign` and so on, as verification names it.
    pub kind: String,
    /// The first event that is concerned; nothing when no event in particular is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first: Option<u64>,
    /// The last event that may be concerned.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last: Option<u64>,
    /// What was found, in a sentence.
    pub detail: String,
}

/// A reading of every event of a ledger that is not whole.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Examination {
    /// Whether it has come to its end.
    pub finished: bool,
    /// Events read so far.
    pub done: u64,
    /// Events in the database.
    pub total: u64,
    /// The last event up to which all are as they were recorded, so that `GET /events/log` answers them; 0 when none is.
    pub readable: u64,
    /// The damage that comes first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub damage: Option<Damage>,
    /// Why the ledger could not be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trouble: Option<String>,
}
