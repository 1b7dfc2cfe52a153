//! What the machine is made of.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Query;

/// The hardware.
pub struct Hardware;

/// No arguments.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Args {}

/// The hardware, as the kernel shows it. In a virtual machine it is the virtual one.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Output {
    /// The maker of the machine.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vendor: Option<String>,
    /// The model.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub product: Option<String>,
    /// The maker's number of the main board.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub board: Option<String>,
    /// The firmware's version and date.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub firmware: Option<String>,
    /// The processors.
    pub cpu: Cpu,
    /// Main memory.
    pub memory_total_bytes: u64,
    /// NUMA nodes.
    pub numa_nodes: u32,
    /// Devices on the PCI bus, at most 256.
    pub pci_devices: Vec<PciDevice>,
    /// Devices on the USB, at most 256.
    pub usb_devices: Vec<UsbDevice>,
    /// Temperatures.
    pub temperatures: Vec<Temperature>,
    /// Batteries.
    pub batteries: Vec<Battery>,
}

/// The processors.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Cpu {
    /// The model; missing where the kernel does not tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// Packages.
    pub sockets: u32,
    /// Cores in all packages.
    pub cores: u32,
    /// Logical processors online.
    pub processors: u32,
    /// Highest clock rate, in megahertz.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_mhz: Option<f64>,
    /// Clock rate now, of the first processor, in megahertz.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub current_mhz: Option<f64>,
    /// Largest cache.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cache_bytes: Option<u64>,
    /// It can run virtual machines (`vmx` or `svm`).
    pub virtualization_extensions: bool,
    /// A hypervisor runs below.
    pub under_hypervisor: bool,
}

/// One device on the PCI bus.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct PciDevice {
    /// Where it is: `0000:00:1f.2`.
    pub address: String,
    /// Vendor and device number, in hexadecimal: `8086:1533`.
    pub id: String,
    /// What kind it is: `network`, `display`, `storage` …
    pub class: String,
    /// The driver that runs it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub driver: Option<String>,
}

/// One device on the USB.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct UsbDevice {
    /// Where it is: `1-4.2`.
    pub address: String,
    /// Vendor and product number, in hexadecimal.
    pub id: String,
    /// The maker's name for itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub manufacturer: Option<String>,
    /// The maker's name for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub product: Option<String>,
}

/// One temperature.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Temperature {
    /// The sensor's chip and label.
    pub sensor: String,
    /// In degrees Celsius.
    pub celsius: f64,
    /// Where it becomes critical, in degrees Celsius.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub critical_celsius: Option<f64>,
}

/// One battery.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Battery {
    /// Its name.
    pub name: String,
    /// `Charging`, `Discharging`, `Full`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<String>,
    /// How full it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub charge_percent: Option<u64>,
}

impl Query for Hardware {
    const NAME: &'static str = "hardware";
    const SUMMARY: &'static str = "The hardware: model, processors, memory, PCI and USB devices, temperatures, batteries";
    type Args = Args;
    type Output = Output;
}
