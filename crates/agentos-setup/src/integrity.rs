//! Subresource integrity, as lock files write it: of several hashes the strongest kind counts, and a file is right when
//! it has one of that kind. What is not at least SHA-256 proves nothing and is refused.

use std::io::{self, Read};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::digest::{Algorithm, Context, SHA256, SHA384, SHA512};

/// Longest text that is read.
const LONGEST: usize = 4096;

/// The hashes of a file, all of one kind.
#[derive(Clone, Debug)]
pub struct Integrity {
    algorithm: &'static Algorithm,
    digests: Vec<Vec<u8>>,
}

impl PartialEq for Integrity {
    fn eq(&self, other: &Self) -> bool {
        self.digests == other.digests
    }
}

impl Eq for Integrity {}

/// The kinds, weakest first.
const KINDS: [(&str, &Algorithm); 3] = [("sha256", &SHA256), ("sha384", &SHA384), ("sha512", &SHA512)];

impl Integrity {
    /// Reads `text`: one or more of `sha512-BASE64`, apart by blanks.
    ///
    /// # Errors
    /// When no hash of a kind that is strong enough stands in it, or one of these is misspelt.
    pub fn parse(text: &str) -> Result<Self, String> {
        if text.len() > LONGEST {
            return Err(format!("its integrity is longer than {LONGEST} characters"));
        }
        let mut best: Option<(usize, Vec<Vec<u8>>)> = None;
        for word in text.split_ascii_whitespace() {
            let Some((kind, rest)) = word.split_once('-') else {
                return Err(format!("its integrity has a word without a kind: {word}"));
            };
            // Kinds that are unknown or too weak are passed over, as the standard has it: another may be there.
            let Some(rank) = KINDS.iter().position(|(name, _)| *name == kind) else { continue };
            let encoded = rest.split('?').next().unwrap_or_default();
            let digest =
                STANDARD.decode(encoded).map_err(|_| format!("its {kind} hash is not base64: {encoded}"))?;
            if digest.len() != KINDS[rank].1.output_len() {
                return Err(format!("its {kind} hash has {} bytes", digest.len()));
            }
            match &mut best {
                Some((present, digests)) if *present == rank => digests.push(digest),
                Some((present, _)) if *present > rank => {}
                _ => best = Some((rank, vec![digest])),
            }
        }
        match best {
            Some((rank, digests)) => Ok(Self { algorithm: KINDS[rank].1, digests }),
            None => Err("its integrity holds no SHA-256, SHA-384 or SHA-512 hash".to_owned()),
        }
    }

    /// Whether what `reader` gives has one of the hashes.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn holds(&self, mut reader: impl Read) -> io::Result<bool> {
        let mut context = Context::new(self.algorithm);
        let mut buffer = vec![0; 128 << 10];
        loop {
            match reader.read(&mut buffer) {
                Ok(0) => break,
                Ok(read) => context.update(&buffer[..read]),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        let found = context.finish();
        Ok(self.digests.iter().any(|digest| digest.as_slice() == found.as_ref()))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use ring::digest::digest;

    use super::*;

    fn hash(kind: usize, content: &[u8]) -> String {
        let (name, algorithm) = KINDS[kind];
        format!("{name}-{}", STANDARD.encode(digest(algorithm, content)))
    }

    #[test]
    fn the_strongest_kind_counts_and_one_of_it_suffices() {
        let right = hash(2, b"right");
        let either = Integrity::parse(&format!("{} {right}", hash(2, b"other"))).unwrap();
        assert!(either.holds(&b"right"[..]).unwrap() && either.holds(&b"other"[..]).unwrap());
        // A weaker hash that fits does not save what the stronger one denies.
        let both = Integrity::parse(&format!("{} {right}", hash(0, b"forged"))).unwrap();
        assert!(!both.holds(&b"forged"[..]).unwrap());
        assert!(both.holds(&b"right"[..]).unwrap());
    }

    #[test]
    fn what_proves_nothing_is_refused() {
        for text in
            ["", "  ", "sha1-2jmj7l5rSw0yVb/vlWAYkK/YBwk=", "md5-xxxx", "sha512", "sha512-", "sha512-!!"]
        {
            assert!(Integrity::parse(text).is_err(), "{text}");
        }
        let short = hash(2, b"x").replace("sha512", "sha384");
        assert!(Integrity::parse(&short).is_err());
        assert!(Integrity::parse(&"sha1-x ".repeat(1000)).is_err());
    }

    #[test]
    fn options_behind_a_hash_change_nothing() {
        let text = format!("sha1-2jmj7l5rSw0yVb/vlWAYkK/YBwk= {}?opt", hash(1, b"x"));
        assert!(Integrity::parse(&text).unwrap().holds(&b"x"[..]).unwrap());
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in any::<String>()) {
            let _ = Integrity::parse(&text);
        }

        #[test]
        fn a_changed_byte_is_noticed(mut content in prop::collection::vec(any::<u8>(), 1..300), at in any::<prop::sample::Index>(), kind in 0..3_usize) {
            let integrity = Integrity::parse(&hash(kind, &content)).unwrap();
            prop_assert!(integrity.holds(content.as_slice()).unwrap());
            let at = at.index(content.len());
            content[at] ^= 1;
            prop_assert!(!integrity.holds(content.as_slice()).unwrap());
        }
    }
}
