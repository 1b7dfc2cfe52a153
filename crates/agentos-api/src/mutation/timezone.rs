//! The time zone of the machine.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

mutation! {
    /// The time zone.
    Set(SetArgs) = "timezone.set", "Sets the machine's time zone"
}

/// Arguments of `timezone.set`.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SetArgs {
    /// The zone as the time zone database names it: `Europe/Berlin`, `UTC`.
    #[schemars(length(min = 1, max = 64))]
    pub zone: String,
}
