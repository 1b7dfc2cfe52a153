//! What the `/memory/*` routes take and answer.
//!
//! Lengths that JSON Schema can express are in the schema; the memory library checks them and everything else, and its
//! error names the field. Dates are `YYYY-MM-DD`, moments are RFC 3339.

use std::borrow::Cow;
use std::fmt;

use jiff::Timestamp;
use jiff::civil::Date;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserializer, Error, MapAccess, Visitor};
use serde::{Deserialize, Serialize};

use crate::Bounded;

/// Longest `summary`, in characters.
pub const MAX_SUMMARY_CHARS: usize = 200;
/// Longest `detail` and longest `event`, in bytes of UTF-8.
pub const MAX_DETAIL_BYTES: usize = 32 << 10;
/// Most tags of one entry.
pub const MAX_TAGS: usize = 16;
/// Longest tag and longest category, in characters.
pub const MAX_TAG_CHARS: usize = 48;
/// Longest `query`, in characters.
pub const MAX_QUERY_CHARS: usize = 1000;
/// The category of an entry that names none.
pub const DEFAULT_CATEGORY: &str = "note";

/// `POST /memory/store`: something worth remembering, written by whoever remembers it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct StoreRequest {
    /// One line that says it: what a person scanning the file should read.
    #[schemars(length(min = 1, max = MAX_SUMMARY_CHARS))]
    pub summary: String,
    /// The rest, in markdown: why, how, exact names and values. May be empty.
    #[serde(default)]
    #[schemars(length(max = MAX_DETAIL_BYTES))]
    pub detail: String,
    /// What kind of memory it is, such as `note`, `preference`, `decision` or `fact`: lower-case letters, digits, `-` and `_`.
    #[serde(default = "default_category")]
    #[schemars(length(min = 1, max = MAX_TAG_CHARS))]
    pub category: String,
    /// Words to find it by: letters, digits, and `-`, `_`, `.`, `/`, `:`, `@` or `+` in between.
    #[serde(default)]
    #[schemars(length(max = MAX_TAGS))]
    pub tags: Vec<String>,
}

fn default_category() -> String {
    DEFAULT_CATEGORY.to_owned()
}

/// `POST /memory/ingest`: something that happened, kept as it is told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct IngestRequest {
    /// What happened, as text; its first line becomes the entry's heading.
    #[schemars(length(min = 1, max = MAX_DETAIL_BYTES))]
    pub event: String,
}

/// The answer to `store` and `ingest`: the entry is in its file and on the disk.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct StoreResponse {
    /// The entry's id, as it stands in the file.
    pub id: String,
    /// The file it was written to, relative to the memory directory.
    pub file: String,
}

/// How many chunks a recall may answer with.
pub type MaxResults = Bounded<1, 50, 8>;

/// `POST /memory/recall`: find what was remembered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RecallRequest {
    /// What to look for, in plain words; operators have no meaning.
    #[schemars(length(min = 1, max = MAX_QUERY_CHARS))]
    pub query: String,
    /// Most chunks to answer with.
    #[serde(default)]
    pub max_results: MaxResults,
    /// Only what was remembered in this time. Text without a date (`MEMORY.md`) is then left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeframe: Option<Timeframe>,
}

impl RecallRequest {
    /// A recall of `query` over all time, with the default number of results.
    pub fn new(query: impl Into<String>) -> Self {
        Self { query: query.into(), max_results: MaxResults::default(), timeframe: None }
    }
}

/// A span of time: how far back from now, or from when to when.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum Timeframe {
    /// The last `30m`, `24h`, `7d` or `2w`; or a day: `today`, `yesterday`, `2026-11-22`.
    Text(String),
    /// From when to when.
    Range(TimeRange),
}

/// From when to when; each side is open when it is left out.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TimeRange {
    /// Not before: a moment (RFC 3339), a day (`2026-11-22`, `today`, `yesterday`), or how long ago (`7d`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<String>,
    /// Not after: the same forms; a day counts to its end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<String>,
}

/// Written out because a derived untagged enum answers every mistake with "did not match any variant".
impl<'de> Deserialize<'de> for Timeframe {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct TimeframeVisitor;

        impl<'de> Visitor<'de> for TimeframeVisitor {
            type Value = Timeframe;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a time such as \"7d\", or an object with since and until")
            }

            fn visit_str<E: Error>(self, value: &str) -> Result<Timeframe, E> {
                Ok(Timeframe::Text(value.to_owned()))
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Timeframe, A::Error> {
                TimeRange::deserialize(MapAccessDeserializer::new(map)).map(Timeframe::Range)
            }
        }

        deserializer.deserialize_any(TimeframeVisitor)
    }
}

