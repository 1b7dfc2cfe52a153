//! What is said to a witness over HTTP, and what it answers: c2sp.org/tlog-witness, `add-checkpoint`.
//!
//! Here is the text of a request and which answer it deserves; who speaks HTTP is somebody else.

use std::fmt;

use crate::cosigner::{CosignError, Cosigner, Disagreement};
use crate::digest::{Digest, digest_from_base64, to_base64};
use crate::merkle::verify_consistency;
use crate::note::{MAX_NOTE_BYTES, NoteError, open_checkpoint, read_checkpoint};

/// Most lines of a consistency proof.
pub const MAX_PROOF_LINES: usize = 63;
/// The longest request that is read, in bytes: the line with the old size, the most lines of a proof, the longest note.
pub const MAX_ADD_CHECKPOINT_BYTES: usize = 64 + MAX_PROOF_LINES * 45 + MAX_NOTE_BYTES;

/// A request: the checkpoint, and how it continues from the last one that the witness cosigned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AddCheckpoint {
    /// The size of the last checkpoint that the witness cosigned, as far as the caller knows; 0 for none.
    pub old: u64,
    /// The consistency proof from there (RFC 6962, section 2.1.2).
    pub proof: Vec<Digest>,
    /// The checkpoint, a signed note.
    pub note: String,
}

impl AddCheckpoint {
    /// Reads a request's body.
    ///
    /// # Errors
    /// [`NoteError::Malformed`], to be answered with 400.
    pub fn parse(body: &[u8]) -> Result<Self, NoteError> {
        let malformed = NoteError::Malformed;
        if body.len() > MAX_ADD_CHECKPOINT_BYTES {
            return Err(malformed("the request is too long"));
        }
        let text = std::str::from_utf8(body).map_err(|_| malformed("the request is no UTF-8"))?;
        let (head, note) = text.split_once("\n\n").ok_or(malformed("no empty line before the checkpoint"))?;
        let mut lines = head.split('\n');
        let old = lines.next().and_then(|line| line.strip_prefix("old "));
        let old = old.and_then(decimal).ok_or(malformed("the first line is not `old` and a size"))?;
        let mut proof = Vec::new();
        for line in lines {
            if proof.len() == MAX_PROOF_LINES {
                return Err(malformed("the proof has more than 63 lines"));
            }
            proof
                .push(digest_from_base64(line).ok_or(malformed("a line of the proof is no hash in base64"))?);
        }
        read_checkpoint(note)?;
        Ok(Self { old, proof, note: note.to_owned() })
    }
}

impl fmt::Display for AddCheckpoint {
    /// The request's body.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(formatter, "old {}", self.old)?;
        for hash in &self.proof {
            writeln!(formatter, "{}", to_base64(hash))?;
        }
        write!(formatter, "\n{}", self.note)
    }
}

/// A number without a sign and without leading zeros.
fn decimal(text: &str) -> Option<u64> {
    text.parse::<u64>().ok().filter(|number| number.to_string() == text)
}

/// The size in the body of an answer with status 409: in decimal, with a newline behind it.
pub fn parse_size(body: &str) -> Option<u64> {
    decimal(body.strip_suffix('\n')?)
}

