//! Cosignatures: what a witness signs to say that a checkpoint, of all that it has seen, only ever grew.
//!
//! Source: c2sp.org/tlog-cosignature, `cosignature/v1`. What is signed is a line `cosignature/v1`, a line `time N` (seconds
//! since 1970), and the checkpoint's text; the signature line holds the key's id, the time in eight bytes, big-endian, and
//! the Ed25519 signature. Such keys are of kind 0x04, so that none can be mistaken for a ledger's.

use std::fmt;
use std::str::FromStr;

use ring::signature::{ED25519, Ed25519KeyPair, UnparsedPublicKey};

use crate::digest::to_base64;
use crate::note::{
    MAX_NOTE_BYTES, NoteError, PRIVATE_PREFIX, SIGNATURE_PREFIX, check_name, id_text, key_id, key_pair,
    key_text, parse, random_seed, split_key,
};

/// The kind of a witness's key: timestamped Ed25519 cosignatures.
pub const COSIGNATURE_TYPE: u8 = 4;

/// The public half of a witness's key: `name+hash+base64(0x04 ‖ key)`.
#[derive(Clone, PartialEq, Eq)]
pub struct WitnessKey {
    name: String,
    public: [u8; 32],
}

impl WitnessKey {
    /// The witness's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    fn id(&self) -> [u8; 4] {
        key_id(COSIGNATURE_TYPE, &self.name, &self.public)
    }
}

impl fmt::Display for WitnessKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&key_text(COSIGNATURE_TYPE, &self.name, self.id(), &self.public))
    }
}

impl fmt::Debug for WitnessKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, formatter)
    }
}

impl FromStr for WitnessKey {
    type Err = NoteError;

    fn from_str(text: &str) -> Result<Self, NoteError> {
        let (name, id, public) = split_key(COSIGNATURE_TYPE, text)?;
        let key = Self { name: name.to_owned(), public };
        if id_text(key.id()) == id {
            Ok(key)
        } else {
            Err(NoteError::MalformedKey("its hash is not its own"))
        }
    }
}

/// The private half: cosigns checkpoints.
pub struct WitnessSigner {
    pair: Ed25519KeyPair,
    public: WitnessKey,
}

impl fmt::Debug for WitnessSigner {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "WitnessSigner({})", self.public)
    }
}

impl WitnessSigner {
    /// A new key under `name`, and its private text form.
    ///
    /// # Errors
    /// [`NoteError::Name`], [`NoteError::Random`].
    pub fn generate(name: &str) -> Result<(Self, String), NoteError> {
        let seed = random_seed()?;
        let signer = Self::from_seed(name, &seed)?;
        let text = key_text(COSIGNATURE_TYPE, name, signer.public.id(), &seed);
        Ok((signer, format!("{PRIVATE_PREFIX}{text}\n")))
    }

    fn from_seed(name: &str, seed: &[u8; 32]) -> Result<Self, NoteError> {
        check_name(name)?;
        let (pair, public) = key_pair(seed)?;
        Ok(Self { pair, public: WitnessKey { name: name.to_owned(), public } })
    }

    /// Reads the private text form.
    ///
    /// # Errors
    /// [`NoteError::MalformedKey`], [`NoteError::Name`].
    pub fn parse(text: &str) -> Result<Self, NoteError> {
        let rest =
            text.strip_prefix(PRIVATE_PREFIX).ok_or(NoteError::MalformedKey("it is not a private key"))?;
        let (name, id, seed) = split_key(COSIGNATURE_TYPE, rest)?;
        let signer = Self::from_seed(name, &seed)?;
        if id_text(signer.public.id()) == id {
            Ok(signer)
        } else {
            Err(NoteError::MalformedKey("its hash is not its own"))
        }
    }

    /// The public half.
    pub fn public(&self) -> &WitnessKey {
        &self.public
    }

    /// The cosignature's line, with its newline, on the checkpoint `note` at `time` (seconds since 1970). Whether the
    /// checkpoint deserves one is for [`crate::Cosigner`] to say.
    pub(crate) fn cosign(&self, note: &str, time: u64) -> Result<String, NoteError> {
        let (text, _, _) = parse(note)?;
        let mut signature = self.public.id().to_vec();
        signature.extend_from_slice(&time.to_be_bytes());
        signature.extend_from_slice(self.pair.sign(signed_message(text, time).as_bytes()).as_ref());
        Ok(format!("{SIGNATURE_PREFIX}{} {}\n", self.public.name, to_base64(&signature)))
    }
}

