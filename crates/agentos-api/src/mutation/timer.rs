//! Programs that run at certain times: systemd timers with a service of their own.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

mutation! {
    /// A program at certain times.
    Create(CreateArgs) = "timer.create", "Has a program run at certain times (a cron job): a systemd timer job-NAME.timer with its service"
}
mutation! {
    /// No longer.
    Remove(RemoveArgs) = "timer.remove", "Removes a timer that timer.create made, with its service"
}

/// Arguments of `timer.create`.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateArgs {
    /// The name: lower-case letters, digits and hyphens. The units are `job-NAME.timer` and `job-NAME.service`.
    #[schemars(length(min = 1, max = 48))]
    pub name: String,
    /// When, by this machine's clock, as systemd.time(7) writes it: `daily`, `Mon..Fri 07:30`, `*-*-01 04:00`, `*:0/15`; or
    /// the five fields of crontab(5): `30 7 * * 1-5`.
    #[schemars(length(min = 1, max = 200))]
    pub on_calendar: String,
    /// The program by its absolute path, and its arguments, each as it is. No shell reads them: no `|`, `>`, `$X` or `*`.
    #[schemars(length(min = 1, max = 64))]
    pub argv: Vec<String>,
    /// The user it runs as. Left out, it is root, which is asked about more strictly: name one wherever that is enough.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 32))]
    pub user: Option<String>,
    /// What it is for, in a sentence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 200))]
    pub description: Option<String>,
    /// Run it soon after a start of the machine where it was off at the time.
    #[serde(default)]
    pub persistent: bool,
}

/// Arguments of `timer.remove`.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RemoveArgs {
    /// The name it was made with; `job-NAME.timer` is understood as well.
    #[schemars(length(min = 1, max = 255))]
    pub name: String,
}
