//! Patterns, many at once: all globs of one kind become one automaton, so that a text is compared with every rule in a
//! single pass, in time that grows with the text and not with what is in the patterns.
//!
//! In a path, `*` and `?` stay within one name and `**` stands for any number of names; elsewhere `*` takes anything.

use std::fmt::Write as _;

use regex::bytes::{RegexSet, RegexSetBuilder};

/// Most memory that the automaton of one kind of pattern may take, in bytes.
const MAX_AUTOMATON_BYTES: usize = 32 << 20;

/// What the patterns are compared with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Absolute paths.
    Path,
    /// Names and values.
    Text,
}

/// All patterns of one kind.
#[derive(Clone, Debug)]
pub(crate) struct Globs {
    set: RegexSet,
}

/// Which patterns a text fits.
#[derive(Clone, Debug)]
pub(crate) struct Fits(regex::bytes::SetMatches);

impl Globs {
    /// The automaton of `patterns`, which were checked one by one.
    pub(crate) fn new(kind: Kind, patterns: &[String]) -> Result<Self, String> {
        let expressions: Vec<String> =
            patterns.iter().map(|pattern| expression(kind, pattern)).collect::<Result<_, _>>()?;
        let set =
            RegexSetBuilder::new(expressions).size_limit(MAX_AUTOMATON_BYTES).build().map_err(|_| {
                "the patterns of this file are too large together; use fewer or shorter ones".to_owned()
            })?;
        Ok(Self { set })
    }

    pub(crate) fn fits(&self, text: &[u8]) -> Fits {
        Fits(self.set.matches(text))
    }
}

impl Fits {
    pub(crate) fn any(&self, patterns: &[usize]) -> bool {
        patterns.iter().any(|&pattern| self.0.matched(pattern))
    }
}

/// Says what is wrong with a pattern.
pub(crate) fn check(kind: Kind, pattern: &str) -> Result<(), String> {
    if pattern.is_empty() || pattern.len() > crate::MAX_PATTERN_BYTES {
        return Err(format!("a pattern has 1 to {} bytes", crate::MAX_PATTERN_BYTES));
    }
    if kind == Kind::Path {
        if !pattern.starts_with('/') {
            return Err("a path begins with / (or with ~/, for /root and each folder in /home)".to_owned());
        }
        for name in pattern[1..].split('/') {
            if matches!(name, "" | "." | "..") && pattern != "/" {
                return Err(
                    "a path has no empty name, no . and no .. in it: they are never in a resolved one"
                        .to_owned(),
                );
            }
            if name.contains("**") && name != "**" {
                return Err("** stands for whole names: write it between slashes, /srv/**/key".to_owned());
            }
        }
    }
    expression(kind, pattern).map(|_| ())
}

/// The pattern has a part that stands for several texts.
pub(crate) fn is_wild(pattern: &str) -> bool {
    pattern.contains(['*', '?', '[', '\\'])
}

fn expression(kind: Kind, pattern: &str) -> Result<String, String> {
    let mut out = String::from(r"(?s-u)\A");
    let mut rest = pattern;
    let (any, one) = match kind {
        Kind::Path => ("[^/]*", r"(?:(?u:[^/])|[\x80-\xff])"),
        Kind::Text => (".*", r"(?:(?u:.)|[\x80-\xff])"),
    };
    while let Some(character) = rest.chars().next() {
        if kind == Kind::Path && rest == "/**" {
            out.push_str("/.+");
            break;
        }
        if kind == Kind::Path
            && let Some(after) = rest.strip_prefix("/**/")
        {
            out.push_str("/(?:.*/)?");
            rest = after;
            continue;
        }
        rest = &rest[character.len_utf8()..];
        match character {
            '*' => {
                rest = rest.trim_start_matches('*');
                out.push_str(any);
            }
            '?' => out.push_str(one),
            '[' => rest = set(rest, &mut out, kind)?,
            '\\' => {
                let next = rest.chars().next().ok_or("a \\ at the end of a pattern stands before nothing")?;
                literal(next, &mut out);
                rest = &rest[next.len_utf8()..];
            }
            other => literal(other, &mut out),
        }
    }
    out.push_str(r"\z");
    Ok(out)
}

/// A character as its bytes: no character of an expression's grammar is left to mean something.
fn literal(character: char, out: &mut String) {
    let mut buffer = [0; 4];
    for byte in character.encode_utf8(&mut buffer).bytes() {
        let _ = write!(out, "\\x{byte:02x}");
    }
}

