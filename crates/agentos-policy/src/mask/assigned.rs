//! Secrets that have a name before them: `password=…`, `"token": "…"`, `--api-key …`, `mysql -p…`.

use std::ops::Range;
use std::sync::OnceLock;

use regex::bytes::{Captures, Regex};

use super::words::{Class, Setting, WORDS, class_of, is_harmless, is_prose, is_secret};
use super::{Kind, Secret, expression};

/// The names of values, wherever they are assigned.
pub(super) fn assignments(text: &[u8], found: &mut Vec<Secret>) {
    static ASSIGNED: OnceLock<Regex> = OnceLock::new();
    static ELEMENT: OnceLock<Regex> = OnceLock::new();
    let assigned = ASSIGNED.get_or_init(|| {
        expression(&format!(
            r#"(?i-u)(?P<name>[a-z0-9_.-]*(?P<word>{WORDS})[a-z0-9_.-]*)(?:\\*["']\]?)?(?P<sign>[ \t]*(?:=>|:=|==?|:)[ \t]*)(?:\\+["'](?P<escaped>[^"'\\\r\n]*)|"(?P<double>(?:[^"\\\r\n]|\\.)*)|'(?P<single>(?:[^'\\\r\n]|\\.)*)|(?P<bare>[^\s"'&]+))"#
        ))
    });
    for captures in assigned.captures_iter(text) {
        let Some((class, kind)) = named(&captures) else { continue };
        let quoted = ["escaped", "double", "single"].into_iter().find_map(|group| captures.name(group));
        let Some(value) = quoted.or_else(|| captures.name("bare")) else { continue };
        let range = if quoted.is_some() { value.range() } else { without_closing(value.range(), text) };
        let sign = captures.name("sign").map(|sign| sign.as_bytes()).unwrap_or_default();
        let setting = Setting {
            quoted: quoted.is_some(),
            colon: sign.trim_ascii() == b":",
            spaced: sign.last().is_some_and(|last| matches!(last, b' ' | b'\t')),
            last: matches!(text.get(value.end()), None | Some(b'\n' | b'\r' | b'\\')),
        };
        if is_secret(class, &text[range.clone()], setting) {
            found.push(Secret { range, kind });
        }
    }
    let element = ELEMENT.get_or_init(|| {
        expression(&format!(
            r"(?i-u)<(?P<name>[a-z0-9:_.-]*(?P<word>{WORDS})[a-z0-9:_.-]*)(?:\s[^<>]*)?>(?P<value>[^<]+)</"
        ))
    });
    for captures in element.captures_iter(text) {
        let (Some((_, kind)), Some(value)) = (named(&captures), captures.name("value")) else { continue };
        if !is_harmless(value.as_bytes().trim_ascii()) {
            found.push(Secret { range: value.range(), kind });
        }
    }
}

/// Options whose next word is their value. What follows `=` is an assignment already.
pub(super) fn options(text: &[u8], found: &mut Vec<Secret>) {
    static OPTIONS: OnceLock<Regex> = OnceLock::new();
    let options = OPTIONS.get_or_init(|| {
        expression(&format!(
            r#"(?i-u)(?:\A|[\s"'\[(,\x00])--?(?P<name>[a-z0-9_-]*(?P<word>{WORDS})[a-z0-9_-]*)(?:[ \t\x00]+["']?|\\*["'],?[ \t]*\\*["'])(?P<value>[^\s"'\x00-][^\s"'\x00]*)"#
        ))
    });
    for captures in options.captures_iter(text) {
        let (Some((_, kind)), Some(value)) = (named(&captures), captures.name("value")) else { continue };
        if !is_harmless(value.as_bytes()) && !is_prose(value.as_bytes()) {
            found.push(Secret { range: value.range(), kind });
        }
    }
}

/// Programs that take a password without a word that says so.
pub(super) fn programs(text: &[u8], found: &mut Vec<Secret>) {
    static PROGRAMS: OnceLock<Regex> = OnceLock::new();
    let programs = PROGRAMS.get_or_init(|| {
        expression(concat!(
            r#"(?-u)\b(?:(?:mysql|mariadb)[a-z_-]*\b[^\n|;]*?[\s\x00]["']?-p["']?(?P<mysql>[^\s"'\x00-][^\s"'\x00]*)"#,
            r#"|sshpass[\s\x00]+-p[\s\x00]*["']?(?P<sshpass>[^\s"'\x00]+)"#,
            r#"|(?:curl|wget)\b[^\n|;]*?[\s\x00](?:-u|-U|--user|--proxy-user)[ =\x00]?["']?[^\s:"'\x00]*:(?P<curl>[^\s"'\x00/][^\s"'\x00]*)"#,
            r#"|machine\s+\S+\s+login\s+\S+\s+password\s+(?P<netrc>\S+))"#
        ))
    });
    for captures in programs.captures_iter(text) {
        for group in ["mysql", "sshpass", "curl", "netrc"] {
            if let Some(value) = captures.name(group)
                && !is_harmless(value.as_bytes())
            {
                found.push(Secret { range: value.range(), kind: Kind("password") });
            }
        }
    }
}

/// The name is the whole of an option, and its value the next argument: `--password`, `-token`.
pub(super) fn option_kind(argument: &[u8]) -> Option<Kind> {
    let name = argument.strip_prefix(b"--").or_else(|| argument.strip_prefix(b"-"))?;
    name_kind(name)
}

/// What the whole text, taken for a name, says of its value.
pub(super) fn name_kind(name: &[u8]) -> Option<Kind> {
    static NAME: OnceLock<Regex> = OnceLock::new();
    let expression = NAME.get_or_init(|| {
        expression(&format!(r"(?i-u)\A(?P<name>[a-z0-9_.-]*(?P<word>{WORDS})[a-z0-9_.-]*)\z"))
    });
    named(&expression.captures(name)?).map(|(_, kind)| kind)
}

fn named(captures: &Captures<'_>) -> Option<(Class, Kind)> {
    let (name, word) = (captures.name("name")?, captures.name("word")?);
    class_of(name.as_bytes(), word.start() - name.start()..word.end() - name.start())
}

/// A value without quotes ends before what closes the list or sentence it stands in.
fn without_closing(range: Range<usize>, text: &[u8]) -> Range<usize> {
    let closing = text[range.clone()]
        .iter()
        .rev()
        .take_while(|byte| matches!(byte, b',' | b';' | b')' | b']' | b'}' | b'>' | b'.'))
        .count();
    range.start..range.end - closing
}
