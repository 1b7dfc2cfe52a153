//! Whatever is done to a ledger's file, verification finds it, and says which event first.

mod common;

use std::fs;
use std::path::Path;

use agentos_ledger::{
    Ledger, LedgerError, PUBLIC_KEY_FILE, VerifyError, VerifyOptions, Violation, ViolationKind, verify,
};
use common::{append, database, ledger_of, open, options, recompute_hashes, recompute_tiles, tamper};
use tempfile::TempDir;

fn violation_with(directory: &Path, options: VerifyOptions<'_>) -> Violation {
    match verify(&database(directory), options) {
        Err(VerifyError::Violation(violation)) => violation,
        other => panic!("no violation: {other:?}"),
    }
}

fn violation(directory: &Path) -> Violation {
    violation_with(directory, VerifyOptions::default())
}

#[track_caller]
fn expect(violation: &Violation, kind: ViolationKind, first: u64) {
    assert_eq!((violation.kind, violation.first), (kind, Some(first)), "{violation}");
}

/// Asserts that the ledger is not opened for writing, and that trying leaves the file as it is.
fn refuses_to_open(directory: &Path) {
    let before = fs::read(database(directory)).unwrap();
    assert!(matches!(Ledger::open(&options(directory)), Err(LedgerError::Corrupt { .. })));
    assert_eq!(fs::read(database(directory)).unwrap(), before);
}

#[test]
fn an_untouched_ledger_is_whole() {
    for size in [0, 1, 255, 256, 257, 600] {
        let directory = ledger_of(size);
        let report = verify(&database(directory.path()), VerifyOptions::default()).unwrap();
        assert_eq!((report.size, report.read, report.unsigned), (size, size, 0));
        assert_eq!(report.checkpoints, u64::from(size > 0));
        assert!(report.public_key.is_some());
    }
}

#[test]
fn an_edited_field_is_found() {
    for (column, value) in [
        ("ts", "2020-01-01T00:00:00.000Z"),
        ("type", "system.other"),
        ("actor", "agent/other"),
        ("payload", "{}"),
        ("prev_hash", "0000000000000000000000000000000000000000000000000000000000000000"),
        ("hash", "0000000000000000000000000000000000000000000000000000000000000000"),
    ] {
        let directory = ledger_of(300);
        tamper(directory.path())
            .execute(&format!("UPDATE events SET {column} = ?1 WHERE id = 100"), [value])
            .unwrap();
        assert_eq!(violation(directory.path()).first, Some(100), "{column}");
    }
}

#[test]
fn an_edited_payload_that_still_repeats_its_fields_is_found_by_its_hash() {
    let directory = ledger_of(300);
    tamper(directory.path())
        .execute("UPDATE events SET payload = replace(payload, 'eating', 'holding') WHERE id = 299", [])
        .unwrap();
    expect(&violation(directory.path()), ViolationKind::HashMismatch, 299);
    refuses_to_open(directory.path());
}

#[test]
fn a_value_of_another_type_is_found() {
    for value in ["x'00'", "7", "zeroblob(64)", "1.5"] {
        let directory = ledger_of(10);
        tamper(directory.path())
            .execute_batch(&format!("UPDATE events SET hash = {value} WHERE id = 4"))
            .unwrap();
        let found = violation(directory.path());
        assert_eq!(found.first, Some(4), "{value}: {found}");
    }
}

#[test]
fn a_deleted_middle_is_found() {
    let directory = ledger_of(300);
    tamper(directory.path()).execute_batch("DELETE FROM events WHERE id BETWEEN 50 AND 60").unwrap();
    let found = violation(directory.path());
    expect(&found, ViolationKind::EventMissing, 50);
    assert_eq!(found.last, Some(60));
}

