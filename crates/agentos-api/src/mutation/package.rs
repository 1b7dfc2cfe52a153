//! Changes of packages.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::package::{PackageName, PackageSpec};

/// Most packages that are named at once.
pub const MAX_NAMES: usize = 50;

mutation! {
    /// Packages come.
    Install(InstallArgs) = "package.install", "Installs packages from the configured archives with what they need; the plan names every package with its version"
}
mutation! {
    /// Packages go.
    Remove(RemoveArgs) = "package.remove", "Removes packages with those that need them, which the plan names; their configuration stays unless asked for"
}
mutation! {
    /// Packages get newer versions.
    Upgrade(UpgradeArgs) = "package.upgrade", "Brings packages, or all of them, to the version that the configured archives have; what is held stays"
}

/// Arguments of `package.install`.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct InstallArgs {
    /// The packages: `nginx`, or `nginx=1.22.1-9` for a certain version, which may be older than the one that is installed.
    #[schemars(length(min = 1, max = 50))]
    pub names: Vec<PackageSpec>,
    /// Also those that they recommend.
    #[serde(default)]
    pub recommends: bool,
}

/// Arguments of `package.remove`.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RemoveArgs {
    /// The packages.
    #[schemars(length(min = 1, max = 50))]
    pub names: Vec<PackageName>,
    /// Also delete their configuration in `/etc`, which is kept for undo, and what their scripts delete then, which is not:
    /// often their data.
    #[serde(default)]
    pub purge: bool,
}

/// Arguments of `package.upgrade`: `names` or `all`.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct UpgradeArgs {
    /// The packages.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 50))]
    pub names: Vec<PackageName>,
    /// All that can be upgraded without removing another.
    #[serde(default)]
    pub all: bool,
}
