//! Secrets in what is answered, found by their shape or by the word before them, and replaced by `[masked: KIND]`.
//!
//! A secret is masked where its shape is one's own (`ghp_…`, a private key in PEM form, `//user:password@host`), or where a
//! word that names a secret stands before it (`password=`, `--token`, `Authorization:`). Random text alone is no secret:
//! hashes, UUIDs, checksums and store paths stay as they are.
//!
//! What is masked takes time in proportion to the text: a first pass looks for the words and beginnings that all secrets
//! have, and only where one stands are the expressions tried. None of them goes back over what it has passed.

mod assigned;
mod json;
mod shaped;
mod words;

use std::borrow::Cow;
use std::ops::Range;
use std::sync::OnceLock;

use aho_corasick::{AhoCorasick, AhoCorasickBuilder};

pub use json::json;

/// What a secret is, as it is named in its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Kind(&'static str);

impl Kind {
    /// The name.
    pub const fn as_str(self) -> &'static str {
        self.0
    }
}

/// A secret: where it stands, and what it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Secret {
    /// Its bytes in the text.
    pub range: Range<usize>,
    /// What it is.
    pub kind: Kind,
}

/// What stands in the place of a secret.
pub fn marker(kind: Kind) -> String {
    format!("{MARKER}{}]", kind.0)
}

/// How each marker begins.
const MARKER: &str = "[masked: ";

/// What a beginning or a word may announce.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Classes(u8);

impl Classes {
    const NONE: Self = Self(0);
    /// A shape of its own.
    const SHAPED: Self = Self(1);
    /// A private key in PEM form.
    const PEM: Self = Self(2);
    /// A word that names a secret.
    const NAMED: Self = Self(4);
    /// Credentials in a URL.
    const URL: Self = Self(8);
    /// A header with credentials.
    const HEADER: Self = Self(16);
    /// A program that takes a password as an argument.
    const PROGRAM: Self = Self(32);

    const fn has(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }
}

/// What a secret, or the word before it, begins with. Case is ignored here; the expressions are exact.
const BEGINNINGS: &[(&str, Classes)] = &[
    ("-----begin", Classes::PEM),
    ("private key", Classes::PEM),
    ("akia", Classes::SHAPED),
    ("asia", Classes::SHAPED),
    ("abia", Classes::SHAPED),
    ("acca", Classes::SHAPED),
    ("ghp_", Classes::SHAPED),
    ("gho_", Classes::SHAPED),
    ("ghu_", Classes::SHAPED),
    ("ghs_", Classes::SHAPED),
    ("ghr_", Classes::SHAPED),
    ("github_pat_", Classes::SHAPED),
    ("glpat-", Classes::SHAPED),
    ("gldt-", Classes::SHAPED),
    ("glrt-", Classes::SHAPED),
    ("glptt-", Classes::SHAPED),
    ("glcbt-", Classes::SHAPED),
    ("xox", Classes::SHAPED),
    ("xapp-", Classes::SHAPED),
    ("hooks.slack.com", Classes::SHAPED),
    ("k_live_", Classes::SHAPED),
    ("k_test_", Classes::SHAPED),
    ("whsec_", Classes::SHAPED),
    ("sk-", Classes::SHAPED),
    ("npm_", Classes::SHAPED),
    ("pypi-ageI", Classes::SHAPED),
    ("hf_", Classes::SHAPED),
    ("dop_v1_", Classes::SHAPED),
    ("aiza", Classes::SHAPED),
    ("ya29.", Classes::SHAPED),
    ("gocspx-", Classes::SHAPED),
    ("sg.", Classes::SHAPED),
    (":aa", Classes::SHAPED),
    ("eyj", Classes::SHAPED),
    ("age-secret-key-", Classes::SHAPED),
    ("$1$", Classes::SHAPED),
    ("$2", Classes::SHAPED),
    ("$5$", Classes::SHAPED),
    ("$6$", Classes::SHAPED),
    ("$7$", Classes::SHAPED),
    ("$y$", Classes::SHAPED),
    ("$gy$", Classes::SHAPED),
    ("$argon2", Classes::SHAPED),
    ("pass", Classes::NAMED),
    ("pwd", Classes::NAMED),
    ("secret", Classes::NAMED),
    ("token", Classes::NAMED),
    ("credential", Classes::NAMED),
    ("apikey", Classes::NAMED),
    ("_key", Classes::NAMED),
    ("-key", Classes::NAMED),
    ("accesskey", Classes::NAMED),
    ("accountkey", Classes::NAMED),
    ("authkey", Classes::NAMED),
    ("privatekey", Classes::NAMED),
    ("privkey", Classes::NAMED),
    ("private key", Classes::NAMED),
    ("sharedkey", Classes::NAMED),
    ("psk", Classes::NAMED),
    ("signingkey", Classes::NAMED),
    ("encryptionkey", Classes::NAMED),
    ("masterkey", Classes::NAMED),
    ("://", Classes::URL),
    ("authorization", Classes::HEADER),
    ("bearer", Classes::HEADER),
    ("basic ", Classes::HEADER),
    ("cookie", Classes::HEADER),
    ("x-api-key", Classes::HEADER),
    ("mysql", Classes::PROGRAM),
    ("mariadb", Classes::PROGRAM),
    ("sshpass", Classes::PROGRAM),
    ("curl", Classes::PROGRAM),
    ("wget", Classes::PROGRAM),
    ("machine ", Classes::PROGRAM),
];

