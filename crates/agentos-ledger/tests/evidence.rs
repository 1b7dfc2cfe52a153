//! A ledger that is not whole is evidence: it is found so, examined and read without a byte of it being changed.

mod common;

use std::collections::BTreeMap;
use std::path::Path;
use std::time::SystemTime;

use agentos_api::event::{EventFilter, Order};
use agentos_ledger::{DATABASE_FILE, Evidence, KEY_FILE, Ledger, LedgerError, PUBLIC_KEY_FILE};
use common::{append, database, ledger_of, open, options, recompute_hashes, tamper};
use tempfile::TempDir;

/// Every file in a directory: what is in it and when it was written.
fn contents(directory: &Path) -> BTreeMap<String, (Vec<u8>, SystemTime)> {
    std::fs::read_dir(directory)
        .unwrap()
        .map(|entry| {
            let entry = entry.unwrap();
            let name = entry.file_name().into_string().unwrap();
            (name, (std::fs::read(entry.path()).unwrap(), entry.metadata().unwrap().modified().unwrap()))
        })
        .collect()
}

/// Opens the ledger in `directory`, which must refuse, and examines it; neither may leave a trace.
fn examine(directory: &Path) -> (LedgerError, Option<Evidence>) {
    let before = contents(directory);
    let error = Ledger::open(&options(directory)).unwrap_err();
    let evidence = Evidence::examine(&database(directory), &mut |_| {}).ok();
    if let Some(evidence) = &evidence {
        let page = evidence.page(&EventFilter::default()).unwrap();
        assert!(page.events.iter().all(|event| event.id <= evidence.readable()));
    }
    let after = contents(directory);
    let names = |files: &BTreeMap<String, (Vec<u8>, SystemTime)>| files.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(&before), names(&after), "{error}");
    assert!(before == after, "a file was changed: {error}");
    (error, evidence)
}

fn kind_of(error: &LedgerError) -> String {
    error.damage().unwrap_or_else(|| panic!("{error:?}")).kind
}

/// A copy of a ledger as a crash leaves it: its last events are in the log.
fn crashed(with_index: bool) -> TempDir {
    let (directory, copy) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let ledger = open(directory.path());
    append(&ledger, 1, 20);
    for name in ["ledger.db", "ledger.db-wal", "ledger.key", "ledger.vkey", "ledger.lock"] {
        std::fs::copy(directory.path().join(name), copy.path().join(name)).unwrap();
    }
    if with_index {
        std::fs::copy(directory.path().join("ledger.db-shm"), copy.path().join("ledger.db-shm")).unwrap();
    }
    assert!(copy.path().join("ledger.db-wal").metadata().unwrap().len() > 0);
    copy
}

#[test]
fn an_edited_event_is_named_and_those_before_it_can_be_read() {
    let directory = ledger_of(20);
    tamper(directory.path())
        .execute_batch("UPDATE events SET payload = replace(payload, 'what is', 'who was') WHERE id = 18")
        .unwrap();
    let (error, evidence) = examine(directory.path());
    assert_eq!(kind_of(&error), "hash_mismatch");
    assert_eq!(error.damage().unwrap().first, Some(18));
    let evidence = evidence.unwrap();
    assert_eq!(evidence.readable(), 17);
    let newest = evidence.page(&EventFilter::default()).unwrap();
    assert_eq!(
        newest.events.iter().map(|event| event.id).collect::<Vec<_>>(),
        (1..=17).rev().collect::<Vec<_>>()
    );
    let filter = EventFilter {
        order: Some(Order::Oldest),
        after: Some(10),
        before: Some(30),
        ..EventFilter::default()
    };
    assert_eq!(evidence.page(&filter).unwrap().events.last().unwrap().id, 17);
    assert_eq!(evidence.page(&filter).unwrap().next, None, "what follows is not offered");
}

