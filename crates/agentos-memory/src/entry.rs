//! A stored entry as it stands in its file: a heading, one line of particulars, the text.
//!
//! ```text
//! ## 14:32 Nginx listens on 8080
//!
//! category: decision · tags: nginx, ports · time: 2026-11-22T14:32:05+01:00 · id: 6f1c0e9a2b7d4453
//!
//! The reverse proxy took port 80.
//! ```
//!
//! What the text holds never changes the file's structure: its headings go below the entry's, its code blocks are
//! closed. Control characters never reach a terminal that shows the file.

use agentos_api::memory::{
    IngestRequest, MAX_DETAIL_BYTES, MAX_SUMMARY_CHARS, MAX_TAG_CHARS, MAX_TAGS, StoreRequest,
};
use jiff::{Timestamp, Zoned};

use crate::error::MemoryError;
use crate::markdown::{LineKind, LineReader};

/// Between the particulars of an entry.
const SEPARATOR: &str = " · ";
/// Characters of an entry's id, all lower-case hexadecimal.
const ID_LENGTH: usize = 16;
/// How far the headings of an entry's text are pushed down: below the entry's own, which is of level 2.
const HEADING_SHIFT: usize = 2;

/// The particulars of a stored entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Particulars {
    pub(crate) id: String,
    pub(crate) category: Option<String>,
    pub(crate) tags: Vec<String>,
    pub(crate) time: Option<Timestamp>,
}

/// An entry that has been checked and can be written.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    summary: String,
    detail: String,
    category: String,
    tags: Vec<String>,
}

impl Entry {
    /// Checks what was asked to be stored.
    pub(crate) fn from_store(request: &StoreRequest) -> Result<Self, MemoryError> {
        let summary = one_line(&request.summary);
        if summary.is_empty() {
            return Err(MemoryError::invalid("summary", "is empty: say in one line what to remember"));
        }
        let characters = summary.chars().count();
        if characters > MAX_SUMMARY_CHARS {
            let problem = format!(
                "has {characters} characters, more than {MAX_SUMMARY_CHARS}: put the rest into detail"
            );
            return Err(MemoryError::invalid("summary", problem));
        }
        check_bytes("detail", &request.detail)?;
        check_word("category", &request.category, |c| {
            c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '_')
        })?;
        if request.tags.len() > MAX_TAGS {
            let problem = format!("{} tags, more than {MAX_TAGS}: keep the telling ones", request.tags.len());
            return Err(MemoryError::invalid("tags", problem));
        }
        for tag in &request.tags {
            check_word("tags", tag, |c| {
                c.is_alphanumeric() || matches!(c, '-' | '_' | '.' | '/' | ':' | '@' | '+')
            })?;
        }
        let (detail, category, tags) =
            (block(&request.detail), request.category.clone(), request.tags.clone());
        Ok(Self { summary, detail, category, tags })
    }

    /// Checks what was asked to be ingested: its first line becomes the heading.
    pub(crate) fn from_ingest(request: &IngestRequest) -> Result<Self, MemoryError> {
        check_bytes("event", &request.event)?;
        let text = request.event.trim();
        let Some(first) = text.lines().map(one_line).find(|line| !line.is_empty()) else {
            return Err(MemoryError::invalid("event", "is empty: say what happened"));
        };
        let summary = first.trim_start_matches('#').trim_start();
        let summary = if summary.is_empty() { "event" } else { summary };
        let shown = shorten(summary, MAX_SUMMARY_CHARS);
        let whole = shown == summary && text.lines().count() == 1;
        let detail = if whole { String::new() } else { block(text) };
        Ok(Self { summary: shown, detail, category: "event".to_owned(), tags: Vec::new() })
    }

    /// The entry as markdown, from its heading to the end of its last line.
    pub(crate) fn to_markdown(&self, id: &str, now: &Zoned) -> String {
        let mut particulars = format!("category: {}{SEPARATOR}", self.category);
        if !self.tags.is_empty() {
            particulars.push_str("tags: ");
            particulars.push_str(&self.tags.join(", "));
            particulars.push_str(SEPARATOR);
        }
        let time = now.strftime("%Y-%m-%dT%H:%M:%S%:z");
        let heading = format!("## {} {}", now.strftime("%H:%M"), self.summary);
        let mut markdown = format!("{heading}\n\n{particulars}time: {time}{SEPARATOR}id: {id}\n");
        if !self.detail.is_empty() {
            markdown.push('\n');
            markdown.push_str(&self.detail);
        }
        markdown
    }
}

