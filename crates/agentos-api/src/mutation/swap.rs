//! Changes of the swap space.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::query::path::AbsolutePath;

mutation! {
    /// Swap space less.
    Off(SwapArgs) = "swap.off", "Takes a device or file out of the swap space; what is in it has to fit into memory"
}
mutation! {
    /// Swap space more.
    On(SwapArgs) = "swap.on", "Swaps to a device or file that was prepared for it (mkswap)"
}

/// Arguments of `swap.on` and `swap.off`.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SwapArgs {
    /// The device or file.
    pub path: AbsolutePath,
    /// Also after the next start of the machine: its line in `/etc/fstab` is added, or taken out.
    #[serde(default)]
    pub persist: bool,
}
