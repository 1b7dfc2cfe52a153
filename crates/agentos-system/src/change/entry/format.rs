//! What an entry is, by the kind of its file.

use agentos_objects::Hash;
use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use serde::{Deserialize, Serialize};

use super::fields;
use crate::change::ssh;
use crate::firewall::rule::of_line;

/// The kind of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Format {
    /// passwd(5)
    Passwd,
    /// shadow(5)
    Shadow,
    /// group(5)
    Group,
    /// gshadow(5)
    Gshadow,
    /// subuid(5) and subgid(5)
    Subids,
    /// The file of a user's keys for sshd(8)
    AuthorizedKeys,
    /// Rules of AgentOS' own table in nft(8)'s words, a line each.
    Firewall,
    /// fstab(5)
    Fstab,
}

impl Format {
    /// The files of the accounts are changed under one lock (lckpwdf(3)).
    pub(crate) const fn is_of_accounts(self) -> bool {
        matches!(self, Self::Passwd | Self::Shadow | Self::Group | Self::Gshadow | Self::Subids)
    }

    /// What tells an entry from the others; nothing where the line is none.
    pub(crate) fn key(self, line: &[u8]) -> Option<String> {
        match self {
            Self::Passwd | Self::Shadow | Self::Group | Self::Gshadow | Self::Subids => {
                if matches!(line.first(), None | Some(b'#' | b'+' | b'-' | b':')) || !line.contains(&b':') {
                    return None;
                }
                let mut fields = line.split(|&byte| byte == b':').map(String::from_utf8_lossy);
                let name = fields.next()?.into_owned();
                // A user may have several ranges.
                if self == Self::Subids { Some(format!("{name}:{}", fields.next()?)) } else { Some(name) }
            }
            Self::AuthorizedKeys => ssh::blob(line),
            Self::Firewall => of_line(line),
            Self::Fstab => {
                if line.trim_ascii_start().first() == Some(&b'#') {
                    return None;
                }
                let mut words = line
                    .split(u8::is_ascii_whitespace)
                    .filter(|word| !word.is_empty())
                    .map(String::from_utf8_lossy);
                let (source, point, kind) = (words.next()?, words.next()?, words.next()?);
                // Swap space has no place.
                Some(if kind == "swap" { format!("swap {source}") } else { point.into_owned() })
            }
        }
    }

    /// The key, as it is shown: keys for ssh by their fingerprints.
    pub(crate) fn shown_key(self, key: &str) -> String {
        match self {
            Self::AuthorizedKeys => ssh::fingerprint(key).unwrap_or_else(|| key.to_owned()),
            _ => key.to_owned(),
        }
    }

    /// Whether an entry has a password's hash in it, and is not shown.
    pub(crate) fn is_secret(self, line: &[u8]) -> bool {
        match self {
            Self::Shadow => true,
            // In the old days the hash stood in the files that all may read.
            Self::Passwd | Self::Group | Self::Gshadow => {
                fields(line).get(1).is_some_and(|field| field.trim_start_matches(['!', '*']).len() > 1)
            }
            Self::Subids | Self::AuthorizedKeys | Self::Firewall | Self::Fstab => false,
        }
    }

    /// A secret entry in words.
    pub(crate) fn describe(self, line: &[u8]) -> String {
        let fields = fields(line);
        let password = fields.get(1).map_or("", |field| field);
        let password = match password.strip_prefix('!') {
            Some("" | "!" | "*") => "locked, no password",
            Some(_) => "locked, with a password",
            None if password == "*" => "locked, no password",
            None if password.is_empty() => "no password needed",
            None => "password set",
        };
        let mut text = password.to_owned();
        if self == Self::Shadow
            && let Some(day) = fields.get(7).filter(|day| !day.is_empty())
        {
            text = format!("{text}, expires on day {day} since 1970");
        }
        text
    }

    /// Where a new entry goes. The lines of NIS compatibility are the last, because they stand for all that follows.
    pub(crate) fn place_of_new(self, lines: &[Vec<u8>]) -> usize {
        let at = if matches!(self, Self::Passwd | Self::Shadow | Self::Group | Self::Gshadow) {
            lines.iter().position(|line| matches!(line.first(), Some(b'+' | b'-')))
        } else {
            None
        };
        at.unwrap_or(lines.len())
    }

    /// Whether two entries are the same as far as this kind of transition is concerned. Members of a group are transitions of
    /// their own.
    pub(crate) fn comparable(self, line: &[u8]) -> Vec<u8> {
        match self {
            Self::Group | Self::Gshadow => {
                let kept = if self == Self::Group { 3 } else { 2 };
                line.split(|&byte| byte == b':').take(kept).collect::<Vec<_>>().join(&b':')
            }
            _ => line.to_vec(),
        }
    }
}

/// SHA-256 of bytes as ssh-keygen(1) writes it.
pub(crate) fn fingerprint_of(bytes: &[u8]) -> String {
    let hexadecimal = Hash::of(bytes).to_string();
    let digest: Vec<u8> = (0..hexadecimal.len() / 2)
        .filter_map(|at| u8::from_str_radix(hexadecimal.get(2 * at..2 * at + 2)?, 16).ok())
        .collect();
    format!("SHA256:{}", STANDARD_NO_PAD.encode(digest))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn keys_are_found_and_lines_that_are_no_entries_have_none() {
        assert_eq!(Format::Passwd.key(b"ann:x:1000:1000::/home/ann:/bin/sh").as_deref(), Some("ann"));
        assert_eq!(Format::Subids.key(b"ann:100000:65536").as_deref(), Some("ann:100000"));
        assert_eq!(Format::Fstab.key(b"UUID=1 /srv\text4 defaults 0 2").as_deref(), Some("/srv"));
        assert_eq!(Format::Fstab.key(b"/dev/sda2 none swap sw 0 0").as_deref(), Some("swap /dev/sda2"));
        for line in [&b"# x:y"[..], b"+::::::", b"", b"x", b":x:1"] {
            assert_eq!(Format::Passwd.key(line), None);
        }
    }

    #[test]
    fn a_hash_is_never_part_of_the_words_about_it() {
        let line = b"ann:$y$j9T$abc$def:20000:0:99999:7:::";
        assert!(Format::Shadow.is_secret(line));
        assert_eq!(Format::Shadow.describe(line), "password set");
        assert_eq!(
            Format::Shadow.describe(b"ann:!$y$x:20000:0:99999:7::20500:"),
            "locked, with a password, expires on day 20500 since 1970"
        );
        assert_eq!(Format::Shadow.describe(b"ann:!:20000::::::"), "locked, no password");
        assert!(Format::Passwd.is_secret(b"ann:abJnggxhB/yWI:1:1:::"));
        assert!(!Format::Passwd.is_secret(b"ann:x:1:1:::"));
    }

    proptest! {
        #[test]
        fn any_line_is_looked_at_without_panic(line: Vec<u8>) {
            for format in [Format::Passwd, Format::Shadow, Format::Group, Format::Gshadow, Format::Subids, Format::AuthorizedKeys, Format::Fstab] {
                let _ = (format.key(&line), format.is_secret(&line), format.comparable(&line));
                let words = format.describe(&line);
                prop_assert!(!words.is_empty());
            }
        }
    }
}
