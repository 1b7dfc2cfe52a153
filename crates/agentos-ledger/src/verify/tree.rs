//! The tree's side of a verification, on a thread of its own: the events' hashes come in, tiles and checkpoints are
//! compared with what grows from them.

use std::sync::mpsc::Receiver;

use crate::digest::{Digest, to_base64};
use crate::merkle::{Frontier, FullTile};
use crate::note::{VerifierKey, open_checkpoint, read_checkpoint};
use crate::record::leaf_hash;
use crate::violation::{Violation, ViolationKind};

/// A stored tile, to be compared with the one that the events make.
#[derive(Debug)]
pub(super) struct StoredTile {
    pub(super) level: usize,
    pub(super) root: Option<Digest>,
    pub(super) hashes: Option<Vec<Digest>>,
}

/// A stretch of events without a tile or a checkpoint ending inside it.
#[derive(Debug, Default)]
pub(super) struct Stretch {
    /// The hashes of the events, in order.
    pub(super) hashes: Vec<Digest>,
    /// The stored tiles that end here, lowest level first; one for each that must.
    pub(super) tiles: Vec<StoredTile>,
    /// The stored checkpoint of this size.
    pub(super) checkpoint: Option<String>,
    /// The root that the trusted checkpoint has at this size.
    pub(super) trusted_root: Option<Digest>,
}

/// What the tree was found to be.
#[derive(Debug)]
pub(super) struct Grown {
    pub(super) root: Digest,
    pub(super) checkpoints: u64,
    /// The size of the last checkpoint that held.
    pub(super) signed: u64,
}

/// Grows the tree from `frontier`. Ends at the first violation, which makes the sender stop too.
pub(super) fn grow(
    mut frontier: Frontier,
    stretches: &Receiver<Stretch>,
    key: Option<&VerifierKey>,
) -> Result<Grown, Violation> {
    let mut checkpoints = 0;
    let mut signed = frontier.size();
    while let Ok(stretch) = stretches.recv() {
        let mut filled = Vec::new();
        for hash in &stretch.hashes {
            frontier.push(leaf_hash(frontier.size() + 1, hash), |tile| filled.push(tile));
        }
        for (tile, stored) in filled.iter().zip(&stretch.tiles) {
            compare_tile(tile, stored)?;
        }
        if let Some(root) = &stretch.trusted_root {
            compare_root(&frontier, root, "the trusted checkpoint", signed)?;
            signed = frontier.size();
        }
        if let Some(note) = &stretch.checkpoint {
            compare_checkpoint(&frontier, note, key, signed)?;
            signed = frontier.size();
            checkpoints += 1;
        }
    }
    Ok(Grown { root: frontier.root(), checkpoints, signed })
}

fn compare_tile(tile: &FullTile, stored: &StoredTile) -> Result<(), Violation> {
    let under = 1_u64 << (8 * tile.level);
    let first = tile.index * 256 * under;
    let Some(hashes) = &stored.hashes else {
        let detail = "the stored tile over these events is missing or malformed";
        return Err(Violation::between(ViolationKind::TreeMismatch, first + 1, first + 256 * under, detail));
    };
    let differs = tile.hashes.iter().zip(hashes).position(|(made, stored)| made != stored);
    if let Some(position) = differs {
        let start = first + position as u64 * under;
        let detail =
            "the stored tree has another hash for it: it was edited and its hash recomputed, or the tree was";
        return Err(Violation::between(ViolationKind::TreeMismatch, start + 1, start + under, detail));
    }
    if stored.level != tile.level || stored.root != Some(tile.root) {
        let detail = "the stored tile's root is not the root of its hashes";
        return Err(Violation::between(ViolationKind::TreeMismatch, first + 1, first + 256 * under, detail));
    }
    Ok(())
}

fn compare_checkpoint(
    frontier: &Frontier,
    note: &str,
    key: Option<&VerifierKey>,
    signed: u64,
) -> Result<(), Violation> {
    let size = frontier.size();
    let head = match key {
        Some(key) => open_checkpoint(note, key),
        None => read_checkpoint(note),
    }
    .map_err(|error| {
        let kind = match &error {
            crate::note::NoteError::Malformed(_) => ViolationKind::CheckpointMalformed,
            _ => ViolationKind::CheckpointKey,
        };
        Violation::at(kind, size.max(1), format!("the checkpoint of this size is not the ledger's: {error}"))
    })?;
    if head.size != size {
        let detail = format!("the checkpoint stored for this size is of size {}", head.size);
        return Err(Violation::at(ViolationKind::CheckpointMalformed, size.max(1), detail));
    }
    compare_root(frontier, &head.root, "the signed checkpoint", signed)
}

fn compare_root(frontier: &Frontier, expected: &Digest, which: &str, signed: u64) -> Result<(), Violation> {
    let (size, root) = (frontier.size(), frontier.root());
    if root == *expected {
        return Ok(());
    }
    let detail = format!(
        "one of them was altered: the root of the first {size} events is {}, {which} has {}",
        to_base64(&root),
        to_base64(expected)
    );
    Err(Violation::between(
        ViolationKind::CheckpointMismatch,
        signed.min(size.saturating_sub(1)) + 1,
        size,
        detail,
    ))
}
