//! C2SP signed notes and checkpoints: the text that says what the ledger held, and whose signature is on it.
//!
//! Sources: c2sp.org/signed-note, c2sp.org/tlog-checkpoint. Only Ed25519 (type 0x01) is read and written.

use std::fmt;
use std::str::FromStr;

use ring::rand::{SecureRandom as _, SystemRandom};
use ring::signature::{ED25519, Ed25519KeyPair, KeyPair as _, UnparsedPublicKey};

use crate::digest::{Digest, digest_from_base64, from_base64, sha256, to_base64};

/// The longest note that is read, in bytes: a checkpoint with a hundred signatures stays below.
pub const MAX_NOTE_BYTES: usize = 16_384;
/// The longest key name, in bytes.
const MAX_NAME_BYTES: usize = 255;
pub(crate) const ED25519_TYPE: u8 = 1;
pub(crate) const SIGNATURE_PREFIX: &str = "\u{2014} ";

/// Why a note, a checkpoint or a key was not believed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoteError {
    /// The text is not of the form.
    #[error("not a signed checkpoint: {0}")]
    Malformed(&'static str),
    /// The text is not a key of the form.
    #[error("not a C2SP key (name+hash+base64): {0}")]
    MalformedKey(&'static str),
    /// The name cannot be a key's name or a ledger's origin.
    #[error("{0:?} cannot name a ledger: 1 to 255 bytes without spaces, control characters and `+`")]
    Name(String),
    /// No signature line is by the expected key.
    #[error("signed by {found}, not by {expected}")]
    OtherKey {
        /// The keys named on the signature lines.
        found: String,
        /// The key that was expected.
        expected: String,
    },
    /// The expected key's signature does not fit the text.
    #[error("the signature of {0} does not fit the text")]
    BadSignature(String),
    /// The text is of another ledger.
    #[error("a checkpoint of {found}, not of {expected}")]
    OtherOrigin {
        /// The note's first line.
        found: String,
        /// The key's name.
        expected: String,
    },
    /// The kernel gave no random bytes for a new key.
    #[error("no random bytes for a new key")]
    Random,
}

pub(crate) fn check_name(name: &str) -> Result<(), NoteError> {
    let bad = name.is_empty()
        || name.len() > MAX_NAME_BYTES
        || name.chars().any(|letter| letter.is_whitespace() || letter.is_control() || letter == '+');
    if bad { Err(NoteError::Name(name.chars().take(64).collect())) } else { Ok(()) }
}

/// The kind of a key (C2SP signed-note calls it the signature type) and its 32 bytes, as they are hashed and encoded.
fn encoded(kind: u8, key: &[u8; 32]) -> [u8; 33] {
    let mut encoded = [kind; 33];
    encoded[1..].copy_from_slice(key);
    encoded
}

/// The first four bytes of SHA-256(name ‖ 0x0A ‖ kind ‖ key).
pub(crate) fn key_id(kind: u8, name: &str, public: &[u8; 32]) -> [u8; 4] {
    let [first, second, third, fourth, ..] = sha256(&[name.as_bytes(), b"\n", &encoded(kind, public)]);
    [first, second, third, fourth]
}

pub(crate) fn id_text(id: [u8; 4]) -> String {
    format!("{:08x}", u32::from_be_bytes(id))
}

/// `name+hash+base64(kind ‖ key)`. In a private key's text the hash is the public key's, and the key the seed.
pub(crate) fn key_text(kind: u8, name: &str, id: [u8; 4], key: &[u8; 32]) -> String {
    format!("{name}+{}+{}", id_text(id), to_base64(&encoded(kind, key)))
}

/// The name, the hash and the key in `name+hash+base64(kind ‖ key)`; whether the hash is the key's is left to the caller.
pub(crate) fn split_key(kind: u8, text: &str) -> Result<(&str, &str, [u8; 32]), NoteError> {
    let mut parts = text.trim_end_matches('\n').splitn(3, '+');
    let (Some(name), Some(id), Some(key)) = (parts.next(), parts.next(), parts.next()) else {
        return Err(NoteError::MalformedKey("it has no three parts"));
    };
    check_name(name)?;
    Ok((name, id, decode_key(kind, key)?))
}

/// What a private key's text begins with.
pub(crate) const PRIVATE_PREFIX: &str = "PRIVATE+KEY+";

/// The public half of a ledger's key: `name+hash+base64(0x01 ‖ key)`.
#[derive(Clone, PartialEq, Eq)]
pub struct VerifierKey {
    name: String,
    public: [u8; 32],
}

impl VerifierKey {
    fn new(name: &str, public: [u8; 32]) -> Result<Self, NoteError> {
        check_name(name)?;
        Ok(Self { name: name.to_owned(), public })
    }

    /// The key's name, which is the ledger's origin.
    pub fn name(&self) -> &str {
        &self.name
    }

    fn id(&self) -> [u8; 4] {
        key_id(ED25519_TYPE, &self.name, &self.public)
    }

    fn id_text(&self) -> String {
        id_text(self.id())
    }
}

impl fmt::Display for VerifierKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&key_text(ED25519_TYPE, &self.name, self.id(), &self.public))
    }
}

