//! The difference of two contents, as diff(1) shows it (unified format).

use agentos_api::change::{Effect, MAX_DIFF_BYTES};
use agentos_objects::{Batch, Hash};
use similar::TextDiff;
use std::time::Duration;

use super::file::{Content, FileState};
use super::transition::Transition;

/// Contents larger than this are not compared line by line.
const LARGEST: u64 = 1 << 20;
/// How long a comparison may take before it becomes a coarser one.
const TIME: Duration = Duration::from_millis(200);
const CONTEXT_LINES: usize = 3;

/// Adds the difference of the contents to what is shown, where there is one.
pub(super) fn complete(mut effect: Effect, transition: &Transition, batch: &Batch<'_>) -> Effect {
    let Transition::File(file) = transition else { return effect };
    let (before, after) = (content(&file.from), content(&file.to));
    let same = match (before, after) {
        (None, None) => true,
        (Some(before), Some(after)) => before == after,
        _ => false,
    };
    if same {
        return effect;
    }
    match (text(before, batch), text(after, batch)) {
        (Ok(before), Ok(after)) => {
            let diff = unified(&before, &after);
            if diff.len() > MAX_DIFF_BYTES {
                let cut = diff.get(..diff.floor_char_boundary(MAX_DIFF_BYTES)).unwrap_or_default();
                let end = cut.rfind('\n').map_or(0, |at| at + 1);
                effect.diff = cut.get(..end).map(str::to_owned);
                effect.diff_omitted = Some(format!("the rest of {} bytes is not shown", diff.len()));
            } else {
                effect.diff = Some(diff);
            }
        }
        (Err(reason), _) | (_, Err(reason)) => effect.diff_omitted = Some(reason),
    }
    effect
}

fn content(state: &FileState) -> Option<&Content> {
    match state {
        FileState::File { content, .. } => Some(content),
        _ => None,
    }
}

fn text(content: Option<&Content>, batch: &Batch<'_>) -> Result<String, String> {
    let Some(content) = content else { return Ok(String::new()) };
    if content.size > LARGEST {
        return Err(format!("{} bytes are too many to compare line by line", content.size));
    }
    let bytes = bytes(&content.sha256, batch).ok_or_else(|| "the content is not at hand".to_owned())?;
    if bytes.contains(&0) {
        return Err("not text".to_owned());
    }
    String::from_utf8(bytes).map_err(|_| "not text in UTF-8".to_owned())
}

fn bytes(hash: &Hash, batch: &Batch<'_>) -> Option<Vec<u8>> {
    match batch.get(hash) {
        Some(bytes) => Some(bytes),
        None => batch.store().get(hash, LARGEST).ok(),
    }
}

fn unified(before: &str, after: &str) -> String {
    TextDiff::configure()
        .timeout(TIME)
        .diff_lines(before, after)
        .unified_diff()
        .context_radius(CONTEXT_LINES)
        .missing_newline_hint(true)
        .to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_difference_has_its_lines_and_their_surroundings() {
        let before = (1..=20).map(|line| line.to_string()).collect::<Vec<_>>().join("\n") + "\n";
        let after = before.replace("10\n", "ten\n");
        let diff = unified(&before, &after);
        assert_eq!(diff, "@@ -7,7 +7,7 @@\n 7\n 8\n 9\n-10\n+ten\n 11\n 12\n 13\n");
    }

    #[test]
    fn a_missing_line_break_at_the_end_is_said() {
        assert!(unified("a\n", "a").contains("No newline at end of file"));
    }
}
