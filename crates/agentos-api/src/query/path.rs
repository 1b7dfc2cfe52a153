//! Paths and file names as JSON strings, without losing a byte.
//!
//! Linux names are bytes, JSON strings are Unicode. A name that is UTF-8 stands as it is. Any other one is written as
//! `bytes:` and the name with each byte that is not UTF-8, and each percent sign, as `%` and two hexadecimal digits:
//! `bytes:/srv/caf%E9`. What an answer shows can be sent back as an argument, and names the same file.

use std::borrow::Cow;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Begins the text of a name that is not UTF-8, or that itself begins so.
const PREFIX: &str = "bytes:";

/// Longest path the kernel takes, in bytes (`PATH_MAX` less its final NUL).
pub const MAX_PATH_BYTES: usize = 4095;

/// The text of a name or path.
pub fn encode(bytes: &[u8]) -> String {
    match std::str::from_utf8(bytes) {
        Ok(text) if !text.starts_with(PREFIX) => text.to_owned(),
        _ => {
            let mut text = String::with_capacity(PREFIX.len() + bytes.len() + 16);
            text.push_str(PREFIX);
            for chunk in bytes.utf8_chunks() {
                text.push_str(&chunk.valid().replace('%', "%25"));
                for byte in chunk.invalid() {
                    text.push('%');
                    for digit in [byte >> 4, byte & 15] {
                        text.push(char::from_digit(u32::from(digit), 16).unwrap_or('0').to_ascii_uppercase());
                    }
                }
            }
            text
        }
    }
}

/// The name or path that `text` stands for.
///
/// # Errors
/// [`InvalidPath::Escape`] for a `%` after `bytes:` without two hexadecimal digits.
pub fn decode(text: &str) -> Result<Cow<'_, [u8]>, InvalidPath> {
    let Some(escaped) = text.strip_prefix(PREFIX) else {
        return Ok(Cow::Borrowed(text.as_bytes()));
    };
    let mut bytes = Vec::with_capacity(escaped.len());
    let mut rest = escaped.as_bytes();
    while let Some((&byte, tail)) = rest.split_first() {
        rest = tail;
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let [high, low, after @ ..] = tail else { return Err(InvalidPath::Escape) };
        let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
        let (Some(high), Some(low)) = (digit(*high), digit(*low)) else { return Err(InvalidPath::Escape) };
        bytes.push(high << 4 | low);
        rest = after;
    }
    Ok(Cow::Owned(bytes))
}

/// Why a text is no path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidPath {
    /// It does not begin with a slash.
    #[error("must be an absolute path, beginning with /")]
    Relative,
    /// It holds a NUL, which no path can.
    #[error("must not hold a NUL character")]
    Nul,
    /// It is longer than the kernel takes.
    #[error("must be at most {MAX_PATH_BYTES} bytes long")]
    TooLong,
    /// After `bytes:`, a percent sign stands without two hexadecimal digits.
    #[error("after `bytes:`, each % must be followed by two hexadecimal digits")]
    Escape,
}

/// An absolute path: begins with a slash, holds no NUL, at most [`MAX_PATH_BYTES`] long. `..` is allowed, and means what
/// it means to the kernel.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AbsolutePath(Vec<u8>);

impl AbsolutePath {
    /// Takes the bytes of a path.
    ///
    /// # Errors
    /// [`InvalidPath`] says what is wrong with it.
    pub fn new(bytes: impl Into<Vec<u8>>) -> Result<Self, InvalidPath> {
        let bytes = bytes.into();
        if bytes.first() != Some(&b'/') {
            Err(InvalidPath::Relative)
        } else if bytes.contains(&0) {
            Err(InvalidPath::Nul)
        } else if bytes.len() > MAX_PATH_BYTES {
            Err(InvalidPath::TooLong)
        } else {
            Ok(Self(bytes))
        }
    }

    /// The path as the kernel takes it.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl std::str::FromStr for AbsolutePath {
    type Err = InvalidPath;

    fn from_str(text: &str) -> Result<Self, InvalidPath> {
        Self::new(decode(text)?.into_owned())
    }
}

impl fmt::Display for AbsolutePath {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&encode(&self.0))
    }
}

impl fmt::Debug for AbsolutePath {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:?}", encode(&self.0))
    }
}

impl Serialize for AbsolutePath {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&encode(&self.0))
    }
}

impl<'de> Deserialize<'de> for AbsolutePath {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

impl JsonSchema for AbsolutePath {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "AbsolutePath".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "pattern": "^(bytes:)?/" })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_name_that_is_not_utf8_is_readable_and_exact() {
        assert_eq!(encode(b"/srv/caf\xe9 100%"), "bytes:/srv/caf%E9 100%25");
        assert_eq!(decode("bytes:/srv/caf%E9 100%25").unwrap(), &b"/srv/caf\xe9 100%"[..]);
        assert_eq!(encode(b"/srv/100%"), "/srv/100%");
        assert_eq!(encode(b"bytes:x"), "bytes:bytes:x");
    }

    #[test]
    fn what_is_no_path_is_refused() {
        for (text, error) in [
            ("etc/passwd", InvalidPath::Relative),
            ("", InvalidPath::Relative),
            ("bytes:etc", InvalidPath::Relative),
            ("/a\0b", InvalidPath::Nul),
            ("bytes:/%00", InvalidPath::Nul),
            ("bytes:/%f", InvalidPath::Escape),
            ("bytes:/%+1", InvalidPath::Escape),
            (&format!("/{}", "x".repeat(4095)), InvalidPath::TooLong),
        ] {
            assert_eq!(text.parse::<AbsolutePath>().unwrap_err(), error, "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn every_name_survives_the_wire(name in proptest::collection::vec(any::<u8>(), 0..64)) {
            let text = encode(&name);
            prop_assert_eq!(&decode(&text).unwrap()[..], &name[..]);
        }

        #[test]
        fn no_two_names_look_alike(left in proptest::collection::vec(any::<u8>(), 0..6), right in proptest::collection::vec(any::<u8>(), 0..6)) {
            prop_assert_eq!(left == right, encode(&left) == encode(&right));
        }

        #[test]
        fn any_text_is_decoded_without_panic(text: String) {
            let _ = decode(&text);
            let _ = decode(&format!("bytes:{text}"));
        }
    }
}
