//! A command, from what was asked for to the words that are executed.

use agentos_api::query::shell::{Line, MAX_COMMAND_BYTES, MAX_WORDS};

use crate::QueryError;

/// The words that are executed.
///
/// # Errors
/// The argument at fault.
pub(crate) fn words(line: Line<'_>) -> Result<Vec<String>, QueryError> {
    let words = match (line.command, line.words) {
        (Some(command), []) => vec![line.shell.to_owned(), "-c".to_owned(), command.to_owned()],
        (None, [_, ..]) => line.words.to_vec(),
        (None, []) => {
            return Err(QueryError::invalid("command", "a command line, or words, must be given"));
        }
        (Some(_), _) => return Err(QueryError::invalid("words", "not together with command")),
    };
    let field = if line.command.is_some() { "command" } else { "words" };
    let bytes = serde_json::to_vec(&words).map_or(usize::MAX, |text| text.len());
    if words.len() > MAX_WORDS || bytes > MAX_COMMAND_BYTES {
        return Err(QueryError::invalid(
            field,
            format!(
                "is {} words, and {bytes} bytes as it would be recorded; at most {MAX_WORDS} and {MAX_COMMAND_BYTES}",
                words.len()
            ),
        ));
    }
    if words.iter().any(|word| word.contains('\0')) {
        return Err(QueryError::invalid(field, "has a NUL character, which no argument can have"));
    }
    Ok(words)
}
