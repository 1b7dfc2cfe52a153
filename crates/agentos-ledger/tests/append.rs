//! Appending and reading: an answer means durable, in order and in the tree; pages are bounded; what is refused is said.

mod common;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::channel;
use std::sync::{Arc, Barrier};
use std::time::Duration;

use agentos_api::event::{Actor, EventFilter, EventType, Order, PageLimit};
use agentos_ledger::{
    AppendError, DATABASE_FILE, KEY_FILE, Ledger, LedgerError, LedgerOptions, NewEvent, PUBLIC_KEY_FILE,
    VerifyOptions, check_event, open_checkpoint, verify,
};
use common::{ORIGIN, append, event, ledger_of, open, options, tamper};
use tempfile::TempDir;

fn filter(json: &str) -> EventFilter {
    serde_json::from_str(json).unwrap()
}

#[test]
fn an_acknowledged_event_is_in_the_file_for_every_other_connection() {
    let directory = TempDir::new().unwrap();
    let ledger = open(directory.path());
    for number in 1..=20 {
        let appended = ledger.append_blocking(event(number)).unwrap();
        let (ts, hash): (String, String) = tamper(directory.path())
            .query_row("SELECT ts, hash FROM events WHERE id = ?1", [appended.id.cast_signed()], |row| {
                Ok((row.get(0)?, row.get(1)?))
            })
            .unwrap();
        assert_eq!((ts.as_str(), hash), (&*appended.ts, appended.hash_hex()));
        assert_eq!(ledger.head().id, appended.id);
    }
}

#[test]
fn events_of_many_threads_stand_in_one_chain() {
    let directory = TempDir::new().unwrap();
    let ledger = open(directory.path());
    std::thread::scope(|scope| {
        for thread in 0..16 {
            let ledger = &ledger;
            scope.spawn(move || {
                for number in 0..50 {
                    ledger.append_blocking(event(thread * 1000 + number)).unwrap();
                }
            });
        }
    });
    let report = verify(ledger.path(), VerifyOptions::default()).unwrap();
    assert_eq!(report.size, 800);
    assert_eq!(report.head_hash, agentos_ledger::to_hex(&ledger.head().hash));
}

#[test]
fn several_events_of_one_call_stand_beside_each_other_whoever_else_records() {
    let directory = TempDir::new().unwrap();
    let ledger = open(directory.path());
    std::thread::scope(|scope| {
        for thread in 0..8 {
            let ledger = &ledger;
            scope.spawn(move || {
                for number in 0..20 {
                    let (sender, receiver) = channel();
                    let events = (0..3).map(|part| event(thread * 1000 + number * 10 + part)).collect();
                    ledger.append_all(events, move |result| sender.send(result).unwrap());
                    let appended = receiver.recv().unwrap().unwrap();
                    let ids: Vec<u64> = appended.iter().map(|appended| appended.id).collect();
                    assert_eq!(ids, [ids[0], ids[0] + 1, ids[0] + 2]);
                }
            });
        }
    });
    assert_eq!(verify(ledger.path(), VerifyOptions::default()).unwrap().size, 480);
    let (sender, receiver) = channel();
    ledger.append_all(Vec::new(), move |result| sender.send(result).unwrap());
    assert_eq!(receiver.recv().unwrap().unwrap(), []);
}

#[test]
fn a_ledger_goes_on_where_it_ended() {
    for size in [0, 1, 255, 256, 257, 512] {
        let directory = ledger_of(size);
        let ledger = open(directory.path());
        assert_eq!(ledger.append_blocking(event(1)).unwrap().id, size + 1);
        append(&ledger, 1, 300);
        drop(ledger);
        let path = common::database(directory.path());
        assert_eq!(verify(&path, VerifyOptions::default()).unwrap().size, size + 301);
    }
}

#[test]
fn a_new_ledger_has_a_private_key_that_only_its_owner_reads() {
    use std::os::unix::fs::PermissionsExt as _;
    let directory = TempDir::new().unwrap();
    let ledger = open(directory.path());
    let mode = |name: &str| directory.path().join(name).metadata().unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(KEY_FILE), mode(DATABASE_FILE), mode(PUBLIC_KEY_FILE)), (0o600, 0o600, 0o644));
    assert_eq!(mode("ledger.db-wal"), 0o600);
    let published = agentos_ledger::read_public_key(&directory.path().join(PUBLIC_KEY_FILE)).unwrap();
    assert_eq!(&published, ledger.public_key());
    drop(ledger);
    std::fs::set_permissions(directory.path().join(KEY_FILE), std::fs::Permissions::from_mode(0o640))
        .unwrap();
    assert!(matches!(
        Ledger::open(&options(directory.path())),
        Err(LedgerError::KeyMode { mode: 0o640, .. })
    ));
}

