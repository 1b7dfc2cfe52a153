//! Cuts a markdown file into passages of about 400 tokens that can be understood on their own.
//!
//! - Every character that is not white space is in at least one passage; a passage is a contiguous piece of the file.
//! - A heading of level 1 or 2 begins a passage, so that entries and topics are found one by one; deeper ones stay with
//!   their parent while there is room.
//! - Paragraphs, list items and code blocks are kept whole while they fit. Where a section must be cut, the next passage
//!   repeats the end of the one before.
//! - The cost is linear in the file, and so is the number of passages.

use std::ops::Range;

use crate::entry::{self, Particulars, shorten};
use crate::markdown::{LineKind, LineReader};

/// Size a passage aims for: 400 tokens at four bytes a token.
const TARGET_BYTES: usize = 1600;
/// Up to this size a code block is kept whole.
const CODE_BYTES: usize = 2 * TARGET_BYTES;
/// How much of its predecessor a passage repeats when a section is cut: 80 tokens.
const OVERLAP_BYTES: usize = 320;
/// A file with more headings of level 1 and 2 than this is cut by size alone.
const MAX_SECTIONS: usize = 8192;
/// Longest heading path, in characters.
const HEADING_CHARS: usize = 300;
/// Between the headings of a path.
const HEADING_SEPARATOR: &str = " › ";
/// The level down to which headings begin a passage.
const SECTION_LEVEL: usize = 2;

/// A passage of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Chunk {
    /// Where it stands in the text.
    pub(crate) bytes: Range<usize>,
    /// Its first and last line, from 1.
    pub(crate) lines: (usize, usize),
    /// The headings it stands under, outermost first.
    pub(crate) heading: String,
    /// The stored entry it belongs to.
    pub(crate) particulars: Option<Particulars>,
    /// Where in the text that entry's line of particulars stands, if in this passage.
    pub(crate) particulars_bytes: Option<Range<usize>>,
}

/// Cuts `text` into passages, in their order.
pub(crate) fn chunks(text: &str) -> Vec<Chunk> {
    let blocks = blocks(text);
    let sections = blocks.iter().filter(|block| block.begins_section()).count();
    let mut cutter = Cutter::new(text, sections <= MAX_SECTIONS);
    for block in &blocks {
        cutter.take(block);
    }
    cutter.finish()
}

/// Lines that belong together.
#[derive(Debug)]
struct Block<'t> {
    bytes: Range<usize>,
    kind: LineKind<'t>,
}

impl Block<'_> {
    fn begins_section(&self) -> bool {
        matches!(self.kind, LineKind::Heading { level, .. } if level <= SECTION_LEVEL)
    }
}

/// Headings, code blocks and paragraphs of `text`; blank lines between them belong to none.
fn blocks(text: &str) -> Vec<Block<'_>> {
    let mut reader = LineReader::default();
    let mut blocks: Vec<Block<'_>> = Vec::new();
    let (mut position, mut continues) = (0, false);
    for line in text.split_inclusive('\n') {
        let bytes = position..position + line.len();
        position = bytes.end;
        let inside_code = reader.closing_line().is_some();
        let kind = reader.next(line);
        if kind == LineKind::Blank {
            continues = false;
            continue;
        }
        match blocks.last_mut() {
            Some(last) if continues && last.kind == kind && (kind == LineKind::Text || inside_code) => {
                last.bytes.end = bytes.end;
            }
            _ => blocks.push(Block { bytes, kind }),
        }
        // A heading is a block of its own: the same heading twice is two.
        continues = !matches!(kind, LineKind::Heading { .. });
    }
    blocks
}

