//! An event of the ledger as it is answered, asked for and named. What these types admit is what keeps the ledger's
//! hash unambiguous: `docs/LEDGER.md` says why each charset is as it is.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::value::RawValue;

use crate::Bounded;

/// Longest event type, in bytes.
pub const MAX_EVENT_TYPE_BYTES: usize = 64;
/// Longest actor, in bytes.
pub const MAX_ACTOR_BYTES: usize = 128;

/// Why a name was refused as an event type, a type filter or an actor.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what} must be 1 to {max} bytes of {charset}, and start with a letter; got {got:?}")]
pub struct InvalidName {
    what: &'static str,
    max: usize,
    charset: &'static str,
    got: String,
}

impl InvalidName {
    fn new(what: &'static str, max: usize, charset: &'static str, got: &str) -> Self {
        // The refused text goes into logs and answers: enough to recognise it, not all of it.
        Self { what, max, charset, got: got.chars().take(max + 1).collect() }
    }
}

const TYPE_CHARSET: &str = "[a-z0-9._-]";
const ACTOR_CHARSET: &str = "[A-Za-z0-9:._@/+-]";

fn type_byte(byte: u8) -> bool {
    matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'.' | b'_' | b'-')
}

fn actor_byte(byte: u8) -> bool {
    matches!(byte, b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b':' | b'.' | b'_' | b'@' | b'/' | b'+' | b'-')
}

fn well_formed(text: &str, max: usize, admitted: fn(u8) -> bool) -> bool {
    let bytes = text.as_bytes();
    bytes.len() <= max
        && bytes.first().is_some_and(u8::is_ascii_alphabetic)
        && bytes.iter().all(|&byte| admitted(byte))
}

/// A validated text newtype: parsing, printing, serde and JSON Schema in one place, so that no way around the check exists.
macro_rules! name {
    ($(#[$doc:meta])* $name:ident, $what:literal, $max:expr, $charset:expr, $admitted:expr, $pattern:expr) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
        #[serde(transparent)]
        pub struct $name(String);

        impl $name {
            /// Takes `text` if it is well formed.
            ///
            /// # Errors
            /// [`InvalidName`] says what is admitted.
            pub fn new(text: impl Into<String>) -> Result<Self, InvalidName> {
                let text = text.into();
                if well_formed(&text, $max, $admitted) {
                    Ok(Self(text))
                } else {
                    Err(InvalidName::new($what, $max, $charset, &text))
                }
            }

            /// The text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl TryFrom<String> for $name {
            type Error = InvalidName;
            fn try_from(text: String) -> Result<Self, InvalidName> {
                Self::new(text)
            }
        }

        impl FromStr for $name {
            type Err = InvalidName;
            fn from_str(text: &str) -> Result<Self, InvalidName> {
                Self::new(text)
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> String {
                name.0
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&self.0, formatter)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                Self::new(String::deserialize(deserializer)?).map_err(D::Error::custom)
            }
        }

        impl JsonSchema for $name {
            fn inline_schema() -> bool {
                true
            }
            fn schema_name() -> Cow<'static, str> {
                stringify!($name).into()
            }
            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!({ "type": "string", "minLength": 1, "maxLength": $max, "pattern": $pattern })
            }
        }
    };
}

name!(
    /// What happened, as a dotted name such as `system.query`: 1 to 64 bytes of `[a-z0-9._-]`, a letter first.
    ///
    /// ```
    /// use agentos_api::event::EventType;
    /// assert!(EventType::new("system.query").is_ok());
    /// assert!(EventType::new("system{query").is_err());
    /// ```
    EventType, "an event type", MAX_EVENT_TYPE_BYTES, TYPE_CHARSET, type_byte, "^[a-z][a-z0-9._-]*$"
);

name!(
    /// Who did it, such as `agent/main` or `operator:1000`: 1 to 128 bytes of `[A-Za-z0-9:._@/+-]`, a letter first.
    Actor, "an actor", MAX_ACTOR_BYTES, ACTOR_CHARSET, actor_byte, "^[A-Za-z][A-Za-z0-9:._@/+-]*$"
);

/// The event's canonical JSON (RFC 8785), kept byte for byte: the hash covers exactly these bytes.
///
/// On the wire it is the JSON object itself, not a string holding it.
#[derive(Clone, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Payload(Box<RawValue>);

impl Payload {
    /// Takes JSON text as it is.
    ///
    /// # Errors
    /// When `text` is not one JSON value.
    pub fn from_json(text: String) -> Result<Self, serde_json::Error> {
        RawValue::from_string(text).map(Self)
    }