#[test]
fn a_second_writer_is_refused_while_the_first_lives() {
    let directory = TempDir::new().unwrap();
    let ledger = open(directory.path());
    assert!(matches!(Ledger::open(&options(directory.path())), Err(LedgerError::InUse(_))));
    drop(ledger);
    open(directory.path());
}

#[test]
fn an_origin_that_cannot_name_a_ledger_is_refused_and_leaves_no_ledger() {
    for origin in ["", "with space", "a+b", "a\nb"] {
        let directory = TempDir::new().unwrap();
        assert!(matches!(
            Ledger::open(&LedgerOptions::new(directory.path(), origin)),
            Err(LedgerError::Origin(_))
        ));
        open(directory.path());
    }
}

#[test]
fn an_interrupted_beginning_begins_again() {
    let directory = TempDir::new().unwrap();
    drop(open(directory.path()));
    // As it is after the key was made and before the database had its name.
    let path = common::database(directory.path());
    std::fs::rename(&path, directory.path().join("ledger.db.creating")).unwrap();
    let ledger = open(directory.path());
    assert_eq!(ledger.append_blocking(event(1)).unwrap().id, 1);
    assert!(!directory.path().join("ledger.db.creating").exists());
}

#[test]
fn a_full_queue_says_busy_at_once_and_every_event_is_answered_once() {
    let directory = TempDir::new().unwrap();
    let mut options = options(directory.path());
    options.queue_capacity = 8;
    let ledger = Ledger::open(&options).unwrap();
    let (sender, receiver) = channel();
    for number in 0..2000 {
        let sender = sender.clone();
        ledger.append(event(number), move |result| sender.send(result).unwrap());
    }
    drop(sender);
    ledger.close();
    let (mut recorded, mut busy) = (0, 0);
    for result in receiver {
        match result {
            Ok(_) => recorded += 1,
            Err(AppendError::Busy) => busy += 1,
            Err(other) => panic!("{other}"),
        }
    }
    assert_eq!(recorded + busy, 2000);
    assert!(busy > 0);
    assert_eq!(ledger.head().id, recorded);
}

#[test]
fn a_panicking_callback_harms_nobody_else() {
    let directory = TempDir::new().unwrap();
    let ledger = open(directory.path());
    ledger.append(event(1), |_| panic!("the caller's own"));
    assert_eq!(ledger.append_blocking(event(2)).unwrap().id, 2);
}

#[test]
fn a_closed_ledger_answers_closed_and_can_still_be_read() {
    let directory = TempDir::new().unwrap();
    let ledger = open(directory.path());
    append(&ledger, 1, 5);
    ledger.close();
    ledger.close();
    assert_eq!(ledger.append_blocking(event(6)), Err(AppendError::Closed));
    assert_eq!(ledger.checkpoint_blocking(), Err(AppendError::Closed));
    assert_eq!(ledger.page(&EventFilter::default()).unwrap().events.len(), 5);
}

#[test]
fn after_a_close_the_database_is_one_file_also_where_it_was_read() {
    let directory = TempDir::new().unwrap();
    let ledger = open(directory.path());
    for number in 1..=5 {
        ledger.append_blocking(event(number)).unwrap();
    }
    assert_eq!(ledger.page(&EventFilter::default()).unwrap().events.len(), 5);
    drop(ledger);
    for name in [format!("{DATABASE_FILE}-wal"), format!("{DATABASE_FILE}-shm")] {
        assert!(!directory.path().join(&name).exists(), "{name} is left");
    }
}

#[test]
fn subscribers_hear_of_new_events_until_they_leave() {
    let directory = TempDir::new().unwrap();
    let ledger = open(directory.path());
    let heard = Arc::new(AtomicU64::new(0));
    let told = Arc::clone(&heard);
    let subscription = ledger.subscribe(move |head| told.store(head.id, Ordering::SeqCst));
    let other = ledger.subscribe(|_| panic!("the observer's own"));
    append(&ledger, 1, 10);
    // The answer is given before the observers are called.
    while heard.load(Ordering::SeqCst) < 10 {
        std::thread::sleep(Duration::from_millis(1));
    }
    drop(subscription);
    append(&ledger, 11, 20);
    drop(other);
    ledger.close();
    assert_eq!(heard.load(Ordering::SeqCst), 10);
}

