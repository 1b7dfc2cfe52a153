//! The name of the machine.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

mutation! {
    /// The name.
    Set(SetArgs) = "hostname.set", "Names the machine: now, in /etc/hostname, and where /etc/hosts has the old name"
}

/// Arguments of `hostname.set`.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SetArgs {
    /// The name: letters, digits and hyphens, in parts divided by dots (RFC 1123), at most 64 characters.
    #[schemars(length(min = 1, max = 64))]
    pub name: String,
}