    /// The bytes that the hash covers.
    pub fn get(&self) -> &str {
        self.0.get()
    }

    /// The payload as a JSON value: `actor`, `data`, `id`, `ts`, `type`.
    ///
    /// # Errors
    /// When a number in it does not fit the machine's types.
    pub fn to_value(&self) -> Result<serde_json::Value, serde_json::Error> {
        serde_json::from_str(self.get())
    }
}

impl PartialEq for Payload {
    fn eq(&self, other: &Self) -> bool {
        self.get() == other.get()
    }
}

impl Eq for Payload {}

impl fmt::Debug for Payload {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.get())
    }
}

impl JsonSchema for Payload {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> Cow<'static, str> {
        "Payload".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "object",
            "description": "Canonical JSON (RFC 8785); repeats the event's own fields beside what happened.",
            "properties": {
                "actor": { "type": "string" },
                "data": { "type": "object", "description": "What happened." },
                "id": { "type": "integer" },
                "ts": { "type": "string" },
                "type": { "type": "string" }
            },
            "required": ["actor", "data", "id", "ts", "type"]
        })
    }
}

/// One event of the ledger.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Event {
    /// Position in the ledger, from 1, without gaps.
    pub id: u64,
    /// When it was recorded, by this machine's clock: `YYYY-MM-DDTHH:MM:SS.mmmZ` (UTC). The order is the id's, also
    /// where the clock was set back.
    pub ts: String,
    /// What happened.
    #[serde(rename = "type")]
    pub kind: EventType,
    /// Who did it.
    pub actor: Actor,
    /// What happened in detail, with the fields above repeated inside.
    pub payload: Payload,
    /// The hash of the event before, 64 lower-case hexadecimal digits; 64 zeros for the first.
    pub prev_hash: String,
    /// SHA-256 over id, ts, type, actor, payload and `prev_hash`, 64 lower-case hexadecimal digits.
    pub hash: String,
}

/// Which event types are meant: one (`system.query`), or all that begin so (`system.` or `system.*`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TypeFilter {
    /// Exactly this type.
    Exact(EventType),
    /// Every type that begins with this text.
    Prefix(String),
}

impl TypeFilter {
    /// Whether an event of type `kind` is meant.
    pub fn matches(&self, kind: &str) -> bool {
        match self {
            Self::Exact(exact) => exact.as_str() == kind,
            Self::Prefix(prefix) => kind.starts_with(prefix.as_str()),
        }
    }
}

impl FromStr for TypeFilter {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, InvalidName> {
        let prefix = text.strip_suffix('*').or_else(|| text.ends_with('.').then_some(text));
        match prefix {
            Some(prefix) if prefix.is_empty() || well_formed(prefix, MAX_EVENT_TYPE_BYTES, type_byte) => {
                Ok(Self::Prefix(prefix.to_owned()))
            }
            Some(_) => {
                Err(InvalidName::new("an event type filter", MAX_EVENT_TYPE_BYTES, TYPE_CHARSET, text))
            }
            None => EventType::new(text).map(Self::Exact),
        }
    }
}

impl fmt::Display for TypeFilter {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exact(exact) => exact.fmt(formatter),
            Self::Prefix(prefix) => write!(formatter, "{prefix}*"),
        }
    }
}

impl Serialize for TypeFilter {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for TypeFilter {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

impl JsonSchema for TypeFilter {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> Cow<'static, str> {
        "TypeFilter".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "description": "An event type (`system.query`), or a prefix that ends in `.` or `*` (`system.*`).",
            "maxLength": MAX_EVENT_TYPE_BYTES + 1,
            "pattern": r"^([a-z][a-z0-9._-]*)?\*?$"
        })
    }
}

/// From which end of the ledger a page is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Order {
    /// Highest id first.
    Newest,
    /// Lowest id first.
    Oldest,
}

/// How many events one page may hold: 1 to 1000, 100 where it is left out.
pub type PageLimit = Bounded<1, 1000, 100>;

