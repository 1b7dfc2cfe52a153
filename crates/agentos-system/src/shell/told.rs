//! What a command said, as it is told.

use agentos_api::query::file::Encoding;
use agentos_api::query::shell::{Output, Said};

use super::{Captured, Ended};
use crate::machine::Viewer;
use crate::queries::file::encode;

/// What a command said, with secrets in it masked for whom they are masked for, and the advice that follows from how it ended.
pub(crate) fn output(ended: Ended, viewer: &Viewer, advice: Option<String>) -> Output {
    Output {
        exit_status: ended.status,
        timed_out: ended.status.is_none(),
        stdout: said(&ended.stdout, viewer),
        stderr: said(&ended.stderr, viewer),
        refused: ended.refused,
        advice,
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