/// Reads a line of particulars; anything else is `None`.
pub(crate) fn particulars(line: &str) -> Option<Particulars> {
    let (mut id, mut category, mut tags, mut time) = (None, None, Vec::new(), None);
    for part in line.trim().split(SEPARATOR) {
        let (key, value) = part.split_once(": ")?;
        match key {
            "id" => id = Some(value).filter(|value| is_id(value)),
            "category" => category = Some(shorten(value, MAX_TAG_CHARS)),
            "tags" => {
                tags = value.split(", ").take(MAX_TAGS).map(|tag| shorten(tag, MAX_TAG_CHARS)).collect();
            }
            "time" => time = value.parse().ok(),
            // A person may add particulars of their own.
            _ => {}
        }
    }
    Some(Particulars { id: id?.to_owned(), category, tags, time })
}

fn is_id(text: &str) -> bool {
    text.len() == ID_LENGTH && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

/// A new id from the kernel's random numbers.
pub(crate) fn new_id() -> Result<String, MemoryError> {
    use ring::rand::{SecureRandom, SystemRandom};
    let mut bytes = [0; 8];
    SystemRandom::new().fill(&mut bytes).map_err(|_| MemoryError::Random)?;
    Ok(format!("{:016x}", u64::from_le_bytes(bytes)))
}

fn check_bytes(field: &'static str, text: &str) -> Result<(), MemoryError> {
    if text.len() > MAX_DETAIL_BYTES {
        let problem = format!("has {} bytes, more than {MAX_DETAIL_BYTES}: keep what matters", text.len());
        return Err(MemoryError::invalid(field, problem));
    }
    Ok(())
}

fn check_word(field: &'static str, word: &str, allowed: fn(char) -> bool) -> Result<(), MemoryError> {
    let characters = word.chars().count();
    if characters == 0 || characters > MAX_TAG_CHARS {
        return Err(MemoryError::invalid(field, format!("each has 1 to {MAX_TAG_CHARS} characters")));
    }
    match word.chars().find(|&c| !allowed(c)) {
        Some(c) => Err(MemoryError::invalid(field, format!("{c:?} may not be part of {word:?}"))),
        None => Ok(()),
    }
}

/// At most `limit` characters of `text`; a cut shows as `…`.
pub(crate) fn shorten(text: &str, limit: usize) -> String {
    match text.char_indices().nth(limit) {
        None => text.to_owned(),
        Some(_) => text.chars().take(limit.saturating_sub(1)).chain(['…']).collect(),
    }
}

/// White space folded into single spaces, control characters made visible.
fn one_line(text: &str) -> String {
    let words: Vec<&str> = text.split_whitespace().collect();
    words.join(" ").chars().map(visible).collect()
}

fn visible(c: char) -> char {
    if c.is_control() { char::REPLACEMENT_CHARACTER } else { c }
}

/// Text of several lines made fit to stand below an entry's heading; ends with a line end unless it is empty.
fn block(text: &str) -> String {
    let text = text.replace("\r\n", "\n");
    let mut reader = LineReader::default();
    let mut block = String::with_capacity(text.len() + 1);
    for line in text.trim_end().trim_start_matches('\n').lines() {
        if let LineKind::Heading { level, title } = reader.next(line) {
            block.push_str(&"#".repeat((level + HEADING_SHIFT).min(6)));
            block.push(' ');
            block.extend(title.chars().map(visible));
        } else {
            block.extend(line.chars().map(|c| if c == '\t' { c } else { visible(c) }));
        }
        block.push('\n');
    }
    if let Some(closing) = reader.closing_line() {
        block.push_str(&closing);
    }
    block
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::markdown::unclosed_fence;
    use proptest::prelude::*;

    fn request(summary: &str, detail: &str) -> StoreRequest {
        StoreRequest {
            summary: summary.into(),
            detail: detail.into(),
            category: "decision".into(),
            tags: vec!["nginx".into(), "ports".into()],
        }
    }

    fn noon() -> Zoned {
        "2026-11-22T14:32:05+01:00[+01:00]".parse().unwrap()
    }

    #[test]
    fn an_entry_reads_as_a_person_would_write_it() {
        let entry = Entry::from_store(&request("Nginx listens\n on 8080", "The proxy took 80.\n\n")).unwrap();
        assert_eq!(
            entry.to_markdown("6f1c0e9a2b7d4453", &noon()),
            "## 14:32 Nginx listens on 8080\n\n\
             category: decision · tags: nginx, ports · time: 2026-11-22T14:32:05+01:00 · id: 6f1c0e9a2b7d4453\n\n\
             The proxy took 80.\n"
        );
    }

    #[test]
    fn its_particulars_are_read_back() {
        let entry = Entry::from_store(&request("x", "")).unwrap();
        let markdown = entry.to_markdown("6f1c0e9a2b7d4453", &noon());
        let read = particulars(markdown.lines().nth(2).unwrap()).unwrap();
        assert_eq!(read.id, "6f1c0e9a2b7d4453");
        assert_eq!(read.category.as_deref(), Some("decision"));
        assert_eq!(read.tags, ["nginx", "ports"]);
        assert_eq!(read.time, Some("2026-11-22T13:32:05Z".parse().unwrap()));
        for other in ["", "id: 12", "a · id: 6f1c0e9a2b7d4453", "category: x · tags: y"] {
            assert_eq!(particulars(other), None, "{other}");
        }
    }

    #[test]
    fn the_field_at_fault_is_named() {
        let field = |request: StoreRequest| Entry::from_store(&request).unwrap_err().field().unwrap();
        assert_eq!(field(request(" \n", "")), "summary");
        assert_eq!(field(request(&"x".repeat(201), "")), "summary");
        assert_eq!(field(request("x", &"x".repeat(MAX_DETAIL_BYTES + 1))), "detail");
        assert_eq!(field(StoreRequest { category: "A b".into(), ..request("x", "") }), "category");
        assert_eq!(field(StoreRequest { tags: vec!["a, b".into()], ..request("x", "") }), "tags");
        assert_eq!(field(StoreRequest { tags: vec!["a".into(); 17], ..request("x", "") }), "tags");
        assert_eq!(
            Entry::from_ingest(&IngestRequest { event: "\n".into() }).unwrap_err().field(),
            Some("event")
        );
    }

    #[test]
    fn an_ingested_event_keeps_all_its_text() {
        let ingest = |event: &str| {
            Entry::from_ingest(&IngestRequest { event: event.into() }).unwrap().to_markdown("0", &noon())
        };
        assert!(ingest("disk is full").starts_with("## 14:32 disk is full\n\ncategory: event · "));
        assert!(ingest("# first\nsecond").ends_with("\n\n### first\nsecond\n"));
        let long = "word ".repeat(100);
        assert!(ingest(&long).contains(long.trim()));
    }

    proptest! {
        /// Whatever the text holds, the entry stays one entry: one heading of level 2 or less, no code block left
        /// open, no control characters.
        #[test]
        fn a_text_cannot_break_out_of_its_entry(
            summary in ".{1,60}", detail in "([#`~ \\n\\ra-z]|\\PC|```\\n|# x\\n){0,60}",
        ) {
            let Ok(entry) = Entry::from_store(&request(&summary, &detail)) else { return Ok(()) };
            let markdown = entry.to_markdown("6f1c0e9a2b7d4453", &noon());
            let mut reader = LineReader::default();
            let tops = markdown.lines().filter(|line| {
                matches!(reader.next(line), LineKind::Heading { level: ..=2, .. })
            });
            prop_assert_eq!(tops.count(), 1);
            prop_assert_eq!(unclosed_fence(&markdown), None);
            prop_assert!(markdown.ends_with('\n'));
            prop_assert!(!markdown.chars().any(|c| c.is_control() && !matches!(c, '\n' | '\t')));
        }

        #[test]
        fn any_line_can_be_read_for_particulars(line in ".{0,200}") {
            let _ = particulars(&line);
        }
    }
}
