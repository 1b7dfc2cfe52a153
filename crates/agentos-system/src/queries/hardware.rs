//! What the machine is made of, from `/sys` and `/proc/cpuinfo`. What a machine does not have is missing, not empty.

use std::collections::BTreeSet;

use agentos_api::query::Hardware;
use agentos_api::query::hardware::{Args, Battery, Cpu, Output, PciDevice, Temperature, UsbDevice};
use rustix::fs::CWD;

use crate::QueryError;
use crate::dispatch::Read;
use crate::machine::{Machine, Viewer};
use crate::procfs::ticks::{as_f64, round};
use crate::procfs::{decimal, link_name, names, number, read_at, text};
use crate::queries::health::online_processors;
use crate::queries::processes::memory_total;
use crate::text::lossy;

/// Devices of one kind that are listed, at most.
const MOST: usize = 256;

impl Read for Hardware {
    fn read(_machine: &Machine, _viewer: Viewer, _args: Args) -> Result<Output, QueryError> {
        let dmi = |file: &str| text(&format!("/sys/class/dmi/id/{file}"));
        let firmware: Vec<String> =
            ["bios_vendor", "bios_version", "bios_date"].into_iter().filter_map(dmi).collect();
        Ok(Output {
            vendor: dmi("sys_vendor"),
            // Boards without DMI name themselves in their device tree.
            product: dmi("product_name").or_else(|| text("/proc/device-tree/model")),
            board: dmi("board_name"),
            firmware: (!firmware.is_empty()).then(|| firmware.join(" ")),
            cpu: cpu(),
            memory_total_bytes: memory_total()?,
            numa_nodes: count(&names("/sys/devices/system/node", 4096), "node").max(1),
            pci_devices: names("/sys/bus/pci/devices", MOST).into_iter().filter_map(pci_device).collect(),
            usb_devices: names("/sys/bus/usb/devices", 4 * MOST)
                .into_iter()
                .filter_map(usb_device)
                .take(MOST)
                .collect(),
            temperatures: temperatures(),
            batteries: batteries(),
        })
    }
}

/// How many of the names are `prefix` and a number.
fn count(names: &[String], prefix: &str) -> u32 {
    let numbered =
        |name: &&String| name.strip_prefix(prefix).is_some_and(|rest| decimal(rest.as_bytes()).is_some());
    u32::try_from(names.iter().filter(numbered).count()).unwrap_or(u32::MAX)
}

fn cpu() -> Cpu {
    let information = lossy(&read_at(CWD, "/proc/cpuinfo", 64 << 10).unwrap_or_default());
    let (mut sockets, mut cores) = (BTreeSet::new(), BTreeSet::new());
    for name in names("/sys/devices/system/cpu", 16_384) {
        let topology = |file: &str| text(&format!("/sys/devices/system/cpu/{name}/topology/{file}"));
        if let (Some(socket), Some(core)) = (topology("physical_package_id"), topology("core_id")) {
            cores.insert((socket.clone(), core));
            sockets.insert(socket);
        }
    }
    let caches = "/sys/devices/system/cpu/cpu0/cache";
    let cache = names(caches, 16)
        .into_iter()
        .filter_map(|index| size(&text(&format!("{caches}/{index}/size"))?))
        .max();
    let megahertz = |file: &str| {
        number(&format!("/sys/devices/system/cpu/cpu0/cpufreq/{file}"))
            .map(|khz| round(as_f64(khz) / 1000.0, 0))
    };
    let flag = |wanted: &str| {
        cpuinfo(&information, "flags")
            .is_some_and(|flags| flags.split_whitespace().any(|flag| flag == wanted))
    };
    Cpu {
        model: ["model name", "Model", "Processor", "cpu model"]
            .into_iter()
            .find_map(|key| cpuinfo(&information, key))
            .map(str::to_owned),
        sockets: u32::try_from(sockets.len()).unwrap_or(u32::MAX).max(1),
        cores: u32::try_from(cores.len()).unwrap_or(u32::MAX).max(1),
        processors: online_processors(),
        max_mhz: megahertz("cpuinfo_max_freq"),
        current_mhz: megahertz("scaling_cur_freq")
            .or_else(|| cpuinfo(&information, "cpu MHz")?.parse().ok().map(|mhz| round(mhz, 0))),
        cache_bytes: cache,
        virtualization_extensions: flag("vmx") || flag("svm"),
        under_hypervisor: flag("hypervisor"),
    }
}

/// The first value of a key in `/proc/cpuinfo`.
fn cpuinfo<'a>(content: &'a str, key: &str) -> Option<&'a str> {
    content
        .lines()
        .filter_map(|line| line.split_once(':'))
        .find(|(name, _)| name.trim() == key)
        .map(|(_, value)| value.trim())
        .filter(|value| !value.is_empty())
}

/// `512K` or `32M` in bytes.
fn size(text: &str) -> Option<u64> {
    let (digits, unit) = match text.as_bytes() {
        [digits @ .., b'K'] => (digits, 1 << 10),
        [digits @ .., b'M'] => (digits, 1 << 20),
        [digits @ .., b'G'] => (digits, 1 << 30),
        digits => (digits, 1),
    };
    decimal(digits)?.checked_mul(unit)
}