#[test]
fn a_deleted_middle_with_the_rest_renumbered_and_recomputed_is_found() {
    let directory = ledger_of(600);
    let connection = tamper(directory.path());
    connection
        .execute_batch(
            "DELETE FROM events WHERE id = 50;
             UPDATE events SET id = -id WHERE id > 50; UPDATE events SET id = -id - 1 WHERE id < 0;
             UPDATE events SET payload = replace(payload, '\"id\":' || (id + 1) || ',', '\"id\":' || id || ',');
             UPDATE sqlite_sequence SET seq = 599;",
        )
        .unwrap();
    recompute_hashes(&connection, 50);
    expect(&violation(directory.path()), ViolationKind::TreeMismatch, 50);
}

#[test]
fn a_deleted_tail_is_found() {
    for cut in [1_u64, 100, 300, 400] {
        let directory = ledger_of(600);
        tamper(directory.path())
            .execute("DELETE FROM events WHERE id > ?1", [600 - cut.cast_signed()])
            .unwrap();
        let found = violation(directory.path());
        expect(&found, ViolationKind::TailMissing, 601 - cut);
        assert_eq!(found.last, Some(600));
        refuses_to_open(directory.path());
    }
}

#[test]
fn a_deleted_tail_is_found_by_what_else_knows_of_it() {
    let hide_sequence = "UPDATE sqlite_sequence SET seq = 500 WHERE name = 'events'";
    let hide_checkpoint = "DELETE FROM checkpoints";
    let hide_tiles = "DELETE FROM tiles WHERE tile_index > 0";
    for hidden in
        [[hide_sequence, hide_checkpoint], [hide_sequence, hide_tiles], [hide_checkpoint, hide_tiles]]
    {
        let directory = ledger_of(600);
        let connection = tamper(directory.path());
        connection.execute_batch("DELETE FROM events WHERE id > 500").unwrap();
        for statement in hidden {
            connection.execute_batch(statement).unwrap();
        }
        drop(connection);
        expect(&violation(directory.path()), ViolationKind::TailMissing, 501);
    }
}

#[test]
fn a_tail_that_nothing_inside_knows_of_is_found_by_a_trusted_checkpoint() {
    let directory = ledger_of(200);
    let ledger = open(directory.path());
    let note = ledger.checkpoint_blocking().unwrap().note;
    drop(ledger);
    tamper(directory.path())
        .execute_batch(
            "DELETE FROM events WHERE id > 150; DELETE FROM checkpoints;
             UPDATE sqlite_sequence SET seq = 150 WHERE name = 'events'",
        )
        .unwrap();
    // Honest about its limit: without anything from outside, this cannot be seen.
    assert_eq!(verify(&database(directory.path()), VerifyOptions::default()).unwrap().unsigned, 150);
    let found = violation_with(directory.path(), VerifyOptions::default().trusting(&note));
    expect(&found, ViolationKind::TailMissing, 151);
}

#[test]
fn an_emptied_table_is_found() {
    let directory = ledger_of(300);
    let connection = tamper(directory.path());
    connection.execute_batch("DELETE FROM events").unwrap();
    expect(&violation(directory.path()), ViolationKind::TailMissing, 1);
    refuses_to_open(directory.path());
    connection.execute_batch("DELETE FROM sqlite_sequence; DELETE FROM tiles").unwrap();
    expect(&violation(directory.path()), ViolationKind::TailMissing, 1);
}

#[test]
fn an_emptied_file_is_found_and_not_filled_again() {
    let directory = ledger_of(10);
    fs::write(database(directory.path()), b"").unwrap();
    assert_eq!(violation(directory.path()).kind, ViolationKind::SchemaChanged);
    refuses_to_open(directory.path());
}

#[test]
fn a_missing_file_is_found_and_not_made_again() {
    let directory = ledger_of(10);
    let path = database(directory.path());
    fs::remove_file(&path).unwrap();
    assert!(matches!(verify(&path, VerifyOptions::default()), Err(VerifyError::Missing { .. })));
    assert!(!path.exists());
    assert!(matches!(Ledger::open(&options(directory.path())), Err(LedgerError::Missing { .. })));
    assert!(!path.exists());
}

