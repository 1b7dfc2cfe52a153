//! Secrets in an answer in JSON: in its strings, and between neighbours in a list of arguments.
//!
//! The answer is walked as it is, without being built up: what holds no secret is copied byte for byte.

use std::borrow::Cow;

use memchr::{memchr, memchr2};

use super::assigned::{name_kind, option_kind};
use super::words::is_harmless;
use super::{Kind, beginnings, marker, text};

/// The answer without its secrets, and how many there were.
///
/// `answer` is one JSON document, as serde writes it; anything else is handed back as it is.
pub fn json(answer: Vec<u8>) -> (Vec<u8>, u64) {
    if !beginnings().is_match(&answer) {
        return (answer, 0);
    }
    let mut walk = Walk::default();
    let mut out = Vec::with_capacity(answer.len() + 64);
    let mut hits = beginnings().find_iter(&answer).map(|hit| hit.start()).peekable();
    let mut at = 0;
    while let Some(start) = memchr(b'"', &answer[at..]).map(|found| at + found + 1) {
        let Some(end) = string_end(&answer, start) else { break };
        let between = &answer[at..start - 1];
        let is_key = answer[end + 1..].iter().find(|byte| !byte.is_ascii_whitespace()) == Some(&b':');
        while hits.next_if(|&hit| hit < start).is_some() {}
        let hit = hits.peek().is_some_and(|&hit| hit < end);
        out.extend_from_slice(&answer[at..start]);
        let raw = &answer[start..end];
        match walk.string(raw, between, is_key, hit) {
            Some(masked) => out.extend_from_slice(&masked),
            None => out.extend_from_slice(raw),
        }
        out.push(b'"');
        at = end + 1;
    }
    out.extend_from_slice(&answer[at..]);
    (out, walk.masked)
}

/// Where the string that begins at `start` ends: its closing quote.
fn string_end(answer: &[u8], start: usize) -> Option<usize> {
    let mut at = start;
    loop {
        let found = at + memchr2(b'"', b'\\', answer.get(at..)?)?;
        match answer[found] {
            b'"' => return Some(found),
            _ => at = found + 2,
        }
    }
}

/// What the strings before say about the next.
#[derive(Default)]
struct Walk {
    masked: u64,
    /// The string before was an option that names a secret: the next argument is one.
    announced: Option<Kind>,
    /// The list that is being passed is the command line of this program.
    program: Program,
    /// The last key, and what it was given, as far as names and values are told apart by them.
    key: Key,
    /// What the field `name` beside a field `value` says.
    named: Option<Kind>,
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Program {
    #[default]
    Other,
    Mysql,
    Curl,
    CurlUser,
    Sshpass,
    SshpassPassword,
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Key {
    #[default]
    Other,
    Name,
    Value,
}

impl Walk {
    /// The string as it is to be written, where it is not to be written as it is.
    fn string(&mut self, raw: &[u8], between: &[u8], is_key: bool, hit: bool) -> Option<Vec<u8>> {
        if is_key {
            (self.announced, self.program) = (None, Program::Other);
            self.key = match raw {
                b"name" => Key::Name,
                b"value" => Key::Value,
                _ => Key::Other,
            };
            if self.key != Key::Value {
                self.named = None;
            }
            return None;
        }
        if between.trim_ascii() != b"," {
            (self.announced, self.program) = (None, Program::Other);
        }
        let announced = self.announced.take();
        let by_name = if self.key == Key::Value { self.named.take() } else { None };
        let program = self.program;
        if !hit && announced.is_none() && by_name.is_none() && program == Program::Other {
            return None;
        }
        let plain = unescaped(raw)?;
        let whole = announced.or(by_name).filter(|_| !is_harmless(&plain) && !plain.starts_with(b"-"));
        if self.key == Key::Name {
            self.named = name_kind(&plain);
        } else {
            self.announced = option_kind(&plain);
        }
        self.program = next(program, &plain);
        if let Some(kind) = whole {
            self.announced = None;
            self.masked += 1;
            return Some(marker(kind).into_bytes());
        }
        let keep = kept_of_password(program, &plain);
        if let Some(keep) = keep.filter(|&keep| !is_harmless(&plain[keep..])) {
            self.masked += 1;
            return Some(escaped(&[&plain[..keep], marker(Kind("password")).as_bytes()].concat()));
        }
        let (masked, count) = text(&plain);
        self.masked += count;
        (count > 0).then(|| escaped(&masked))
    }
}

/// Which argument of which program comes next.
fn next(program: Program, argument: &[u8]) -> Program {
    let name = argument.rsplit(|&byte| byte == b'/').next().unwrap_or_default();
    match program {
        Program::Other if name.starts_with(b"mysql") || name.starts_with(b"mariadb") => Program::Mysql,
        Program::Other if name == b"curl" => Program::Curl,
        Program::Other if name == b"sshpass" => Program::Sshpass,
        Program::Curl | Program::CurlUser
            if matches!(argument, b"-u" | b"-U" | b"--user" | b"--proxy-user") =>
        {
            Program::CurlUser
        }
        Program::CurlUser => Program::Curl,
        Program::Sshpass if argument == b"-p" => Program::SshpassPassword,
        Program::SshpassPassword => Program::Other,
        other => other,
    }
}

/// How much of an argument stays, where the rest is a password.
fn kept_of_password(program: Program, argument: &[u8]) -> Option<usize> {
    match program {
        Program::CurlUser => {
            memchr(b':', argument).map(|colon| colon + 1).filter(|&at| argument.get(at) != Some(&b'/'))
        }
        Program::Mysql | Program::Sshpass => (argument.starts_with(b"-p") && argument.len() > 2).then_some(2),
        Program::SshpassPassword => Some(0),
        Program::Other | Program::Curl => None,
    }
}

/// A string as it is meant; nothing where it is none.
fn unescaped(raw: &[u8]) -> Option<Cow<'_, [u8]>> {
    if memchr(b'\\', raw).is_none() {
        return Some(Cow::Borrowed(raw));
    }
    let quoted = [b"\"", raw, b"\""].concat();
    serde_json::from_slice::<String>(&quoted).ok().map(|text| Cow::Owned(text.into_bytes()))
}

/// A string as JSON writes it, without its quotes.
fn escaped(plain: &[u8]) -> Vec<u8> {
    let text = String::from_utf8_lossy(plain);
    let mut quoted = serde_json::to_vec(&text).unwrap_or_default();
    quoted.pop();
    if !quoted.is_empty() {
        quoted.remove(0);
    }
    quoted
}
