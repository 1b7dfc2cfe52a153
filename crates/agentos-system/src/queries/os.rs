//! The operating system: which distribution, how it was booted, what it runs on.

use std::path::Path;

use agentos_api::query::Os;
use agentos_api::query::os::{Args, NixOs, Output};
use rustix::fs::{CWD, readlink};

use crate::QueryError;
use crate::dispatch::Read;
use crate::machine::{Machine, Viewer};
use crate::procfs::{read_at, text};
use crate::text::lossy;

impl Read for Os {
    fn read(_machine: &Machine, _viewer: Viewer, _args: Args) -> Result<Output, QueryError> {
        let name = rustix::system::uname();
        // os-release(5): the first one that is there holds.
        let release = read_at(CWD, "/etc/os-release", 64 << 10)
            .or_else(|_| read_at(CWD, "/usr/lib/os-release", 64 << 10))
            .unwrap_or_default();
        let value = |key| os_release_value(&release, key);
        let id = value("ID");
        let nixos = id.as_deref().is_some_and(|id| id == "nixos").then(nixos);
        Ok(Output {
            hostname: lossy(name.nodename().to_bytes()),
            pretty_name: value("PRETTY_NAME"),
            id_like: value("ID_LIKE").unwrap_or_default().split_whitespace().map(str::to_owned).collect(),
            version_id: value("VERSION_ID"),
            support_url: value("SUPPORT_URL"),
            kernel: format!("{} {}", lossy(name.sysname().to_bytes()), lossy(name.release().to_bytes())),
            architecture: lossy(name.machine().to_bytes()),
            init: text("/proc/1/comm"),
            // What sd_booted(3) tests.
            systemd: Path::new("/run/systemd/system").is_dir(),
            firmware: firmware().map(str::to_owned),
            virtualization: container().or_else(virtual_machine),
            restart_required: Path::new("/run/reboot-required").exists()
                || nixos.as_ref().is_some_and(boots_another_kernel),
            nixos,
            id,
        })
    }
}

fn firmware() -> Option<&'static str> {
    if Path::new("/sys/firmware/efi").exists() {
        Some("efi")
    } else {
        Path::new("/sys/class/dmi/id").exists().then_some("bios")
    }
}

/// The container this runs in, by the marks that container managers leave.
fn container() -> Option<String> {
    text("/run/systemd/container")
        .or_else(|| {
            let environment = read_at(CWD, "/proc/1/environ", 64 << 10).ok()?;
            environment
                .split(|&byte| byte == 0)
                .find_map(|variable| variable.strip_prefix(b"container="))
                .map(lossy)
                .filter(|name| !name.is_empty())
        })
        .or_else(|| Path::new("/run/.containerenv").exists().then(|| "podman".to_owned()))
        .or_else(|| Path::new("/.dockerenv").exists().then(|| "docker".to_owned()))
}

/// The virtual machine this runs in, by the names that hypervisors give to the hardware (as systemd-detect-virt(1) does).
fn virtual_machine() -> Option<String> {
    const NAMES: [(&str, &str); 12] = [
        ("KVM", "kvm"),
        ("OpenStack", "kvm"),
        ("KubeVirt", "kvm"),
        ("Amazon EC2", "amazon"),
        ("Google", "google"),
        ("QEMU", "qemu"),
        ("VMware", "vmware"),
        ("VirtualBox", "oracle"),
        ("innotek", "oracle"),
        ("Xen", "xen"),
        ("Virtual Machine", "microsoft"),
        ("Parallels", "parallels"),
    ];
    let hardware = ["sys_vendor", "product_name", "bios_vendor", "board_vendor"]
        .into_iter()
        .filter_map(|file| text(&format!("/sys/class/dmi/id/{file}")))
        .collect::<Vec<_>>()
        .join("\n");
    let named = NAMES.iter().find(|(mark, _)| hardware.contains(mark)).map(|(_, name)| (*name).to_owned());
    let on_hypervisor = || text("/sys/hypervisor/type");
    let by_clock = || {
        let clocks = text("/sys/devices/system/clocksource/clocksource0/available_clocksource")?;
        if clocks.contains("kvm-clock") {
            Some("kvm".to_owned())
        } else {
            clocks.contains("hyperv").then(|| "microsoft".to_owned())
        }
    };
    let by_processor = || {
        let information = read_at(CWD, "/proc/cpuinfo", 16 << 10).ok()?;
        let information = lossy(&information);
        let flags = information.lines().find_map(|line| line.strip_prefix("flags"))?;
        flags.split_whitespace().any(|flag| flag == "hypervisor").then(|| "unknown hypervisor".to_owned())
    };
    named.or_else(on_hypervisor).or_else(by_clock).or_else(by_processor)
}