#[test]
fn a_file_that_is_no_database_is_found() {
    let directory = ledger_of(300);
    let path = database(directory.path());
    fs::write(&path, b"not a database, but long enough to be looked at".repeat(100)).unwrap();
    assert_eq!(violation(directory.path()).kind, ViolationKind::SchemaChanged);
    refuses_to_open(directory.path());
}

#[test]
fn a_directory_or_fifo_in_the_databases_place_is_refused() {
    let directory = ledger_of(1);
    assert!(matches!(verify(directory.path(), VerifyOptions::default()), Err(VerifyError::NotAFile { .. })));
    let fifo = directory.path().join("fifo");
    rustix::fs::mknodat(rustix::fs::CWD, &fifo, rustix::fs::FileType::Fifo, rustix::fs::Mode::RUSR, 0)
        .unwrap();
    assert!(matches!(verify(&fifo, VerifyOptions::default()), Err(VerifyError::NotAFile { .. })));
}

#[test]
fn an_edit_with_every_hash_recomputed_is_found_by_the_tree() {
    let directory = ledger_of(600);
    let connection = tamper(directory.path());
    connection
        .execute_batch("UPDATE events SET payload = replace(payload, 'eating', 'holding') WHERE id = 200")
        .unwrap();
    recompute_hashes(&connection, 200);
    expect(&violation(directory.path()), ViolationKind::TreeMismatch, 200);
}

#[test]
fn an_edit_with_every_hash_and_tile_recomputed_is_found_by_the_checkpoint() {
    let directory = ledger_of(300);
    let ledger = open(directory.path());
    append(&ledger, 301, 600);
    drop(ledger);
    let connection = tamper(directory.path());
    connection
        .execute_batch("UPDATE events SET payload = replace(payload, 'eating', 'holding') WHERE id = 400")
        .unwrap();
    recompute_hashes(&connection, 400);
    recompute_tiles(&connection);
    let found = violation(directory.path());
    // The checkpoint at 300 still holds, the one at 600 does not.
    expect(&found, ViolationKind::CheckpointMismatch, 301);
    assert_eq!(found.last, Some(600));
    refuses_to_open(directory.path());
}

#[test]
fn an_edit_in_the_unfinished_tile_is_found_by_the_link_after_it() {
    let directory = ledger_of(100);
    let connection = tamper(directory.path());
    connection
        .execute_batch("UPDATE events SET payload = replace(payload, 'eating', 'holding') WHERE id = 60")
        .unwrap();
    connection
        .execute_batch("CREATE TEMP TABLE later AS SELECT id, prev_hash, hash FROM events WHERE id > 60")
        .unwrap();
    recompute_hashes(&connection, 60);
    connection
        .execute_batch(
            "UPDATE events SET (prev_hash, hash) = (SELECT l.prev_hash, l.hash FROM later l WHERE l.id = events.id)
             WHERE id > 60",
        )
        .unwrap();
    let found = violation(directory.path());
    expect(&found, ViolationKind::BrokenLink, 60);
    assert_eq!(found.last, Some(61));
}

#[test]
fn reordered_rows_are_found() {
    let directory = ledger_of(300);
    tamper(directory.path())
        .execute_batch(
            "UPDATE events SET id = -1 WHERE id = 20; UPDATE events SET id = 20 WHERE id = 30;
             UPDATE events SET id = 30 WHERE id = -1",
        )
        .unwrap();
    expect(&violation(directory.path()), ViolationKind::FieldsDiffer, 20);
}

const REBUILT: &str =
    "CREATE TABLE copy (id INTEGER, ts TEXT, type TEXT, actor TEXT, payload TEXT, prev_hash TEXT, hash TEXT);
     INSERT INTO copy SELECT id, ts, type, actor, payload, prev_hash, hash FROM events;
     DROP TABLE events; ALTER TABLE copy RENAME TO events;";