/// The set after a `[`, written as an expression; answers what follows it. Sets are of ASCII characters.
fn set<'a>(text: &'a str, out: &mut String, kind: Kind) -> Result<&'a str, String> {
    let open = "a [ in a pattern is not closed; write \\[ for the character itself";
    let inverted = text.starts_with(['!', '^']);
    let body = if inverted { &text[1..] } else { text };
    // A ] that stands first is a member.
    let end = body.char_indices().skip(1).find(|(_, character)| *character == ']').ok_or(open)?.0;
    let members = &body[..end];
    if !members.is_ascii() {
        return Err("a set in a pattern holds letters, digits and signs of ASCII only".to_owned());
    }
    let bytes = members.as_bytes();
    out.push_str(if inverted { "[^" } else { "[" });
    if inverted && kind == Kind::Path {
        out.push('/');
    }
    let mut at = 0;
    while let Some(&first) = bytes.get(at) {
        let last = match (bytes.get(at + 1), bytes.get(at + 2)) {
            (Some(b'-'), Some(&last)) => {
                at += 2;
                last
            }
            _ => first,
        };
        if last < first {
            return Err(format!(
                "the range {}-{} in a pattern is empty",
                char::from(first),
                char::from(last)
            ));
        }
        let _ = write!(out, "\\x{first:02x}-\\x{last:02x}");
        at += 1;
    }
    out.push(']');
    Ok(&body[end + 1..])
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn fits(kind: Kind, pattern: &str, text: &[u8]) -> bool {
        check(kind, pattern).unwrap_or_else(|error| panic!("{pattern}: {error}"));
        Globs::new(kind, &[pattern.to_owned()]).unwrap().fits(text).any(&[0])
    }

    #[test]
    fn a_star_stays_within_a_name_and_two_stars_do_not() {
        for (pattern, path, expected) in [
            ("/etc/shadow", "/etc/shadow", true),
            ("/etc/shadow", "/etc/shadow-", false),
            ("/etc/shadow*", "/etc/shadow-", true),
            ("/etc/*", "/etc/ssh/key", false),
            ("/etc/**", "/etc/ssh/key", true),
            ("/etc/**", "/etc", false),
            ("/etc/**/*.key", "/etc/x.key", true),
            ("/etc/**/*.key", "/etc/a/b/x.key", true),
            ("/etc/**/*.key", "/etc/a/b/x.pub", false),
            ("/**/id_rsa", "/id_rsa", true),
            ("/home/*/.ssh/id_[a-z0-9]*", "/home/anna/.ssh/id_ed25519", true),
            ("/home/[!a]*/x", "/home/anna/x", false),
            ("/home/[!a]*/x", "/home/bert/x", true),
            ("/a[!b]c", "/a/c", false),
            ("/a?c", "/aüc", true),
            ("/a?c", "/a/c", false),
            ("/a.c", "/abc", false),
            ("/\\*", "/*", true),
            ("/\\*", "/x", false),
            ("/[]]", "/]", true),
            ("/a\nb*", "/a\nbc\nd", true),
        ] {
            assert_eq!(fits(Kind::Path, pattern, path.as_bytes()), expected, "{pattern} {path}");
        }
        assert!(fits(Kind::Path, "/caf?", b"/caf\xe9"));
        assert!(fits(Kind::Text, "agent:*", b"agent:openclaw/main"));
        assert!(!fits(Kind::Text, "agent", b"agent:openclaw"));
    }

    #[test]
    fn what_is_no_pattern_is_refused() {
        for pattern in
            ["", "etc", "/a//b", "/a/../b", "/a/./b", "/a/", "/a**", "/[a", "/a\\", "/[z-a]", "/[ü]"]
        {
            assert!(check(Kind::Path, pattern).is_err(), "{pattern}");
        }
        assert!(check(Kind::Text, &"x".repeat(257)).is_err());
    }

    proptest! {
        #[test]
        fn any_pattern_is_refused_or_compares_without_panic(pattern in "\\PC{0,30}", text: Vec<u8>) {
            for kind in [Kind::Path, Kind::Text] {
                if check(kind, &pattern).is_ok() {
                    let _ = Globs::new(kind, std::slice::from_ref(&pattern)).unwrap().fits(&text);
                }
            }
        }

        #[test]
        fn a_pattern_without_signs_fits_itself_alone(name in "[a-z.+(){}|^$]{1,12}", other in "[a-z.+(){}|^$]{1,12}") {
            prop_assert!(fits(Kind::Text, &name, name.as_bytes()));
            prop_assert_eq!(fits(Kind::Text, &name, other.as_bytes()), name == other);
        }
    }
}
