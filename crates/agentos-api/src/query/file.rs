//! The content of a file, or a part of it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Query;
use super::path::AbsolutePath;
use crate::Bounded;

/// The content of a file.
pub struct File;

/// Which file, and which part of it.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Args {
    /// The file: an absolute path.
    pub path: AbsolutePath,
    /// Where to begin, in bytes from the start of the file.
    #[serde(default)]
    pub offset: Bounded<0, 9_223_372_036_854_775_807, 0>,
    /// Bytes at most.
    #[serde(default)]
    pub length: Bounded<1, 1_048_576, 65_536>,
    /// Only the first lines: this many, within `length`. Not together with `tail_lines`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub head_lines: Option<Bounded<1, 10_000, 1>>,
    /// Only the last lines: this many, within `length`. Not together with `head_lines` or `offset`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tail_lines: Option<Bounded<1, 10_000, 1>>,
    /// How to write the content.
    #[serde(default)]
    pub encoding: Encoding,
}

/// How to write the content of a file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Encoding {
    /// As text where it is UTF-8 without NUL, else in base64.
    #[default]
    Auto,
    /// As text; what is not UTF-8 is replaced by U+FFFD, and `lossy` says so.
    Text,
    /// In base64 (RFC 4648, with padding).
    Base64,
}

/// A part of a file.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Output {
    /// The file, with symbolic links followed.
    pub path: String,
    /// Its size when it was opened. Files of the kernel's say 0 and have content all the same.
    pub size_bytes: u64,
    /// Where the content begins, in bytes.
    pub offset: u64,
    /// Bytes of the file that the content stands for.
    pub length: u64,
    /// The file ended there.
    pub end_of_file: bool,
    /// The `offset` at which to go on; missing at the end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_offset: Option<u64>,
    /// `text` or `base64`.
    pub encoding: ContentEncoding,
    /// Bytes that are not UTF-8 were replaced.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub lossy: bool,
    /// The content.
    pub content: String,
    /// When it last changed: UTC, RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub modified: Option<String>,
    /// Its permissions, in octal: `0644`.
    pub mode: String,
    /// The user that owns it: a name, or the number where there is no name.
    pub owner: String,
    /// The group that owns it.
    pub group: String,
}

/// How the content is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ContentEncoding {
    /// As it is.
    Text,
    /// In base64 (RFC 4648, with padding).
    Base64,
}

impl Query for File {
    const NAME: &'static str = "file";
    const SUMMARY: &'static str = "The content of a file, or a range or the first or last lines of it, as text or base64";
    type Args = Args;
    type Output = Output;
}
