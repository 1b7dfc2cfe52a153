//! Arguments from outside to their types, with the argument at fault named when it does not fit.

use serde::de::DeserializeOwned;

/// Longest path to a field that an error repeats, in characters: field names come from the caller.
const MAX_FIELD_CHARACTERS: usize = 128;
/// Longest reason that an error repeats, in characters.
const MAX_REASON_CHARACTERS: usize = 512;

/// Why a value does not have the type that is asked for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParseError {
    /// It is not JSON, or it is nested more than 128 deep.
    #[error("not JSON: {reason}")]
    Syntax {
        /// What stands where it should not.
        reason: String,
    },
    /// It is JSON, and a value in it is wrong, missing, or unknown.
    #[error("{field}: {reason}")]
    Data {
        /// The path of the value (`args.limit`); empty where the whole is at fault.
        field: String,
        /// What is wrong with it.
        reason: String,
    },
}

/// Parses a JSON object (RFC 8259) that fills `bytes` to the end.
///
/// Arrays are refused: serde would take one for a structure by the order of its fields.
///
/// # Errors
/// [`ParseError`] names the field where there is one.
pub fn json<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, ParseError> {
    if bytes.iter().find(|byte| !byte.is_ascii_whitespace()) == Some(&b'[') {
        return Err(ParseError::Data {
            field: String::new(),
            reason: "an array stands where an object must be".to_owned(),
        });
    }
    let mut deserializer = serde_json::Deserializer::from_slice(bytes);
    let value = serde_path_to_error::deserialize(&mut deserializer).map_err(|error| {
        if error.inner().is_data() {
            data(&error.path().to_string(), &error.inner().to_string())
        } else {
            ParseError::Syntax { reason: bounded(&error.inner().to_string(), MAX_REASON_CHARACTERS) }
        }
    })?;
    deserializer
        .end()
        .map_err(|error| ParseError::Syntax { reason: bounded(&error.to_string(), MAX_REASON_CHARACTERS) })?;
    Ok(value)
}

/// Parses the query part of a URL (`application/x-www-form-urlencoded`).
///
/// # Errors
/// [`ParseError::Data`] names the parameter.
pub fn url_query<T: DeserializeOwned>(query: &str) -> Result<T, ParseError> {
    let deserializer = serde_urlencoded::Deserializer::new(form_urlencoded::parse(query.as_bytes()));
    serde_path_to_error::deserialize(deserializer)
        .map_err(|error| data(&error.path().to_string(), &error.inner().to_string()))
}

/// serde reports a missing or an unknown field at its parent, by name in the message.
fn data(path: &str, message: &str) -> ParseError {
    let reason = without_position(message);
    let named = ["missing field `", "unknown field `", "duplicate field `"]
        .iter()
        .find_map(|prefix| reason.strip_prefix(prefix)?.split_once('`'))
        .map(|(name, _)| name);
    let path = if path == "." { "" } else { path };
    let field = match named {
        Some(name) if path.is_empty() => name.to_owned(),
        Some(name) if path != name && !path.ends_with(&format!(".{name}")) => format!("{path}.{name}"),
        _ => path.to_owned(),
    };
    ParseError::Data {
        field: bounded(&field, MAX_FIELD_CHARACTERS),
        reason: bounded(reason, MAX_REASON_CHARACTERS),
    }
}

/// The message without `at line 1 column 12`: the field's path says more to whoever built the request with a program.
fn without_position(message: &str) -> &str {
    message.rfind(" at line ").map_or(message, |at| &message[..at])
}

fn bounded(text: &str, characters: usize) -> String {
    text.chars().take(characters).collect()
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;
    use crate::Bounded;

    #[derive(Debug, PartialEq, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Outer {
        #[serde(default)]
        limit: Bounded<1, 10, 5>,
        inner: Option<Inner>,
    }

    #[derive(Debug, PartialEq, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Inner {
        depth: u8,
    }

    fn field(document: &str) -> String {
        match json::<Outer>(document.as_bytes()).unwrap_err() {
            ParseError::Data { field, .. } => field,
            ParseError::Syntax { reason } => panic!("{document}: {reason}"),
        }
    }

    #[test]
    fn the_field_at_fault_is_named() {
        assert_eq!(field(r#"{"limit":0}"#), "limit");
        assert_eq!(field(r#"{"colour":1}"#), "colour");
        assert_eq!(field(r#"{"inner":{"depth":"deep"}}"#), "inner.depth");
        assert_eq!(field(r#"{"inner":{}}"#), "inner.depth");
        assert_eq!(field(r#"{"inner":{"depth":1,"colour":1}}"#), "inner.colour");
        assert_eq!(field("7"), "");
    }

    #[test]
    fn what_is_not_json_is_told_from_what_does_not_fit() {
        for bad in ["", "{", "nul", "{}{}", "{\"limit\":1e999}", "\u{0}"] {
            assert!(matches!(json::<Outer>(bad.as_bytes()), Err(ParseError::Syntax { .. })), "{bad}");
        }
        let deep = format!("{{\"a\":{}", "[".repeat(100_000));
        assert!(matches!(json::<serde_json::Value>(deep.as_bytes()), Err(ParseError::Syntax { .. })));
        assert_eq!(field("[5,null]"), "");
    }

    #[test]
    fn a_url_parameter_at_fault_is_named() {
        #[derive(Debug, Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Parameters {
            #[serde(default)]
            limit: Bounded<1, 10, 5>,
        }
        assert_eq!(url_query::<Parameters>("limit=7").unwrap().limit.get(), 7);
        assert_eq!(url_query::<Parameters>("").unwrap().limit.get(), 5);
        for (bad, named) in
            [("limit=0", "limit"), ("limit=-1", "limit"), ("limit=x", "limit"), ("colour=1", "colour")]
        {
            match url_query::<Parameters>(bad).unwrap_err() {
                ParseError::Data { field, .. } => assert_eq!(field, named),
                ParseError::Syntax { reason } => panic!("{bad}: {reason}"),
            }
        }
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_are_parsed_or_refused_and_the_answer_is_short(
            bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..300),
            text in "\\PC{0,200}",
        ) {
            for result in [json::<Outer>(&bytes), url_query::<Outer>(&text)] {
                if let Err(error) = result {
                    proptest::prop_assert!(error.to_string().len() < 4096);
                }
            }
        }
    }
}
