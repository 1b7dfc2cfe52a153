//! What `GET /health` answers: the machine at a glance, and whether agentd itself can do its work.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::query::health::Output as MachineHealth;

/// The answer to `GET /health`. Reading it is not an event.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct HealthReport {
    /// `ok`, or `degraded` when agentd refuses work; `ledger.reason` then says why, `GET /ledger/diagnosis` what to do.
    pub status: Status,
    /// agentd's version.
    pub version: String,
    /// Whether events can be recorded, without which nothing is read or changed.
    pub ledger: LedgerHealth,
    /// CPU, memory, disk, load, uptime.
    #[serde(flatten)]
    pub machine: MachineHealth,
}

/// Whether agentd can do its work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// All parts work.
    Ok,
    /// At least one part does not; the report says which.
    Degraded,
}

/// The state of the ledger.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct LedgerHealth {
    /// Whether the last attempt to record an event succeeded.
    pub writable: bool,
    /// Events recorded; 0 where the ledger cannot be opened.
    pub size: u64,
    /// Why it cannot be written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}