/// Why a request gets no cosignature.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AddRefusal {
    /// The checkpoint is of another ledger: 404.
    #[error("this witness does not watch {0:?}")]
    UnknownOrigin(String),
    /// The ledger's key did not sign it: 403.
    #[error("the checkpoint is not signed with the ledger's key")]
    NotSigned(#[source] NoteError),
    /// The old size is larger than the checkpoint's: 400.
    #[error("the old size {old} is larger than the checkpoint's {size}")]
    OldIsLarger {
        /// The old size.
        old: u64,
        /// The checkpoint's.
        size: u64,
    },
    /// The last cosigned checkpoint has another size than the old one: 409, with that size.
    #[error("the last checkpoint that was cosigned has size {0}")]
    OtherSize(u64),
    /// Another root at the size that was cosigned, which is kept as evidence: 409.
    #[error("the ledger shows another root at the size that was cosigned")]
    OtherRoot(#[source] CosignError),
    /// The proof does not show that the ledger only grew: 422.
    #[error("the proof does not lead from the old size to the checkpoint")]
    Proof,
    /// The witness cannot do its work: 500.
    #[error("the witness cannot do its work")]
    Witness(#[from] CosignError),
}

impl AddRefusal {
    /// The status of the answer.
    pub const fn status(&self) -> u16 {
        match self {
            Self::UnknownOrigin(_) => 404,
            Self::NotSigned(_) => 403,
            Self::OldIsLarger { .. } => 400,
            Self::OtherSize(_) | Self::OtherRoot(_) => 409,
            Self::Proof => 422,
            Self::Witness(_) => 500,
        }
    }
}

impl Cosigner {
    /// Answers a request: the line of the cosignature, with its newline, made at `time` (seconds since 1970). That the
    /// checkpoint was seen is durable before. One at a time may be answered: what is looked at and what is kept belong
    /// together.
    ///
    /// A proof that does not fit is no evidence against the ledger: anybody can send one with a checkpoint that is public. Two
    /// roots at one size are, and are kept.
    ///
    /// # Errors
    /// [`AddRefusal`].
    pub fn add_checkpoint(&mut self, request: &AddCheckpoint, time: u64) -> Result<String, AddRefusal> {
        let origin = read_checkpoint(&request.note).map_err(AddRefusal::NotSigned)?.origin;
        if origin != self.ledger().name() {
            return Err(AddRefusal::UnknownOrigin(origin));
        }
        let new = open_checkpoint(&request.note, self.ledger()).map_err(AddRefusal::NotSigned)?;
        if request.old > new.size {
            return Err(AddRefusal::OldIsLarger { old: request.old, size: new.size });
        }
        let seen = self.seen()?;
        let last = seen.as_ref().map_or(0, |seen| seen.head.size);
        if request.old != last {
            return Err(AddRefusal::OtherSize(last));
        }
        let shown = match &seen {
            Some(seen) if last > 0 && new.size > last => {
                verify_consistency(last, &seen.head.root, new.size, &new.root, &request.proof)
            }
            _ => request.proof.is_empty(),
        };
        if !shown {
            return Err(AddRefusal::Proof);
        }
        let cosigned = self.cosign(&request.note, &request.proof, time).map_err(|error| match error {
            CosignError::Refused { disagreement: Disagreement::OtherRoot(_), .. } => {
                AddRefusal::OtherRoot(error)
            }
            error => AddRefusal::Witness(error),
        })?;
        // The witness's line is the last one.
        let line = cosigned.note.trim_end_matches('\n').rsplit('\n').next().unwrap_or_default();
        Ok(format!("{line}\n"))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::cosignature::{cosignatures, with_cosignature};
    use crate::cosigner::tests::{leaves, note, proof, witness};

    fn request(old: u64, proof: Vec<Digest>, note: String) -> AddCheckpoint {
        let request = AddCheckpoint { old, proof, note };
        // What is sent is what is read.
        assert_eq!(AddCheckpoint::parse(request.to_string().as_bytes()).unwrap(), request);
        request
    }

    #[test]
    fn a_ledger_that_grows_is_cosigned_step_by_step() {
        let (_directory, key, mut witness) = witness();
        let whole = leaves(13, None);
        let first = note(&key, &whole[..5]);
        let line = witness.add_checkpoint(&request(0, Vec::new(), first.clone()), 100).unwrap();
        let keys = [witness.key().clone()];
        assert_eq!(cosignatures(&with_cosignature(&first, &line).unwrap(), &keys).unwrap()[0].time, 100);
        // Who does not know what was seen is told.
        let unknowing = witness.add_checkpoint(&request(0, Vec::new(), note(&key, &whole)), 101).unwrap_err();
        assert!(matches!(unknowing, AddRefusal::OtherSize(5)));
        let grown = request(5, proof(5, &whole, true), note(&key, &whole));
        let line = witness.add_checkpoint(&grown, 200).unwrap();
        assert_eq!(cosignatures(&with_cosignature(&grown.note, &line).unwrap(), &keys).unwrap()[0].time, 200);
        // The same again is cosigned again, at its time.
        let again = witness.add_checkpoint(&request(13, Vec::new(), note(&key, &whole)), 300).unwrap();
        assert_eq!(
            cosignatures(&with_cosignature(&grown.note, &again).unwrap(), &keys).unwrap()[0].time,
            300
        );
        // An earlier request that arrives late rolls nothing back.
        let late =
            witness.add_checkpoint(&request(5, proof(5, &whole[..8], true), note(&key, &whole[..8])), 400);
        assert_eq!(late.unwrap_err().status(), 409);
        assert_eq!(witness.seen().unwrap().unwrap().head.size, 13);
    }

    #[test]
    fn each_refusal_has_its_status_and_cosigns_nothing() {
        let (_directory, key, mut witness) = witness();
        let (other, _) = crate::note::SigningKey::generate("ledger.test/a").unwrap();
        let (foreign, _) = crate::note::SigningKey::generate("ledger.test/b").unwrap();
        let (whole, rewritten) = (leaves(13, None), leaves(13, Some(2)));
        witness.add_checkpoint(&request(0, Vec::new(), note(&key, &whole[..5])), 100).unwrap();
        let before = witness.seen().unwrap();
        for (status, refused) in [
            (404, request(5, Vec::new(), note(&foreign, &whole))),
            (403, request(5, proof(5, &whole, true), note(&other, &whole))),
            (400, request(14, Vec::new(), note(&key, &whole))),
            (409, request(4, proof(4, &whole, true), note(&key, &whole))),
            (422, request(5, Vec::new(), note(&key, &whole))),
            (422, request(5, proof(5, &rewritten, true), note(&key, &rewritten))),
            (422, request(5, vec![[0; 32]], note(&key, &whole[..5]))),
        ] {
            assert_eq!(witness.add_checkpoint(&refused, 200).unwrap_err().status(), status, "{refused:?}");
            assert_eq!(witness.seen().unwrap(), before);
        }
        assert_eq!(witness.refusals().0, 0, "what anybody can send is no evidence");
        let two_roots = request(5, Vec::new(), note(&key, &rewritten[..5]));
        assert!(matches!(witness.add_checkpoint(&two_roots, 200), Err(AddRefusal::OtherRoot(_))));
        assert_eq!(witness.refusals().0, 1);
        assert_eq!(witness.seen().unwrap(), before);
    }

    #[test]
    fn what_is_not_of_the_form_is_refused() {
        let (_directory, key, _witness) = witness();
        let note = note(&key, &leaves(5, None));
        let hash = to_base64(&[7; 32]);
        let most = format!("old 1\n{}\n{note}", format!("{hash}\n").repeat(MAX_PROOF_LINES));
        assert_eq!(AddCheckpoint::parse(most.as_bytes()).unwrap().proof.len(), MAX_PROOF_LINES);
        for body in [
            String::new(),
            note.clone(),
            format!("old 1\n{note}"),
            format!("old 01\n\n{note}"),
            format!("old +1\n\n{note}"),
            format!("old  1\n\n{note}"),
            format!("Old 1\n\n{note}"),
            format!("old 18446744073709551616\n\n{note}"),
            format!("old 1\r\n\r\n{note}"),
            format!("old 1\nshort\n\n{note}"),
            format!("old 1\n{}\n{note}", format!("{hash}\n").repeat(MAX_PROOF_LINES + 1)),
            format!("old 1\n\n{}", note.trim_end()),
            "old 1\n\nno checkpoint\n".to_owned(),
        ] {
            assert!(AddCheckpoint::parse(body.as_bytes()).is_err(), "{body:?}");
        }
        assert_eq!(parse_size("20852014\n"), Some(20_852_014));
        for size in ["", "\n", "1", "01\n", "-1\n", "1\n\n"] {
            assert_eq!(parse_size(size), None, "{size:?}");
        }
    }

    proptest! {
        #[test]
        fn no_body_makes_reading_it_panic(body in any::<Vec<u8>>(), text in "(old [0-9]{0,21}\n)?([A-Za-z0-9+/=]{0,46}\n){0,4}\n?.{0,80}") {
            let _ = AddCheckpoint::parse(&body);
            let _ = AddCheckpoint::parse(text.as_bytes());
            let _ = parse_size(&text);
        }

        #[test]
        fn what_is_written_is_read_back(old in any::<u64>(), proof in proptest::collection::vec(any::<[u8; 32]>(), 0..=63)) {
            let (key, _) = crate::note::SigningKey::generate("ledger.test/a").unwrap();
            request(old, proof, note(&key, &leaves(5, None)));
        }
    }
}
