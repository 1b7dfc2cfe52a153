//! What a word before a value, and the value itself, say about whether it is a secret.

use super::{Kind, MARKER};

/// What a name names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Class {
    /// Something a person chose: it may look like any word.
    Password,
    /// Something a machine made.
    Token,
    /// Something that a setting often names without being it: a unit's credentials are names of files.
    Credential,
}

/// The words, as part of an expression. Longer ones before those they begin with.
pub(super) const WORDS: &str = "pass(?:words?|wds?|phrases?|[_-]phrases?|codes?)|pwd|(?:db|user|smtp|mail|root|admin|redis|ftp|my|pg|key|store|ldap|bind)[_-]?pass|secrets?|tokens?|credentials?|api[_-]?keys?|access[_-]?keys?|account[_-]?keys?|auth[_-]?keys?|priv(?:ate)?[_ -]?keys?|(?:pre[_-]?)?shared[_-]?keys?|psk|(?:signing|encryption|encrypt|master|aes|hmac|deploy|session|storage|license)[_-]?keys?";

/// What follows the word in a name of something that is not the secret itself: where it is, how long it lasts.
const ABOUT: [&str; 40] = [
    "file",
    "path",
    "dir",
    "url",
    "uri",
    "endpoint",
    "type",
    "length",
    "len",
    "size",
    "min",
    "max",
    "age",
    "expir",
    "ttl",
    "time",
    "policy",
    "hint",
    "prompt",
    "count",
    "limit",
    "name",
    "enable",
    "disable",
    "require",
    "authentication",
    "store",
    "provider",
    "manager",
    "helper",
    "command",
    "cmd",
    "format",
    "field",
    "version",
    "source",
    "agent",
    "usage",
    "quality",
    "change",
];

/// Values that are words for something else.
const HARMLESS: [&str; 61] = [
    "true",
    "false",
    "yes",
    "no",
    "on",
    "off",
    "none",
    "null",
    "nil",
    "undefined",
    "unset",
    "enabled",
    "disabled",
    "required",
    "optional",
    "default",
    "empty",
    "missing",
    "invalid",
    "expired",
    "redacted",
    "hidden",
    "masked",
    "removed",
    "prompt",
    "ask",
    "env",
    "file",
    "any",
    "all",
    "amd64",
    "arm64",
    "i386",
    "files",
    "compat",
    "systemd",
    "ldap",
    "sss",
    "nis",
    "winbind",
    "db",
    "(null)",
    "ok",
    "failed",
    "success",
    "accepted",
    "rejected",
    "sufficient",
    "requisite",
    "include",
    "changed",
    "string",
    "str",
    "int",
    "integer",
    "boolean",
    "bearer",
    "basic",
    "secret",
    "token",
    "password",
];

/// Words that follow an option in a sentence about it.
const PROSE: [&str; 24] = [
    "is", "to", "or", "and", "the", "was", "will", "has", "for", "with", "in", "of", "on", "from", "option",
    "flag", "argument", "instead", "if", "not", "can", "may", "must", "are",
];

/// Where files are.
const ROOTS: [&str; 24] = [
    "etc",
    "run",
    "var",
    "usr",
    "home",
    "root",
    "srv",
    "opt",
    "tmp",
    "dev",
    "proc",
    "sys",
    "nix",
    "mnt",
    "media",
    "bin",
    "sbin",
    "lib",
    "boot",
    "data",
    "app",
    "workspace",
    "secrets",
    "dev",
];

/// What the name of a value says it is; nothing where it names no secret after all. `word` is where in it the word ends.
pub(super) fn class_of(name: &[u8], word: std::ops::Range<usize>) -> Option<(Class, Kind)> {
    let lower = name.to_ascii_lowercase();
    let found = lower.get(word.clone())?;
    let behind = lower.get(word.end..)?;
    // `tokenizer`, `secretservice`, `passwordless` are other words; `tokenId` and `token2` are not.
    let goes_on = name.get(word.end).is_some_and(u8::is_ascii_lowercase);
    let about = ABOUT.iter().any(|about| has(behind, about.as_bytes())) && !has(behind, b"hash");
    if goes_on || about || has(&lower, b"public") {
        return None;
    }
    let class = if has(found, b"pass") || has(found, b"pwd") {
        Class::Password
    } else if has(found, b"credential") {
        Class::Credential
    } else {
        Class::Token
    };
    let kind = if class == Class::Password {
        "password"
    } else if has(found, b"priv") || has(found, b"shared") || found == b"psk" {
        "private key"
    } else if has(found, b"key") {
        "API key"
    } else if has(found, b"token") {
        "token"
    } else {
        "secret"
    };
    Some((class, Kind(kind)))
}

