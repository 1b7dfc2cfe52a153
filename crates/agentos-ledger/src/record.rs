//! The one definition of an event's payload, hash and leaf, and the checks that make it unambiguous.
//!
//! `hash = SHA-256(id ‖ ts ‖ type ‖ actor ‖ payload ‖ prev_hash)` has no separators. It is injective because the last 64
//! bytes are `prev_hash`, the first `{` begins the payload, and the payload repeats the four fields before it, each in a
//! form that ends where it says. [`check`] is what a verifier must find true before it believes a hash.

use std::io::Write as _;

use crate::digest::{Digest, from_hex, hex_bytes, sha256, sha256_of};

/// The fields that the hash covers, as they stand in the table.
#[derive(Clone, Copy, Debug)]
pub struct Fields<'a> {
    /// Position, from 1.
    pub id: u64,
    /// `YYYY-MM-DDTHH:MM:SS.mmmZ`.
    pub ts: &'a [u8],
    /// The event type.
    pub kind: &'a [u8],
    /// The actor.
    pub actor: &'a [u8],
    /// The canonical JSON.
    pub payload: &'a [u8],
    /// The hash of the event before, as 64 hexadecimal digits.
    pub prev_hash: &'a [u8],
}

/// A field that is not as the format has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FieldError {
    /// The field's bytes are outside its charset, length or form.
    #[error("`{0}` is malformed")]
    Malformed(&'static str),
    /// The payload does not repeat the event's own fields.
    #[error("the payload does not repeat the event's id, ts, type and actor")]
    NotRepeated,
}

/// A decimal number without a heap allocation.
pub(crate) struct Decimal {
    digits: [u8; 20],
    start: usize,
}

impl Decimal {
    pub(crate) fn new(mut number: u64) -> Self {
        let mut digits = [0; 20];
        let mut start = digits.len();
        loop {
            start -= 1;
            let digit = (number % 10) as u8;
            digits[start] = b'0' + digit;
            number /= 10;
            if number == 0 {
                return Self { digits, start };
            }
        }
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.digits[self.start..]
    }
}

/// Writes the payload of an event around its canonical `data`.
pub(crate) fn write_payload(out: &mut Vec<u8>, id: u64, ts: &str, kind: &str, actor: &str, data: &str) {
    out.clear();
    // Writing to memory cannot fail. The charsets of actor, ts and type leave nothing to escape.
    let _ = write!(out, r#"{{"actor":"{actor}","data":{data},"id":{id},"ts":"{ts}","type":"{kind}"}}"#);
}

/// The event's hash. Believe it only where [`check`] has passed.
pub fn event_hash(fields: &Fields<'_>) -> Digest {
    let id = Decimal::new(fields.id);
    sha256(&[id.as_bytes(), fields.ts, fields.kind, fields.actor, fields.payload, fields.prev_hash])
}

/// The event's leaf in the tree: SHA-256(0x00 ‖ len(id) ‖ id ‖ len(hash) ‖ hash), each length four bytes, big-endian.
///
/// `id` is written in decimal, `hash` as its 32 bytes. RFC 6962, section 2.1 has the 0x00.
pub fn leaf_hash(id: u64, hash: &Digest) -> Digest {
    let id = Decimal::new(id);
    let mut data = [0; 1 + 4 + 20 + 4 + 32];
    let digits = id.as_bytes();
    let end = 5 + digits.len();
    #[expect(clippy::cast_possible_truncation, reason = "at most 20 digits")]
    let length = digits.len() as u8;
    data[4] = length;
    data[5..end].copy_from_slice(digits);
    data[end + 3] = 32;
    data[end + 4..end + 36].copy_from_slice(hash);
    sha256_of(&data[..end + 36])
}

/// Finds the first field that is not as the format has it.
///
/// # Errors
/// [`FieldError`] names the field.
pub fn check(fields: &Fields<'_>) -> Result<(), FieldError> {
    if from_hex(fields.prev_hash).is_none() {
        return Err(FieldError::Malformed("prev_hash"));
    }
    check_content(fields)
}

/// [`check`] where `prev_hash` is known to be well formed, since it is compared with a hash that is.
pub(crate) fn check_content(fields: &Fields<'_>) -> Result<(), FieldError> {
    if fields.id == 0 {
        return Err(FieldError::Malformed("id"));
    }
    if !is_timestamp(fields.ts) {
        return Err(FieldError::Malformed("ts"));
    }
    if !is_name(fields.kind, agentos_api::event::MAX_EVENT_TYPE_BYTES, &TYPE_BYTES) {
        return Err(FieldError::Malformed("type"));
    }
    if !is_name(fields.actor, agentos_api::event::MAX_ACTOR_BYTES, &ACTOR_BYTES) {
        return Err(FieldError::Malformed("actor"));
    }
    if repeats(fields) { Ok(()) } else { Err(FieldError::NotRepeated) }
}

/// Whether the payload is `{"actor":"…","data":{…},"id":…,"ts":"…","type":"…"}` with this event's own fields.
fn repeats(fields: &Fields<'_>) -> bool {
    let id = Decimal::new(fields.id);
    let data = (|| {
        let rest = fields.payload.strip_prefix(br#"{"actor":""#)?.strip_prefix(fields.actor)?;
        let rest = rest.strip_prefix(br#"","data":"#)?;
        let rest = rest.strip_suffix(br#""}"#)?.strip_suffix(fields.kind)?;
        let rest = rest.strip_suffix(br#"","type":""#)?.strip_suffix(fields.ts)?;
        rest.strip_suffix(br#","ts":""#)?.strip_suffix(id.as_bytes())?.strip_suffix(br#","id":"#)
    })();
    data.is_some_and(|data| data.first() == Some(&b'{') && data.last() == Some(&b'}'))
}

const fn table(bytes: &[u8]) -> [bool; 256] {
    let mut table = [false; 256];
    let mut position = 0;
    while position < bytes.len() {
        table[bytes[position] as usize] = true;
        position += 1;
    }
    table
}

/// The charset of `agentos_api::event::EventType`, as a table: this runs for every row of a verification.
static TYPE_BYTES: [bool; 256] = table(b"abcdefghijklmnopqrstuvwxyz0123456789._-");
/// The charset of `agentos_api::event::Actor`.
static ACTOR_BYTES: [bool; 256] =
    table(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789:._@/+-");

fn is_name(name: &[u8], max: usize, admitted: &[bool; 256]) -> bool {
    name.len() <= max
        && name.first().is_some_and(u8::is_ascii_alphabetic)
        && name.iter().all(|&byte| admitted[usize::from(byte)])
}

/// Whether `ts` has the form `YYYY-MM-DDTHH:MM:SS.mmmZ`, with each part within its range.
fn is_timestamp(ts: &[u8]) -> bool {
    const FORM: &[u8; 24] = b"0000-00-00T00:00:00.000Z";
    let Ok(ts): Result<&[u8; 24], _> = ts.try_into() else { return false };
    let form = ts
        .iter()
        .zip(FORM)
        .all(|(byte, form)| if *form == b'0' { byte.is_ascii_digit() } else { byte == form });
    let two = |at: usize| (ts[at] - b'0') * 10 + (ts[at + 1] - b'0');
    form && (1..=12).contains(&two(5))
        && (1..=31).contains(&two(8))
        && two(11) < 24
        && two(14) < 60
        && two(17) < 60
}

/// `hash` in the form of the table.
pub(crate) fn hash_text(hash: &Digest) -> [u8; 64] {
    hex_bytes(hash)
}
