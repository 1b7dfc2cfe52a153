//! The name of a content.

use std::fmt;
use std::io::{self, Read};
use std::str::FromStr;

use ring::digest::{Context, SHA256, SHA256_OUTPUT_LEN, digest};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The SHA-256 of a content (FIPS 180-4). As text: 64 hexadecimal digits, lower case.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Hash([u8; SHA256_OUTPUT_LEN]);

/// A text is not the name of a content.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a SHA-256 in 64 hexadecimal digits")]
pub struct InvalidHash;

impl Hash {
    /// The name of that content.
    pub fn of(content: &[u8]) -> Self {
        Self::from_digest(digest(&SHA256, content).as_ref())
    }

    /// The name and the size of all that `source` has.
    ///
    /// # Errors
    /// The source's.
    pub fn of_reader(mut source: impl Read) -> io::Result<(Self, u64)> {
        let mut context = Context::new(&SHA256);
        let (mut piece, mut size) = (vec![0; 64 << 10], 0);
        loop {
            match source.read(&mut piece) {
                Ok(0) => return Ok((Self::from_digest(context.finish().as_ref()), size)),
                Ok(length) => {
                    context.update(piece.get(..length).unwrap_or_default());
                    size += length as u64;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    pub(crate) fn from_digest(digest: &[u8]) -> Self {
        let mut bytes = [0; SHA256_OUTPUT_LEN];
        // The lengths are the same: both are SHA-256's.
        for (to, from) in bytes.iter_mut().zip(digest) {
            *to = *from;
        }
        Self(bytes)
    }

    /// Its bytes.
    pub const fn as_bytes(&self) -> &[u8; SHA256_OUTPUT_LEN] {
        &self.0
    }
}

/// The hash of a content that comes in pieces.
pub struct Hashing(Context);

impl Default for Hashing {
    fn default() -> Self {
        Self(Context::new(&SHA256))
    }
}

impl Hashing {
    /// The next piece.
    pub fn update(&mut self, piece: &[u8]) {
        self.0.update(piece);
    }

    /// The name of all of them.
    pub fn finish(self) -> Hash {
        Hash::from_digest(self.0.finish().as_ref())
    }
}

impl fmt::Display for Hash {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(formatter, "{byte:02x}"))
    }
}

impl fmt::Debug for Hash {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, formatter)
    }
}

impl FromStr for Hash {
    type Err = InvalidHash;

    fn from_str(text: &str) -> Result<Self, InvalidHash> {
        let digits: Vec<u8> = text
            .bytes()
            .map(|byte| match byte {
                b'0'..=b'9' => Ok(byte - b'0'),
                b'a'..=b'f' => Ok(byte - b'a' + 10),
                _ => Err(InvalidHash),
            })
            .collect::<Result<_, _>>()?;
        if digits.len() != 2 * SHA256_OUTPUT_LEN {
            return Err(InvalidHash);
        }
        let bytes: Vec<u8> = digits.chunks_exact(2).map(|pair| pair[0] << 4 | pair[1]).collect();
        Ok(Self::from_digest(&bytes))
    }
}

impl Serialize for Hash {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Hash {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_hash_survives_its_text(content: Vec<u8>) {
            let hash = Hash::of(&content);
            prop_assert_eq!(hash.to_string().parse::<Hash>().unwrap(), hash);
        }

        #[test]
        fn any_text_is_taken_or_refused(text: String) {
            if let Ok(hash) = text.parse::<Hash>() {
                prop_assert_eq!(hash.to_string(), text);
            }
        }
    }
}
