//! The running kernel: release, command line, modules, weaknesses.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Query;
use crate::Bounded;

/// The running kernel.
pub struct Kernel;

/// How much of it.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Args {
    /// Only modules whose name contains this text.
    pub module: Option<String>,
    /// Modules to list, at most; 0 lists none.
    pub modules_limit: Bounded<0, 500, 100>,
}

/// The running kernel.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Output {
    /// `6.12.30-amd64`.
    pub release: String,
    /// When and how it was built.
    pub version: String,
    /// `x86_64`, `aarch64`.
    pub architecture: String,
    /// What it was booted with.
    pub command_line: String,
    /// Why it is tainted, in words; empty when it is not.
    pub taints: Vec<String>,
    /// Loaded modules; 0 for a kernel without any.
    pub modules_total: u64,
    /// The modules, largest first.
    pub modules: Vec<Module>,
    /// Linux security modules that are on.
    pub security_modules: Vec<String>,
    /// `none`, `integrity` or `confidentiality` (`kernel_lockdown(7)`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lockdown: Option<String>,
    /// Weaknesses of the processor, and what the kernel does about each.
    pub vulnerabilities: Vec<Vulnerability>,
    /// Control groups: `v2`, `hybrid`, `v1` or `none`.
    pub cgroups: String,
    /// File descriptors open on the whole machine.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub open_files: Option<u64>,
    /// File descriptors that may be open.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub open_files_limit: Option<u64>,
}

/// One loaded module.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Module {
    /// Its name.
    pub name: String,
    /// The memory it takes.
    pub size_bytes: u64,
    /// How often it is in use.
    pub used: u64,
    /// Modules that use it.
    pub used_by: Vec<String>,
}

/// One weakness of the processor (`/sys/devices/system/cpu/vulnerabilities`).
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Vulnerability {
    /// `spectre_v2`.
    pub name: String,
    /// The kernel's words: `Not affected`, `Mitigation: …`, `Vulnerable`.
    pub status: String,
    /// The processor is affected, and nothing is done about it.
    pub vulnerable: bool,
}

impl Query for Kernel {
    const NAME: &'static str = "kernel";
    const SUMMARY: &'static str = "The running kernel: release, command line, taints, modules, security modules, processor vulnerabilities";
    type Args = Args;
    type Output = Output;
}