impl fmt::Debug for VerifierKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, formatter)
    }
}

impl FromStr for VerifierKey {
    type Err = NoteError;

    fn from_str(text: &str) -> Result<Self, NoteError> {
        let (name, id, public) = split_key(ED25519_TYPE, text)?;
        let key = VerifierKey::new(name, public)?;
        if key.id_text() == id { Ok(key) } else { Err(NoteError::MalformedKey("its hash is not its own")) }
    }
}

fn decode_key(kind: u8, text: &str) -> Result<[u8; 32], NoteError> {
    match from_base64(text).as_deref() {
        Some([found, key @ ..]) if *found == kind => {
            key.try_into().map_err(|_| NoteError::MalformedKey("an Ed25519 key has 32 bytes"))
        }
        Some(_) => Err(NoteError::MalformedKey(if kind == ED25519_TYPE {
            "it is of another kind than Ed25519"
        } else {
            "it is of another kind than a witness's (0x04)"
        })),
        None => Err(NoteError::MalformedKey("its third part is not base64")),
    }
}

pub(crate) fn random_seed() -> Result<[u8; 32], NoteError> {
    let mut seed = [0; 32];
    SystemRandom::new().fill(&mut seed).map_err(|_| NoteError::Random)?;
    Ok(seed)
}

/// The Ed25519 key of a seed, and its public half.
pub(crate) fn key_pair(seed: &[u8; 32]) -> Result<(Ed25519KeyPair, [u8; 32]), NoteError> {
    let malformed = NoteError::MalformedKey("an Ed25519 key has 32 bytes");
    let pair = Ed25519KeyPair::from_seed_unchecked(seed).map_err(|_| malformed.clone())?;
    let public = pair.public_key().as_ref().try_into().map_err(|_| malformed)?;
    Ok((pair, public))
}

/// The private half: signs checkpoints. Its text form is the one that C2SP note tools use.
pub(crate) struct SigningKey {
    pair: Ed25519KeyPair,
    verifier: VerifierKey,
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "SigningKey({})", self.verifier)
    }
}

impl SigningKey {
    /// A new key under `name`, and its private text form.
    pub(crate) fn generate(name: &str) -> Result<(Self, String), NoteError> {
        let seed = random_seed()?;
        let key = Self::from_seed(name, &seed)?;
        let text = key_text(ED25519_TYPE, name, key.verifier.id(), &seed);
        Ok((key, format!("{PRIVATE_PREFIX}{text}\n")))
    }

    fn from_seed(name: &str, seed: &[u8; 32]) -> Result<Self, NoteError> {
        let (pair, public) = key_pair(seed)?;
        Ok(Self { verifier: VerifierKey::new(name, public)?, pair })
    }

    /// Reads the private text form.
    pub(crate) fn parse(text: &str) -> Result<Self, NoteError> {
        let rest =
            text.strip_prefix(PRIVATE_PREFIX).ok_or(NoteError::MalformedKey("it is not a private key"))?;
        let (name, id, seed) = split_key(ED25519_TYPE, rest)?;
        let key = Self::from_seed(name, &seed)?;
        if key.verifier.id_text() == id {
            Ok(key)
        } else {
            Err(NoteError::MalformedKey("its hash is not its own"))
        }
    }

    pub(crate) fn verifier(&self) -> &VerifierKey {
        &self.verifier
    }

    /// Signs that the ledger has `size` events under `root`. Ed25519 is deterministic: one statement, one note.
    pub(crate) fn sign(&self, size: u64, root: &Digest) -> agentos_api::ledger::Checkpoint {
        let text = format!("{}\n{size}\n{}\n", self.verifier.name, to_base64(root));
        let mut signature = self.verifier.id().to_vec();
        signature.extend_from_slice(self.pair.sign(text.as_bytes()).as_ref());
        let note = format!("{text}\n{SIGNATURE_PREFIX}{} {}\n", self.verifier.name, to_base64(&signature));
        agentos_api::ledger::Checkpoint {
            origin: self.verifier.name.clone(),
            size,
            root: to_base64(root),
            note,
            public_key: self.verifier.to_string(),
        }
    }
}

