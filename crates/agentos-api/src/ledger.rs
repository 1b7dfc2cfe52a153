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
