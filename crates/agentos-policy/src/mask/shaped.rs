//! Secrets that have a shape of their own.

use std::ops::Range;
use std::sync::OnceLock;

use regex::bytes::Regex;

use super::words::{is_harmless, is_random};
use super::{Kind, Secret, expression};

/// Each shape with its name. They are exact in case, and none is so short that a word could have it.
const TOKENS: &[(&str, &str)] = &[
    ("AWS key", r"\b(?:AKIA|ASIA|ABIA|ACCA)[A-Z2-7]{16}\b"),
    ("GitHub token", r"\b(?:gh[pousr]_[A-Za-z0-9]{30,}|github_pat_[A-Za-z0-9_]{22,})"),
    ("GitLab token", r"\bgl(?:pat|dt|rt|ptt|cbt)-[A-Za-z0-9_-]{20,}"),
    ("Slack token", r"\b(?:xox[abeoprs]-[A-Za-z0-9-]{10,}|xapp-[0-9]-[A-Za-z0-9-]{10,})"),
    ("Slack webhook", r"\bhooks\.slack\.com/(?:services|workflows|triggers)/[A-Za-z0-9/_-]{16,}"),
    ("Stripe key", r"\b(?:[rs]k_(?:live|test)_[A-Za-z0-9]{10,}|whsec_[A-Za-z0-9+/=]{20,})"),
    ("Anthropic key", r"\bsk-ant-[A-Za-z0-9_-]{16,}"),
    ("OpenAI key", r"\bsk-[A-Za-z0-9_-]{20,}"),
    ("npm token", r"\bnpm_[A-Za-z0-9]{36,}"),
    ("PyPI token", r"\bpypi-AgEI[A-Za-z0-9_-]{40,}"),
    ("Hugging Face token", r"\bhf_[A-Za-z0-9]{30,}"),
    ("DigitalOcean token", r"\bdop_v1_[a-f0-9]{60,}"),
    ("Google key", r"\b(?:AIza[A-Za-z0-9_-]{35,}|ya29\.[A-Za-z0-9_-]{20,}|GOCSPX-[A-Za-z0-9_-]{20,})"),
    ("SendGrid key", r"\bSG\.[A-Za-z0-9_-]{20,24}\.[A-Za-z0-9_-]{40,}"),
    ("Telegram token", r"\b[0-9]{8,10}:AA[A-Za-z0-9_-]{32,}"),
    ("age key", r"\bAGE-SECRET-KEY-1[0-9A-Z]{50,}"),
    ("JWT", r"\beyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}(?:\.[A-Za-z0-9_-]*)+"),
    ("password hash", r"\$(?:1|2[abxy]?|5|6|7|y|gy|argon2id?|argon2d|scrypt)\$[./A-Za-z0-9$=,+_-]{20,}"),
];

pub(super) fn tokens(text: &[u8], found: &mut Vec<Secret>) {
    static ALL: OnceLock<Regex> = OnceLock::new();
    let all = ALL.get_or_init(|| {
        let groups: Vec<String> = TOKENS.iter().map(|(_, shape)| format!("({shape})")).collect();
        expression(&format!("(?-u){}", groups.join("|")))
    });
    for captures in all.captures_iter(text) {
        let group = (1..captures.len()).find_map(|group| Some((group, captures.get(group)?)));
        let Some((group, hit)) = group else { continue };
        let Some((kind, _)) = TOKENS.get(group - 1) else { continue };
        // `sk-` begins names of other things; a key of a machine's making is not all words.
        if *kind != "OpenAI key" || is_random(hit.as_bytes().get(3..).unwrap_or_default()) {
            found.push(Secret { range: hit.range(), kind: Kind(kind) });
        }
    }
}

