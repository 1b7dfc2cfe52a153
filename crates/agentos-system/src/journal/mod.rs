//! The journal: what journalctl(1) gives for a filter, bounded in entries, bytes and time.
//!
//! journald has no interface for reading but its file format and journalctl, so this is one of the few places that run a
//! program. Each value from outside is checked here and passed on as `--option=value` or after `--`, so that none can
//! be taken for an option.

pub(crate) mod archive;
pub(crate) mod boots;
mod export;

use std::ops::ControlFlow;
use std::path::Path;
use std::time::Duration;

use agentos_api::query::Journal;
use agentos_api::query::journal::{Args, Entry, Output, Priority, StoppedBy};

use self::export::{FIELDS, Raw, Reader};
use crate::dispatch::Read;
use crate::machine::{Machine, Viewer};
use crate::run::{Ended, Program, Stream};
use crate::systemd::unit_name;
use crate::{QueryError, moment};

/// How long one question may take. A search through gigabytes ends with what was found until then.
const TIME: Duration = Duration::from_secs(5);

/// Bytes of messages in one answer.
const MAX_ANSWER_BYTES: usize = 1 << 20;

/// Longest regular expression, in bytes.
const MAX_PATTERN_BYTES: usize = 1024;

/// Longest cursor and identifier, in bytes; journald's cursors have about 140.
const MAX_CURSOR_BYTES: usize = 512;

/// The arguments after they were checked.
#[derive(Debug, Default)]
struct Request {
    unit: Option<String>,
    priority: Option<Priority>,
    since: Option<u64>,
    until: Option<u64>,
    grep: Option<String>,
    boot: Option<String>,
    pid: Option<u32>,
    identifier: Option<String>,
    kernel: bool,
    from: From,
    limit: usize,
    message_bytes: usize,
}

/// Where reading starts, and so in which direction it goes.
#[derive(Debug, Default)]
enum From {
    /// At the newest entry, backwards.
    #[default]
    Newest,
    /// At the oldest entry, forwards.
    Oldest,
    /// Behind the entry of a cursor, forwards.
    After(String),
    /// Before the entry of a cursor, backwards.
    Before(String),
}

impl Read for Journal {
    fn check(args: &Args) -> Result<(), QueryError> {
        Request::new(args).map(|_| ())
    }

    fn read(_machine: &Machine, _viewer: Viewer, args: Args) -> Result<Output, QueryError> {
        Request::new(&args)?.answer()
    }
}

/// The last `lines` entries of a unit in this boot, oldest first.
///
/// # Errors
/// As for the query `journal`.
pub(crate) fn tail(unit: &str, lines: usize) -> Result<Vec<Entry>, QueryError> {
    if lines == 0 {
        return Ok(Vec::new());
    }
    let request = Request {
        unit: Some(unit.to_owned()),
        boot: Some("0".to_owned()),
        limit: lines,
        message_bytes: 2048,
        ..Request::default()
    };
    request.answer().map(|output| output.entries)
}

impl Request {
    fn new(args: &Args) -> Result<Self, QueryError> {
        let now = moment::now_micros();
        let moment = |field, text: &Option<String>| {
            text.as_deref().map(|text| moment::parse(field, text, now)).transpose()
        };
        let from = match (&args.after_cursor, &args.before_cursor) {
            (Some(_), Some(_)) => {
                return Err(QueryError::invalid("before_cursor", "cannot stand together with after_cursor"));
            }
            (Some(cursor), None) => From::After(checked_cursor("after_cursor", cursor)?),
            (None, Some(cursor)) => From::Before(checked_cursor("before_cursor", cursor)?),
            (None, None) if args.oldest_first => From::Oldest,
            (None, None) => From::Newest,
        };
        Ok(Self {
            unit: args.unit.as_deref().map(|unit| unit_name::normalise("unit", unit)).transpose()?,
            priority: args.priority,
            since: moment("since", &args.since)?,
            until: moment("until", &args.until)?,
            grep: args.grep.as_deref().map(checked_pattern).transpose()?,
            boot: args.boot.as_deref().map(checked_boot).transpose()?,
            pid: args.pid,
            identifier: args.identifier.as_deref().map(checked_identifier).transpose()?,
            kernel: args.kernel,
            from,
            limit: args.limit.as_usize(),
            message_bytes: args.message_bytes.as_usize(),
        })
    }

    fn backwards(&self) -> bool {
        matches!(self.from, From::Newest | From::Before(_))
    }

