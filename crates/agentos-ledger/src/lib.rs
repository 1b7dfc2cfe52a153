//! The AgentOS event ledger: what was recorded is durable, in order, and provably unchanged.
//!
//! One writer thread appends events in groups to SQLite (WAL, `synchronous=FULL`); an answer means durable. Each event
//! carries the hash of the one before it; beside the events grows an RFC 6962 tree, whose root is signed in C2SP
//! checkpoints. [`verify`] finds an edit, a deletion, a cut tail, an emptied or missing file, and says which event first.
//! `docs/LEDGER.md` describes the format so that anybody can write a verifier of their own.
//!
//! ```
//! use agentos_api::event::{Actor, EventFilter, EventType};
//! use agentos_ledger::{Ledger, LedgerOptions, NewEvent, VerifyOptions, verify};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let directory = tempfile::tempdir()?;
//! let ledger = Ledger::open(&LedgerOptions::new(directory.path(), "ledger.example/host"))?;
//!
//! let data = serde_json::json!({ "query": "processes", "limit": 10 });
//! let event = NewEvent::new(EventType::new("system.query")?, Actor::new("agent/main")?, &data)?;
//! let appended = ledger.append_blocking(event)?; // or `append(event, callback)`
//! assert_eq!(appended.id, 1);
//!
//! let page = ledger.page(&EventFilter::default())?;
//! assert_eq!(page.events[0].kind.as_str(), "system.query");
//!
//! let proof = ledger.inclusion_proof(1, None)?.expect("event 1 is there");
//! agentos_ledger::check_inclusion(&proof, ledger.public_key())?;
//!
//! let report = verify(ledger.path(), VerifyOptions::default())?;
//! assert_eq!(report.size, 1);
//! # Ok(())
//! # }
//! ```

mod add_checkpoint;
mod alone;
mod canonical;
mod chain;
mod cosignature;
mod cosigned;
mod cosigner;
mod digest;
mod error;
mod evidence;
mod files;
mod job;
mod ledger;
mod merkle;
mod note;
mod proof;
mod queue;
mod read;
mod record;
mod schema;
mod store;
mod tiles;
mod time;
#[cfg(test)]
mod vectors;
mod verify;
mod violation;
mod witness;
mod writer;

pub use add_checkpoint::{AddCheckpoint, AddRefusal, MAX_ADD_CHECKPOINT_BYTES, MAX_PROOF_LINES, parse_size};
pub use canonical::{CanonicalJson, DataError, MAX_DATA_BYTES};
pub use cosignature::{
    COSIGNATURE_TYPE, Cosignature, WitnessKey, WitnessSigner, cosignatures, with_cosignature,
};
pub use cosigned::{
    COSIGNED_FILE, Cosigned, CosignedFile, MAX_COSIGNED_BYTES, MAX_WITNESSES, latest_cosigned, read_cosigned,
};
pub use cosigner::{CosignError, Cosigner, Disagreement, Seen};
pub use digest::{Digest, GENESIS, digest_from_base64, from_hex, to_base64, to_hex};
pub use error::{AppendError, Cause, Damage, LedgerError, Unavailable};
pub use evidence::Evidence;
pub use files::{DATABASE_FILE, KEY_FILE, LOCK_FILE, PUBLIC_KEY_FILE, read_public_key};
pub use job::{Appended, NewEvent, Status};
pub use ledger::{Ledger, LedgerOptions, Subscription};
pub use merkle::{empty_root, verify_consistency, verify_inclusion};
pub use note::{MAX_NOTE_BYTES, NoteError, TreeHead, VerifierKey, open_checkpoint, read_checkpoint};
pub use proof::{ProofError, check_consistency, check_event, check_inclusion};
pub use record::{FieldError, Fields, check, event_hash, leaf_hash};
pub use store::Head;
pub use verify::{Progress, Report, VerifyError, VerifyOptions, verify};
pub use violation::{Violation, ViolationKind};
pub use witness::{latest_checkpoint, read_checkpoints};