/// The passage being filled, and those that are done.
struct Cutter<'t> {
    text: &'t str,
    line_starts: Vec<usize>,
    cut_at_headings: bool,
    headings: Vec<(usize, &'t str)>,
    /// The passage being filled; empty when nothing was taken since the last was done.
    current: Range<usize>,
    /// Whether the passage holds more than headings and what it repeats.
    has_body: bool,
    /// End of the text that the passage only repeats.
    repeated_until: usize,
    /// The headings that hold for the passage.
    heading: String,
    particulars: Option<Particulars>,
    particulars_bytes: Option<Range<usize>>,
    /// Whether the block before was a heading of level 2, below which an entry's particulars stand.
    after_entry_heading: bool,
    done: Vec<Chunk>,
}

impl<'t> Cutter<'t> {
    fn new(text: &'t str, cut_at_headings: bool) -> Self {
        let line_starts = std::iter::once(0).chain(text.match_indices('\n').map(|(at, _)| at + 1)).collect();
        Self {
            text,
            line_starts,
            cut_at_headings,
            headings: Vec::new(),
            current: 0..0,
            has_body: false,
            repeated_until: 0,
            heading: String::new(),
            particulars: None,
            particulars_bytes: None,
            after_entry_heading: false,
            done: Vec::new(),
        }
    }

    fn take(&mut self, block: &Block<'t>) {
        let after_entry_heading = std::mem::take(&mut self.after_entry_heading);
        if let LineKind::Heading { level, title } = block.kind {
            if block.begins_section() && self.cut_at_headings {
                if self.has_body {
                    self.end_passage();
                    self.begin_passage_at(block.bytes.start);
                }
                self.particulars = None;
            }
            self.headings.retain(|&(outer, _)| outer < level);
            self.headings.push((level, title));
            self.after_entry_heading = level == SECTION_LEVEL;
        } else if after_entry_heading
            && let Some(first_line) = self.text.get(block.bytes.clone()).and_then(|text| text.lines().next())
            && let Some(particulars) = entry::particulars(first_line)
        {
            self.particulars = Some(particulars);
            self.particulars_bytes = Some(block.bytes.start..block.bytes.start + first_line.len());
        }
        let limit = if block.kind == LineKind::Code { CODE_BYTES } else { TARGET_BYTES };
        for piece in pieces(self.text, block.bytes.clone(), limit) {
            self.add(piece, matches!(block.kind, LineKind::Heading { .. }));
        }
    }

    fn add(&mut self, piece: Range<usize>, is_heading: bool) {
        if self.text.get(piece.clone()).is_none_or(|text| text.trim().is_empty()) {
            return;
        }
        let filled = self.current.end > self.repeated_until.max(self.current.start);
        if filled && piece.end - self.current.start > TARGET_BYTES {
            let overlap = self.overlap_start();
            self.end_passage();
            self.begin_passage_at(overlap);
        }
        // What is repeated is close by: a screenful of blank lines is not kept for it.
        let repeats_only = self.current.end <= self.repeated_until.max(self.current.start);
        if repeats_only && (self.current.is_empty() || piece.start - self.current.end > OVERLAP_BYTES) {
            self.current = piece.start..piece.start;
            self.repeated_until = piece.start;
        }
        self.current.end = piece.end;
        if !self.has_body {
            self.heading = heading_path(&self.headings);
        }
        self.has_body |= !is_heading;
    }

    /// Where the passage after the current one begins so that it repeats the current one's end.
    fn overlap_start(&self) -> usize {
        let end = self.current.end;
        let earliest = (self.current.start + 1).max(end.saturating_sub(OVERLAP_BYTES));
        let line = self.line_starts.partition_point(|&start| start < earliest);
        match self.line_starts.get(line) {
            Some(&start) if start < end => {
                let rest = self.text.get(start..end).unwrap_or_default();
                end - rest.trim_start_matches(['\n', '\r']).len()
            }
            _ => word_start(self.text, earliest, end),
        }
    }

    /// Begins the next passage at `start`; what is between there and the end of the last one is repeated.
    fn begin_passage_at(&mut self, start: usize) {
        let end = self.current.end.max(start);
        self.current = start..end;
        self.repeated_until = end;
        self.has_body = false;
        self.particulars_bytes = self.particulars_bytes.take().filter(|bytes| bytes.start >= start);
    }

