//! The boots that the journal holds, and always the one that is running.

use std::time::Duration;

use agentos_api::query::Boots;
use agentos_api::query::boots::{Args, Boot, Output};
use serde::Deserialize;

use super::journalctl;
use crate::dispatch::Read;
use crate::machine::{Machine, Viewer};
use crate::procfs::{decimal, keyed, read, text};
use crate::{QueryError, moment};

const TIME: Duration = Duration::from_secs(10);

/// Thousands of boots.
const MAX_OUTPUT_BYTES: usize = 4 << 20;

impl Read for Boots {
    fn read(_machine: &Machine, _viewer: Viewer, args: Args) -> Result<Output, QueryError> {
        let current = running_boot()?;
        let (mut boots, history_unavailable) = match journalled() {
            Ok(boots) => (boots, None),
            Err(error) => (Vec::new(), Some(error.to_string())),
        };
        for boot in &mut boots {
            boot.current = boot.boot_id == current.boot_id;
        }
        if !boots.iter().any(|boot| boot.current) {
            boots.push(current);
        }
        boots.sort_by_key(|boot| std::cmp::Reverse(boot.index));
        let total = boots.len() as u64;
        boots.truncate(args.limit.as_usize());
        Ok(Output { boots, total, history_unavailable })
    }
}

/// The running boot as the kernel knows it.
fn running_boot() -> Result<Boot, QueryError> {
    let boot_id = text("/proc/sys/kernel/random/boot_id")
        .map(|id| id.replace('-', ""))
        .ok_or_else(|| QueryError::not_found("/proc/sys/kernel/random/boot_id"))?;
    let stat = read("/proc/stat", 1 << 20)?;
    let seconds = keyed::number(&stat, "btime").and_then(|seconds| i64::try_from(seconds).ok());
    let started =
        seconds.and_then(moment::from_seconds).ok_or_else(|| QueryError::not_found("btime in /proc/stat"))?;
    Ok(Boot { index: 0, boot_id, current: true, started, last_entry: None })
}

fn journalled() -> Result<Vec<Boot>, QueryError> {
    // Since systemd 254 the list is JSON; before, the option is passed over and the list is a table.
    let program = journalctl()?
        .argument("--list-boots")
        .argument("--no-pager")
        .argument("--utc")
        .argument("--output=json");
    let (ended, output) = program.output(TIME, MAX_OUTPUT_BYTES)?;
    let boots =
        if output.trim_ascii_start().starts_with(b"[") { from_json(&output) } else { from_table(&output) };
    if boots.is_empty() {
        let said = ended.stderr.lines().last().unwrap_or("journalctl lists no boots").to_owned();
        return Err(super::unavailable(said));
    }
    Ok(boots)
}

#[derive(Deserialize)]
struct JsonBoot {
    index: i64,
    boot_id: String,
    first_entry: u64,
    last_entry: u64,
}

fn from_json(output: &[u8]) -> Vec<Boot> {
    let boots: Vec<JsonBoot> = serde_json::from_slice(output).unwrap_or_default();
    let boot = |boot: JsonBoot| {
        Some(Boot {
            index: boot.index,
            boot_id: boot.boot_id,
            current: false,
            started: moment::from_micros(boot.first_entry)?,
            last_entry: moment::from_micros(boot.last_entry),
        })
    };
    boots.into_iter().filter_map(boot).collect()
}

/// The rows of the table: an index, an id, and two moments such as `Sun 2026-11-22 16:00:00 UTC`, which older versions
/// join with a dash.
fn from_table(output: &[u8]) -> Vec<Boot> {
    String::from_utf8_lossy(output).lines().filter_map(row).collect()
}

fn row(line: &str) -> Option<Boot> {
    let line = line.replace('\u{2014}', " ");
    let mut words = line.split_whitespace();
    let index = words.next()?.parse().ok()?;
    let boot_id = words
        .next()
        .filter(|id| id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit()))?
        .to_owned();
    let mut moments = Vec::new();
    let mut day = None;
    for word in words {
        if is_day(word) {
            day = Some(word);
        } else if let Some(day) = day
            && is_time(word)
        {
            moments.push(format!("{day}T{word}Z"));
        }
    }
    let started = moments.first()?.clone();
    Some(Boot { index, boot_id, current: false, started, last_entry: moments.get(1).cloned() })
}

/// `2026-11-22`
fn is_day(word: &str) -> bool {
    parts(word, '-', [4, 2, 2])
}

/// `16:00:00`
fn is_time(word: &str) -> bool {
    parts(word, ':', [2, 2, 2])
}

fn parts(word: &str, separator: char, lengths: [usize; 3]) -> bool {
    let mut parts = word.split(separator);
    let whole = lengths.iter().all(|&length| {
        parts.next().is_some_and(|part| part.len() == length && decimal(part.as_bytes()).is_some())
    });
    whole && parts.next().is_none()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ID: &str = "0123456789abcdef0123456789abcdef";

    #[test]
    fn both_tables_and_json_say_the_same() {
        let dashed = format!("-1 {ID} Sun 2026-11-22 16:00:00 UTC\u{2014}Sun 2026-11-22 17:30:00 UTC\n");
        let columns = format!(
            "IDX BOOT ID                          FIRST ENTRY                 LAST ENTRY\n -1 {ID} Sun 2026-11-22 16:00:00 UTC Sun 2026-11-22 17:30:00 UTC\n"
        );
        let (old, new) = (from_table(dashed.as_bytes()), from_table(columns.as_bytes()));
        assert_eq!(old, new);
        assert_eq!(old.len(), 1);
        assert_eq!((old[0].index, old[0].started.as_str()), (-1, "2026-11-22T16:00:00Z"));
        assert_eq!(old[0].last_entry.as_deref(), Some("2026-11-22T17:30:00Z"));
        let json = format!(
            r#"[{{"index":-1,"boot_id":"{ID}","first_entry":1795363200000000,"last_entry":1795368600000000}}]"#
        );
        let json = from_json(json.as_bytes());
        assert_eq!((json[0].index, json[0].boot_id.as_str()), (-1, ID));
        assert_eq!(json[0].started, "2026-11-22T16:00:00.000000Z");
    }

    #[test]
    fn the_running_boot_is_known_without_a_journal() {
        let machine = Machine::new(crate::MachineOptions::default());
        let output = Boots::read(&machine, Viewer::default(), Args::default()).unwrap();
        let current = output.boots.iter().find(|boot| boot.current).unwrap();
        let id = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap();
        assert_eq!(current.boot_id, id.trim().replace('-', ""));
    }

    proptest! {
        #[test]
        fn any_output_is_read_without_panic(output: Vec<u8>, line in "-?[0-9]{1,3} [0-9a-f]{32} \\PC{0,60}") {
            let _ = (from_json(&output), from_table(&output), from_table(line.as_bytes()));
        }
    }
}
