//! The operating system: which distribution, how it was booted, what it runs on.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Query;

/// The operating system.
pub struct Os;

/// No arguments.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Args {}

/// The operating system (os-release(5) and what the kernel shows).
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Output {
    /// The machine's name.
    pub hostname: String,
    /// The distribution's name for people: `NixOS 25.11 (Xantusia)`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pretty_name: Option<String>,
    /// The distribution's identifier: `nixos`, `debian`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// What it is derived from: `debian` for Ubuntu.
    pub id_like: Vec<String>,
    /// `25.11`, `12`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version_id: Option<String>,
    /// Where its users get help.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub support_url: Option<String>,
    /// The kernel's name and release: `Linux 6.12.30`.
    pub kernel: String,
    /// `x86_64`, `aarch64`.
    pub architecture: String,
    /// The program that is process 1: `systemd`, or another's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub init: Option<String>,
    /// systemd is process 1, so services, timers and sessions can be asked about.
    pub systemd: bool,
    /// `efi` or `bios`; missing where neither is seen, as in most containers and small virtual machines.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub firmware: Option<String>,
    /// The virtual machine or container this runs in, as far as it can be seen from inside: `kvm`, `docker`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub virtualization: Option<String>,
    /// The system's configuration is NixOS's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nixos: Option<NixOs>,
    /// A newer kernel or a new system was installed, and a restart is asked for.
    pub restart_required: bool,
}

/// What is particular to NixOS.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct NixOs {
    /// The number of the generation that the system profile points to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub generation: Option<u64>,
    /// The store path of the system that is active.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub current_system: Option<String>,
    /// The store path of the system that was booted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub booted_system: Option<String>,
}

impl Query for Os {
    const NAME: &'static str = "os";
    const SUMMARY: &'static str = "The operating system: distribution, version, architecture, init, virtualisation, NixOS generation";
    type Args = Args;
    type Output = Output;
}
