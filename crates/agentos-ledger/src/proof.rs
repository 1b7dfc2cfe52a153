//! Proofs that one event is in the ledger, and that the ledger only grew: made from the stored tree, checked offline.

use agentos_api::event::Event;
use agentos_api::ledger::{ConsistencyProof, InclusionProof};

use crate::digest::{Digest, digest_from_base64, from_hex, to_base64, to_hex};
use crate::error::LedgerError;
use crate::merkle::{verify_consistency, verify_inclusion};
use crate::note::{NoteError, SigningKey, VerifierKey, open_checkpoint};
use crate::read::Reader;
use crate::record::{Fields, check, event_hash, leaf_hash};
use crate::store::Head;
use crate::tiles::{TreeError, TreeReader};
use crate::violation::Violation;

fn tree_failed(reader: &Reader<'_>) -> impl Fn(TreeError) -> LedgerError {
    move |error| match Violation::of_tree(error) {
        Ok(violation) => reader.corrupt(violation),
        Err(source) => reader.failed(source),
    }
}

fn base64_all(hashes: &[Digest]) -> Vec<String> {
    hashes.iter().map(|hash| to_base64(hash)).collect()
}

pub(crate) fn inclusion(
    reader: &Reader<'_>,
    key: &SigningKey,
    head: Head,
    id: u64,
    size: Option<u64>,
) -> Result<Option<InclusionProof>, LedgerError> {
    if id == 0 || id > head.id {
        return Ok(None);
    }
    let size = size.unwrap_or(head.id);
    if size > head.id || id > size {
        return Err(LedgerError::NoSuchSize { asked: size, head: head.id });
    }
    let Some(event) = reader.event(id)? else { return Ok(None) };
    let mut tree = TreeReader::new(reader.connection);
    let hashes = tree.inclusion(id - 1, size).map_err(tree_failed(reader))?;
    let root = tree.root(size).map_err(tree_failed(reader))?;
    let leaf = from_hex(event.hash.as_bytes()).map(|hash| leaf_hash(id, &hash)).unwrap_or_default();
    Ok(Some(InclusionProof {
        event,
        leaf_index: id - 1,
        leaf_hash: to_base64(&leaf),
        size,
        hashes: base64_all(&hashes),
        checkpoint: key.sign(size, &root),
    }))
}

pub(crate) fn consistency(
    reader: &Reader<'_>,
    key: &SigningKey,
    head: Head,
    old: u64,
    new: Option<u64>,
) -> Result<ConsistencyProof, LedgerError> {
    let new = new.unwrap_or(head.id);
    if new > head.id || old > new {
        return Err(LedgerError::NoSuchSize { asked: old.max(new), head: new.min(head.id) });
    }
    let mut tree = TreeReader::new(reader.connection);
    let failed = tree_failed(reader);
    let hashes = if old == 0 { Vec::new() } else { tree.consistency(old, new).map_err(&failed)? };
    let old_root = tree.root(old).map_err(&failed)?;
    let new_root = tree.root(new).map_err(&failed)?;
    Ok(ConsistencyProof {
        old_size: old,
        old_root: to_base64(&old_root),
        new_size: new,
        new_root: to_base64(&new_root),
        hashes: base64_all(&hashes),
        checkpoint: key.sign(new, &new_root),
    })
}

/// Why a proof does not hold.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ProofError {
    /// The checkpoint is not the ledger's.
    #[error("the proof's checkpoint does not hold")]
    Checkpoint(#[source] NoteError),
    /// The event's fields do not have the hash it carries, or not the form that makes the hash unambiguous.
    #[error("event {0} is not what its hash says")]
    Event(u64),
    /// A value is not the base64 of 32 bytes.
    #[error("`{0}` is not the base64 of 32 bytes")]
    Encoding(&'static str),
    /// Two parts of the proof speak of different sizes, roots or leaves.
    #[error("`{0}` is not what the checkpoint or the event says")]
    Inconsistent(&'static str),
    /// The hashes do not lead to the root.
    #[error("the hashes do not lead to the checkpoint's root")]
    Hashes,
}

/// An event as it came over the wire: its hash, if its fields have it.
///
/// # Errors
/// [`ProofError::Event`] when they do not.
pub fn check_event(event: &Event) -> Result<Digest, ProofError> {
    let fields = Fields {
        id: event.id,
        ts: event.ts.as_bytes(),
        kind: event.kind.as_str().as_bytes(),
        actor: event.actor.as_str().as_bytes(),
        payload: event.payload.get().as_bytes(),
        prev_hash: event.prev_hash.as_bytes(),
    };
    check(&fields).map_err(|_| ProofError::Event(event.id))?;
    let hash = event_hash(&fields);
    if to_hex(&hash) == event.hash { Ok(hash) } else { Err(ProofError::Event(event.id)) }
}

fn decode_all(hashes: &[String]) -> Result<Vec<Digest>, ProofError> {
    hashes.iter().map(|hash| digest_from_base64(hash).ok_or(ProofError::Encoding("hashes"))).collect()
}

/// Checks offline that the proof's event is in the ledger whose key is `key`.
///
/// # Errors
/// [`ProofError`] says which part does not hold.
pub fn check_inclusion(proof: &InclusionProof, key: &VerifierKey) -> Result<(), ProofError> {
    let head = open_checkpoint(&proof.checkpoint.note, key).map_err(ProofError::Checkpoint)?;
    let hash = check_event(&proof.event)?;
    let leaf = leaf_hash(proof.event.id, &hash);
    if head.size != proof.size {
        return Err(ProofError::Inconsistent("size"));
    }
    if proof.leaf_index.checked_add(1) != Some(proof.event.id) {
        return Err(ProofError::Inconsistent("leaf_index"));
    }
    if digest_from_base64(&proof.leaf_hash) != Some(leaf) {
        return Err(ProofError::Inconsistent("leaf_hash"));
    }
    let hashes = decode_all(&proof.hashes)?;
    if verify_inclusion(&leaf, proof.leaf_index, head.size, &hashes, &head.root) {
        Ok(())
    } else {
        Err(ProofError::Hashes)
    }
}

/// Checks offline that the ledger whose key is `key` only grew since `old`, a checkpoint kept from before.
///
/// # Errors
/// [`ProofError`] says which part does not hold.
pub fn check_consistency(proof: &ConsistencyProof, old: &str, key: &VerifierKey) -> Result<(), ProofError> {
    let old = open_checkpoint(old, key).map_err(ProofError::Checkpoint)?;
    let new = open_checkpoint(&proof.checkpoint.note, key).map_err(ProofError::Checkpoint)?;
    if old.size != proof.old_size || digest_from_base64(&proof.old_root) != Some(old.root) {
        return Err(ProofError::Inconsistent("old_root"));
    }
    if new.size != proof.new_size || digest_from_base64(&proof.new_root) != Some(new.root) {
        return Err(ProofError::Inconsistent("new_root"));
    }
    let hashes = decode_all(&proof.hashes)?;
    if verify_consistency(old.size, &old.root, new.size, &new.root, &hashes) {
        Ok(())
    } else {
        Err(ProofError::Hashes)
    }
}