/// How a value stands behind its name.
#[expect(clippy::struct_excessive_bools, reason = "four observations that do not depend on each other")]
#[derive(Clone, Copy, Debug)]
pub(super) struct Setting {
    /// In quotes.
    pub(super) quoted: bool,
    /// Behind a colon, not an equals sign.
    pub(super) colon: bool,
    /// With room around the sign.
    pub(super) spaced: bool,
    /// Nothing else is on the line.
    pub(super) last: bool,
}

/// The value is taken for a secret, given what its name says.
pub(super) fn is_secret(class: Class, value: &[u8], setting: Setting) -> bool {
    if is_harmless(value) {
        return false;
    }
    let digits_only = value.iter().all(u8::is_ascii_digit);
    if digits_only && (class != Class::Password || value.len() < 4) {
        return false;
    }
    if class == Class::Credential {
        return is_random(value);
    }
    if setting.quoted {
        return true;
    }
    if setting.spaced && is_code(value) {
        return false;
    }
    match (setting.colon, class) {
        (false, _) => true,
        // `token: expected` is a sentence; so is `password: authentication failed`.
        (true, Class::Token | Class::Credential) => is_random(value),
        (true, Class::Password) => {
            setting.last || !setting.spaced || !value.iter().all(u8::is_ascii_lowercase)
        }
    }
}

/// The value stands for something else: a reference, a path, a word that says how it is.
pub(super) fn is_harmless(value: &[u8]) -> bool {
    let Some(&first) = value.first() else { return true };
    if value.starts_with(MARKER.trim_end().as_bytes()) || matches!(first, b'<' | b'{') {
        return true;
    }
    // A variable, unless it is a hash of crypt(5): `$6$…`.
    if first == b'$' && !value.get(1..).is_some_and(|rest| rest.contains(&b'$')) {
        return true;
    }
    if value
        .iter()
        .all(|byte| matches!(byte, b'*' | b'x' | b'X' | b'.' | b'-' | b'_' | b'=' | b'?' | b'%' | b':'))
    {
        return true;
    }
    if value.len() <= 3 && first == b'%' {
        return true;
    }
    let lower = value.to_ascii_lowercase();
    HARMLESS.iter().any(|word| lower == word.as_bytes()) || is_path(&lower)
}

/// It goes on as a sentence does, or as the placeholder in a description of options.
pub(super) fn is_prose(value: &[u8]) -> bool {
    PROSE.iter().any(|word| value == word.as_bytes())
        || (value.iter().all(|byte| byte.is_ascii_uppercase() || matches!(byte, b'_' | b'-')))
}

fn is_path(lower: &[u8]) -> bool {
    if [&b"~/"[..], b"./", b"../", b"file:", b"http://", b"https://"]
        .iter()
        .any(|start| lower.starts_with(start))
    {
        return true;
    }
    let Some(below) = lower.strip_prefix(b"/") else { return false };
    let name = below.split(|&byte| byte == b'/').next().unwrap_or_default();
    below.contains(&b'/') && ROOTS.iter().any(|root| name == root.as_bytes())
}

/// `get_token()`, `os.environ["TOKEN"]`, `config.secret`: what computes a secret is none.
fn is_code(value: &[u8]) -> bool {
    let name =
        value.iter().take_while(|byte| byte.is_ascii_alphanumeric() || b"_.:>-".contains(byte)).count();
    let starts = value.first().is_some_and(|byte| byte.is_ascii_alphabetic() || *byte == b'_');
    let called = matches!(value.get(name), Some(b'(' | b'['));
    let dotted = name == value.len()
        && value.contains(&b'.')
        && !value.iter().any(u8::is_ascii_digit)
        && value.split(|&byte| byte == b'.').all(|part| !part.is_empty());
    starts && (called || dotted)
}

/// As a machine makes it: not a word, not a version.
pub(super) fn is_random(value: &[u8]) -> bool {
    let any = |is: fn(&u8) -> bool| value.iter().any(is);
    let digit_and_letter = any(u8::is_ascii_digit) && any(u8::is_ascii_alphabetic);
    (value.len() >= 8 && digit_and_letter)
        || (value.len() >= 20 && any(u8::is_ascii_uppercase) && any(u8::is_ascii_lowercase))
}

fn has(text: &[u8], part: &[u8]) -> bool {
    memchr::memmem::find(text, part).is_some()
}
