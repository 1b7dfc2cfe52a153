//! Foreign text within messages.

/// Longest foreign text that a message repeats, in characters.
const LONGEST: usize = 300;

/// `text` for a message: in one line, without control characters, its end cut off when it is long.
pub(crate) fn quoted(text: &str) -> String {
    let mut quoted = String::new();
    for character in text.trim().chars().take(LONGEST) {
        if character.is_control() {
            quoted.extend(character.escape_default());
        } else {
            quoted.push(character);
        }
    }
    quoted
}
