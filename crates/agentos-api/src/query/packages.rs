//! The software that is installed.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Query;
use crate::Bounded;

/// Installed packages.
pub struct Packages;

/// Which packages.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Args {
    /// Only packages whose name contains this text (case is ignored).
    pub name: Option<String>,
    /// Only the package of exactly this name.
    pub exact: Option<String>,
    /// On NixOS: everything the system needs, instead of what is in its profile.
    pub closure: bool,
    /// The order of the rows.
    pub sort: Sort,
    /// Rows to pass over: `next_offset` of the answer before.
    pub offset: Bounded<0, 1_000_000, 0>,
    /// Rows at most.
    pub limit: Bounded<1, 1000, 100>,
}

/// The order of packages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Sort {
    /// By name.
    #[default]
    Name,
    /// The largest first.
    Size,
}

/// One page of packages.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Output {
    /// Who keeps the list.
    pub manager: Manager,
    /// The rows of this page.
    pub packages: Vec<Package>,
    /// Packages that match, on all pages.
    pub total: u64,
    /// The `offset` of the next page; missing on the last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_offset: Option<u64>,
}

/// A package manager.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Manager {
    /// Debian's.
    Dpkg,
    /// The Nix store, as the running NixOS system refers to it.
    Nix,
}

/// One package.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Package {
    /// Its name.
    pub name: String,
    /// Its version; empty for a store path without one.
    pub version: String,
    /// The architecture it is for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub architecture: Option<String>,
    /// dpkg's state where it is not plainly installed: `half-configured`, `config-files`, `unpacked` …
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<String>,
    /// It is kept at its version.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub held: bool,
    /// The space it takes, as its maker said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size_bytes: Option<u64>,
    /// The source package it was built from, where its name differs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// What it is, in one line.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub summary: Option<String>,
    /// Its path in the Nix store.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub store_path: Option<String>,
}

impl Query for Packages {
    const NAME: &'static str = "packages";
    const SUMMARY: &'static str = "Installed software: names, versions, sizes (dpkg or the Nix store)";
    type Args = Args;
    type Output = Output;
}
