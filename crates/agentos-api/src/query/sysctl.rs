//! Kernel settings below `/proc/sys`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Query;
use crate::Bounded;

/// Kernel settings.
pub struct Sysctl;

/// Which settings.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Args {
    /// Only settings whose name matches: `vm.swappiness`, `net.ipv4.tcp_*`; `*` stands for any characters and `?` for one.
    /// A name without either also takes all settings below it: `net.ipv4`.
    pub name: Option<String>,
    /// The name after which to go on: `next_after` of the answer before.
    pub after: Option<String>,
    /// Settings at most.
    pub limit: Bounded<1, 1000, 200>,
}

/// Settings, by name.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Output {
    /// The settings.
    pub settings: Vec<Setting>,
    /// The `after` of the next page; missing on the last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_after: Option<String>,
}

/// One setting.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Setting {
    /// Its name, with dots; a dot inside a part of it, as in `eth0.100`, is written as a slash.
    pub name: String,
    /// Its value, at most 4,096 bytes. Missing where the kernel does not let it be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
}

impl Query for Sysctl {
    const NAME: &'static str = "sysctl";
    const SUMMARY: &'static str = "Kernel settings (sysctl) by name or pattern";
    type Args = Args;
    type Output = Output;
}
