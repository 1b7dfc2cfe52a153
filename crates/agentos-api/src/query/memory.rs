//! Main memory and swap in detail.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Query;

/// Main memory and swap.
pub struct Memory;

/// No arguments.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Args {}

/// Main memory and swap (`proc_meminfo(5)`).
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Output {
    /// Memory the kernel manages.
    pub total_bytes: u64,
    /// What can be given to programs without swapping.
    pub available_bytes: u64,
    /// Total less available.
    pub used_bytes: u64,
    /// Used as a percentage of total.
    pub used_percent: f64,
    /// Not used for anything.
    pub free_bytes: u64,
    /// Page cache and block buffers; mostly given back when programs need it.
    pub cached_bytes: u64,
    /// Memory of processes that is not of a file.
    pub anonymous_bytes: u64,
    /// Shared memory and tmpfs, part of `cached_bytes` that cannot be given back without swap.
    pub shared_bytes: u64,
    /// The kernel's own structures that can be given back.
    pub slab_reclaimable_bytes: u64,
    /// The kernel's own structures that cannot.
    pub slab_unreclaimable_bytes: u64,
    /// Page tables.
    pub page_tables_bytes: u64,
    /// Written, and not yet on disk.
    pub dirty_bytes: u64,
    /// Promised to programs.
    pub committed_bytes: u64,
    /// What may be promised, where overcommitting is off.
    pub commit_limit_bytes: u64,
    /// `heuristic`, `always` or `never` (`vm.overcommit_memory`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub overcommit: Option<String>,
    /// Huge pages set aside.
    pub huge_pages_bytes: u64,
    /// All swap areas together.
    pub swap_total_bytes: u64,
    /// In use.
    pub swap_used_bytes: u64,
    /// From 0 to 200: how readily the kernel swaps (`vm.swappiness`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub swappiness: Option<u64>,
    /// Each swap area.
    pub swap_areas: Vec<SwapArea>,
    /// Processes killed for lack of memory since boot.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub oom_kills: Option<u64>,
    /// Time lost waiting for memory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pressure: Option<super::pressure::Resource>,
}

/// One swap area (`/proc/swaps`).
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct SwapArea {
    /// The device or file.
    pub path: String,
    /// `partition` or `file`.
    pub kind: String,
    /// Its size.
    pub total_bytes: u64,
    /// In use.
    pub used_bytes: u64,
    /// Higher is used first.
    pub priority: i64,
}

impl Query for Memory {
    const NAME: &'static str = "memory";
    const SUMMARY: &'static str = "Main memory and swap in detail, with kills for lack of memory and pressure";
    type Args = Args;
    type Output = Output;
}