#[test]
fn checkpoints_are_signed_by_number_by_time_and_when_asked() {
    let directory = TempDir::new().unwrap();
    let mut options = options(directory.path());
    options.checkpoint_every = 100;
    let ledger = Ledger::open(&options).unwrap();
    for number in 1..=250 {
        ledger.append_blocking(event(number)).unwrap();
    }
    assert_eq!(ledger.status().checkpointed, 200);
    drop(ledger);
    options.checkpoint_interval = Duration::from_millis(50);
    let ledger = Ledger::open(&options).unwrap();
    ledger.append_blocking(event(251)).unwrap();
    while ledger.status().checkpointed < 251 {
        std::thread::sleep(Duration::from_millis(10));
    }
    ledger.append_blocking(event(252)).unwrap();
    let checkpoint = ledger.checkpoint_blocking().unwrap();
    assert_eq!(checkpoint.size, 252);
    assert_eq!(checkpoint.origin, ORIGIN);
    let head = open_checkpoint(&checkpoint.note, ledger.public_key()).unwrap();
    assert_eq!(head.size, 252);
    assert_eq!(ledger.checkpoint_blocking().unwrap(), checkpoint);
    let report = verify(ledger.path(), VerifyOptions::default()).unwrap();
    assert_eq!(report.checkpoints, 5, "{report:?}");
}

#[test]
fn a_checkpoint_of_an_empty_ledger_is_the_empty_trees() {
    let directory = TempDir::new().unwrap();
    let ledger = open(directory.path());
    let checkpoint = ledger.checkpoint_blocking().unwrap();
    assert_eq!(checkpoint.root, "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=");
    append(&ledger, 1, 3);
    assert_eq!(verify(ledger.path(), VerifyOptions::default()).unwrap().checkpoints, 1);
    verify(ledger.path(), VerifyOptions::default().trusting(&checkpoint.note)).unwrap();
}

#[test]
fn checkpoints_are_kept_outside_too_and_bind_the_next_start() {
    let directory = TempDir::new().unwrap();
    let outside = TempDir::new().unwrap();
    let witness = outside.path().join("checkpoints");
    let mut options = options(directory.path());
    options.witness_file = Some(witness.clone());
    let ledger = Ledger::open(&options).unwrap();
    append(&ledger, 1, 50);
    ledger.checkpoint_blocking().unwrap();
    append(&ledger, 51, 80);
    let key = ledger.public_key().clone();
    drop(ledger);
    let text = agentos_ledger::read_checkpoints(&witness).unwrap().unwrap();
    let (head, note) = agentos_ledger::latest_checkpoint(&text, &key).unwrap();
    assert_eq!(head.size, 80);
    let path = common::database(directory.path());
    assert_eq!(verify(&path, VerifyOptions::default().trusting(&note)).unwrap().read, 0);
    drop(Ledger::open(&options).unwrap());

    // A tail cut so that nothing inside knows: the witness does.
    tamper(directory.path())
        .execute_batch(
            "DELETE FROM events WHERE id > 70; DELETE FROM checkpoints WHERE size > 70;
             UPDATE sqlite_sequence SET seq = 70",
        )
        .unwrap();
    assert!(matches!(Ledger::open(&options), Err(LedgerError::Corrupt { .. })));

    // Everything gone: the witness still says that there was a ledger.
    for entry in std::fs::read_dir(directory.path()).unwrap() {
        std::fs::remove_file(entry.unwrap().path()).unwrap();
    }
    assert!(
        matches!(Ledger::open(&options), Err(LedgerError::Missing { evidence, .. }) if evidence == witness)
    );
}

#[test]
fn a_witness_file_that_cannot_be_written_is_reported_and_stops_nothing() {
    let directory = TempDir::new().unwrap();
    let mut options = options(directory.path());
    options.witness_file = Some(directory.path().join("no/such/directory/checkpoints"));
    let ledger = Ledger::open(&options).unwrap();
    append(&ledger, 1, 3);
    assert_eq!(ledger.checkpoint_blocking().unwrap().size, 3);
    assert!(ledger.status().witness_trouble.unwrap().contains("No such file"));
    assert_eq!(ledger.status().unavailable, None);
}

#[test]
fn pages_lead_from_one_end_to_the_other_and_skip_nothing() {
    let directory = ledger_of(250);
    let ledger = open(directory.path());
    for order in [Order::Oldest, Order::Newest] {
        let mut seen = Vec::new();
        let mut filter =
            EventFilter { order: Some(order), limit: PageLimit::new(60).unwrap(), ..EventFilter::default() };
        loop {
            let page = ledger.page(&filter).unwrap();
            seen.extend(page.events.iter().map(|event| event.id));
            match page.next {
                Some(next) if order == Order::Oldest => filter.after = Some(next),
                Some(next) => filter.before = Some(next),
                None => break,
            }
        }
        if order == Order::Newest {
            seen.reverse();
        }
        assert_eq!(seen, (1..=250).collect::<Vec<_>>());
    }
}