fn signed_message(text: &str, time: u64) -> String {
    format!("cosignature/v1\ntime {time}\n{text}")
}

/// A witness's cosignature that was found to fit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cosignature {
    /// Whose.
    pub witness: WitnessKey,
    /// When it was given, in seconds since 1970, by the witness's clock.
    pub time: u64,
    /// Its line, with its newline.
    pub line: String,
}

/// The cosignatures on `note` by the witnesses in `keys`, one at most of each: its latest. Lines of others are left aside.
///
/// # Errors
/// [`NoteError::BadSignature`] when a line names one of the keys and does not fit; [`NoteError::Malformed`].
pub fn cosignatures(note: &str, keys: &[WitnessKey]) -> Result<Vec<Cosignature>, NoteError> {
    let (text, _, lines) = parse(note)?;
    let mut found: Vec<Cosignature> = Vec::new();
    for line in lines {
        let Some(key) = keys.iter().find(|key| key.name == line.name && key.id() == line.id) else {
            continue;
        };
        let bad = || NoteError::BadSignature(key.name.clone());
        let (time, signature) = line.signature.split_first_chunk::<8>().ok_or_else(bad)?;
        let time = u64::from_be_bytes(*time);
        UnparsedPublicKey::new(&ED25519, key.public)
            .verify(signed_message(text, time).as_bytes(), signature)
            .map_err(|_| bad())?;
        let mut encoded = line.id.to_vec();
        encoded.extend_from_slice(&line.signature);
        let line = format!("{SIGNATURE_PREFIX}{} {}\n", key.name, to_base64(&encoded));
        match found.iter_mut().find(|known| known.witness == *key) {
            Some(known) if known.time < time => (known.time, known.line) = (time, line),
            Some(_) => {}
            None => found.push(Cosignature { witness: key.clone(), time, line }),
        }
    }
    Ok(found)
}