    fn end_passage(&mut self) {
        let bytes = self.current.clone();
        let whole = self.text.get(bytes.clone()).unwrap_or_default();
        if whole.trim().is_empty() {
            return;
        }
        let bytes = bytes.start..bytes.start + whole.trim_end().len();
        let line_of = |at: usize| self.line_starts.partition_point(|&start| start <= at);
        self.done.push(Chunk {
            lines: (line_of(bytes.start), line_of(bytes.end.saturating_sub(1))),
            heading: std::mem::take(&mut self.heading),
            particulars: self.particulars.clone(),
            particulars_bytes: self.particulars_bytes.clone().filter(|at| at.end <= bytes.end),
            bytes,
        });
    }

    fn finish(mut self) -> Vec<Chunk> {
        if self.current.end > self.repeated_until.max(self.current.start) {
            self.end_passage();
        }
        self.done
    }
}

fn heading_path(headings: &[(usize, &str)]) -> String {
    let titles: Vec<&str> =
        headings.iter().map(|&(_, title)| title).filter(|title| !title.is_empty()).collect();
    let path: String = titles.join(HEADING_SEPARATOR);
    shorten(&path, HEADING_CHARS)
}

/// Cuts a block into pieces of at most `limit` bytes: at line ends where it can, else between words, else anywhere.
fn pieces(text: &str, block: Range<usize>, limit: usize) -> Vec<Range<usize>> {
    if block.len() <= limit {
        return vec![block];
    }
    let mut pieces = Vec::new();
    let mut start = block.start;
    while block.end - start > TARGET_BYTES {
        let window = start + TARGET_BYTES;
        let window = text.floor_char_boundary(window);
        let slice = text.get(start..window).unwrap_or_default();
        let cut = slice
            .rfind('\n')
            .or_else(|| slice.rfind(char::is_whitespace))
            .map_or(window, |at| text.ceil_char_boundary(start + at + 1));
        pieces.push(start..cut);
        start = cut;
    }
    if start < block.end {
        pieces.push(start..block.end);
    }
    pieces
}

