//! Starting the machine again, and switching it off.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::Bounded;

mutation! {
    /// The machine starts again.
    Reboot(PowerArgs) = "power.reboot", "Starts the machine again, a little later; until then it can be taken back"
}
mutation! {
    /// The machine is switched off.
    Shutdown(PowerArgs) = "power.shutdown", "Switches the machine off, a little later; until then it can be taken back"
}

/// Arguments of `power.reboot` and `power.shutdown`.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PowerArgs {
    /// In how many minutes. At least one, so that the record and the answer are out.
    #[serde(default)]
    pub delay_minutes: Bounded<1, 1440, 1>,
}
