//! Words as the index sees them, and a request's query as an FTS5 expression.
//!
//! What a caller writes is never FTS5 syntax: every term is a quoted string (<https://www.sqlite.org/fts5.html>, 3.1).
//! Chinese, Japanese and Korean text has no spaces to tell words by, so its characters are indexed one by one and asked
//! for in pairs.

use std::collections::HashSet;
use std::fmt::Write as _;

/// Most terms of a query; more would cost time and tell nothing.
const MAX_TERMS: usize = 64;

/// English words that say nothing about what is looked for. They are left out when anything else is asked for; without
/// that, "what is the …" would weigh every passage of the collection.
const FUNCTION_WORDS: &[&str] = &[
    "a", "about", "am", "an", "and", "are", "as", "at", "be", "been", "but", "by", "can", "could", "did",
    "do", "does", "for", "from", "had", "has", "have", "how", "i", "if", "in", "is", "it", "its", "me", "my",
    "of", "on", "or", "our", "should", "so", "that", "the", "their", "them", "then", "there", "these",
    "they", "this", "to", "was", "we", "were", "what", "when", "where", "which", "who", "why", "will",
    "with", "would", "you", "your",
];

/// `text` with spaces around the characters that are words by themselves.
pub(crate) fn indexed(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + text.len() / 8);
    for c in text.chars() {
        if is_ideographic(c) {
            out.push(' ');
            out.push(c);
            out.push(' ');
        } else {
            out.push(c);
        }
    }
    out
}

/// The FTS5 expression that matches passages with any of the query's words; `None` when it has no word.
pub(crate) fn match_expression(query: &str) -> Option<String> {
    let mut seen = HashSet::new();
    let mut terms: Vec<String> = Vec::new();
    for term in query.split_whitespace().flat_map(terms_of) {
        if terms.len() < MAX_TERMS && seen.insert(term.to_lowercase()) {
            terms.push(term);
        }
    }
    let telling = |term: &String| !FUNCTION_WORDS.contains(&term.to_lowercase().as_str());
    if terms.iter().any(telling) {
        terms.retain(telling);
    }
    let mut expression = String::new();
    for term in &terms {
        if !expression.is_empty() {
            expression.push_str(" OR ");
        }
        // Writing to a string cannot fail.
        let _ = write!(expression, "\"{}\"", term.replace('"', "\"\""));
    }
    (!expression.is_empty()).then_some(expression)
}

/// The terms of what stands between two spaces: `nginx.service` is looked for as it stands and by its parts.
fn terms_of(word: &str) -> Vec<String> {
    // NUL would end the expression early.
    let word = word.replace('\0', " ");
    let mut parts: Vec<String> = Vec::new();
    let mut ideographs: Vec<char> = Vec::new();
    let mut part = String::new();
    for c in word.chars().chain([' ']) {
        let ideographic = is_ideographic(c);
        if !ideographic && !ideographs.is_empty() {
            pairs(&mut ideographs, &mut parts);
        }
        if c.is_alphanumeric() && !ideographic {
            part.push(c);
        } else if !is_combining(c) && !part.is_empty() {
            parts.push(std::mem::take(&mut part));
        }
        if ideographic {
            ideographs.push(c);
        }
    }
    if parts.len() > 1 && !word.chars().any(is_ideographic) {
        parts.insert(0, word);
    }
    parts
}

/// Neighbouring characters two by two, as phrases; a character alone by itself.
fn pairs(ideographs: &mut Vec<char>, parts: &mut Vec<String>) {
    if let [single] = ideographs.as_slice() {
        parts.push(single.to_string());
    }
    for pair in ideographs.windows(2) {
        let mut phrase = String::new();
        for &c in pair {
            phrase.push(c);
            phrase.push(' ');
        }
        parts.push(phrase.trim_end().to_owned());
    }
    ideographs.clear();
}

/// Combining diacritical marks: the index leaves them out of words.
fn is_combining(c: char) -> bool {
    matches!(c, '\u{300}'..='\u{36f}')
}

/// Characters of scripts that are written without spaces, or whose words change at the end (Hangul).
fn is_ideographic(c: char) -> bool {
    matches!(c,
        '\u{3040}'..='\u{30ff}'      // Hiragana, Katakana
        | '\u{3400}'..='\u{4dbf}'    // CJK extension A
        | '\u{4e00}'..='\u{9fff}'    // CJK unified ideographs
        | '\u{ac00}'..='\u{d7a3}'    // Hangul syllables
        | '\u{f900}'..='\u{faff}'    // CJK compatibility ideographs
        | '\u{20000}'..='\u{323af}') // CJK extensions B to H
        && c.is_alphanumeric()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expression(query: &str) -> String {
        match_expression(query).unwrap_or_default()
    }

    #[test]
    fn operators_and_quotes_are_only_words() {
        assert_eq!(expression("disk NOT full"), r#""disk" OR "NOT" OR "full""#);
        assert_eq!(
            expression(r#""disk"* ^x {a b}: NEAR(c"#),
            r#""disk" OR "x" OR "b" OR "NEAR(c" OR "NEAR" OR "c""#
        );
        assert_eq!(expression(r#"say"so"#), r#""say""so" OR "say""#);
        assert_eq!(expression("a\0b c"), r#""a b" OR "b" OR "c""#);
    }

    #[test]
    fn function_words_are_left_out_unless_there_is_nothing_else() {
        assert_eq!(expression("What is the nginx port"), r#""nginx" OR "port""#);
        assert_eq!(expression("what is it"), r#""what" OR "is" OR "it""#);
    }

    #[test]
    fn a_name_is_looked_for_whole_and_in_parts() {
        assert_eq!(expression("nginx.service"), r#""nginx.service" OR "nginx" OR "service""#);
        assert_eq!(expression("(nginx)"), r#""nginx""#);
        assert_eq!(expression("e\u{301}tude"), r#""etude""#);
    }

    #[test]
    fn ideographs_are_looked_for_in_pairs() {
        assert_eq!(expression("内存占用"), r#""内 存" OR "存 占" OR "占 用""#);
        assert_eq!(expression("nginx端口"), r#""nginx" OR "端 口""#);
        assert_eq!(indexed("看nginx"), " 看 nginx");
    }

    #[test]
    fn a_query_without_a_word_has_no_expression() {
        for query in ["", "  ", "?!", "\0", "\" OR \"", "🙂"] {
            let expression = match_expression(query);
            assert!(expression.is_none() || query.contains("OR"), "{query:?}: {expression:?}");
        }
    }

    #[test]
    fn a_query_of_many_words_is_bounded() {
        let many: Vec<String> = (0..500).map(|n| format!("w{n}")).collect();
        assert_eq!(expression(&many.join(" ")).matches(" OR ").count(), MAX_TERMS - 1);
    }
}
