//! The published vectors of the tree and of signed checkpoints, and other people's implementations of the same formats.

use serde_json::Value;
use signed_note::{Note, StandardSigner, StandardVerifier, VerifierList};

use crate::digest::{Digest, GENESIS, to_hex};
use crate::merkle::Frontier;
use crate::note::{NoteError, SigningKey, open_checkpoint};
use crate::record::{Fields, event_hash, hash_text, leaf_hash, write_payload};

#[test]
fn a_thousand_events_have_the_published_roots() {
    let vectors: Value = serde_json::from_str(include_str!("../testdata/vectors.json")).unwrap();
    let thousand = &vectors["thousand"];
    let mut frontier = Frontier::default();
    let mut previous = GENESIS.as_bytes().to_vec();
    let mut payload = Vec::new();
    let mut compared = 0;
    for id in 0..=1000 {
        if id > 0 {
            let ts = "2026-01-02T03:04:05.678Z";
            write_payload(&mut payload, id, ts, "test.event", "agent/main", &format!("{{\"n\":{id}}}"));
            let hash = event_hash(&Fields {
                id,
                ts: ts.as_bytes(),
                kind: b"test.event",
                actor: b"agent/main",
                payload: &payload,
                prev_hash: &previous,
            });
            previous = hash_text(&hash).to_vec();
            frontier.push(leaf_hash(id, &hash), |_| ());
        }
        if let Some(root) = thousand["roots"].get(id.to_string()) {
            assert_eq!(to_hex(&frontier.root()), root.as_str().unwrap(), "size {id}");
            compared += 1;
        }
    }
    assert_eq!(compared, 9);
    assert_eq!(String::from_utf8(previous).unwrap(), thousand["last_hash"].as_str().unwrap());
}

fn key() -> (SigningKey, String) {
    SigningKey::generate("ledger.test/one").unwrap()
}

const ROOT: Digest = [0xab; 32];

#[test]
fn another_implementation_reads_and_verifies_a_checkpoint() {
    let (key, private) = key();
    let checkpoint = key.sign(42, &ROOT);
    let verifier = StandardVerifier::new(&checkpoint.public_key).unwrap();
    let note = Note::from_bytes(checkpoint.note.as_bytes()).unwrap();
    let (known, others) = note.verify(&VerifierList::new(vec![Box::new(verifier)])).unwrap();
    assert_eq!((known.len(), others.len()), (1, 0));
    let head = tlog_tiles::Checkpoint::from_bytes(note.text()).unwrap();
    assert_eq!((head.origin(), head.size(), head.hash().0), ("ledger.test/one", 42, ROOT));

    // The private key's file is in the form of the same tools, and signs the same.
    let signer = StandardSigner::new(private.trim_end()).unwrap();
    let mut same = Note::new(note.text(), &[]).unwrap();
    same.add_sigs(&[&signer]).unwrap();
    assert_eq!(same.to_bytes(), checkpoint.note.as_bytes());
}

#[test]
fn a_checkpoint_that_a_witness_signed_too_still_opens() {
    let (key, _) = key();
    let (_, witness) = SigningKey::generate("witness.test/w").unwrap();
    let checkpoint = key.sign(7, &ROOT);
    let mut note = Note::from_bytes(checkpoint.note.as_bytes()).unwrap();
    note.add_sigs(&[&StandardSigner::new(witness.trim_end()).unwrap()]).unwrap();
    let text = String::from_utf8(note.to_bytes()).unwrap();
    assert_eq!(open_checkpoint(&text, key.verifier()).unwrap().size, 7);
}

#[test]
fn a_key_and_its_public_half_read_back() {
    let (key, private) = key();
    assert_eq!(SigningKey::parse(&private).unwrap().verifier(), key.verifier());
    let public = key.verifier().to_string();
    assert_eq!(&public.parse::<crate::VerifierKey>().unwrap(), key.verifier());
    for bad in ["", "a", "a+b+c", &public.replace('1', "2"), &public[..public.len() - 4], &private] {
        if bad != public {
            assert!(bad.parse::<crate::VerifierKey>().is_err(), "{bad}");
        }
    }
    assert!(SigningKey::parse(&public).is_err());
    for name in ["", "a b", "a+b", "a\nb", "\u{a0}"] {
        assert!(matches!(SigningKey::generate(name), Err(NoteError::Name(_))), "{name:?}");
    }
}

#[test]
fn what_the_key_did_not_sign_is_refused() {
    let (key, _) = key();
    let (other, _) = SigningKey::generate("ledger.test/one").unwrap();
    let (renamed, _) = SigningKey::generate("ledger.test/two").unwrap();
    let note = key.sign(42, &ROOT).note;
    let open = |note: &str| open_checkpoint(note, key.verifier());
    assert!(open(&note).is_ok());
    assert!(matches!(open(&other.sign(42, &ROOT).note), Err(NoteError::OtherKey { .. })));
    assert!(matches!(open(&renamed.sign(42, &ROOT).note), Err(NoteError::OtherKey { .. })));
    assert!(matches!(open(&note.replace("\n42\n", "\n43\n")), Err(NoteError::BadSignature(_))));
    for bad in [
        "",
        "\n\n",
        &note[..note.len() - 1],
        &note.replace("\n42\n", "\n042\n"),
        &note.replace("\n42\n", "\n-1\n"),
        &note.replace('\u{2014}', "-"),
        &note.replace("\n42\n", "\n42\r\n"),
        &format!("{note}x"),
        &"x".repeat(20_000),
    ] {
        assert!(open(bad).is_err(), "{bad}");
    }
}

proptest::proptest! {
    #[test]
    fn any_text_is_refused_as_a_note_without_a_panic(text in "(.|\n){0,200}") {
        let (key, _) = key();
        proptest::prop_assert!(open_checkpoint(&text, key.verifier()).is_err());
        let _ = text.parse::<crate::VerifierKey>();
        let _ = SigningKey::parse(&text);
    }

    #[test]
    fn a_changed_byte_in_a_note_is_noticed(position in 0..100_usize, byte in 0x20..0x7f_u8) {
        let (key, _) = key();
        let mut note = key.sign(42, &ROOT).note.into_bytes();
        let position = position % note.len();
        if note[position] != byte && note[position].is_ascii() {
            note[position] = byte;
            let note = String::from_utf8(note).unwrap();
            proptest::prop_assert!(open_checkpoint(&note, key.verifier()).is_err());
        }
    }
}
