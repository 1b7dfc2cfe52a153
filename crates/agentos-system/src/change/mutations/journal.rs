//! `journal.vacuum`: the journal's archived files, the oldest of them.

use std::fmt::Write as _;

use agentos_api::change::Risk;
use agentos_api::mutation::journal as api;

use crate::change::Plan;
use crate::change::error::ChangeError;
use crate::change::host::{JournalFiles, Old};
use crate::change::planner::Planner;
use crate::change::transition::{Transit, Transition};
use crate::journal::archive::{self, Archived};
use crate::moment;

/// Most files that go at once.
const MOST_FILES: usize = 10_000;
/// Most that are listed one by one.
const MOST_LISTED: usize = 100;
const DAY: u64 = 86_400_000_000;

impl Plan for api::Vacuum {
    fn check(args: &api::VacuumArgs) -> Result<(), ChangeError> {
        if args.keep_bytes.is_some() == args.keep_days.is_some() {
            return Err(ChangeError::invalid("keep_bytes", "give either keep_bytes or keep_days"));
        }
        Ok(())
    }

    fn plan(planner: &mut Planner<'_>, args: api::VacuumArgs) -> Result<(), ChangeError> {
        let all = archive::archived(planner.machine)?;
        let (gone, what) = match (args.keep_bytes, args.keep_days) {
            (Some(bytes), _) => (over(&all, bytes.get()), format!("{} of archived files", size(bytes.get()))),
            (_, Some(days)) => {
                let since = moment::now_micros().saturating_sub(days.get().saturating_mul(DAY));
                (before(&all, since), format!("archived files with entries of the last {} days", days.get()))
            }
            _ => (0, String::new()),
        };
        let (gone, kept) = all.split_at(gone.min(all.len()));
        planner.risk(Risk::Destructive);
        if gone.len() > MOST_FILES {
            return Err(ChangeError::refused(format!(
                "{} files would go, more than {MOST_FILES} at once; keep more first, then less",
                gone.len()
            )));
        }
        if gone.is_empty() {
            planner.summary(format!("Cuts the journal to {what}; there are {}", text(&all)));
            return Ok(());
        }
        planner.summary(format!("Deletes {} from the journal for good, and keeps {what}", text(gone)));
        planner.not_covered(
            "files that are written to, or are closed meanwhile, stay: journalctl --rotate closes them",
        );
        let files = JournalFiles {
            files: gone
                .iter()
                .map(|file| Old { folder: file.folder.clone(), name: file.name.clone(), inode: file.inode })
                .collect(),
            before: text(gone),
            after: format!("deleted; {} stay", text(kept)),
            list: list(gone),
        };
        if planner.is_planned(&files.on()) {
            return Err(ChangeError::refused("an earlier step of this change cuts the journal already"));
        }
        planner.add(Transition::JournalFiles(files))
    }
}

/// How many of the files, the oldest first, are to go so that the rest takes at most so many bytes.
fn over(files: &[Archived], keep: u64) -> usize {
    let mut kept = 0_u64;
    let stay = files.iter().rev().take_while(|file| {
        kept = kept.saturating_add(file.bytes);
        kept <= keep
    });
    files.len() - stay.count()
}

/// How many of the files have no entry since that time.
fn before(files: &[Archived], since: u64) -> usize {
    files.iter().take_while(|file| file.last < since).count()
}

/// `3 files (24.0 MiB, 1234 entries from … to …)`.
fn text(files: &[Archived]) -> String {
    let bytes = files.iter().map(|file| file.bytes).sum();
    let noun = if files.len() == 1 { "archived file" } else { "archived files" };
    let mut text = format!("{} {noun} ({}", files.len(), size(bytes));
    let first = files.iter().map(|file| file.first).min().and_then(moment::from_micros);
    let last = files.iter().map(|file| file.last).max().and_then(moment::from_micros);
    if let (Some(first), Some(last)) = (first, last) {
        let entries: u64 = files.iter().filter_map(|file| file.entries).sum();
        let unread = files.iter().filter(|file| file.entries.is_none()).count();
        let _ = write!(text, ", {entries} entries from {first} to {last}");
        if unread > 0 {
            let _ = write!(text, ", and those of {unread} that cannot be read");
        }
    }
    text + ")"
}

fn list(files: &[Archived]) -> String {
    let mut text = String::new();
    for file in files.iter().take(MOST_LISTED) {
        let last = moment::from_micros(file.last).unwrap_or_default();
        let _ = writeln!(text, "-{}/{} ({}, until {last})", file.folder, file.name, size(file.bytes));
    }
    if files.len() > MOST_LISTED {
        let _ = writeln!(text, "-… and {} more", files.len() - MOST_LISTED);
    }
    text
}

