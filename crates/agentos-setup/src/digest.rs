//! Digests as text.

use ring::digest::{SHA256, digest};

/// The first 16 hexadecimal digits of the SHA-256 of all parts, each counted with its length.
pub fn text(parts: &[&[u8]]) -> String {
    let mut whole = Vec::new();
    for part in parts {
        whole.extend_from_slice(&(part.len() as u64).to_be_bytes());
        whole.extend_from_slice(part);
    }
    let mut text = hexadecimal(digest(&SHA256, &whole).as_ref());
    text.truncate(16);
    text
}

/// The bytes in hexadecimal digits.
pub fn hexadecimal(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    bytes
        .iter()
        .flat_map(|byte| [byte >> 4, byte & 15])
        .map(|digit| char::from(DIGITS[usize::from(digit)]))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_digest_tells_parts_apart() {
        assert_ne!(text(&[b"ab", b"c"]), text(&[b"a", b"bc"]));
        assert_eq!(text(&[b"ab"]).len(), 16);
    }
}