/// `note` with one more signature line.
///
/// # Errors
/// [`NoteError::Malformed`] when the result would be no checkpoint, or too long a one.
pub fn with_cosignature(note: &str, line: &str) -> Result<String, NoteError> {
    if note.len() + line.len() > MAX_NOTE_BYTES {
        return Err(NoteError::Malformed("it has too many signatures"));
    }
    let whole = format!("{note}{line}");
    let (before, after) = (parse(note)?.2.len(), parse(&whole)?.2.len());
    if after == before + 1 {
        Ok(whole)
    } else {
        Err(NoteError::Malformed("a signature line is not one line"))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::note::SigningKey;

    /// Made with Python's `hashlib` and OpenSSL's `pkeyutl -rawin` by `testdata/make_cosignature.py`.
    const VECTOR: &str = include_str!("../testdata/cosignature.json");

    fn vector() -> serde_json::Value {
        serde_json::from_str(VECTOR).unwrap()
    }

    #[test]
    fn key_and_line_are_those_of_an_independent_implementation() {
        let vector = vector();
        let text = |name: &str| vector[name].as_str().unwrap();
        let signer = WitnessSigner::parse(text("private_key")).unwrap();
        assert_eq!(signer.public().to_string(), text("public_key"));
        let time = vector["time"].as_u64().unwrap();
        assert_eq!(signer.cosign(text("note"), time).unwrap(), text("line"));
        let whole = with_cosignature(text("note"), text("line")).unwrap();
        let found = cosignatures(&whole, &[text("public_key").parse().unwrap()]).unwrap();
        assert_eq!(found.len(), 1);
        assert_eq!((found[0].time, found[0].line.as_str()), (time, text("line")));
    }

    /// What two other implementations made. What each is stands in the file.
    const OTHERS: &str = include_str!("../testdata/cosignature_others.json");

    #[test]
    fn what_others_cosigned_is_believed_and_made_the_same_from_the_same_seed() {
        let vector: serde_json::Value = serde_json::from_str(OTHERS).unwrap();
        let text = |name: &str| vector[name].as_str().unwrap();
        let ledger: crate::VerifierKey = text("log_key").parse().unwrap();
        assert_eq!(crate::open_checkpoint(text("note"), &ledger).unwrap().size, 13);
        let keys = [text("witness_key").parse::<WitnessKey>().unwrap()];
        let whole = with_cosignature(text("note"), text("line")).unwrap();
        let found = cosignatures(&whole, &keys).unwrap();
        assert_eq!((found.len(), found[0].time), (1, vector["time"].as_u64().unwrap()));
        let seed = crate::digest::sha256(&[b"witness"]);
        let signer = WitnessSigner::from_seed("witness.example.org/w1", &seed).unwrap();
        assert_eq!(signer.public(), &keys[0]);
        assert_eq!(signer.cosign(text("note"), found[0].time).unwrap(), text("line"));
        for key in vector["public_witnesses"].as_array().unwrap() {
            let key = key.as_str().unwrap();
            assert_eq!(key.parse::<WitnessKey>().unwrap().to_string(), key);
        }
    }

    #[test]
    fn a_ledgers_key_is_no_witness_and_a_witness_no_ledgers_key() {
        let (ledger, private) = SigningKey::generate("ledger.test/a").unwrap();
        assert!(ledger.verifier().to_string().parse::<WitnessKey>().is_err());
        assert!(WitnessSigner::parse(&private).is_err());
        let (witness, private) = WitnessSigner::generate("witness.test/a").unwrap();
        assert!(witness.public().to_string().parse::<crate::VerifierKey>().is_err());
        assert!(SigningKey::parse(&private).is_err());
    }

    #[test]
    fn the_time_the_text_and_the_key_are_all_signed() {
        let (ledger, _) = SigningKey::generate("ledger.test/a").unwrap();
        let (witness, _) = WitnessSigner::generate("witness.test/a").unwrap();
        let (namesake, _) = WitnessSigner::generate("witness.test/a").unwrap();
        let [note, other] = [7, 8].map(|size| ledger.sign(size, &[7; 32]).note);
        let line = witness.cosign(&note, 1000).unwrap();
        let keys = [witness.public().clone()];
        assert_eq!(cosignatures(&with_cosignature(&note, &line).unwrap(), &keys).unwrap().len(), 1);
        let moved = with_cosignature(&other, &line).unwrap();
        assert_eq!(cosignatures(&moved, &keys), Err(NoteError::BadSignature("witness.test/a".to_owned())));
        let foreign = with_cosignature(&note, &namesake.cosign(&note, 1000).unwrap()).unwrap();
        assert_eq!(cosignatures(&foreign, &keys), Ok(Vec::new()));
        // Twice by one witness is one cosignature: the later.
        let twice =
            with_cosignature(&with_cosignature(&note, &line).unwrap(), &witness.cosign(&note, 2000).unwrap());
        let found = cosignatures(&twice.unwrap(), &keys).unwrap();
        assert_eq!(found.iter().map(|one| one.time).collect::<Vec<_>>(), [2000]);
    }

    proptest! {
        #[test]
        fn no_text_makes_reading_a_key_or_a_note_panic(text in any::<String>(), name in "[a-z+]{0,4}") {
            let _ = text.parse::<WitnessKey>();
            let _ = format!("{name}+{text}+{text}").parse::<WitnessKey>();
            let _ = WitnessSigner::parse(&format!("{PRIVATE_PREFIX}{text}"));
            let key: WitnessKey = vector()["public_key"].as_str().unwrap().parse().unwrap();
            let _ = cosignatures(&text, std::slice::from_ref(&key));
            let _ = with_cosignature(vector()["note"].as_str().unwrap(), &text);
        }

        #[test]
        fn any_changed_byte_of_a_line_is_not_believed(at in 0_usize..1000, to in any::<u8>()) {
            let vector = vector();
            let (note, line) = (vector["note"].as_str().unwrap(), vector["line"].as_str().unwrap());
            let key: WitnessKey = vector["public_key"].as_str().unwrap().parse().unwrap();
            let mut bytes = line.as_bytes().to_vec();
            let at = at % bytes.len();
            prop_assume!(bytes[at] != to);
            bytes[at] = to;
            if let Ok(changed) = String::from_utf8(bytes) {
                let whole = format!("{note}{changed}");
                prop_assert!(cosignatures(&whole, &[key]).is_ok_and(|found| found.is_empty())
                    || cosignatures(&whole, &[vector["public_key"].as_str().unwrap().parse().unwrap()]).is_err());
            }
        }
    }
}
