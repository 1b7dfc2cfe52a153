//! Whether the clock is kept right over the network, and by which servers.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

mutation! {
    /// Keeping the clock right over the network.
    Set(SetArgs) = "ntp.set", "Has the clock kept right over the network or not, by the time service that is installed, and sets its servers"
}

/// Arguments of `ntp.set`.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SetArgs {
    /// Whether the clock is kept right over the network.
    pub enabled: bool,
    /// The servers, by name or address: only for systemd-timesyncd. Left out, they stay; an empty list stands for those of
    /// the distribution.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 10))]
    pub servers: Option<Vec<String>>,
}