/// Which events to answer. Every condition that is given must hold.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EventFilter {
    /// An event type (`system.query`), or a prefix ending in `.` or `*` (`system.*`).
    #[serde(rename = "type", default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<TypeFilter>,
    /// Exactly this actor.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub actor: Option<Actor>,
    /// Recorded at this time or later (RFC 3339, e.g. `2026-01-02T03:04:05Z`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub since: Option<jiff::Timestamp>,
    /// Recorded before this time (RFC 3339).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub until: Option<jiff::Timestamp>,
    /// Only events with a higher id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<u64>,
    /// Only events with a lower id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<u64>,
    /// `newest` or `oldest` first. Left out: oldest first where `after` is given, newest first otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub order: Option<Order>,
    /// How many events at most.
    #[serde(default)]
    pub limit: PageLimit,
}

impl EventFilter {
    /// The order that holds for this filter.
    pub fn effective_order(&self) -> Order {
        self.order.unwrap_or(if self.after.is_some() { Order::Oldest } else { Order::Newest })
    }
}

/// One page of events.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct EventPage {
    /// The events, in the order asked for.
    pub events: Vec<Event>,
    /// Where to read on: the next page's `after` (oldest first) or `before` (newest first); nothing at the end.
    ///
    /// A page is also ended by its size in bytes and by how many events were looked at, so a page may be short, or
    /// empty, and still have a next one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<u64>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn names_that_would_make_the_hash_ambiguous_are_refused() {
        for bad in ["", "1st", "{", "a{", "a\"b", "a b", "a\0", "a\n", "ä", ".a", "a\u{7f}"] {
            assert!(EventType::new(bad).is_err(), "{bad:?}");
            assert!(Actor::new(bad).is_err(), "{bad:?}");
        }
        assert!(EventType::new("Upper").is_err());
        assert!(EventType::new("a".repeat(65)).is_err());
        assert!(Actor::new("a".repeat(129)).is_err());
        assert!(EventType::new("a".repeat(64)).is_ok());
        assert!(Actor::new("operator:1000/ssh+agent@host_a.b-c").is_ok());
    }

    #[test]
    fn deserialization_is_no_way_around_the_check() {
        assert!(serde_json::from_str::<Actor>("\"root\\u0000\"").is_err());
        assert!(serde_json::from_str::<EventType>("\"a{\"").is_err());
    }

    #[test]
    fn a_type_filter_is_a_name_or_a_prefix() {
        let filter = |text: &str| text.parse::<TypeFilter>().unwrap();
        assert!(filter("system.query").matches("system.query"));
        assert!(!filter("system.query").matches("system.query2"));
        assert!(filter("system.").matches("system.query"));
        assert!(filter("sys*").matches("system.query"));
        assert!(filter("*").matches("anything"));
        assert!("%*".parse::<TypeFilter>().is_err());
        assert!("a*b".parse::<TypeFilter>().is_err());
    }

    #[test]
    fn a_filter_refuses_unknown_fields_and_limits_out_of_range() {
        for bad in [r#"{"limit":0}"#, r#"{"limit":-1}"#, r#"{"limit":1000000000}"#, r#"{"typ":"a"}"#] {
            assert!(serde_json::from_str::<EventFilter>(bad).is_err(), "{bad}");
        }
        assert_eq!(serde_json::from_str::<EventFilter>("{}").unwrap().limit.get(), 100);
    }

    #[test]
    fn reading_on_from_an_id_is_oldest_first() {
        let filter: EventFilter = serde_json::from_str(r#"{"after":7}"#).unwrap();
        assert_eq!(filter.effective_order(), Order::Oldest);
        assert_eq!(EventFilter::default().effective_order(), Order::Newest);
    }

    #[test]
    fn a_payload_keeps_its_bytes_on_the_wire() {
        let text = r#"{"actor":"a","data":{"n":1e3},"id":1,"ts":"","type":"t"}"#;
        let payload = Payload::from_json(text.to_owned()).unwrap();
        assert_eq!(serde_json::to_string(&payload).unwrap(), text);
        assert_eq!(serde_json::from_str::<Payload>(text).unwrap().get(), text);
    }

    proptest! {
        #[test]
        fn any_text_is_taken_as_it_is_or_refused(text in ".{0,140}") {
            if let Ok(kind) = EventType::new(text.clone()) {
                prop_assert_eq!(kind.as_str(), text.as_str());
                prop_assert!(!text.contains(['{', '"', '\\', '\0']), "{text}");
            }
            if let Ok(actor) = Actor::new(text.clone()) {
                prop_assert!(!actor.as_str().contains(['{', '"', '\\', '\0']), "{actor}");
            }
            if let Ok(filter) = text.parse::<TypeFilter>() {
                prop_assert_eq!(filter.to_string().parse::<TypeFilter>().unwrap(), filter);
            }
        }
    }
}
