//! A command as it was asked for, and the words that are executed.

use agentos_api::query::shell::{MAX_COMMAND_BYTES, MAX_WORDS, Output, Said};

use super::{Captured, Ended};
use crate::QueryError;
use crate::machine::Viewer;
use crate::queries::file::encode;
use agentos_api::query::file::Encoding;

/// A command as it was asked for: a line for a shell, or words.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Line<'a> {
    pub(crate) command: Option<&'a str>,
    pub(crate) words: &'a [String],
    pub(crate) shell: &'a str,
}

impl Line<'_> {
    /// The words that are executed.
    ///
    /// # Errors
    /// [`QueryError::InvalidArgument`] where there is none, or what cannot be executed.
    pub(crate) fn words(&self) -> Result<Vec<String>, QueryError> {
        let words = match (self.command, self.words) {
            (Some(command), []) => vec![self.shell.to_owned(), "-c".to_owned(), command.to_owned()],
            (None, [_, ..]) => self.words.to_vec(),
            (None, []) => {
                return Err(QueryError::invalid("command", "a command line, or words, must be given"));
            }
            (Some(_), _) => return Err(QueryError::invalid("words", "not together with command")),
        };
        let field = if self.command.is_some() { "command" } else { "words" };
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
}

/// What a command said, with secrets in it masked for whom they are masked for.
pub(crate) fn output(ended: Ended, viewer: &Viewer) -> Output {
    Output {
        exit_status: ended.status,
        timed_out: ended.status.is_none(),
        stdout: said(&ended.stdout, viewer),
        stderr: said(&ended.stderr, viewer),
        refused: ended.refused,
        limits: ended.limits,
        milliseconds: u64::try_from(ended.took.as_millis()).unwrap_or(u64::MAX),
    }
}

fn said(captured: &Captured, viewer: &Viewer) -> Said {
    let kept = &captured.kept;
    let masked = viewer.rules.as_ref().and_then(|rules| rules.mask(kept, 0..kept.len()));
    let (encoding, content, _) = encode(masked.as_deref().unwrap_or(kept), Encoding::Auto);
    Said { content, encoding, bytes: captured.bytes, cut: captured.bytes > kept.len() as u64 }
}