    fn program(&self) -> Result<Program, QueryError> {
        let mut program = journalctl()?
            .argument("--output=export")
            .argument(format!("--output-fields={FIELDS}"))
            .argument("--no-pager")
            .argument("--quiet");
        if self.backwards() {
            program = program.argument("--reverse");
        }
        // journalctl takes one starting point only; what a cursor leaves open is filtered while reading.
        match &self.from {
            From::After(cursor) | From::Before(cursor) => {
                program = program.argument(format!("--after-cursor={cursor}"));
            }
            From::Newest | From::Oldest => {
                if let Some(since) = self.since {
                    program = program.argument(format!("--since={}", at(since)));
                }
            }
        }
        if let Some(until) = self.until {
            program = program.argument(format!("--until={}", at(until)));
        }
        if let Some(unit) = &self.unit {
            program = program.argument(format!("--unit={unit}"));
        }
        if let Some(priority) = self.priority {
            program = program.argument(format!("--priority={}", priority.name()));
        }
        if let Some(pattern) = &self.grep {
            program = program.argument(format!("--grep={pattern}"));
        }
        if let Some(boot) = &self.boot {
            program = program.argument(format!("--boot={boot}"));
        }
        if let Some(identifier) = &self.identifier {
            program = program.argument(format!("--identifier={identifier}"));
        }
        program = program.argument("--");
        if let Some(pid) = self.pid {
            program = program.argument(format!("_PID={pid}"));
        }
        if self.kernel {
            program = program.argument("_TRANSPORT=kernel");
        }
        Ok(program)
    }

    fn answer(&self) -> Result<Output, QueryError> {
        let mut reader = Reader::new(self.message_bytes);
        let mut page = Page { entries: Vec::new(), bytes: 0, more: false, stopped_by: None };
        let stream = self.program()?.stream(TIME, |piece| {
            reader.push(piece);
            page.take_all(&mut reader, self)
        })?;
        match stream {
            Stream::Ended(ended) => {
                reader.finish();
                let _ = page.take_all(&mut reader, self);
                if page.entries.is_empty() {
                    self.explain(&ended)?;
                }
            }
            Stream::TimedOut => {
                page.more = true;
                page.stopped_by = Some(StoppedBy::Time);
            }
            Stream::Stopped => {}
        }
        if self.backwards() {
            page.entries.reverse();
        }
        Ok(Output {
            first_cursor: page.entries.first().map(|entry| entry.cursor.clone()),
            last_cursor: page.entries.last().map(|entry| entry.cursor.clone()),
            entries: page.entries,
            more: page.more,
            stopped_by: page.stopped_by,
        })
    }

    /// Whether an entry of that moment belongs to the answer.
    fn place(&self, micros: u64) -> Place {
        let early = self.since.is_some_and(|since| micros < since);
        let late = self.until.is_some_and(|until| micros > until);
        match (early, late, self.backwards()) {
            (false, false, _) => Place::Within,
            (true, _, true) | (_, true, false) => Place::Beyond,
            _ => Place::NotYet,
        }
    }

    /// Why there is no entry, where that is an error.
    fn explain(&self, ended: &Ended) -> Result<(), QueryError> {
        let said = ended.stderr.lines().last().unwrap_or_default();
        if ended.status.success() {
            // journalctl says nothing when there is nothing it could have read.
            return if is_stored() { Ok(()) } else { Err(unavailable(NOT_STORED)) };
        }
        let lower = said.to_lowercase();
        if self.grep.is_some() && lower.contains("pattern") && !lower.contains("without pattern") {
            return Err(QueryError::invalid("grep", format!("not a regular expression: {said}")));
        }
        match &self.from {
            From::After(_) if lower.contains("cursor") => Err(QueryError::invalid("after_cursor", said)),
            From::Before(_) if lower.contains("cursor") => Err(QueryError::invalid("before_cursor", said)),
            _ => match &self.boot {
                Some(boot) if lower.contains("boot") => {
                    Err(QueryError::not_found(format!("the boot {boot}")))
                }
                // What it answers when nothing matches.
                _ if said.is_empty() && self.grep.is_some() && is_stored() => Ok(()),
                _ if said.is_empty() && !is_stored() => Err(unavailable(NOT_STORED)),
                _ => Err(unavailable(format!("journalctl failed: {said}"))),
            },
        }
    }
}

enum Place {
    Within,
    NotYet,
    Beyond,
}

/// The answer while it grows.
struct Page {
    entries: Vec<Entry>,
    bytes: usize,
    more: bool,
    stopped_by: Option<StoppedBy>,
}

impl Page {
    fn take_all(&mut self, reader: &mut Reader, request: &Request) -> ControlFlow<()> {
        while let Some(raw) = reader.next_entry() {
            let micros = number(&raw.realtime).unwrap_or(0);
            match request.place(micros) {
                Place::NotYet => continue,
                Place::Beyond => return ControlFlow::Break(()),
                Place::Within => {}
            }
            if self.entries.len() == request.limit {
                self.more = true;
                return ControlFlow::Break(());
            }
            let entry = entry(raw, micros);
            self.bytes += entry.message.len();
            if self.bytes > MAX_ANSWER_BYTES && !self.entries.is_empty() {
                self.more = true;
                self.stopped_by = Some(StoppedBy::Bytes);
                return ControlFlow::Break(());
            }
            self.entries.push(entry);
        }
        ControlFlow::Continue(())
    }
}

const NOT_STORED: &str = "no journal is stored on this machine, or agentd may not read it";

