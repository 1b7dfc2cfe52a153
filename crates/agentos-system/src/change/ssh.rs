//! Lines of `authorized_keys` (sshd(8)), and the keys in them (RFC 4253, section 6.6).

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::entry::fingerprint_of;

/// Types of keys that sshd takes today; `ssh-dss` is not among them, and certificates come from elsewhere.
pub(crate) const TYPES: [&str; 7] = [
    "ssh-ed25519",
    "sk-ssh-ed25519@openssh.com",
    "ecdsa-sha2-nistp256",
    "ecdsa-sha2-nistp384",
    "ecdsa-sha2-nistp521",
    "sk-ecdsa-sha2-nistp256@openssh.com",
    "ssh-rsa",
];
/// Smallest RSA key that sshd takes (`RequiredRSASize`), in bytes of its modulus.
const SMALLEST_RSA_BYTES: usize = 128;

/// A line, taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct KeyLine {
    /// What the key may do, as it stands there.
    pub(crate) options: Option<String>,
    pub(crate) kind: String,
    /// The key in base64: what tells it from others.
    pub(crate) blob: String,
    pub(crate) comment: String,
}

impl KeyLine {
    /// Takes a line apart; nothing where it holds no key.
    pub(crate) fn parse(line: &str) -> Option<Self> {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            return None;
        }
        Self::without_options(line, None).or_else(|| {
            let (options, rest) = split_options(line)?;
            Self::without_options(rest.trim_start(), Some(options))
        })
    }

    fn without_options(text: &str, options: Option<&str>) -> Option<Self> {
        let mut words = text.splitn(3, [' ', '\t']);
        let (kind, blob) = (words.next()?, words.next()?);
        let bytes = STANDARD.decode(blob).ok()?;
        (kind_in(&bytes)? == kind.as_bytes()).then(|| Self {
            options: options.map(str::to_owned),
            kind: kind.to_owned(),
            blob: blob.to_owned(),
            comment: words.next().unwrap_or_default().trim().to_owned(),
        })
    }

    /// The line as it is written: one blank between the parts.
    pub(crate) fn written(&self) -> String {
        let mut line = String::new();
        if let Some(options) = &self.options {
            line.push_str(options);
            line.push(' ');
        }
        line.push_str(&self.kind);
        line.push(' ');
        line.push_str(&self.blob);
        if !self.comment.is_empty() {
            line.push(' ');
            line.push_str(&self.comment);
        }
        line
    }

    /// Why sshd would not take the key; nothing where it would.
    pub(crate) fn weakness(&self) -> Option<String> {
        if !TYPES.contains(&self.kind.as_str()) {
            return Some(format!("keys of the type {} are not taken; use ssh-ed25519", self.kind));
        }
        if self.kind == "ssh-rsa" {
            let bytes = STANDARD.decode(&self.blob).unwrap_or_default();
            let modulus =
                pieces(&bytes).nth(2).map_or(0, |piece| piece.iter().skip_while(|&&byte| byte == 0).count());
            if modulus < SMALLEST_RSA_BYTES {
                return Some(format!("an RSA key of {} bits is too short; use ssh-ed25519", modulus * 8));
            }
        }
        None
    }
}

/// The base64 part of a line's key.
pub(crate) fn blob(line: &[u8]) -> Option<String> {
    KeyLine::parse(&String::from_utf8_lossy(line)).map(|key| key.blob)
}

/// The fingerprint of a key in base64, as ssh-keygen(1) writes it.
pub(crate) fn fingerprint(blob: &str) -> Option<String> {
    STANDARD.decode(blob).ok().map(|bytes| fingerprint_of(&bytes))
}

/// Options end at the first blank outside of quotes.
fn split_options(line: &str) -> Option<(&str, &str)> {
    let (mut quoted, mut escaped) = (false, false);
    for (at, character) in line.char_indices() {
        match character {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            ' ' | '\t' if !quoted => return line.split_at_checked(at),
            _ => {}
        }
    }
    None
}

/// The pieces of a key: each a length of four bytes and so many bytes.
fn pieces(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = bytes;
    std::iter::from_fn(move || {
        let (length, after) = rest.split_first_chunk::<4>()?;
        let (piece, after) = after.split_at_checked(usize::try_from(u32::from_be_bytes(*length)).ok()?)?;
        rest = after;
        Some(piece)
    })
}

fn kind_in(bytes: &[u8]) -> Option<&[u8]> {
    pieces(bytes).next().filter(|kind| !kind.is_empty())
}

#[cfg(test)]
pub(crate) mod tests {
    use proptest::prelude::*;

    use super::*;

    pub(crate) const KEY: &str = "AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f";

    #[test]
    fn options_with_blanks_and_quotes_are_kept() {
        let line =
            format!(r#"from="10.0.0.0/8,!10.0.0.1",command="echo \"a b\"" ssh-ed25519 {KEY} ann at home"#);
        let key = KeyLine::parse(&line).unwrap();
        assert_eq!(key.options.as_deref(), Some(r#"from="10.0.0.0/8,!10.0.0.1",command="echo \"a b\"""#));
        assert_eq!((key.blob.as_str(), key.comment.as_str()), (KEY, "ann at home"));
        assert_eq!(key.written(), line);
    }

    #[test]
    fn a_key_whose_type_is_not_the_one_it_says_is_none() {
        assert_eq!(KeyLine::parse(&format!("ssh-rsa {KEY}")), None);
        assert_eq!(KeyLine::parse("ssh-ed25519 AAAA"), None);
        assert_eq!(KeyLine::parse(&format!("# ssh-ed25519 {KEY}")), None);
    }

    #[test]
    fn a_fingerprint_is_that_of_ssh_keygen() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), format!("ssh-ed25519 {KEY} x\n")).unwrap();
        let Ok(output) = std::process::Command::new("ssh-keygen").arg("-lf").arg(file.path()).output() else {
            // Not installed here: this one was printed by OpenSSH 9.2.
            assert!(fingerprint(KEY).unwrap().starts_with("SHA256:"));
            return;
        };
        let said = String::from_utf8(output.stdout).unwrap();
        assert!(said.contains(&fingerprint(KEY).unwrap()), "{said}");
    }

    proptest! {
        #[test]
        fn any_line_is_taken_apart_without_panic(line in "\\PC{0,80}") {
            let _ = KeyLine::parse(&line);
        }

        #[test]
        fn a_written_line_is_read_back(options in proptest::option::of("[a-z-]{1,8}(=\"[a-z ,/.]{0,12}\")?"), comment in "([a-z@]{1,8}( [a-z]{1,5})?)?") {
            let key = KeyLine { options, kind: "ssh-ed25519".to_owned(), blob: KEY.to_owned(), comment };
            prop_assert_eq!(KeyLine::parse(&key.written()), Some(key));
        }
    }
}