fn beginnings() -> &'static AhoCorasick {
    static AUTOMATON: OnceLock<AhoCorasick> = OnceLock::new();
    AUTOMATON.get_or_init(|| {
        AhoCorasickBuilder::new()
            .ascii_case_insensitive(true)
            .kind(Some(aho_corasick::AhoCorasickKind::DFA))
            .build(BEGINNINGS.iter().map(|(text, _)| text))
            .unwrap_or_else(|error| unreachable!("a fixed list, which the tests build: {error}"))
    })
}

/// An expression of this module's own, which the tests compile.
fn expression(text: &str) -> regex::bytes::Regex {
    regex::bytes::Regex::new(text).unwrap_or_else(|error| unreachable!("a fixed expression: {error}"))
}

/// Which kinds of secrets the text may hold.
fn classes(text: &[u8]) -> Classes {
    let mut found = Classes::NONE;
    for hit in beginnings().find_overlapping_iter(text) {
        if let Some((_, class)) = BEGINNINGS.get(hit.pattern().as_usize()) {
            found.0 |= class.0;
        }
    }
    found
}

/// The secrets in a text, in its order; none overlaps another.
pub fn find(text: &[u8]) -> Vec<Secret> {
    let classes = classes(text);
    let mut found = Vec::new();
    if classes.has(Classes::PEM) {
        shaped::pem(text, &mut found);
    }
    if classes.has(Classes::SHAPED) {
        shaped::tokens(text, &mut found);
    }
    if classes.has(Classes::URL) {
        shaped::urls(text, &mut found);
    }
    if classes.has(Classes::HEADER) {
        shaped::headers(text, &mut found);
    }
    if classes.has(Classes::PROGRAM) {
        assigned::programs(text, &mut found);
    }
    if classes.has(Classes::NAMED) {
        assigned::assignments(text, &mut found);
        assigned::options(text, &mut found);
    }
    merge(found)
}

/// Puts what overlaps into one, under the name of what begins first.
fn merge(mut found: Vec<Secret>) -> Vec<Secret> {
    found.retain(|secret| !secret.range.is_empty());
    found.sort_by_key(|secret| (secret.range.start, std::cmp::Reverse(secret.range.end)));
    let mut merged: Vec<Secret> = Vec::with_capacity(found.len());
    for secret in found {
        match merged.last_mut() {
            Some(last) if secret.range.start < last.range.end => {
                last.range.end = last.range.end.max(secret.range.end);
            }
            _ => merged.push(secret),
        }
    }
    merged
}

/// Most passes over one text.
const MOST_PASSES: usize = 4;

/// The text without its secrets, and how many there were.
///
/// What stands around a secret may itself be one that only shows when the first is gone (two of them written together): it
/// is looked at again until nothing is found.
pub fn text(text: &[u8]) -> (Cow<'_, [u8]>, u64) {
    let (mut masked, mut count) = (Cow::Borrowed(text), 0);
    for _ in 0..MOST_PASSES {
        let secrets = find(&masked);
        if secrets.is_empty() {
            break;
        }
        count += secrets.len() as u64;
        masked = Cow::Owned(replace(&masked, 0..masked.len(), &secrets));
    }
    (masked, count)
}

/// The part `range` of a text, with a marker for each secret that reaches into it.
pub fn replace(text: &[u8], range: Range<usize>, secrets: &[Secret]) -> Vec<u8> {
    let mut out = Vec::with_capacity(range.len());
    let mut at = range.start;
    for secret in secrets {
        let (start, end) = (secret.range.start.max(range.start), secret.range.end.min(range.end));
        if start >= end || start < at {
            continue;
        }
        out.extend_from_slice(&text[at..start]);
        out.extend_from_slice(marker(secret.kind).as_bytes());
        at = end;
    }
    out.extend_from_slice(&text[at..range.end]);
    out
}