/// A size as people read it.
#[expect(clippy::cast_precision_loss, reason = "a size that people read")]
fn size(bytes: u64) -> String {
    if bytes < 1 << 20 {
        return format!("{:.1} KiB", bytes as f64 / 1024.0);
    }
    format!("{:.1} MiB", bytes as f64 / f64::from(1 << 20))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::change::testing::{Bench, text_of};

    const ID: &str = "0123456789abcdef0123456789abcdef";

    /// An archived file with two entries, at these days since 1970.
    fn file(bench: &Bench, number: u8, first: u64, last: u64) -> String {
        let mut bytes = vec![0_u8; 4096];
        bytes[..8].copy_from_slice(b"LPKSHHRH");
        for (at, value) in [(152, 2), (184, first * DAY), (192, last * DAY)] {
            bytes[at..at + 8].copy_from_slice(&value.to_le_bytes());
        }
        let path = format!("/var/log/journal/{ID}/system@{ID}-{number:016x}-{:016x}.journal", first * DAY);
        bench.write(&path, "");
        std::fs::write(bench.path(&path), bytes).unwrap();
        path
    }

    fn bench() -> (Bench, Vec<String>) {
        let bench = Bench::new();
        bench.write("/etc/machine-id", &format!("{ID}\n"));
        let today = moment::now_micros() / DAY;
        let ages = [(100, 40), (35, 20), (20, 3)];
        let files =
            (0..).zip(ages).map(|(n, (first, last))| file(&bench, n, today - first, today - last)).collect();
        bench.write(&format!("/var/log/journal/{ID}/system.journal"), "in use");
        (bench, files)
    }

    #[test]
    fn what_has_an_entry_of_the_days_stays() {
        let (bench, files) = bench();
        let plan = bench.change("journal.vacuum", json!({"keep_days": 30}));
        let text = text_of(&plan);
        assert!(text.contains("1 archived file ("), "{text}");
        assert!(text.contains("impossible") && text.contains("destructive"), "{text}");
        assert!(!bench.path(&files[0]).exists());
        assert!(files[1..].iter().all(|file| bench.path(file).exists()));
        assert!(bench.plan_undo(&plan).is_err());
        assert!(bench.plan("journal.vacuum", json!({"keep_days": 30})).unwrap().script.is_empty());
    }

    #[test]
    fn the_oldest_go_until_the_rest_is_small_enough_and_the_one_in_use_stays() {
        let (bench, files) = bench();
        bench.change("journal.vacuum", json!({"keep_bytes": 4096}));
        assert!(!bench.path(&files[0]).exists() && !bench.path(&files[1]).exists());
        bench.change("journal.vacuum", json!({"keep_bytes": 0}));
        assert!(!bench.path(&files[2]).exists());
        assert_eq!(bench.read(&format!("/var/log/journal/{ID}/system.journal")), "in use");
    }

    #[test]
    fn a_plan_is_for_the_files_that_were_shown() {
        let (bench, files) = bench();
        let prepared = bench.plan("journal.vacuum", json!({"keep_bytes": 0})).unwrap();
        std::fs::remove_file(bench.path(&files[1])).unwrap();
        let error = prepared.script.check(&bench.context()).unwrap_err();
        assert!(error.to_string().contains("2 of the 3"), "{error}");
        assert!(bench.path(&files[0]).exists());
        // Another file of the same name is another file.
        let prepared = bench.plan("journal.vacuum", json!({"keep_bytes": 0})).unwrap();
        std::fs::copy(bench.path(&files[0]), bench.path("/copy")).unwrap();
        std::fs::rename(bench.path("/copy"), bench.path(&files[0])).unwrap();
        assert!(prepared.script.check(&bench.context()).is_err());
    }

    #[test]
    fn arguments_are_one_of_two_and_links_are_not_followed() {
        let (bench, files) = bench();
        for bad in [
            json!({}),
            json!({"keep_bytes": 1, "keep_days": 1}),
            json!({"keep_days": 0}),
            json!({"keep_bytes": -1}),
        ] {
            assert!(bench.plan("journal.vacuum", bad.clone()).is_err(), "{bad}");
        }
        bench.write("/elsewhere", "precious");
        std::fs::remove_file(bench.path(&files[0])).unwrap();
        std::os::unix::fs::symlink(bench.path("/elsewhere"), bench.path(&files[0])).unwrap();
        bench.change("journal.vacuum", json!({"keep_bytes": 0}));
        assert_eq!(bench.read("/elsewhere"), "precious");
        assert!(bench.path(&files[0]).is_symlink());
        // A machine whose journal is only in memory, or that has none.
        let empty = Bench::new();
        assert!(empty.plan("journal.vacuum", json!({"keep_bytes": 0})).unwrap().script.is_empty());
    }

    proptest! {
        #[test]
        fn what_stays_is_small_enough_and_one_more_would_not_be(sizes in proptest::collection::vec(0_u64..100, 0..20), keep in 0_u64..500) {
            let files: Vec<Archived> = sizes.iter().map(|&bytes| Archived {
                folder: String::new(), name: String::new(), inode: 0, bytes, entries: None, first: 0, last: 0,
            }).collect();
            let gone = over(&files, keep);
            let rest: u64 = sizes[gone..].iter().sum();
            prop_assert!(rest <= keep);
            prop_assert!(gone == 0 || rest + sizes[gone - 1] > keep);
        }
    }
}