/// From the line that begins a private key to the one that ends it. A key whose end is missing goes to the end of the text;
/// one whose beginning was left out by whoever cut the text begins with its lines of base64.
pub(super) fn pem(text: &[u8], found: &mut Vec<Secret>) {
    static LINE: OnceLock<Regex> = OnceLock::new();
    let line =
        LINE.get_or_init(|| expression(r"(?-u)-----(?:BEGIN|(END)) [A-Z0-9 ]*PRIVATE KEY(?: BLOCK)?-----"));
    let kind = Kind("private key");
    let (mut open, mut at) = (None, 0);
    for captures in line.captures_iter(text) {
        let Some(hit) = captures.get(0) else { continue };
        match (captures.get(1), open) {
            (None, None) => open = Some(hit.start()),
            (None, Some(_)) => {}
            (Some(_), Some(start)) => {
                found.push(Secret { range: start..hit.end(), kind });
                (open, at) = (None, hit.end());
            }
            (Some(_), None) => {
                if let Some(length) = length_of_base64(&text[at..hit.start()]) {
                    found.push(Secret { range: hit.start() - length..hit.end(), kind });
                }
                at = hit.end();
            }
        }
    }
    if let Some(start) = open {
        found.push(Secret { range: start..text.len(), kind });
    }
}

/// How long the lines of base64 are that end a text.
fn length_of_base64(text: &[u8]) -> Option<usize> {
    let body = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'=' | b'\n' | b'\r');
    let length = text.iter().rev().take_while(|byte| body(byte)).count();
    (length >= 16).then_some(length)
}

/// The password of `//user:password@host`, and a token in the user's place.
pub(super) fn urls(text: &[u8], found: &mut Vec<Secret>) {
    static USER: OnceLock<Regex> = OnceLock::new();
    let user = USER.get_or_init(|| {
        expression(r#"(?-u)://(?:([^\s/:@"'<>\\\[\]]*):([^\s/"'<>\\]+)|([A-Za-z0-9_.~-]{20,}))@"#)
    });
    for captures in user.captures_iter(text) {
        if let Some(password) = captures.get(2)
            && !is_harmless(password.as_bytes())
        {
            found.push(Secret { range: password.range(), kind: Kind("password") });
        }
        if let Some(token) = captures.get(3)
            && is_random(token.as_bytes())
        {
            found.push(Secret { range: token.range(), kind: Kind("token") });
        }
    }
}

/// What stands in the headers that carry credentials.
pub(super) fn headers(text: &[u8], found: &mut Vec<Secret>) {
    static HEADERS: OnceLock<Regex> = OnceLock::new();
    let headers = HEADERS.get_or_init(|| {
        expression(
            r#"(?i-u)\b(?:(?:proxy-)?authorization\\?["']?[ \t]*[:=][ \t]*\\?["']?(?:(?:basic|bearer|token|digest|apikey|negotiate|aws4-hmac-sha256)[ \t]+([^"'\r\n\\]+)|([^\s"'\\]+))|x-api-key\\?["']?[ \t]*[:=][ \t]*\\?["']?([^\s"'\\]+)|(?:set-)?cookie\\?["']?:[ \t]*\\?["']?([^\s=;"'\\]+=[^"'\r\n\\]+)|(?:bearer|basic)[ \t]+([A-Za-z0-9+/=._~-]{16,}))"#,
        )
    });
    for captures in headers.captures_iter(text) {
        for group in 1..captures.len() {
            let Some(value) = captures.get(group) else { continue };
            let scheme = matches!(
                value.as_bytes().to_ascii_lowercase().as_slice(),
                b"basic" | b"bearer" | b"digest" | b"negotiate"
            );
            let secret = match group {
                // Without a header's name before it, the words `bearer` and `basic` may be part of a sentence.
                5 => is_random(value.as_bytes()),
                _ => !scheme && !is_harmless(value.as_bytes()),
            };
            if secret {
                let kind = Kind(if group == 4 { "cookie" } else { "credentials" });
                found.push(Secret { range: trimmed(value.range(), text), kind });
            }
        }
    }
}

/// Without the room at its end.
fn trimmed(range: Range<usize>, text: &[u8]) -> Range<usize> {
    let room = text[range.clone()].iter().rev().take_while(|byte| byte.is_ascii_whitespace()).count();
    range.start..range.end - room
}