fn nixos() -> NixOs {
    let link = |path: &str| readlink(path, Vec::new()).ok().map(|target| lossy(target.as_bytes()));
    NixOs {
        generation: link("/nix/var/nix/profiles/system").as_deref().and_then(generation),
        current_system: link("/run/current-system"),
        booted_system: link("/run/booted-system"),
    }
}

/// 42 out of `system-42-link`.
fn generation(link: &str) -> Option<u64> {
    link.strip_prefix("system-")?.strip_suffix("-link")?.parse().ok()
}

/// The system that is active has another kernel than the one that was booted.
fn boots_another_kernel(nixos: &NixOs) -> bool {
    let part = |system: &Option<String>, part: &str| {
        system.as_ref().and_then(|system| readlink(format!("{system}/{part}"), Vec::new()).ok())
    };
    ["kernel", "initrd", "kernel-modules"]
        .iter()
        .any(|name| part(&nixos.current_system, name) != part(&nixos.booted_system, name))
}

/// The value of a key in os-release(5): shell assignments, where a value may stand in quotes.
fn os_release_value(content: &[u8], key: &str) -> Option<String> {
    content.split(|&byte| byte == b'\n').rev().find_map(|line| {
        let value = line.trim_ascii().strip_prefix(key.as_bytes())?.strip_prefix(b"=")?;
        let value = lossy(value);
        let value = unquoted(&value);
        (!value.is_empty()).then_some(value)
    })
}

fn unquoted(value: &str) -> String {
    if let Some(inner) = value.strip_prefix('\'').and_then(|value| value.strip_suffix('\'')) {
        return inner.to_owned();
    }
    let inner = value.strip_prefix('"').and_then(|value| value.strip_suffix('"')).unwrap_or(value);
    let mut plain = String::with_capacity(inner.len());
    let mut rest = inner.chars();
    while let Some(character) = rest.next() {
        plain.push(if character == '\\' { rest.next().unwrap_or('\\') } else { character });
    }
    plain
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_release_is_read_as_a_shell_would() {
        let release = b"NAME=\"Debian GNU/Linux\"\nID=debian\nVERSION_ID='12'\nX=\"a \\\"b\\\" \\$c\"\n# ID=no\nEMPTY=\n";
        assert_eq!(os_release_value(release, "NAME").unwrap(), "Debian GNU/Linux");
        assert_eq!(os_release_value(release, "ID").unwrap(), "debian");
        assert_eq!(os_release_value(release, "VERSION_ID").unwrap(), "12");
        assert_eq!(os_release_value(release, "X").unwrap(), "a \"b\" $c");
        assert_eq!(os_release_value(release, "EMPTY"), None);
    }

    #[test]
    fn this_system_is_the_one_uname_names() {
        let machine = Machine::new(crate::MachineOptions::default());
        let answer = machine.query("os", b"", Viewer::default()).unwrap();
        let output: Output = serde_json::from_slice(&answer).unwrap();
        let uname = std::process::Command::new("uname").arg("-srm").output().unwrap().stdout;
        assert_eq!(
            format!("{} {}", output.kernel, output.architecture),
            String::from_utf8_lossy(&uname).trim()
        );
        let shell =
            std::process::Command::new("sh").args(["-c", ". /etc/os-release; echo $ID"]).output().unwrap();
        assert_eq!(output.id.unwrap_or_default(), String::from_utf8_lossy(&shell.stdout).trim());
    }

    #[test]
    fn a_generation_is_the_number_in_its_link() {
        assert_eq!(generation("system-42-link"), Some(42));
        assert_eq!(generation("system-x-link"), None);
    }

    proptest! {
        #[test]
        fn any_release_is_read_without_panic(content: Vec<u8>, value in "ID=\\PC{0,20}") {
            let _ = (os_release_value(&content, "ID"), os_release_value(value.as_bytes(), "ID"));
        }
    }
}
