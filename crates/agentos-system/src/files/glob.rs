//! Name patterns as shells have them (glob(7)): `*`, `?`, `[a-z]`, `[!0-9]`, `\` before a character to take it as it is.

use crate::QueryError;

/// Longest pattern, in characters.
const LONGEST: usize = 256;
/// Stands for a byte that is not UTF-8, above every character.
const RAW_BYTE: u32 = 0x0011_0000;

/// A pattern, ready to compare.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Glob {
    tokens: Vec<Token>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Token {
    /// Exactly this character.
    One(u32),
    /// Any character.
    Any,
    /// Any number of any characters.
    Star,
    /// A character in, or with `inverted` outside of, these ranges.
    Set { ranges: Vec<(u32, u32)>, inverted: bool },
}

impl Glob {
    /// Reads a pattern. `field` names the argument it came in.
    ///
    /// # Errors
    /// [`QueryError::InvalidArgument`] for an open `[`, a final `\`, an empty or an overlong pattern.
    pub(crate) fn new(pattern: &str, field: &str) -> Result<Self, QueryError> {
        if pattern.is_empty() || pattern.chars().count() > LONGEST {
            return Err(QueryError::invalid(
                field,
                format!("must be a pattern of 1 to {LONGEST} characters"),
            ));
        }
        let mut tokens = Vec::new();
        let mut rest = pattern.chars();
        while let Some(character) = rest.next() {
            tokens.push(match character {
                '*' if tokens.last() == Some(&Token::Star) => continue,
                '*' => Token::Star,
                '?' => Token::Any,
                '\\' => Token::One(u32::from(rest.next().ok_or_else(|| {
                    QueryError::invalid(field, "a \\ at the end of the pattern stands before nothing")
                })?)),
                '[' => set(&mut rest).ok_or_else(|| {
                    QueryError::invalid(
                        field,
                        "a [ in the pattern is not closed; write \\[ for the character itself",
                    )
                })?,
                other => Token::One(u32::from(other)),
            });
        }
        Ok(Self { tokens })
    }

    /// The pattern has a part that stands for several texts.
    pub(crate) fn is_wild(&self) -> bool {
        self.tokens.iter().any(|token| !matches!(token, Token::One(_)))
    }

    /// The whole of `name` matches. A `*` takes a leading dot and a slash too.
    pub(crate) fn matches(&self, name: &[u8]) -> bool {
        let units = units(name);
        let (mut token, mut unit) = (0, 0);
        // Where to go on when the text after the last star does not fit: one character later.
        let mut retry: Option<(usize, usize)> = None;
        loop {
            match (self.tokens.get(token), units.get(unit)) {
                (None, None) => return true,
                (Some(Token::Star), _) => {
                    retry = Some((token + 1, unit));
                    token += 1;
                }
                (Some(expected), Some(&found)) if expected.takes(found) => {
                    token += 1;
                    unit += 1;
                }
                _ => match retry {
                    Some((after_star, from)) if from < units.len() => {
                        retry = Some((after_star, from + 1));
                        (token, unit) = (after_star, from + 1);
                    }
                    _ => return false,
                },
            }
        }
    }
}

impl Token {
    fn takes(&self, unit: u32) -> bool {
        match self {
            Self::One(expected) => *expected == unit,
            Self::Any => true,
            Self::Star => false,
            Self::Set { ranges, inverted } => {
                ranges.iter().any(|&(first, last)| (first..=last).contains(&unit)) != *inverted
            }
        }
    }
}

/// The set after a `[`; `None` where it is not closed. A `]` that stands first is a member.
fn set(rest: &mut std::str::Chars<'_>) -> Option<Token> {
    let inverted = rest.as_str().starts_with(['!', '^']);
    if inverted {
        rest.next();
    }
    let mut ranges = Vec::new();
    loop {
        let first = match rest.next()? {
            ']' if !ranges.is_empty() => return Some(Token::Set { ranges, inverted }),
            '\\' => rest.next()?,
            character => character,
        };
        let is_range = rest.as_str().starts_with('-') && !rest.as_str().starts_with("-]");
        let last = if is_range {
            rest.next();
            match rest.next()? {
                '\\' => rest.next()?,
                character => character,
            }
        } else {
            first
        };
        ranges.push((u32::from(first), u32::from(last)));
    }
}

/// The characters of a name; a byte that is not UTF-8 counts as one of its own.
fn units(name: &[u8]) -> Vec<u32> {
    let mut units = Vec::with_capacity(name.len());
    for chunk in name.utf8_chunks() {
        units.extend(chunk.valid().chars().map(u32::from));
        units.extend(chunk.invalid().iter().map(|&byte| RAW_BYTE + u32::from(byte)));
    }
    units
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn matches(pattern: &str, name: &str) -> bool {
        Glob::new(pattern, "name").unwrap().matches(name.as_bytes())
    }

    #[test]
    fn patterns_mean_what_they_mean_to_a_shell() {
        for (pattern, name, expected) in [
            ("*.log", "syslog.log", true),
            ("*.log", "syslog.log.1", false),
            ("*", "", true),
            ("a*b*c", "aXXbYYc", true),
            ("a*b*c", "aXXbYY", false),
            ("?", "ü", true),
            ("??", "ü", false),
            ("[a-c]x", "bx", true),
            ("[!a-c]x", "bx", false),
            ("[]]", "]", true),
            ("[a-]", "-", true),
            ("\\*", "*", true),
            ("\\*", "x", false),
            ("x", "x", true),
            ("x", "xy", false),
        ] {
            assert_eq!(matches(pattern, name), expected, "{pattern} {name}");
        }
    }

    #[test]
    fn a_byte_that_is_not_utf8_is_one_character() {
        assert!(Glob::new("caf?", "name").unwrap().matches(b"caf\xe9"));
        assert!(Glob::new("*[!a-z]", "name").unwrap().matches(b"caf\xe9"));
    }

    #[test]
    fn what_is_no_pattern_is_refused() {
        for pattern in ["", "[", "[a", "a\\", "[]", &"*a".repeat(200)] {
            assert!(
                matches!(Glob::new(pattern, "name"), Err(QueryError::InvalidArgument { .. })),
                "{pattern}"
            );
        }
    }

    #[test]
    fn a_pattern_of_many_stars_is_compared_in_no_time() {
        let pattern = Glob::new(&format!("{}b", "*a".repeat(100)), "name").unwrap();
        let started = std::time::Instant::now();
        assert!(!pattern.matches(&[b'a'; 255]));
        assert!(started.elapsed().as_millis() < 500);
    }

    /// By definition rather than by algorithm.
    fn reference(pattern: &[char], name: &[char]) -> bool {
        match pattern.split_first() {
            None => name.is_empty(),
            Some(('*', rest)) => (0..=name.len()).any(|skipped| reference(rest, &name[skipped..])),
            Some(('?', rest)) => !name.is_empty() && reference(rest, &name[1..]),
            Some((character, rest)) => name.first() == Some(character) && reference(rest, &name[1..]),
        }
    }

    proptest! {
        #[test]
        fn matching_is_what_its_definition_says(pattern in "[ab*?]{1,8}", name in "[ab]{0,8}") {
            let expected = reference(&pattern.chars().collect::<Vec<_>>(), &name.chars().collect::<Vec<_>>());
            prop_assert_eq!(matches(&pattern, &name), expected);
        }

        #[test]
        fn any_pattern_and_name_are_taken_without_panic(pattern in "\\PC{0,30}", name: Vec<u8>) {
            if let Ok(glob) = Glob::new(&pattern, "name") {
                let _ = glob.matches(&name);
            }
        }
    }
}