#[test]
fn a_filter_holds_in_all_its_conditions() {
    let directory = ledger_of(60);
    let ledger = open(directory.path());
    let ids = |json: &str| -> Vec<u64> {
        ledger.page(&filter(json)).unwrap().events.iter().map(|event| event.id).collect()
    };
    assert_eq!(ids(r#"{"limit":3}"#), [60, 59, 58]);
    assert_eq!(ids(r#"{"after":57}"#), [58, 59, 60]);
    assert_eq!(ids(r#"{"before":3}"#), [2, 1]);
    assert_eq!(ids(r#"{"after":4,"before":8,"order":"newest"}"#), [7, 6, 5]);
    assert_eq!(ids(r#"{"type":"memory.store","actor":"agent/main","before":13}"#), [12, 6]);
    assert_eq!(ids(r#"{"type":"memory.","limit":2}"#), [60, 57]);
    assert_eq!(ids(r#"{"type":"mem*","order":"oldest","limit":2}"#), [3, 6]);
    assert_eq!(ids(r#"{"type":"*"}"#).len(), 60);
    for none in [
        r#"{"type":"memory"}"#,
        r#"{"actor":"nobody"}"#,
        r#"{"after":60}"#,
        r#"{"before":1}"#,
        r#"{"before":0}"#,
        r#"{"after":18446744073709551615}"#,
        r#"{"after":9,"before":10}"#,
        r#"{"since":"2999-01-01T00:00:00Z"}"#,
        r#"{"until":"1999-01-01T00:00:00Z"}"#,
    ] {
        let page = ledger.page(&filter(none)).unwrap();
        assert_eq!((page.events.len(), page.next), (0, None), "{none}");
    }
    assert_eq!(ids(r#"{"since":"1999-01-01T00:00:00Z","until":"2999-01-01T00:00:00Z"}"#).len(), 60);
}

#[test]
fn times_bound_a_page_to_the_millisecond() {
    let directory = ledger_of(3);
    let ledger = open(directory.path());
    std::thread::sleep(Duration::from_millis(3));
    let appended = ledger.append_blocking(event(4)).unwrap();
    let at = |json: String| ledger.page(&filter(&json)).unwrap().events.len();
    assert_eq!(at(format!(r#"{{"since":"{}"}}"#, appended.ts)), 1);
    assert_eq!(at(format!(r#"{{"until":"{}"}}"#, appended.ts)), 3);
}

#[test]
fn a_page_is_bounded_in_bytes_and_leads_on() {
    let directory = TempDir::new().unwrap();
    let ledger = open(directory.path());
    let large = serde_json::json!({ "text": "x".repeat(64_000) });
    for _ in 0..100 {
        let kind = EventType::new("large").unwrap();
        ledger.append_blocking(NewEvent::new(kind, Actor::new("a").unwrap(), &large).unwrap()).unwrap();
    }
    let page = ledger.page(&filter(r#"{"limit":1000,"order":"oldest"}"#)).unwrap();
    assert!(page.events.len() < 100);
    assert_eq!(page.next, page.events.last().map(|event| event.id));
}

#[test]
fn an_event_comes_back_as_it_was_recorded() {
    let directory = TempDir::new().unwrap();
    let ledger = open(directory.path());
    let data = serde_json::json!({ "z": [1.5, null, true], "a": { "ü": "\u{0}\n\"" } });
    let new = NewEvent::new(EventType::new("test.round-trip").unwrap(), Actor::new("A/b:c").unwrap(), &data)
        .unwrap();
    let appended = ledger.append_blocking(new).unwrap();
    let event = ledger.get(appended.id).unwrap().unwrap();
    assert_eq!(event.payload.to_value().unwrap()["data"], data);
    assert_eq!(check_event(&event), Ok(appended.hash));
    assert_eq!(event.hash, appended.hash_hex());
    assert_eq!(ledger.get(0).unwrap(), None);
    assert_eq!(ledger.get(2).unwrap(), None);
    assert_eq!(ledger.get(u64::MAX).unwrap(), None);
}

#[test]
fn readers_do_not_wait_for_one_another_or_for_the_writer() {
    let directory = ledger_of(500);
    let ledger = open(directory.path());
    let start = Barrier::new(9);
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                start.wait();
                for _ in 0..20 {
                    assert_eq!(ledger.page(&EventFilter::default()).unwrap().events.len(), 100);
                }
            });
        }
        start.wait();
        append(&ledger, 501, 700);
    });
    assert_eq!(ledger.head().id, 700);
}
