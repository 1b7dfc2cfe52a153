//! Whether a person's sentence is one that a scenario answers, and what it says about the details.
//!
//! Matching is linear in the sentence: the regular expressions are automata without backtracking, and a sentence is cut
//! before it is looked at.

use std::collections::BTreeMap;

use regex::{Regex, RegexBuilder};

/// Longest sentence that is looked at, in bytes; what is behind is not.
pub const MAX_SENTENCE_BYTES: usize = 4096;
/// Memory a compiled expression may take, in bytes.
const MAX_COMPILED_BYTES: usize = 256 * 1024;

/// What one match captured, by name.
pub type Captures = BTreeMap<String, String>;

/// One way of asking.
#[derive(Clone, Debug)]
pub struct Matcher {
    pattern: Option<Regex>,
    words: Vec<Vec<String>>,
    without: Vec<String>,
}

impl Matcher {
    /// A matcher: the pattern, if any, is found in the sentence; of each group of words at least one stands in it; none
    /// of the words in `without` does. Case does not matter.
    ///
    /// # Errors
    /// A sentence on what is wrong: an expression that is malformed or too large, nothing to look for, an empty group.
    pub fn new(pattern: Option<&str>, words: Vec<Vec<String>>, without: Vec<String>) -> Result<Self, String> {
        let pattern = pattern
            .map(|pattern| {
                RegexBuilder::new(pattern)
                    .case_insensitive(true)
                    .size_limit(MAX_COMPILED_BYTES)
                    .dfa_size_limit(MAX_COMPILED_BYTES)
                    .build()
                    .map_err(|error| format!("the pattern cannot be used: {error}"))
            })
            .transpose()?;
        if pattern.is_none() && words.is_empty() {
            return Err("give a `pattern` or `words` to look for".to_owned());
        }
        if words.iter().any(Vec::is_empty) {
            return Err("a group of words is empty, so it can never be found".to_owned());
        }
        let lower = |words: Vec<String>| words.iter().map(|word| word.to_lowercase()).collect::<Vec<_>>();
        let words: Vec<_> = words.into_iter().map(lower).collect();
        let without = lower(without);
        match words.iter().flatten().chain(&without).find(|word| tokens(word).ne([word.as_str()])) {
            Some(word) => Err(format!("`{word}` is not one word of letters and digits")),
            None => Ok(Self { pattern, words, without }),
        }
    }

    /// What the sentence says when it is matched; `None` when it is not.
    pub fn find(&self, sentence: &str) -> Option<Captures> {
        let sentence = sentence.get(..sentence.floor_char_boundary(MAX_SENTENCE_BYTES)).unwrap_or_default();
        let lower = sentence.to_lowercase();
        let said: Vec<&str> = tokens(&lower).collect();
        let has = |word: &String| said.contains(&word.as_str());
        if !self.words.iter().all(|group| group.iter().any(has)) || self.without.iter().any(has) {
            return None;
        }
        let Some(pattern) = &self.pattern else { return Some(Captures::new()) };
        let found = pattern.captures(sentence)?;
        let named = pattern.capture_names().flatten().filter_map(|name| {
            let text = found.name(name)?.as_str().trim();
            Some((name.to_owned(), text.to_owned()))
        });
        Some(named.collect())
    }

    /// The names this matcher can capture.
    pub fn capture_names(&self) -> impl Iterator<Item = &str> {
        self.pattern.iter().flat_map(|pattern| pattern.capture_names().flatten())
    }
}

fn tokens(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !c.is_alphanumeric()).filter(|token| !token.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn groups(words: &[&[&str]]) -> Vec<Vec<String>> {
        words.iter().map(|group| group.iter().map(ToString::to_string).collect()).collect()
    }

    #[test]
    fn each_group_needs_one_of_its_words() {
        let matcher = Matcher::new(None, groups(&[&["memory", "RAM"], &["eating", "uses"]]), vec![]).unwrap();
        assert!(matcher.find("What is eating the MEMORY?").is_some());
        assert!(matcher.find("who uses my ram").is_some());
        assert!(matcher.find("what is eating the CPU?").is_none());
        assert!(matcher.find("memoryeating").is_none());
    }

    #[test]
    fn a_word_that_must_not_be_there_refuses() {
        let matcher = Matcher::new(None, groups(&[&["memory"]]), vec!["remember".to_owned()]).unwrap();
        assert!(matcher.find("memory?").is_some());
        assert!(matcher.find("Remember: memory is cheap").is_none());
    }

    #[test]
    fn named_groups_are_captured_and_trimmed() {
        let matcher = Matcher::new(Some(r"is (?<unit>[\w@.-]+) running"), vec![], vec![]).unwrap();
        assert_eq!(matcher.find("Hey, is nginx running?").unwrap()["unit"], "nginx");
        assert_eq!(matcher.capture_names().collect::<Vec<_>>(), ["unit"]);
    }

    #[test]
    fn what_can_never_match_is_refused() {
        assert!(Matcher::new(None, vec![], vec![]).is_err());
        assert!(Matcher::new(None, groups(&[&[]]), vec![]).is_err());
        assert!(Matcher::new(None, groups(&[&["two words"]]), vec![]).is_err());
        assert!(Matcher::new(Some("("), vec![], vec![]).is_err());
        assert!(Matcher::new(Some("(a{1000}){1000}"), vec![], vec![]).is_err());
    }

    #[test]
    fn only_the_beginning_of_a_long_sentence_is_looked_at() {
        let matcher = Matcher::new(Some("needle"), vec![], vec![]).unwrap();
        let long = format!("{}needle", "ä".repeat(MAX_SENTENCE_BYTES));
        assert!(matcher.find(&long).is_none());
    }

    proptest! {
        #[test]
        fn no_sentence_and_no_pattern_panics(pattern in ".{0,40}", word in "\\PC{0,10}", sentence in "(?s).{0,400}") {
            if let Ok(matcher) = Matcher::new(Some(&pattern), vec![vec![word]], vec![]) {
                let _ = matcher.find(&sentence);
            }
        }

        #[test]
        fn a_captured_text_is_part_of_the_sentence(sentence in "(?s).{0,400}") {
            let matcher = Matcher::new(Some(r"(?s)(?<all>.+)"), vec![], vec![]).unwrap();
            if let Some(captures) = matcher.find(&sentence) {
                prop_assert!(sentence.contains(&captures["all"]));
            }
        }
    }
}
