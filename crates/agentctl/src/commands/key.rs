//! The public key that signatures are checked with, and why one did not hold.

use std::path::Path;

use agentos_ledger::{NoteError, VerifierKey, read_public_key};

use crate::error::{CliError, Exit};

/// Help for the option that names a key.
pub(super) const HELP: &str =
    "The ledger's public key, kept from before: the key itself (name+hash+base64) or a file with it";

/// The key that `text` is or names a file of.
pub(super) fn parse(text: &str) -> Result<VerifierKey, CliError> {
    if let Ok(key) = text.trim().parse() {
        return Ok(key);
    }
    read_public_key(Path::new(text)).map_err(|error| {
        CliError::new(format!("{text:?} is neither a public key nor a file with one"))
            .because(&error)
            .hint("A key is one line, name+hash+base64, as in ledger.vkey of the state directory.")
    })
}

/// Whether a signature that does not hold speaks against the ledger rather than against the file that was given.
///
/// A text that is no checkpoint was not written by any ledger; one that is and bears another key, or a signature that
/// does not fit, was written by somebody else.
pub(super) fn speaks_against_the_ledger(error: &NoteError) -> bool {
    matches!(error, NoteError::OtherKey { .. } | NoteError::BadSignature(_) | NoteError::OtherOrigin { .. })
}

/// The exit code that goes with it.
pub(super) fn exit(error: &NoteError) -> Exit {
    if speaks_against_the_ledger(error) { Exit::NotWell } else { Exit::Failed }
}