#[test]
fn a_duplicated_id_is_found() {
    let directory = ledger_of(300);
    let connection = tamper(directory.path());
    connection.execute_batch(REBUILT).unwrap();
    connection
        .execute_batch(
            "CREATE TABLE other AS SELECT * FROM events WHERE id <= 77; INSERT INTO other SELECT * FROM events WHERE id >= 77;
             DELETE FROM events; INSERT INTO events SELECT * FROM other; DROP TABLE other;",
        )
        .unwrap();
    drop(connection);
    expect(&violation(directory.path()), ViolationKind::DuplicateId, 77);
    refuses_to_open(directory.path());
}

#[test]
fn rows_out_of_order_in_a_rebuilt_table_are_found() {
    let directory = ledger_of(50);
    let connection = tamper(directory.path());
    connection.execute_batch(REBUILT).unwrap();
    connection
        .execute_batch(
            "CREATE TABLE other AS SELECT * FROM events ORDER BY (id BETWEEN 40 AND 44), id;
             DELETE FROM events; INSERT INTO events SELECT * FROM other; DROP TABLE other;",
        )
        .unwrap();
    drop(connection);
    expect(&violation(directory.path()), ViolationKind::OutOfOrder, 40);
}

#[test]
fn tables_triggers_and_views_that_the_ledger_did_not_make_are_found() {
    for statement in [
        REBUILT,
        "CREATE TRIGGER t AFTER INSERT ON events BEGIN DELETE FROM events WHERE id = new.id; END",
        "CREATE VIEW v AS SELECT 1",
        "CREATE INDEX i ON events (ts)",
        "DROP TABLE tiles",
        "ALTER TABLE events RENAME TO other; CREATE VIEW events AS SELECT * FROM other",
    ] {
        let directory = ledger_of(20);
        tamper(directory.path()).execute_batch(statement).unwrap();
        assert_eq!(violation(directory.path()).kind, ViolationKind::SchemaChanged, "{statement}");
        refuses_to_open(directory.path());
    }
}

#[test]
fn ids_below_the_first_are_found() {
    for id in [0, -5] {
        let directory = ledger_of(5);
        tamper(directory.path())
            .execute("INSERT INTO events VALUES (?1, '', '', '', '', '', '')", [id])
            .unwrap();
        expect(&violation(directory.path()), ViolationKind::OutOfOrder, 0);
    }
}

#[test]
fn a_tree_that_disagrees_with_the_rows_is_found() {
    for (statement, first) in [
        ("UPDATE tiles SET hashes = zeroblob(8192) WHERE tile_index = 1", 257),
        ("UPDATE tiles SET hashes = zeroblob(31) WHERE tile_index = 1", 257),
        ("UPDATE tiles SET root = zeroblob(32) WHERE tile_index = 0", 1),
        ("UPDATE tiles SET root = 'text' WHERE tile_index = 0", 1),
        ("DELETE FROM tiles WHERE tile_index = 1", 257),
        ("UPDATE tiles SET level = 1 WHERE tile_index = 1", 257),
    ] {
        let directory = ledger_of(600);
        tamper(directory.path()).execute_batch(statement).unwrap();
        expect(&violation(directory.path()), ViolationKind::TreeMismatch, first);
    }
}

#[test]
fn a_sequence_that_disagrees_with_the_rows_is_found() {
    let directory = ledger_of(20);
    let connection = tamper(directory.path());
    connection.execute_batch("UPDATE sqlite_sequence SET seq = 25").unwrap();
    expect(&violation(directory.path()), ViolationKind::TailMissing, 21);
    connection.execute_batch("UPDATE sqlite_sequence SET seq = 15").unwrap();
    expect(&violation(directory.path()), ViolationKind::SequenceMismatch, 16);
    connection.execute_batch("DELETE FROM sqlite_sequence").unwrap();
    expect(&violation(directory.path()), ViolationKind::SequenceMismatch, 1);
}

