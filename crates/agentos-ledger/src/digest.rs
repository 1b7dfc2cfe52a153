//! SHA-256 and the two ways its values are written: hexadecimal in events, base64 in checkpoints and proofs.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::digest::{Context, SHA256};

/// A SHA-256 value.
pub type Digest = [u8; 32];

/// `prev_hash` of the first event.
pub const GENESIS: &str = "0000000000000000000000000000000000000000000000000000000000000000";

/// SHA-256 over the concatenation of `parts`.
pub(crate) fn sha256(parts: &[&[u8]]) -> Digest {
    if let [whole] = parts {
        return sha256_of(whole);
    }
    let mut context = Context::new(&SHA256);
    for part in parts {
        context.update(part);
    }
    let mut digest = [0; 32];
    digest.copy_from_slice(context.finish().as_ref());
    digest
}

/// SHA-256 over `data`, without the copies that joining parts takes.
pub(crate) fn sha256_of(data: &[u8]) -> Digest {
    let mut digest = [0; 32];
    digest.copy_from_slice(ring::digest::digest(&SHA256, data).as_ref());
    digest
}

const HEX: &[u8; 16] = b"0123456789abcdef";

/// The 64 lower-case hexadecimal digits of `digest`.
pub(crate) fn hex_bytes(digest: &Digest) -> [u8; 64] {
    let mut digits = [0; 64];
    for (pair, byte) in digits.chunks_exact_mut(2).zip(digest) {
        pair.copy_from_slice(&[HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]]);
    }
    digits
}

/// The 64 lower-case hexadecimal digits of `digest`.
pub fn to_hex(digest: &Digest) -> String {
    hex_bytes(digest).iter().map(|&byte| char::from(byte)).collect()
}

/// Reads 64 lower-case hexadecimal digits; anything else is nothing.
pub fn from_hex(text: &[u8]) -> Option<Digest> {
    let digits: &[u8; 64] = text.try_into().ok()?;
    let mut digest = [0; 32];
    for (byte, pair) in digest.iter_mut().zip(digits.chunks_exact(2)) {
        let value = |digit: u8| match digit {
            b'0'..=b'9' => Some(digit - b'0'),
            b'a'..=b'f' => Some(digit - b'a' + 10),
            _ => None,
        };
        *byte = value(pair[0])? << 4 | value(pair[1])?;
    }
    Some(digest)
}

/// Standard base64 with padding (RFC 4648, section 4).
pub fn to_base64(bytes: &[u8]) -> String {
    STANDARD.encode(bytes)
}

/// Reads the base64 of a digest; anything else is nothing.
pub fn digest_from_base64(text: &str) -> Option<Digest> {
    from_base64(text)?.try_into().ok()
}

pub(crate) fn from_base64(text: &str) -> Option<Vec<u8>> {
    STANDARD.decode(text).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn sha256_of_abc_is_the_published_value() {
        let expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(to_hex(&sha256(&[b"a", b"bc"])), expected);
    }

    #[test]
    fn only_64_lower_case_digits_are_read() {
        assert!(from_hex(GENESIS.as_bytes()).is_some());
        assert!(from_hex("A".repeat(64).as_bytes()).is_none());
        assert!(from_hex("0".repeat(63).as_bytes()).is_none());
    }

    proptest! {
        #[test]
        fn both_forms_read_back(digest: [u8; 32]) {
            prop_assert_eq!(from_hex(to_hex(&digest).as_bytes()), Some(digest));
            prop_assert_eq!(digest_from_base64(&to_base64(&digest)), Some(digest));
        }
    }
}