fn pci_device(address: String) -> Option<PciDevice> {
    let attribute = |file: &str| text(&format!("/sys/bus/pci/devices/{address}/{file}"));
    let id = |file: &str| Some(attribute(file)?.trim_start_matches("0x").to_owned());
    Some(PciDevice {
        id: format!("{}:{}", id("vendor")?, id("device")?),
        class: pci_class(&id("class")?).to_owned(),
        driver: link_name(&format!("/sys/bus/pci/devices/{address}/driver")),
        address,
    })
}

/// The kind of a device by its base class: the first two digits of `class` (PCI Code and ID Assignment, chapter 1).
fn pci_class(class: &str) -> &'static str {
    match class.get(..2) {
        Some("01") => "storage",
        Some("02") => "network",
        Some("03") => "display",
        Some("04") => "multimedia",
        Some("05") => "memory",
        Some("06") => "bridge",
        Some("07") => "communication",
        Some("08") => "system",
        Some("09") => "input",
        Some("0c") => "serial bus",
        Some("0d") => "wireless",
        Some("0f") => "satellite",
        Some("10") => "encryption",
        Some("11") => "signal processing",
        Some("12") => "accelerator",
        _ => "other",
    }
}

/// A device, as opposed to one of its interfaces, has a product number.
fn usb_device(address: String) -> Option<UsbDevice> {
    let attribute = |file: &str| text(&format!("/sys/bus/usb/devices/{address}/{file}"));
    Some(UsbDevice {
        id: format!("{}:{}", attribute("idVendor")?, attribute("idProduct")?),
        manufacturer: attribute("manufacturer"),
        product: attribute("product"),
        address,
    })
}

/// Sensors of `/sys/class/hwmon`, in thousandths of a degree (the kernel's Documentation/hwmon/sysfs-interface.rst).
fn temperatures() -> Vec<Temperature> {
    let mut temperatures = Vec::new();
    for chip in names("/sys/class/hwmon", MOST) {
        let attribute = |file: &str| text(&format!("/sys/class/hwmon/{chip}/{file}"));
        let celsius =
            |file: &str| attribute(file)?.parse().ok().map(|thousandths: f64| round(thousandths / 1000.0, 1));
        for file in names(&format!("/sys/class/hwmon/{chip}"), 1024) {
            let Some(sensor) = file.strip_suffix("_input").filter(|sensor| sensor.starts_with("temp")) else {
                continue;
            };
            if let (Some(degrees), true) = (celsius(&file), temperatures.len() < MOST) {
                let name = attribute("name").unwrap_or_else(|| chip.clone());
                temperatures.push(Temperature {
                    sensor: format!(
                        "{name} {}",
                        attribute(&format!("{sensor}_label")).unwrap_or_else(|| sensor.to_owned())
                    ),
                    celsius: degrees,
                    critical_celsius: celsius(&format!("{sensor}_crit")),
                });
            }
        }
    }
    temperatures
}

fn batteries() -> Vec<Battery> {
    names("/sys/class/power_supply", MOST)
        .into_iter()
        .filter(|name| text(&format!("/sys/class/power_supply/{name}/type")).as_deref() == Some("Battery"))
        .map(|name| Battery {
            status: text(&format!("/sys/class/power_supply/{name}/status")),
            charge_percent: number(&format!("/sys/class/power_supply/{name}/capacity")),
            name,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_processors_are_those_that_are_online() {
        let machine = Machine::new(crate::MachineOptions::default());
        let answer = machine.query("hardware", b"", Viewer::default()).unwrap();
        let output: Output = serde_json::from_slice(&answer).unwrap();
        let nproc = std::process::Command::new("nproc").arg("--all").output().unwrap().stdout;
        let nproc: u32 = String::from_utf8_lossy(&nproc).trim().parse().unwrap();
        assert!(output.cpu.processors >= 1 && output.cpu.processors <= nproc);
        assert!(output.cpu.cores <= nproc && output.cpu.sockets <= output.cpu.cores);
        let information = std::fs::read_to_string("/proc/cpuinfo").unwrap();
        assert_eq!(output.cpu.model.is_some(), information.contains("model name"));
    }

    #[test]
    fn sizes_with_their_units_are_bytes() {
        assert_eq!(size("512K"), Some(524_288));
        assert_eq!(size("32M"), Some(33_554_432));
        assert_eq!(size("7"), Some(7));
        assert_eq!(size("99999999999999999999K"), None);
    }

    #[test]
    fn only_the_whole_key_is_a_key() {
        let information = "cpu MHz\t\t: 2500.000\nmodel\t\t: 85\nmodel name\t: A Processor\n";
        assert_eq!(cpuinfo(information, "model name"), Some("A Processor"));
        assert_eq!(cpuinfo(information, "MHz"), None);
    }

    proptest! {
        #[test]
        fn any_text_is_read_without_panic(text: String) {
            let _ = (size(&text), cpuinfo(&text, "flags"), pci_class(&text));
        }
    }
}
