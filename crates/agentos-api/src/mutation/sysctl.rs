//! Settings of the kernel.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

mutation! {
    /// A setting below `/proc/sys`.
    Set(SetArgs) = "sysctl.set", "Sets a kernel setting now, and on request at each start of the machine"
}

/// Arguments of `sysctl.set`.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SetArgs {
    /// The setting as sysctl(8) writes it: `vm.swappiness`; a dot in a part of a name as a slash:
    /// `net.ipv4.conf.eth0/100.forwarding`.
    #[schemars(length(min = 3, max = 200))]
    pub name: String,
    /// The value, as the kernel takes it.
    #[schemars(length(min = 1, max = 1024))]
    pub value: String,
    /// Also set it at each start of the machine, by a file in `/etc/sysctl.d`.
    #[serde(default)]
    pub persist: bool,
}
