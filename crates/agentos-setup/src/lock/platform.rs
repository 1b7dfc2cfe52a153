//! For which machines a package is made, in npm's words.

use std::fmt;

use super::Words;

/// A kind of machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Platform {
    /// The kernel: `linux`.
    pub os: &'static str,
    /// The processor: `x64`, `arm64`.
    pub cpu: &'static str,
    /// The C library: `glibc`, `musl`.
    pub libc: &'static str,
}

impl Platform {
    /// The kind of machine that this program is made for.
    pub fn current() -> Self {
        Self {
            os: std::env::consts::OS,
            cpu: match std::env::consts::ARCH {
                "x86_64" => "x64",
                "aarch64" => "arm64",
                other => other,
            },
            libc: if cfg!(target_env = "musl") { "musl" } else { "glibc" },
        }
    }

    /// Whether a package with these conditions is made for it. No condition is met by all.
    pub(super) fn fits(&self, os: &Words, cpu: &Words, libc: &Words) -> bool {
        allows(os, self.os) && allows(cpu, self.cpu) && allows(libc, self.libc)
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} on {} with {}", self.os, self.cpu, self.libc)
    }
}

/// npm's rule: none of those with a `!` is ours, and ours is among the others, if there are any.
fn allows(words: &Words, ours: &str) -> bool {
    let mut named = false;
    let mut found = false;
    for word in words.iter() {
        match word.strip_prefix('!') {
            Some(denied) if denied == ours => return false,
            Some(_) => {}
            None => {
                named = true;
                found |= word == ours || word == "any";
            }
        }
    }
    found || !named
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(words: &[&str]) -> Words {
        Words::Several(words.iter().map(|word| (*word).to_owned()).collect())
    }

    #[test]
    fn conditions_are_read_as_npm_reads_them() {
        for (condition, met) in [
            (&[][..], true),
            (&["linux"], true),
            (&["darwin", "linux"], true),
            (&["darwin"], false),
            (&["!win32"], true),
            (&["!linux"], false),
            (&["!win32", "darwin"], false),
            (&["any"], true),
        ] {
            assert_eq!(allows(&words(condition), "linux"), met, "{condition:?}");
        }
        assert!(allows(&Words::One("linux".to_owned()), "linux"));
    }
}
