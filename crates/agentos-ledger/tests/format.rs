//! The format is what its description says: published vectors from another implementation, and no two events with one text.

use agentos_ledger::{CanonicalJson, Fields, GENESIS, check, event_hash, leaf_hash, to_hex};
use proptest::prelude::*;
use serde_json::Value;

fn vectors() -> Value {
    serde_json::from_str(include_str!("../testdata/vectors.json")).unwrap()
}

fn payload(id: u64, ts: &str, kind: &str, actor: &str, data: &CanonicalJson) -> String {
    format!(r#"{{"actor":"{actor}","data":{},"id":{id},"ts":"{ts}","type":"{kind}"}}"#, data.as_str())
}

#[test]
fn the_published_events_have_their_published_hashes_and_leaves() {
    let vectors = vectors();
    let events = vectors["events"].as_array().unwrap();
    assert_eq!(events.len(), 5);
    for event in events {
        let text = |name: &str| event[name].as_str().unwrap();
        let id = event["id"].as_u64().unwrap();
        let data = CanonicalJson::parse(text("data_given")).unwrap();
        assert_eq!(payload(id, text("ts"), text("type"), text("actor"), &data), text("payload"));
        let fields = Fields {
            id,
            ts: text("ts").as_bytes(),
            kind: text("type").as_bytes(),
            actor: text("actor").as_bytes(),
            payload: text("payload").as_bytes(),
            prev_hash: text("prev_hash").as_bytes(),
        };
        check(&fields).unwrap();
        let hash = event_hash(&fields);
        assert_eq!(to_hex(&hash), text("hash"));
        assert_eq!(to_hex(&leaf_hash(id, &hash)), text("leaf"));
    }
}

/// An event as anybody could write it into the table, well formed or not.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Row {
    id: u64,
    ts: String,
    kind: String,
    actor: String,
    payload: String,
    prev_hash: String,
}

impl Row {
    fn fields(&self) -> Fields<'_> {
        Fields {
            id: self.id,
            ts: self.ts.as_bytes(),
            kind: self.kind.as_bytes(),
            actor: self.actor.as_bytes(),
            payload: self.payload.as_bytes(),
            prev_hash: self.prev_hash.as_bytes(),
        }
    }

    fn hashed_text(&self) -> String {
        format!("{}{}{}{}{}{}", self.id, self.ts, self.kind, self.actor, self.payload, self.prev_hash)
    }
}

fn any_row() -> impl Strategy<Value = Row> {
    let ts = (0..10_000_u32, 1..13_u32, 1..29_u32, 0..24_u32, 0..1000_u32).prop_map(
        |(year, month, day, hour, ms)| format!("{year:04}-{month:02}-{day:02}T{hour:02}:00:00.{ms:03}Z"),
    );
    let data = prop_oneof![
        Just("{}".to_owned()),
        "[ -~]{0,20}".prop_map(|text| {
            CanonicalJson::new(&serde_json::json!({ "t": text })).unwrap().as_str().to_owned()
        })
    ];
    (1..200_u64, ts, "[a-z][a-z0-9._-]{0,8}", "[A-Za-z][A-Za-z0-9:._@/+-]{0,8}", data, "[0-9a-f]{64}")
        .prop_map(|(id, ts, kind, actor, data, prev_hash)| Row {
            payload: payload(id, &ts, &kind, &actor, &CanonicalJson::parse(&data).unwrap()),
            id,
            ts,
            kind,
            actor,
            prev_hash,
        })
}

proptest! {
    /// Every way of cutting the hashed text into fields again, at any places, gives the event that it came from or one
    /// that `check` refuses. So no two events that `check` accepts have the same text, and the hash is injective up to
    /// collisions of SHA-256.
    #[test]
    fn a_hashed_text_can_be_read_as_one_event_only(row in any_row()) {
        prop_assert_eq!(check(&row.fields()), Ok(()));
        let text = row.hashed_text();
        let prev_at = text.len() - 64;
        let mut accepted = 0;
        // prev_hash and ts have fixed lengths, so that three cuts remain: after id, after type, after actor.
        for id_end in 1..=20.min(prev_at) {
            let Ok(id) = text[..id_end].parse::<u64>() else { break };
            if id.to_string() != text[..id_end] { continue }
            let ts_end = id_end + 24;
            if ts_end > prev_at { break }
            for kind_end in ts_end..=(ts_end + 64).min(prev_at) {
                for actor_end in kind_end..=(kind_end + 128).min(prev_at) {
                    let other = Row {
                        id,
                        ts: text[id_end..ts_end].to_owned(),
                        kind: text[ts_end..kind_end].to_owned(),
                        actor: text[kind_end..actor_end].to_owned(),
                        payload: text[actor_end..prev_at].to_owned(),
                        prev_hash: text[prev_at..].to_owned(),
                    };
                    if check(&other.fields()).is_ok() {
                        accepted += 1;
                        prop_assert_eq!(&other, &row);
                    }
                }
            }
        }
        prop_assert_eq!(accepted, 1);
    }

    /// A byte moved over a boundary, as separators would allow it, is noticed.
    #[test]
    fn bytes_moved_between_two_fields_are_noticed(row in any_row(), to_actor in any::<bool>()) {
        let mut moved = row.clone();
        if to_actor {
            moved.actor = format!("{}{}", &row.kind[row.kind.len() - 1..], row.actor);
            moved.kind.pop();
        } else {
            moved.kind.push_str(&row.actor[..1]);
            moved.actor.remove(0);
        }
        prop_assert_eq!(moved.hashed_text(), row.hashed_text());
        prop_assert!(check(&moved.fields()).is_err());
    }

    #[test]
    fn any_bytes_in_a_row_are_refused_without_a_panic(
        id: u64, ts: Vec<u8>, kind: Vec<u8>, actor: Vec<u8>, payload: Vec<u8>, prev_hash: Vec<u8>,
    ) {
        let fields = Fields { id, ts: &ts, kind: &kind, actor: &actor, payload: &payload, prev_hash: &prev_hash };
        prop_assert!(check(&fields).is_err());
    }
}

#[test]
fn fields_out_of_their_form_are_refused_one_by_one() {
    let row = Row {
        id: 7,
        ts: "2026-01-02T03:04:05.678Z".to_owned(),
        kind: "system.query".to_owned(),
        actor: "agent/main".to_owned(),
        payload: payload(
            7,
            "2026-01-02T03:04:05.678Z",
            "system.query",
            "agent/main",
            &CanonicalJson::parse("{}").unwrap(),
        ),
        prev_hash: GENESIS.to_owned(),
    };
    check(&row.fields()).unwrap();
    let refused = |change: &dyn Fn(&mut Row)| {
        let mut changed = row.clone();
        change(&mut changed);
        assert!(check(&changed.fields()).is_err(), "{changed:?}");
    };
    refused(&|row| row.id = 0);
    refused(&|row| row.id = 8);
    refused(&|row| row.ts = "2026-13-02T03:04:05.678Z".to_owned());
    refused(&|row| row.ts = "2026-01-02T03:04:05.679Z".to_owned());
    refused(&|row| row.kind = "System.query".to_owned());
    refused(&|row| row.kind = "system.quer".to_owned());
    refused(&|row| row.actor = "agent{main".to_owned());
    refused(&|row| row.actor = "agent/mai".to_owned());
    refused(&|row| row.prev_hash = "A".repeat(64));
    refused(&|row| row.payload = row.payload.replace("{}", "1"));
    refused(&|row| row.payload.push(' '));
}