/// What a checkpoint says: so many events, under this root.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TreeHead {
    /// The ledger's name.
    pub origin: String,
    /// How many events.
    pub size: u64,
    /// The tree's root.
    pub root: Digest,
}

/// One signature line: the key's name and id, and the signature.
pub(crate) struct SignatureLine<'a> {
    pub(crate) name: &'a str,
    pub(crate) id: [u8; 4],
    pub(crate) signature: Vec<u8>,
}

/// Reads a signed checkpoint and believes it only if `key` signed it. Signatures of others (witnesses) are left aside.
///
/// # Errors
/// [`NoteError`] when the text is malformed, of another ledger, or not signed by `key`.
pub fn open_checkpoint(note: &str, key: &VerifierKey) -> Result<TreeHead, NoteError> {
    let (text, head, lines) = parse(note)?;
    let mut found = Vec::new();
    for line in &lines {
        if line.name != key.name || line.id != key.id() {
            found.push(format!("{}+{:08x}", line.name, u32::from_be_bytes(line.id)));
            continue;
        }
        return match UnparsedPublicKey::new(&ED25519, key.public).verify(text.as_bytes(), &line.signature) {
            Ok(()) if head.origin == key.name => Ok(head),
            Ok(()) => Err(NoteError::OtherOrigin { found: head.origin, expected: key.name.clone() }),
            Err(_) => Err(NoteError::BadSignature(key.name.clone())),
        };
    }
    Err(NoteError::OtherKey { found: found.join(", "), expected: format!("{}+{}", key.name, key.id_text()) })
}

/// What a checkpoint says, without asking who signed it: for showing, never for trusting.
///
/// # Errors
/// [`NoteError::Malformed`].
pub fn read_checkpoint(note: &str) -> Result<TreeHead, NoteError> {
    parse(note).map(|(_, head, _)| head)
}

/// The text that was signed, what it says, and its signature lines.
pub(crate) fn parse(note: &str) -> Result<(&str, TreeHead, Vec<SignatureLine<'_>>), NoteError> {
    let malformed = NoteError::Malformed;
    if note.len() > MAX_NOTE_BYTES {
        return Err(malformed("it is too long"));
    }
    if note.chars().any(|letter| letter < ' ' && letter != '\n') {
        return Err(malformed("it holds control characters"));
    }
    let split = note.rfind("\n\n").ok_or(malformed("no blank line before the signatures"))?;
    let (text, signatures) = (&note[..=split], &note[split + 2..]);
    let signatures =
        signatures.strip_suffix('\n').ok_or(malformed("the last signature line is not ended"))?;
    let lines: Vec<SignatureLine<'_>> =
        signatures.split('\n').map(signature_line).collect::<Result<_, _>>()?;

    let mut body = text.trim_end_matches('\n').split('\n');
    let (Some(origin), Some(size), Some(root)) = (body.next(), body.next(), body.next()) else {
        return Err(malformed("no origin, size and root"));
    };
    if origin.is_empty() || text.contains("\n\n") {
        return Err(malformed("an empty line"));
    }
    let number: u64 = size.parse().map_err(|_| malformed("the size is not a number"))?;
    if number.to_string() != size {
        return Err(malformed("the size is not in canonical decimal"));
    }
    let root = digest_from_base64(root).ok_or(malformed("the root is not 32 bytes of base64"))?;
    Ok((text, TreeHead { origin: origin.to_owned(), size: number, root }, lines))
}

fn signature_line(line: &str) -> Result<SignatureLine<'_>, NoteError> {
    let malformed = NoteError::Malformed("a signature line is not `— name base64`");
    let (name, encoded) = line
        .strip_prefix(SIGNATURE_PREFIX)
        .and_then(|rest| rest.split_once(' '))
        .ok_or_else(|| malformed.clone())?;
    check_name(name).map_err(|_| malformed.clone())?;
    let bytes = from_base64(encoded).ok_or_else(|| malformed.clone())?;
    let (id, signature) = bytes.split_first_chunk::<4>().ok_or(malformed)?;
    Ok(SignatureLine { name, id: *id, signature: signature.to_vec() })
}