/// The first start of a word in `earliest..end`, or `end`.
fn word_start(text: &str, earliest: usize, end: usize) -> usize {
    let earliest = text.ceil_char_boundary(earliest).min(end);
    let slice = text.get(earliest..end).unwrap_or_default();
    slice.char_indices().find(|(_, c)| c.is_whitespace()).map_or(end, |(at, c)| earliest + at + c.len_utf8())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn texts(text: &str) -> Vec<&str> {
        chunks(text).into_iter().map(|chunk| &text[chunk.bytes]).collect()
    }

    #[test]
    fn each_entry_is_a_passage_and_knows_its_headings() {
        let text = "# 2026-11-22\n\n## 09:00 One\n\nfirst\n\n### Why\nbecause\n\n## 10:00 Two\n\nsecond\n";
        let found = chunks(text);
        assert_eq!(
            texts(text),
            ["# 2026-11-22\n\n## 09:00 One\n\nfirst\n\n### Why\nbecause", "## 10:00 Two\n\nsecond"]
        );
        assert_eq!(found[0].heading, "2026-11-22 › 09:00 One");
        assert_eq!(found[1].heading, "2026-11-22 › 10:00 Two");
        assert_eq!(found[0].lines, (1, 8));
        assert_eq!(found[1].lines, (10, 12));
    }

    #[test]
    fn particulars_belong_to_all_passages_of_their_entry_and_to_no_other() {
        let long = "A sentence of the first entry.\n\n".repeat(120);
        let text =
            format!("## 09:00 One\n\ncategory: fact · id: 6f1c0e9a2b7d4453\n\n{long}\n## Two\n\nsecond\n");
        let found = chunks(&text);
        assert!(found.len() > 3);
        let (last, first) = found.split_last().unwrap();
        assert!(first.iter().all(|chunk| chunk.particulars.as_ref().unwrap().id == "6f1c0e9a2b7d4453"));
        assert_eq!(last.particulars, None);
        let line = found[0].particulars_bytes.clone().unwrap();
        assert_eq!(&text[line], "category: fact · id: 6f1c0e9a2b7d4453");
        assert!(found[1..].iter().all(|chunk| chunk.particulars_bytes.is_none()));
    }

    #[test]
    fn a_long_section_is_cut_with_overlap() {
        let sentences: Vec<String> =
            (0..200).map(|n| format!("Sentence number {n} of the text.\n\n")).collect();
        let text = sentences.concat();
        let found = chunks(&text);
        assert!(found.len() >= 4);
        for pair in found.windows(2) {
            let overlap = pair[0].bytes.end.saturating_sub(pair[1].bytes.start);
            assert!(overlap > OVERLAP_BYTES / 2 && overlap <= OVERLAP_BYTES, "{overlap}");
            assert!(text[pair[1].bytes.clone()].starts_with("Sentence"));
        }
    }

    #[test]
    fn a_code_block_is_kept_whole() {
        let code = format!("```sh\n{}```", "# not a heading\n\necho 1\n".repeat(60));
        let text = format!("{}\n\n{code}\n\nafter\n", "word ".repeat(300));
        assert!(code.len() < CODE_BYTES);
        assert!(texts(&text).iter().any(|chunk| chunk.contains(&code)));
    }

    #[test]
    fn many_headings_without_text_stay_bounded() {
        let text = "#\n".repeat(100_000);
        let found = chunks(&text);
        assert!(found.len() < 500, "{}", found.len());
        assert!(found.iter().all(|chunk| chunk.bytes.len() < 3 * TARGET_BYTES));
    }

    #[test]
    fn nothing_to_say_is_no_passage() {
        assert!(chunks("").is_empty());
        assert!(chunks(" \n\n\t\n").is_empty());
    }

    fn markdown() -> impl Strategy<Value = String> {
        let line = prop_oneof![
            4 => "[a-z .]{0,80}",
            1 => "#{1,7} [a-z]{0,9}",
            1 => "(```|~~~~|  ```sh)",
            1 => Just("category: fact · id: 6f1c0e9a2b7d4453".to_owned()),
            1 => "\\PC{0,40}",
            1 => "[a-zé€😀]{1500,4000}",
            1 => "([a-z]{1,9} ){200,600}",
        ];
        prop::collection::vec(line, 0..60).prop_map(|lines| lines.join("\n"))
    }

    proptest! {
        #[test]
        fn all_text_is_covered_in_order_by_passages_of_bounded_size(text in markdown()) {
            let found = chunks(&text);
            let mut covered = 0;
            let mut last_start = None;
            for chunk in &found {
                let between = text.get(covered..chunk.bytes.start.max(covered)).unwrap();
                prop_assert!(between.trim().is_empty(), "lost {between:?}");
                prop_assert!(chunk.bytes.len() <= CODE_BYTES + TARGET_BYTES, "{}", chunk.bytes.len());
                prop_assert!(last_start < Some(chunk.bytes.start) && chunk.bytes.end > covered);
                prop_assert!(chunk.lines.0 <= chunk.lines.1);
                let lines = text[..chunk.bytes.end].matches('\n').count() + 1;
                prop_assert_eq!(chunk.lines.1, lines);
                covered = chunk.bytes.end;
                last_start = Some(chunk.bytes.start);
            }
            prop_assert!(text[covered..].trim().is_empty(), "lost the end");
        }

        #[test]
        fn any_text_can_be_cut(text in any::<String>()) {
            let found = chunks(&text);
            prop_assert_eq!(found.is_empty(), text.trim().is_empty());
        }
    }
}
