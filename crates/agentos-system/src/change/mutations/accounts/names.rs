//! What may stand in a field of an entry.

use agentos_api::query::path::AbsolutePath;

use crate::change::error::ChangeError;

/// Longest name (`LOGIN_NAME_MAX` of shadow-utils).
const LONGEST_NAME: usize = 32;
const LONGEST_COMMENT: usize = 256;

/// Refuses a name that shadow-utils would not make: one that is a number, an option or a path to somebody.
///
/// # Errors
/// The field at fault.
pub(super) fn check_name(field: &str, name: &str) -> Result<(), ChangeError> {
    let mut characters = name.bytes();
    let begins = characters.next().is_some_and(|first| first.is_ascii_lowercase() || first == b'_');
    let goes_on =
        |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'_' | b'-');
    if begins && characters.all(goes_on) && name.len() <= LONGEST_NAME {
        return Ok(());
    }
    Err(ChangeError::invalid(
        field,
        format!(
            "must begin with a lower case letter or _, go on with those, digits and -, and have at most {LONGEST_NAME} characters"
        ),
    ))
}

/// Refuses a comment that would be another field or another line.
///
/// # Errors
/// The field at fault.
pub(super) fn check_comment(comment: &str) -> Result<(), ChangeError> {
    if comment.len() > LONGEST_COMMENT
        || comment.chars().any(|character| character == ':' || character.is_control())
    {
        return Err(ChangeError::invalid(
            "comment",
            format!("must be at most {LONGEST_COMMENT} bytes without colons and control characters"),
        ));
    }
    Ok(())
}

/// A path as a field.
///
/// # Errors
/// The field at fault.
pub(super) fn path_field(field: &str, path: &AbsolutePath) -> Result<String, ChangeError> {
    std::str::from_utf8(path.as_bytes())
        .ok()
        .filter(|text| !text.chars().any(|character| character == ':' || character.is_control()))
        .map(str::to_owned)
        .ok_or_else(|| ChangeError::invalid(field, "must be UTF-8 without colons and control characters"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_are_something_else_are_refused() {
        for name in ["ann", "_x", "web-1", "a2345678901234567890123456789012"] {
            assert!(check_name("name", name).is_ok(), "{name}");
        }
        for name in
            ["", "1ann", "-x", "Ann", "a:b", "a\nb", "a/b", "ann$", "a23456789012345678901234567890123"]
        {
            assert!(check_name("name", name).is_err(), "{name}");
        }
        assert!(check_comment("Ann, room 3").is_ok());
        assert!(check_comment("a:b").is_err() && check_comment("a\nroot::0:0").is_err());
    }
}
