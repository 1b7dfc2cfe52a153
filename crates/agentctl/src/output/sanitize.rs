//! Text from elsewhere, made harmless for a terminal.
//!
//! A process can call itself `\x1b]0;…`, a journal line can move the cursor, a file name can turn the line around. What
//! a terminal would obey is written out instead (`\u{1b}`); everything that a person would read stays as it is.

use std::borrow::Cow;
use std::fmt::Write as _;

/// Whether a terminal or a reader's eye could be led astray by `character`.
fn is_unsafe(character: char) -> bool {
    character.is_control()
        || matches!(character,
            // Marks and overrides of writing direction (Unicode Standard Annex #9), and the two separators.
            '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}'
            // Characters without a shape: they make two different texts look the same.
            | '\u{200b}' | '\u{2060}'..='\u{2064}' | '\u{feff}' | '\u{e0000}'..='\u{e007f}')
}

/// `text` with every unsafe character written out as Rust would (`\n`, `\t`, `\u{1b}`).
pub(crate) fn sanitize(text: &str) -> Cow<'_, str> {
    if !text.contains(is_unsafe) {
        return Cow::Borrowed(text);
    }
    let mut safe = String::with_capacity(text.len() + 16);
    for character in text.chars() {
        if is_unsafe(character) {
            safe.extend(character.escape_default());
        } else {
            safe.push(character);
        }
    }
    Cow::Owned(safe)
}

/// A part of a running text: as [`sanitize`], but line feeds and tabs stay, and carriage returns go.
pub(crate) fn sanitize_flowing(text: &str) -> Cow<'_, str> {
    let unsafe_in_flow = |character: char| !matches!(character, '\n' | '\t') && is_unsafe(character);
    if !text.contains(unsafe_in_flow) {
        return Cow::Borrowed(text);
    }
    let mut safe = String::with_capacity(text.len() + 16);
    for character in text.chars() {
        if character == '\r' {
        } else if unsafe_in_flow(character) {
            safe.extend(character.escape_default());
        } else {
            safe.push(character);
        }
    }
    Cow::Owned(safe)
}

/// A line of a source text: as [`sanitize`], but tabs stay.
pub(crate) fn sanitize_line(line: &str) -> Cow<'_, str> {
    if !line.contains('\t') {
        return sanitize(line);
    }
    Cow::Owned(line.split('\t').map(sanitize).collect::<Vec<_>>().join("\t"))
}

/// JSON text with every unsafe character inside its strings written as a JSON escape: the same value, harmless to show.
///
/// `serde_json` escapes the ASCII control characters itself, and line feeds outside strings are layout; the rest of
/// the unsafe ones can only stand inside strings.
pub(crate) fn sanitize_json(json: &str) -> Cow<'_, str> {
    let unsafe_in_json = |character: char| character != '\n' && is_unsafe(character);
    if !json.contains(unsafe_in_json) {
        return Cow::Borrowed(json);
    }
    let mut safe = String::with_capacity(json.len() + 16);
    for character in json.chars() {
        if unsafe_in_json(character) {
            for unit in character.encode_utf16(&mut [0; 2]) {
                // Writing to a string does not fail.
                let _ = write!(safe, "\\u{unit:04x}");
            }
        } else {
            safe.push(character);
        }
    }
    Cow::Owned(safe)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_a_terminal_would_obey_is_written_out() {
        assert_eq!(sanitize("ok é 漢 👍"), "ok é 漢 👍");
        assert_eq!(sanitize("a\x1b[2Jb\r\n\tc\u{7f}"), "a\\u{1b}[2Jb\\r\\n\\tc\\u{7f}");
        // CSI as one character of the C1 set.
        assert_eq!(sanitize("\u{9b}31m"), "\\u{9b}31m");
        // A right-to-left override, as in "invoice\u{202e}fdp.exe".
        assert_eq!(sanitize("a\u{202e}b"), "a\\u{202e}b");
    }

    #[test]
    fn a_running_text_keeps_its_lines_and_tabs_and_nothing_else_that_a_terminal_obeys() {
        assert_eq!(sanitize_flowing("a\x1b[31mb\r\n\tc\u{9b}é"), "a\\u{1b}[31mb\n\tc\\u{9b}é");
    }

    #[test]
    fn a_source_line_keeps_its_tabs_and_shows_a_carriage_return() {
        assert_eq!(sanitize_line("+\tx\x1b[1A\r"), "+\tx\\u{1b}[1A\\r");
    }

    proptest! {
        #[test]
        fn nothing_unsafe_is_left(text in "\\PC*|[\\x00-\\u{9f}\\u{200b}-\\u{2069}]*") {
            prop_assert!(!sanitize(&text).contains(is_unsafe));
            prop_assert!(!sanitize_line(&text).replace('\t', "").contains(is_unsafe));
            prop_assert!(!sanitize_flowing(&text).replace(['\n', '\t'], "").contains(is_unsafe));
        }

        #[test]
        fn sanitized_json_is_the_same_value(text in any::<String>(), key in "[\\u{80}-\\u{9f}\\u{e0000}-\\u{e007f}a-z]{0,5}") {
            let value = serde_json::json!({ key: [text] });
            let json = serde_json::to_string_pretty(&value).unwrap();
            let safe = sanitize_json(&json);
            prop_assert!(!safe.replace('\n', "").contains(is_unsafe));
            prop_assert_eq!(serde_json::from_str::<serde_json::Value>(&safe).unwrap(), value);
        }
    }
}