/// Whether there is a file of the journal that could be read: journald keeps one from its start on, in a directory named
/// after the machine's id.
fn is_stored() -> bool {
    /// Directories and files looked at.
    const MAX_ENTRIES: usize = 10_000;
    let entries = |path: &Path| std::fs::read_dir(path).into_iter().flatten().flatten().take(MAX_ENTRIES);
    let is_journal =
        |path: &Path| path.extension().is_some_and(|suffix| suffix == "journal" || suffix == "journal~");
    ["/run/log/journal", "/var/log/journal"].iter().any(|directory| {
        entries(Path::new(directory))
            .any(|machine| entries(&machine.path()).any(|file| is_journal(&file.path())))
    })
}

/// journalctl, or the reason why there is no journal.
fn journalctl() -> Result<Program, QueryError> {
    Program::find("journalctl").ok_or_else(|| unavailable("journalctl is not installed"))
}

fn unavailable(reason: impl Into<String>) -> QueryError {
    let hint = "The journal belongs to systemd-journald; where it does not run, read the files below /var/log instead.";
    QueryError::unavailable("journal_unavailable", reason, hint)
}

/// A moment as journalctl takes it: seconds since 1970, exact to the microsecond.
fn at(micros: u64) -> String {
    format!("@{}.{:06}", micros / 1_000_000, micros % 1_000_000)
}

fn entry(raw: Raw, micros: u64) -> Entry {
    let text = |bytes: &[u8]| (!bytes.is_empty()).then(|| String::from_utf8_lossy(bytes).into_owned());
    let priority = match raw.priority.as_slice() {
        [digit @ b'0'..=b'7'] => Some(digit - b'0'),
        _ => None,
    };
    let mut bytes = raw.message.unwrap_or_default();
    if raw.truncated {
        trim_to_character(&mut bytes);
    }
    let (message, lossy) = match String::from_utf8(bytes) {
        Ok(message) => (message, false),
        Err(error) => (String::from_utf8_lossy(error.as_bytes()).into_owned(), true),
    };
    Entry {
        timestamp: moment::from_micros(micros).unwrap_or_default(),
        unit: text(&raw.about).or_else(|| text(&raw.unit)),
        identifier: text(&raw.identifier).or_else(|| text(&raw.command)),
        pid: number(&raw.pid).or_else(|| number(&raw.syslog_pid)).and_then(|pid| u32::try_from(pid).ok()),
        priority,
        priority_name: priority.map(|number| Priority::ALL[usize::from(number)].name().to_owned()),
        message,
        truncated: raw.truncated,
        lossy,
        cursor: String::from_utf8_lossy(&raw.cursor).into_owned(),
        boot_id: text(&raw.boot_id),
    }
}

/// Takes off the beginning of a character that the cut went through, so that only what was wrong before counts as lossy.
fn trim_to_character(bytes: &mut Vec<u8>) {
    if let Err(error) = std::str::from_utf8(bytes)
        && error.error_len().is_none()
    {
        bytes.truncate(error.valid_up_to());
    }
}

fn number(digits: &[u8]) -> Option<u64> {
    crate::procfs::decimal(digits)
}

fn checked_cursor(field: &str, cursor: &str) -> Result<String, QueryError> {
    let known = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'=' | b';' | b'-');
    if cursor.is_empty() || cursor.len() > MAX_CURSOR_BYTES || !cursor.bytes().all(known) {
        return Err(QueryError::invalid(
            field,
            "is not a cursor: take it from an entry of an earlier answer",
        ));
    }
    Ok(cursor.to_owned())
}

fn checked_pattern(pattern: &str) -> Result<String, QueryError> {
    if pattern.is_empty() || pattern.len() > MAX_PATTERN_BYTES || pattern.contains('\0') {
        let reason = format!("must be 1 to {MAX_PATTERN_BYTES} bytes long and hold no NUL");
        return Err(QueryError::invalid("grep", reason));
    }
    Ok(pattern.to_owned())
}

fn checked_identifier(identifier: &str) -> Result<String, QueryError> {
    if identifier.is_empty() || identifier.len() > 256 || identifier.chars().any(char::is_control) {
        return Err(QueryError::invalid(
            "identifier",
            "must be 1 to 256 bytes long and hold no control characters",
        ));
    }
    Ok(identifier.to_owned())
}

/// `0`, `-1`, `3`, or 32 hexadecimal digits with or without hyphens.
fn checked_boot(boot: &str) -> Result<String, QueryError> {
    let digits = boot.strip_prefix('-').unwrap_or(boot);
    let offset = (1..=6).contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_digit());
    let id: String = boot.chars().filter(|&character| character != '-').collect();
    if offset {
        Ok(boot.to_owned())
    } else if boot.len() <= 36 && id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        Ok(id.to_ascii_lowercase())
    } else {
        Err(QueryError::invalid("boot", "must be 0 (this boot), -1 (the one before) and so on, or a boot id"))
    }
}

#[cfg(test)]
mod tests;
