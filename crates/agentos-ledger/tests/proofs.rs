//! Proofs hold against other people's implementations and against the definition, and nothing else passes for one.

mod common;

use agentos_api::ledger::{ConsistencyProof, InclusionProof};
use agentos_ledger::{
    Digest, Ledger, LedgerError, ProofError, check_consistency, check_inclusion, digest_from_base64,
    to_base64, verify_consistency, verify_inclusion,
};
use common::{append, leaves, ledger_of, naive_root, open, tamper};
use proptest::prelude::*;
use tlog_tiles::Hash;

fn digests(hashes: &[String]) -> Vec<Digest> {
    hashes.iter().map(|hash| digest_from_base64(hash).unwrap()).collect()
}

fn theirs(hashes: &[String]) -> Vec<Hash> {
    digests(hashes).into_iter().map(Hash).collect()
}

fn inclusion(ledger: &Ledger, id: u64, size: u64) -> InclusionProof {
    ledger.inclusion_proof(id, Some(size)).unwrap().unwrap()
}

fn consistency(ledger: &Ledger, old: u64, new: u64) -> ConsistencyProof {
    ledger.consistency_proof(old, Some(new)).unwrap()
}

/// The audit path, RFC 6962, section 2.1.1, word for word.
fn naive_path(index: usize, leaves: &[Digest]) -> Vec<Digest> {
    if leaves.len() <= 1 {
        return Vec::new();
    }
    let k = leaves.len().next_power_of_two() / 2;
    let (mut path, sibling) = if index < k {
        (naive_path(index, &leaves[..k]), naive_root(&leaves[k..]))
    } else {
        (naive_path(index - k, &leaves[k..]), naive_root(&leaves[..k]))
    };
    path.push(sibling);
    path
}

/// The consistency proof, RFC 6962, section 2.1.2, word for word.
fn naive_consistency(old: usize, leaves: &[Digest], whole: bool) -> Vec<Digest> {
    if old == leaves.len() {
        return if whole { Vec::new() } else { vec![naive_root(leaves)] };
    }
    let k = leaves.len().next_power_of_two() / 2;
    let (mut proof, other) = if old <= k {
        (naive_consistency(old, &leaves[..k], whole), naive_root(&leaves[k..]))
    } else {
        (naive_consistency(old - k, &leaves[k..], false), naive_root(&leaves[..k]))
    };
    proof.push(other);
    proof
}

const SIZE: u64 = 700;
const INTERESTING: [u64; 14] = [1, 2, 3, 4, 7, 8, 255, 256, 257, 300, 511, 512, 513, SIZE];

#[test]
fn every_inclusion_proof_is_the_one_of_the_definition() {
    let directory = ledger_of(SIZE);
    let ledger = open(directory.path());
    let leaves = leaves(&tamper(directory.path()));
    for size in INTERESTING {
        let known = &leaves[..usize::try_from(size).unwrap()];
        let root = naive_root(known);
        for id in INTERESTING.into_iter().filter(|id| *id <= size) {
            let proof = inclusion(&ledger, id, size);
            let index = usize::try_from(id - 1).unwrap();
            assert_eq!(digests(&proof.hashes), naive_path(index, known), "{id} in {size}");
            assert_eq!(digest_from_base64(&proof.leaf_hash), Some(leaves[index]));
            assert_eq!(digest_from_base64(&proof.checkpoint.root), Some(root));
            check_inclusion(&proof, ledger.public_key()).unwrap();
            let leaf = Hash(leaves[index]);
            tlog_tiles::check_record(&theirs(&proof.hashes), size, Hash(root), id - 1, leaf).unwrap();
        }
    }
}

#[test]
fn every_consistency_proof_is_the_one_of_the_definition() {
    let directory = ledger_of(SIZE);
    let ledger = open(directory.path());
    let leaves = leaves(&tamper(directory.path()));
    for new in INTERESTING {
        let known = &leaves[..usize::try_from(new).unwrap()];
        for old in INTERESTING.into_iter().filter(|old| *old <= new) {
            let proof = consistency(&ledger, old, new);
            let old_length = usize::try_from(old).unwrap();
            assert_eq!(digests(&proof.hashes), naive_consistency(old_length, known, true), "{old} in {new}");
            let before = consistency(&ledger, old, old).checkpoint.note;
            check_consistency(&proof, &before, ledger.public_key()).unwrap();
            let (old_root, new_root) = (Hash(naive_root(&known[..old_length])), Hash(naive_root(known)));
            tlog_tiles::check_tree(&theirs(&proof.hashes), new, new_root, old, old_root).unwrap();
        }
        let from_nothing = consistency(&ledger, 0, new);
        assert!(from_nothing.hashes.is_empty());
        let nothing = consistency(&ledger, 0, 0).checkpoint.note;
        check_consistency(&from_nothing, &nothing, ledger.public_key()).unwrap();
    }
}

