//! What the machine wrote down: entries of the systemd journal.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Query;
use crate::Bounded;

/// Entries of the journal.
pub struct Journal;

/// Which entries. Without a cursor the newest that match are given; page to older ones with `before_cursor`.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Args {
    /// Only entries of this unit, or about it: `nginx` means `nginx.service`.
    pub unit: Option<String>,
    /// Only entries of this severity or a worse one.
    pub priority: Option<Priority>,
    /// Not before this moment: RFC 3339 (`2026-05-01T08:00:00Z`), or back from now (`-2h`, `-30m`, `-1d`).
    pub since: Option<String>,
    /// Not after this moment; the same forms.
    pub until: Option<String>,
    /// Only entries whose message matches this Perl-compatible regular expression. Case counts only when the
    /// expression holds a capital letter.
    pub grep: Option<String>,
    /// Only entries of this boot: `0` the present one, `-1` the one before, or a boot id. Left out: all boots.
    pub boot: Option<String>,
    /// Only entries of this process.
    pub pid: Option<u32>,
    /// Only entries with this identifier (`sudo`, `sshd`, `kernel`).
    pub identifier: Option<String>,
    /// Only the kernel's entries.
    pub kernel: bool,
    /// Begin with the oldest entry that matches instead of the newest.
    pub oldest_first: bool,
    /// Only entries after the one of this cursor: `last_cursor` of an answer gives what came since.
    pub after_cursor: Option<String>,
    /// Only entries before the one of this cursor: `first_cursor` of an answer gives the page before.
    pub before_cursor: Option<String>,
    /// Entries at most.
    pub limit: Bounded<1, 1000, 50>,
    /// Bytes of one message at most; the rest is cut off and `truncated` says so.
    pub message_bytes: Bounded<64, 65_536, 4096>,
}

/// How severe an entry is (syslog(3)).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Priority {
    /// 0: the system is unusable.
    #[serde(alias = "emergency", alias = "0")]
    Emerg,
    /// 1: action is needed at once.
    #[serde(alias = "1")]
    Alert,
    /// 2: critical.
    #[serde(alias = "critical", alias = "2")]
    Crit,
    /// 3: an error.
    #[serde(alias = "error", alias = "3")]
    Err,
    /// 4: a warning.
    #[serde(alias = "warn", alias = "4")]
    Warning,
    /// 5: normal and worth noting.
    #[serde(alias = "5")]
    Notice,
    /// 6: informational.
    #[serde(alias = "6")]
    Info,
    /// 7: for debugging.
    #[serde(alias = "7")]
    Debug,
}

impl Priority {
    /// All of them, the most severe first: the index is the number of syslog(3).
    pub const ALL: [Self; 8] = [
        Self::Emerg,
        Self::Alert,
        Self::Crit,
        Self::Err,
        Self::Warning,
        Self::Notice,
        Self::Info,
        Self::Debug,
    ];

    /// The name as syslog(3) and journalctl(1) have it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Emerg => "emerg",
            Self::Alert => "alert",
            Self::Crit => "crit",
            Self::Err => "err",
            Self::Warning => "warning",
            Self::Notice => "notice",
            Self::Info => "info",
            Self::Debug => "debug",
        }
    }
}

/// One page of entries, oldest first.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Output {
    /// The entries.
    pub entries: Vec<Entry>,
    /// The cursor of the first entry; give it as `before_cursor` for the page before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_cursor: Option<String>,
    /// The cursor of the last entry; give it as `after_cursor` for the page after.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_cursor: Option<String>,
    /// Entries that match are left, in the direction of reading, beyond this page.
    pub more: bool,
    /// Reading ended early: `time` or `bytes` ran out, so the page may hold fewer than match. Narrow the question
    /// (`unit`, `since`) or go on from the cursor.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stopped_by: Option<StoppedBy>,
}

/// Which bound ended the reading.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum StoppedBy {
    /// The time for one question.
    Time,
    /// The size of one answer.
    Bytes,
}

/// One entry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Entry {
    /// When the journal received it: UTC, RFC 3339 with microseconds.
    pub timestamp: String,
    /// The unit that wrote it, or that the service manager wrote it about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unit: Option<String>,
    /// The program's name for itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub identifier: Option<String>,
    /// The process that wrote it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pid: Option<u32>,
    /// Severity, from 0 (worst) to 7.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub priority: Option<u8>,
    /// The severity's name: `emerg`, `alert`, `crit`, `err`, `warning`, `notice`, `info`, `debug`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub priority_name: Option<String>,
    /// The text.
    pub message: String,
    /// The message was longer than `message_bytes` and was cut.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub truncated: bool,
    /// The message was not UTF-8; what could not be read stands as U+FFFD.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub lossy: bool,
    /// Where it stands in the journal.
    pub cursor: String,
    /// The boot it was written in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub boot_id: Option<String>,
}

impl Query for Journal {
    const NAME: &'static str = "journal";
    const SUMMARY: &'static str =
        "System log entries by unit, severity, time, text and boot; paged by cursor, newest first unless asked";
    type Args = Args;
    type Output = Output;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_priority_is_known_by_its_names_and_its_number() {
        for (number, priority) in Priority::ALL.into_iter().enumerate() {
            for form in [format!("\"{}\"", priority.name()), format!("\"{number}\"")] {
                assert_eq!(serde_json::from_str::<Priority>(&form).unwrap(), priority);
            }
        }
        assert_eq!(serde_json::from_str::<Priority>("\"error\"").unwrap(), Priority::Err);
        assert!(serde_json::from_str::<Priority>("\"loud\"").is_err());
    }
}
