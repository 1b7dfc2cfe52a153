//! When the machine was started, as far back as its journal reaches.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Query;
use crate::Bounded;

/// The boots of this machine.
pub struct Boots;

/// How many.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Args {
    /// The latest boots at most.
    pub limit: Bounded<1, 500, 20>,
}

/// The latest boots, the present one first.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Output {
    /// The boots.
    pub boots: Vec<Boot>,
    /// Boots known, shown or not.
    pub total: u64,
    /// Why earlier boots are not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub history_unavailable: Option<String>,
}

/// One boot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Boot {
    /// 0 for the present boot, -1 for the one before, and so on: what `journal` takes as `boot`.
    pub index: i64,
    /// The boot's id.
    pub boot_id: String,
    /// This is the boot that is running.
    pub current: bool,
    /// Its first entry in the journal, or the kernel's start where there is none: UTC, RFC 3339.
    pub started: String,
    /// Its last entry in the journal; missing for a boot without one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_entry: Option<String>,
}

impl Query for Boots {
    const NAME: &'static str = "boots";
    const SUMMARY: &'static str = "When the machine was started, now and before";
    type Args = Args;
    type Output = Output;
}
