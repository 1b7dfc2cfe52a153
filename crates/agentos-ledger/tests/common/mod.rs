//! What the tests share: ledgers of a given length, and the hands of somebody who rewrites one.
#![allow(dead_code, reason = "each test file uses its part")]

use std::path::{Path, PathBuf};
use std::sync::mpsc::channel;

use agentos_api::event::{Actor, EventType};
use agentos_ledger::{
    Digest, Fields, GENESIS, Ledger, LedgerOptions, NewEvent, event_hash, leaf_hash, to_hex,
};
use ring::digest::{SHA256, digest};
use rusqlite::Connection;
use tempfile::TempDir;

pub(crate) const ORIGIN: &str = "ledger.test/host";

pub(crate) fn event(number: u64) -> NewEvent {
    NewEvent::new(
        EventType::new(if number.is_multiple_of(3) { "memory.store" } else { "system.query" }).unwrap(),
        Actor::new(if number.is_multiple_of(2) { "agent/main" } else { "operator:1000" }).unwrap(),
        &serde_json::json!({ "n": number, "text": "what is eating the memory?" }),
    )
    .unwrap()
}

pub(crate) fn options(directory: &Path) -> LedgerOptions {
    LedgerOptions::new(directory, ORIGIN)
}

pub(crate) fn open(directory: &Path) -> Ledger {
    Ledger::open(&options(directory)).unwrap()
}

/// Appends events `from..=to` and waits until all are durable.
pub(crate) fn append(ledger: &Ledger, from: u64, to: u64) {
    let (sender, receiver) = channel();
    for number in from..=to {
        let sender = sender.clone();
        ledger.append(event(number), move |result| sender.send(result.map(|appended| appended.id)).unwrap());
        // Never more waiting than the queue takes.
        if number % 1000 == 0 || number == to {
            let group =
                if number % 1000 == 0 { 1000.min(number - from + 1) } else { (to % 1000).min(to - from + 1) };
            for _ in 0..group {
                receiver.recv().unwrap().unwrap();
            }
        }
    }
}

/// A closed ledger of `size` events.
pub(crate) fn ledger_of(size: u64) -> TempDir {
    let directory = TempDir::new().unwrap();
    let ledger = open(directory.path());
    append(&ledger, 1, size);
    ledger.close();
    directory
}

pub(crate) fn database(directory: &Path) -> PathBuf {
    directory.join(agentos_ledger::DATABASE_FILE)
}

/// The database as somebody with every right on it opens it.
pub(crate) fn tamper(directory: &Path) -> Connection {
    Connection::open(database(directory)).unwrap()
}

/// Recomputes `prev_hash` and `hash` of every event from `from` on, as somebody who knows the format would.
pub(crate) fn recompute_hashes(connection: &Connection, from: u64) {
    let mut previous: String = connection
        .query_row("SELECT hash FROM events WHERE id = ?1", [from.cast_signed() - 1], |row| row.get(0))
        .unwrap_or_else(|_| GENESIS.to_owned());
    let ids: Vec<i64> = connection
        .prepare("SELECT id FROM events WHERE id >= ?1 ORDER BY id")
        .unwrap()
        .query_map([from.cast_signed()], |row| row.get(0))
        .unwrap()
        .map(Result::unwrap)
        .collect();
    connection.execute_batch("BEGIN").unwrap();
    for id in ids {
        let (ts, kind, actor, payload): (String, String, String, String) = connection
            .query_row("SELECT ts, type, actor, payload FROM events WHERE id = ?1", [id], |row| {
                Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?))
            })
            .unwrap();
        let hash = to_hex(&event_hash(&Fields {
            id: id.cast_unsigned(),
            ts: ts.as_bytes(),
            kind: kind.as_bytes(),
            actor: actor.as_bytes(),
            payload: payload.as_bytes(),
            prev_hash: previous.as_bytes(),
        }));
        connection
            .execute("UPDATE events SET prev_hash = ?2, hash = ?3 WHERE id = ?1", (id, &previous, &hash))
            .unwrap();
        previous = hash;
    }
    connection.execute_batch("COMMIT").unwrap();
}

fn sha256(parts: &[&[u8]]) -> Digest {
    digest(&SHA256, &parts.concat()).as_ref().try_into().unwrap()
}

/// The tree's root, RFC 6962, section 2.1, word for word.
pub(crate) fn naive_root(leaves: &[Digest]) -> Digest {
    match leaves.len() {
        0 => sha256(&[]),
        1 => leaves[0],
        n => {
            let k = n.next_power_of_two() / 2;
            sha256(&[&[1], &naive_root(&leaves[..k]), &naive_root(&leaves[k..])])
        }
    }
}

/// The leaves as the rows have them.
pub(crate) fn leaves(connection: &Connection) -> Vec<Digest> {
    connection
        .prepare("SELECT id, hash FROM events ORDER BY id")
        .unwrap()
        .query_map([], |row| {
            let hash: String = row.get(1)?;
            Ok(leaf_hash(
                row.get::<_, i64>(0)?.cast_unsigned(),
                &agentos_ledger::from_hex(hash.as_bytes()).unwrap(),
            ))
        })
        .unwrap()
        .map(Result::unwrap)
        .collect()
}

/// Makes the stored tiles of the lowest level agree with the rows.
pub(crate) fn recompute_tiles(connection: &Connection) {
    let leaves = leaves(connection);
    for (index, tile) in leaves.chunks_exact(256).enumerate() {
        connection
            .execute(
                "UPDATE tiles SET root = ?2, hashes = ?3 WHERE level = 0 AND tile_index = ?1",
                (i64::try_from(index).unwrap(), &naive_root(tile)[..], tile.concat()),
            )
            .unwrap();
    }
}
