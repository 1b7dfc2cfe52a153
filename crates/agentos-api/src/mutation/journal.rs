//! The journal's old files.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::Bounded;

mutation! {
    /// Old log files go.
    Vacuum(VacuumArgs) = "journal.vacuum", "Deletes the oldest archived files of the journal until they are small or young enough; they do not come back"
}

/// Arguments of `journal.vacuum`: one of the two.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct VacuumArgs {
    /// Delete the oldest archived files until those that stay take at most so many bytes on the disk. The file that is
    /// written to does not count, and stays.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keep_bytes: Option<Bounded<0, 1_125_899_906_842_624, 0>>,
    /// Delete archived files whose last entry is older than so many days. All entries of these days stay.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keep_days: Option<Bounded<1, 36_500, 30>>,
}
