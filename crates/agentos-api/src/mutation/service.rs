//! Changes of systemd's units.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

mutation! {
    /// Runs.
    Start(UnitArgs) = "service.start", "Starts a unit, and waits until systemd has"
}
mutation! {
    /// Does not run.
    Stop(UnitArgs) = "service.stop", "Stops a unit with the units that depend on it, which the plan names"
}
mutation! {
    /// Runs anew.
    Restart(UnitArgs) = "service.restart", "Stops a unit and starts it again; starts one that does not run"
}
mutation! {
    /// Reads its configuration again.
    Reload(UnitArgs) = "service.reload", "Has a running unit read its configuration again, without a restart"
}
mutation! {
    /// Starts with the machine.
    Enable(UnitArgs) = "service.enable", "Has a unit started when the machine starts; does not start it now"
}
mutation! {
    /// Does not start with the machine.
    Disable(UnitArgs) = "service.disable", "Has a unit no longer started when the machine starts; does not stop it now"
}
mutation! {
    /// Cannot be started.
    Mask(UnitArgs) = "service.mask", "Makes a unit impossible to start, also by hand and by other units; does not stop it now"
}
mutation! {
    /// Can be started again.
    Unmask(UnitArgs) = "service.unmask", "Takes a mask off a unit; does not start it"
}

/// Arguments of the mutations of a unit.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct UnitArgs {
    /// The unit: `nginx` is `nginx.service`; `backup.timer`, `getty@tty1.service`.
    #[schemars(length(min = 1, max = 255))]
    pub unit: String,
}