#[test]
fn a_checkpoint_of_another_key_is_found() {
    let directory = ledger_of(20);
    let other = ledger_of(20);
    let note: String =
        tamper(other.path()).query_row("SELECT note FROM checkpoints", [], |row| row.get(0)).unwrap();
    let connection = tamper(directory.path());
    connection.execute("UPDATE checkpoints SET note = ?1", [&note]).unwrap();
    drop(connection);
    expect(&violation(directory.path()), ViolationKind::CheckpointKey, 20);
    refuses_to_open(directory.path());

    // The public key beside the ledger exchanged as well: whoever knows the true one still notices.
    let genuine = agentos_ledger::read_public_key(&directory.path().join(PUBLIC_KEY_FILE)).unwrap();
    fs::copy(other.path().join(PUBLIC_KEY_FILE), directory.path().join(PUBLIC_KEY_FILE)).unwrap();
    let found = violation_with(directory.path(), VerifyOptions::default().signed_by(genuine));
    expect(&found, ViolationKind::CheckpointKey, 20);
}

#[test]
fn a_checkpoint_that_is_no_checkpoint_is_found() {
    for note in ["", "x", "a\n20\nb\n\n\u{2014} a AAAA\n"] {
        let directory = ledger_of(20);
        tamper(directory.path()).execute("UPDATE checkpoints SET note = ?1", [note]).unwrap();
        expect(&violation(directory.path()), ViolationKind::CheckpointMalformed, 20);
    }
    let directory = ledger_of(20);
    tamper(directory.path()).execute_batch("UPDATE checkpoints SET size = 19").unwrap();
    expect(&violation(directory.path()), ViolationKind::CheckpointMalformed, 19);
}

#[test]
fn from_a_trusted_checkpoint_only_what_is_new_is_read() {
    let directory = ledger_of(0);
    let ledger = open(directory.path());
    let mut notes = Vec::new();
    let sizes = [1, 255, 256, 257, 400, 512, 700];
    let mut size = 0;
    for next in sizes {
        append(&ledger, size + 1, next);
        size = next;
        notes.push(ledger.checkpoint_blocking().unwrap().note);
    }
    for (note, trusted) in notes.iter().zip(sizes) {
        let report = verify(ledger.path(), VerifyOptions::default().trusting(note)).unwrap();
        assert_eq!((report.size, report.read, report.trusted), (700, 700 - trusted, Some(trusted)));
        let report = verify(ledger.path(), VerifyOptions::default().trusting(note).reading_all()).unwrap();
        assert_eq!(report.read, 700);
    }
}

/// A ledger of 700 events, and the checkpoint that covers the first 500.
fn grown_past_a_checkpoint() -> (TempDir, String) {
    let directory = ledger_of(500);
    let note: String =
        tamper(directory.path()).query_row("SELECT note FROM checkpoints", [], |row| row.get(0)).unwrap();
    let ledger = open(directory.path());
    append(&ledger, 501, 700);
    drop(ledger);
    (directory, note)
}

#[test]
fn what_departs_from_a_trusted_checkpoint_is_found_and_located() {
    let (directory, note) = grown_past_a_checkpoint();
    let connection = tamper(directory.path());
    connection
        .execute_batch("UPDATE events SET payload = replace(payload, 'eating', 'holding') WHERE id = 123")
        .unwrap();
    recompute_hashes(&connection, 123);
    let trusting = || VerifyOptions::default().trusting(&note);
    expect(&violation_with(directory.path(), trusting()), ViolationKind::TreeMismatch, 123);
    recompute_tiles(&connection);
    connection.execute_batch("DELETE FROM checkpoints").unwrap();
    let found = violation_with(directory.path(), trusting());
    expect(&found, ViolationKind::CheckpointMismatch, 1);
    assert_eq!(found.last, Some(500));
}