impl JsonSchema for Timeframe {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Timeframe".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "A time back from now (30m, 24h, 7d, 2w), a day (today, yesterday, 2026-11-22), or an object with since and until.",
            "anyOf": [{ "type": "string" }, generator.subschema_for::<TimeRange>()]
        })
    }
}

/// The answer to `recall`: the best chunks, best first.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct RecallResponse {
    /// The chunks found, best first; empty when nothing matches.
    pub chunks: Vec<MemoryChunk>,
    /// Files that could not be searched; `/memory/health` says which and why.
    pub skipped_files: u64,
}

/// A passage of a memory file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct MemoryChunk {
    /// Names this passage of this file while its text is unchanged.
    pub id: String,
    /// The file, relative to the memory directory.
    pub file: String,
    /// First line of the passage in the file, from 1.
    pub line_start: u64,
    /// Last line of the passage, inclusive.
    pub line_end: u64,
    /// The headings it stands under, outermost first, joined by ` › `.
    pub heading: String,
    /// The day its file is about; absent for `MEMORY.md` and other undated files.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub date: Option<Date>,
    /// When its entry was stored; absent for text written by hand.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub stored_at: Option<Timestamp>,
    /// The id of the stored entry it belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub entry_id: Option<String>,
    /// The entry's category.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub category: Option<String>,
    /// The entry's tags.
    #[serde(default)]
    pub tags: Vec<String>,
    /// The passage as it stands in the file; bytes that are not UTF-8 are shown as U+FFFD.
    pub text: String,
    /// Place in the merged ranking, above 0 up to 1: 1 is first in every list that was merged. It orders this answer; it
    /// is not a measure of relevance and two answers' scores do not compare.
    pub score: f64,
    /// BM25 of the passage for the query, higher is better.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bm25: Option<f64>,
}

/// The answer to `GET /memory/health`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct MemoryHealth {
    /// Which model makes the vectors; `none: keyword recall only` without one.
    pub model_status: String,
    /// Passages that can be recalled.
    pub collection_size: u64,
    /// Files that are indexed.
    pub files: u64,
    /// Size of the index on disk, in bytes.
    pub index_bytes: u64,
    /// When the index last took something in; absent when it never did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub last_indexed: Option<Timestamp>,
    /// The memory directory.
    pub directory: String,
    /// How many files of the directory are not indexed.
    pub skipped_files: u64,
    /// The first of them, each with the reason.
    pub skipped: Vec<SkippedFile>,
    /// Indexed files holding bytes that are not UTF-8.
    pub invalid_utf8_files: u64,
    /// Why the memory cannot be used at all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
}

/// A file of the memory directory that is not indexed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SkippedFile {
    /// The file, relative to the memory directory.
    pub file: String,
    /// Why.
    pub reason: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_with_only_what_is_needed_is_enough() {
        let request: RecallRequest = serde_json::from_str(r#"{"query":"nginx"}"#).unwrap();
        assert_eq!(request, RecallRequest::new("nginx"));
        let request: StoreRequest = serde_json::from_str(r#"{"summary":"x"}"#).unwrap();
        assert_eq!(request.category, "note");
    }

    #[test]
    fn a_timeframe_is_a_text_or_a_range() {
        let parse = |json: &str| serde_json::from_str::<Timeframe>(json);
        assert_eq!(parse("\"7d\"").unwrap(), Timeframe::Text("7d".into()));
        let range = TimeRange { since: Some("7d".into()), until: None };
        assert_eq!(parse(r#"{"since":"7d"}"#).unwrap(), Timeframe::Range(range));
        assert!(parse(r#"{"from":"7d"}"#).unwrap_err().to_string().contains("unknown field `from`"));
        assert!(parse("7").unwrap_err().to_string().contains("since and until"));
    }

    #[test]
    fn unknown_fields_and_counts_out_of_range_are_refused() {
        assert!(serde_json::from_str::<RecallRequest>(r#"{"query":"x","limit":3}"#).is_err());
        assert!(serde_json::from_str::<RecallRequest>(r#"{"query":"x","max_results":51}"#).is_err());
        assert!(serde_json::from_str::<IngestRequest>(r#"{"event":"x","actor":"root"}"#).is_err());
    }

    #[test]
    fn the_schema_shows_the_limits() {
        let schema = crate::schema::inline::<StoreRequest>();
        assert_eq!(schema["properties"]["summary"]["maxLength"], 200);
        assert_eq!(schema["required"], serde_json::json!(["summary"]));
    }
}