#[test]
fn damage_in_the_log_of_a_crashed_ledger_changes_neither_log_nor_index() {
    for with_index in [true, false] {
        let copy = crashed(with_index);
        // Whoever edits through SQLite leaves the edit in the log, when the process is killed.
        let edit = TempDir::new().unwrap();
        for name in ["ledger.db", "ledger.db-wal"] {
            std::fs::copy(copy.path().join(name), edit.path().join(name)).unwrap();
        }
        let connection = rusqlite::Connection::open(edit.path().join("ledger.db")).unwrap();
        connection.execute_batch("DELETE FROM events WHERE id = 19").unwrap();
        for name in ["ledger.db", "ledger.db-wal"] {
            std::fs::copy(edit.path().join(name), copy.path().join(name)).unwrap();
        }
        let (error, evidence) = examine(copy.path());
        assert_eq!(kind_of(&error), "event_missing", "index: {with_index}");
        assert_eq!(evidence.unwrap().readable(), 18);
    }
}

#[test]
fn a_crashed_ledger_that_is_whole_is_opened_with_all_that_its_log_holds() {
    for with_index in [true, false] {
        let copy = crashed(with_index);
        assert_eq!(open(copy.path()).head().id, 20);
    }
}

#[test]
fn what_is_missing_foreign_or_no_database_is_not_made_anew() {
    type Damage = fn(&Path);
    let damages: [(&str, Damage, Option<u64>); 9] = [
        ("database_missing", |path| std::fs::remove_file(path.join(DATABASE_FILE)).unwrap(), None),
        ("key_missing", |path| std::fs::remove_file(path.join(KEY_FILE)).unwrap(), Some(20)),
        ("key_foreign", |path| std::fs::write(path.join(KEY_FILE), "no key").unwrap(), Some(20)),
        (
            "key_foreign",
            |path| {
                std::fs::copy(ledger_of(1).path().join(KEY_FILE), path.join(KEY_FILE)).unwrap();
            },
            Some(20),
        ),
        (
            "checkpoint_key",
            |path| {
                let other = ledger_of(1);
                for name in [KEY_FILE, PUBLIC_KEY_FILE] {
                    std::fs::copy(other.path().join(name), path.join(name)).unwrap();
                }
            },
            Some(0),
        ),
        ("schema_changed", |path| std::fs::write(path.join(DATABASE_FILE), "").unwrap(), Some(0)),
        ("schema_changed", |path| std::fs::write(path.join(DATABASE_FILE), [7; 5000]).unwrap(), Some(0)),
        (
            "tail_missing",
            |path| tamper(path).execute_batch("DELETE FROM events WHERE id > 12").unwrap(),
            Some(12),
        ),
        (
            "checkpoint_mismatch",
            |path| {
                let connection = tamper(path);
                connection
                    .execute_batch(
                        "UPDATE events SET payload = replace(payload, 'what is', 'who was') WHERE id = 5",
                    )
                    .unwrap();
                recompute_hashes(&connection, 5);
            },
            Some(0),
        ),
    ];
    for (kind, damage, readable) in damages {
        let directory = ledger_of(20);
        damage(directory.path());
        let (error, evidence) = examine(directory.path());
        assert_eq!(kind_of(&error), kind, "{error}");
        assert_eq!(evidence.map(|evidence| evidence.readable()), readable, "{kind}: {error}");
    }
}

#[test]
fn a_restored_copy_without_a_lock_gets_one_only_when_it_is_whole() {
    let directory = ledger_of(5);
    let lock = directory.path().join(agentos_ledger::LOCK_FILE);
    std::fs::remove_file(&lock).unwrap();
    let connection = tamper(directory.path());
    connection.execute_batch("UPDATE events SET actor = 'agent/other' WHERE id = 5").unwrap();
    drop(connection);
    examine(directory.path());
    assert!(!lock.exists());
    tamper(directory.path()).execute_batch("UPDATE events SET actor = 'operator:1000' WHERE id = 5").unwrap();
    drop(open(directory.path()));
    assert!(lock.exists());
}

#[test]
fn what_changed_since_it_was_examined_is_not_served() {
    let directory = ledger_of(20);
    let connection = tamper(directory.path());
    connection.execute_batch("UPDATE events SET actor = 'agent/other' WHERE id = 18").unwrap();
    drop(connection);
    let evidence = Evidence::examine(&database(directory.path()), &mut |_| {}).unwrap();
    assert_eq!(evidence.readable(), 17);
    tamper(directory.path()).execute_batch("UPDATE events SET actor = 'agent/other' WHERE id = 2").unwrap();
    let result = evidence.page(&EventFilter::default());
    assert!(matches!(result, Err(LedgerError::Altered { .. })), "{result:?}");
}