#[test]
fn proofs_across_full_tiles_of_both_levels_hold() {
    let size = 65_536 + 300;
    let directory = ledger_of(size);
    let ledger = open(directory.path());
    for id in [1, 256, 257, 65_535, 65_536, 65_537, size] {
        check_inclusion(&inclusion(&ledger, id, size), ledger.public_key()).unwrap();
    }
    for old in [1, 256, 65_535, 65_536, 65_537, 65_792] {
        let before = consistency(&ledger, old, old).checkpoint.note;
        check_consistency(&consistency(&ledger, old, size), &before, ledger.public_key()).unwrap();
    }
    drop(ledger);
    let path = common::database(directory.path());
    let report = agentos_ledger::verify(&path, agentos_ledger::VerifyOptions::default()).unwrap();
    assert_eq!(report.size, size);
    tamper(directory.path())
        .execute_batch("UPDATE tiles SET hashes = zeroblob(8192) WHERE level = 1")
        .unwrap();
    let error = agentos_ledger::verify(&path, agentos_ledger::VerifyOptions::default()).unwrap_err();
    assert_eq!(error.violation().unwrap().kind, agentos_ledger::ViolationKind::TreeMismatch);
}

#[test]
fn a_proof_that_was_altered_does_not_hold() {
    let directory = ledger_of(300);
    let ledger = open(directory.path());
    let other_directory = ledger_of(300);
    let other = open(other_directory.path());
    let proof = inclusion(&ledger, 100, 300);
    let refused = |change: &dyn Fn(&mut InclusionProof)| {
        let mut changed = proof.clone();
        change(&mut changed);
        check_inclusion(&changed, ledger.public_key()).unwrap_err()
    };
    assert_eq!(refused(&|proof| proof.hashes.swap(0, 1)), ProofError::Hashes);
    assert_eq!(refused(&|proof| drop(proof.hashes.pop())), ProofError::Hashes);
    assert_eq!(refused(&|proof| proof.hashes.push(to_base64(&[0; 32]))), ProofError::Hashes);
    assert_eq!(refused(&|proof| proof.hashes[0] = "x".to_owned()), ProofError::Encoding("hashes"));
    assert_eq!(
        refused(&|proof| proof.event.ts = "2020-01-01T00:00:00.000Z".to_owned()),
        ProofError::Event(100)
    );
    assert_eq!(refused(&|proof| proof.event.id = 101), ProofError::Event(101));
    assert_eq!(refused(&|proof| proof.leaf_index = 100), ProofError::Inconsistent("leaf_index"));
    assert_eq!(refused(&|proof| proof.size = 299), ProofError::Inconsistent("size"));
    assert_eq!(
        refused(&|proof| proof.leaf_hash = to_base64(&[0; 32])),
        ProofError::Inconsistent("leaf_hash")
    );
    let foreign = inclusion(&other, 100, 300);
    assert!(matches!(check_inclusion(&foreign, ledger.public_key()), Err(ProofError::Checkpoint(_))));
    assert_eq!(
        refused(&|proof| proof.event = inclusion(&ledger, 101, 300).event),
        ProofError::Inconsistent("leaf_index")
    );
}

#[test]
fn sizes_that_never_were_are_refused_and_events_that_never_were_are_nothing() {
    let directory = ledger_of(10);
    let ledger = open(directory.path());
    assert!(ledger.inclusion_proof(11, None).unwrap().is_none());
    assert!(ledger.inclusion_proof(0, None).unwrap().is_none());
    assert!(ledger.inclusion_proof(u64::MAX, Some(u64::MAX)).unwrap().is_none());
    let no_such = |result: Result<_, LedgerError>| matches!(result, Err(LedgerError::NoSuchSize { .. }));
    assert!(no_such(ledger.inclusion_proof(5, Some(11)).map(drop)));
    assert!(no_such(ledger.inclusion_proof(5, Some(4)).map(drop)));
    assert!(no_such(ledger.consistency_proof(5, Some(11)).map(drop)));
    assert!(no_such(ledger.consistency_proof(11, None).map(drop)));
    assert!(no_such(ledger.consistency_proof(6, Some(5)).map(drop)));
}

#[test]
fn a_ledger_that_grew_proves_it_against_a_checkpoint_kept_from_before() {
    let directory = ledger_of(100);
    let ledger = open(directory.path());
    let before = ledger.checkpoint_blocking().unwrap().note;
    append(&ledger, 101, 400);
    let proof = ledger.consistency_proof(100, None).unwrap();
    check_consistency(&proof, &before, ledger.public_key()).unwrap();
    let later = ledger.checkpoint_blocking().unwrap().note;
    assert_eq!(
        check_consistency(&proof, &later, ledger.public_key()),
        Err(ProofError::Inconsistent("old_root"))
    );
}

proptest! {
    #[test]
    fn any_hashes_are_refused_without_a_panic(
        leaf: [u8; 32], first: u64, second: u64, hashes in prop::collection::vec(any::<[u8; 32]>(), 0..70), root: [u8; 32],
    ) {
        prop_assert!(!verify_inclusion(&leaf, first, second, &hashes, &root));
        if first != second || leaf != root {
            prop_assert!(!verify_consistency(first, &leaf, second, &root, &hashes));
        }
    }
}