#[test]
fn what_is_new_behind_a_trusted_checkpoint_is_still_checked() {
    let (directory, note) = grown_past_a_checkpoint();
    let connection = tamper(directory.path());
    connection
        .execute_batch("UPDATE events SET payload = replace(payload, 'eating', 'holding') WHERE id = 501")
        .unwrap();
    let trusting = || VerifyOptions::default().trusting(&note);
    expect(&violation_with(directory.path(), trusting()), ViolationKind::HashMismatch, 501);
    connection.execute_batch("DELETE FROM events WHERE id > 500").unwrap();
    expect(&violation_with(directory.path(), trusting()), ViolationKind::TailMissing, 501);
    connection.execute_batch("DELETE FROM events WHERE id > 499").unwrap();
    expect(&violation_with(directory.path(), trusting()), ViolationKind::TailMissing, 500);
}

#[test]
fn a_checkpoint_that_cannot_be_trusted_is_refused() {
    let directory = ledger_of(20);
    let other = ledger_of(20);
    let note: String =
        tamper(other.path()).query_row("SELECT note FROM checkpoints", [], |row| row.get(0)).unwrap();
    for bad in [note.as_str(), "", "x"] {
        let result = verify(&database(directory.path()), VerifyOptions::default().trusting(bad));
        assert!(matches!(result, Err(VerifyError::Trusted(_))), "{result:?}");
    }
}

#[test]
fn a_clock_that_was_set_back_is_recorded_as_it_was_and_counted() {
    let directory = ledger_of(20);
    let connection = tamper(directory.path());
    // As the machine would have written it: the whole record made with the earlier time.
    connection
        .execute_batch(
            "UPDATE events SET payload = replace(payload, ts, '2001-01-01T00:00:00.000Z'), ts = '2001-01-01T00:00:00.000Z'
             WHERE id > 10; DELETE FROM checkpoints",
        )
        .unwrap();
    recompute_hashes(&connection, 1);
    assert_eq!(verify(&database(directory.path()), VerifyOptions::default()).unwrap().clock_set_back, 1);
}

#[test]
fn verification_changes_nothing_and_leaves_nothing_behind() {
    let directory = ledger_of(300);
    let names = |directory: &Path| {
        let mut names: Vec<_> =
            fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        names
    };
    let path = database(directory.path());
    let (before, listed) = (fs::read(&path).unwrap(), names(directory.path()));
    verify(&path, VerifyOptions::default()).unwrap();
    assert_eq!(fs::read(&path).unwrap(), before);
    assert_eq!(names(directory.path()), listed);

    // A lone copy, and a name that a URI would read otherwise.
    let copy = directory.path().join("copy of 100% #1?.db");
    fs::copy(&path, &copy).unwrap();
    verify(&copy, VerifyOptions::default()).unwrap();
}

#[test]
fn a_live_ledger_is_verified_while_it_is_written() {
    let directory = ledger_of(0);
    let ledger = open(directory.path());
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| append(&ledger, 1, 3000));
        let mut last = 0;
        while !writer.is_finished() {
            let report = verify(ledger.path(), VerifyOptions::default()).unwrap();
            assert!(report.size >= last);
            last = report.size;
        }
    });
    assert_eq!(verify(ledger.path(), VerifyOptions::default()).unwrap().size, 3000);
}

#[test]
fn a_copy_with_its_log_is_verified_with_what_the_log_holds() {
    let directory = ledger_of(100);
    let ledger = open(directory.path());
    append(&ledger, 101, 200);
    let copies = TempDir::new().unwrap();
    let copy = copies.path().join("ledger.db");
    fs::copy(ledger.path(), &copy).unwrap();
    fs::copy(directory.path().join("ledger.db-wal"), copies.path().join("ledger.db-wal")).unwrap();
    assert_eq!(verify(&copy, VerifyOptions::default()).unwrap().size, 200);
}

#[test]
fn progress_ends_at_the_last_event() {
    let directory = ledger_of(300);
    let mut last = None;
    let mut progress = |progress: agentos_ledger::Progress| last = Some((progress.done, progress.total));
    verify(&database(directory.path()), VerifyOptions::default().reporting_to(&mut progress)).unwrap();
    assert_eq!(last, Some((300, 300)));
}
