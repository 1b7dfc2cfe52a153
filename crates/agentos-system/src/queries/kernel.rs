//! The running kernel: release, command line, taints, modules, security modules, processor vulnerabilities.

use std::cmp::Reverse;

use agentos_api::query::Kernel;
use agentos_api::query::kernel::{Args, Module, Output, Vulnerability};
use rustix::fs::CWD;

use crate::QueryError;
use crate::dispatch::Read;
use crate::machine::{Machine, Viewer};
use crate::procfs::{decimal, mountinfo, names, number, read, read_at, text};
use crate::text::lossy;

/// What each bit of `kernel.tainted` means (the kernel's Documentation/admin-guide/tainted-kernels.rst), from bit 0 on.
const TAINTS: [&str; 20] = [
    "a proprietary module was loaded",
    "a module was loaded by force",
    "the kernel runs on hardware it was not made for",
    "a module was unloaded by force",
    "the processor reported a machine check exception",
    "a page was found bad",
    "a program asked for the taint",
    "the kernel died: oops or bug",
    "the ACPI table was overridden",
    "the kernel issued a warning",
    "a staging driver was loaded",
    "a workaround for a bug in the firmware is on",
    "a module from outside of the kernel was loaded",
    "an unsigned module was loaded",
    "a soft lockup occurred",
    "the kernel was live patched",
    "the distribution defined a taint of its own",
    "the kernel was built with struct randomisation",
    "an in-kernel test was run",
    "a debugging interface wrote to memory",
];

impl Read for Kernel {
    fn read(_machine: &Machine, _viewer: Viewer, args: Args) -> Result<Output, QueryError> {
        let name = rustix::system::uname();
        let mut modules = modules(&read_at(CWD, "/proc/modules", 1 << 20).unwrap_or_default());
        let modules_total = modules.len() as u64;
        if let Some(wanted) = &args.module {
            // The kernel writes underscores where people write hyphens.
            let wanted = wanted.to_lowercase().replace('-', "_");
            modules.retain(|module| module.name.to_lowercase().contains(&wanted));
        }
        modules.sort_by_key(|module| Reverse(module.size_bytes));
        modules.truncate(args.modules_limit.as_usize());
        let (open_files, open_files_limit) = open_files();
        Ok(Output {
            release: lossy(name.release().to_bytes()),
            version: lossy(name.version().to_bytes()),
            architecture: lossy(name.machine().to_bytes()),
            command_line: text("/proc/cmdline").unwrap_or_default(),
            taints: taints(number("/proc/sys/kernel/tainted").unwrap_or(0)),
            modules_total,
            modules,
            security_modules: text("/sys/kernel/security/lsm")
                .map(|list| list.split(',').map(str::to_owned).collect())
                .unwrap_or_default(),
            lockdown: text("/sys/kernel/security/lockdown").as_deref().and_then(chosen).map(str::to_owned),
            vulnerabilities: vulnerabilities(),
            cgroups: cgroups(&read("/proc/self/mountinfo", 4 << 20)?).to_owned(),
            open_files,
            open_files_limit,
        })
    }
}

fn taints(mask: u64) -> Vec<String> {
    (0..u64::BITS)
        .filter(|bit| mask >> bit & 1 == 1)
        .map(|bit| {
            let known = usize::try_from(bit).ok().and_then(|bit| TAINTS.get(bit));
            known.map_or_else(|| format!("bit {bit} is set"), |reason| (*reason).to_owned())
        })
        .collect()
}

/// Lines of `/proc/modules`: name, size, uses, users joined by commas, state, address.
fn modules(content: &[u8]) -> Vec<Module> {
    content
        .split(|&byte| byte == b'\n')
        .filter_map(|line| {
            let mut fields = line.split(|&byte| byte == b' ');
            Some(Module {
                name: lossy(fields.next()?),
                size_bytes: decimal(fields.next()?)?,
                used: decimal(fields.next()?)?,
                used_by: lossy(fields.next()?)
                    .split(',')
                    .filter(|name| !name.is_empty() && *name != "-")
                    .map(str::to_owned)
                    .collect(),
            })
        })
        .collect()
}

/// The choice in brackets out of `none [integrity] confidentiality`.
fn chosen(choices: &str) -> Option<&str> {
    choices.split_once('[')?.1.split_once(']').map(|(choice, _)| choice)
}

fn vulnerabilities() -> Vec<Vulnerability> {
    const DIRECTORY: &str = "/sys/devices/system/cpu/vulnerabilities";
    names(DIRECTORY, 200)
        .into_iter()
        .filter_map(|name| {
            let status = text(&format!("{DIRECTORY}/{name}"))?;
            Some(Vulnerability { vulnerable: status.starts_with("Vulnerable"), name, status })
        })
        .collect()
}

/// Which versions of control groups are mounted.
fn cgroups(mountinfo: &[u8]) -> &'static str {
    let mounts = mountinfo::parse(mountinfo);
    let mounted = |kind: &[u8]| mounts.iter().any(|mount| mount.file_system == kind);
    match (mounted(b"cgroup"), mounted(b"cgroup2")) {
        (false, true) => "v2",
        (true, true) => "hybrid",
        (true, false) => "v1",
        (false, false) => "none",
    }
}

/// Open descriptors and the most there may be: `/proc/sys/fs/file-nr` holds allocated, free, most.
fn open_files() -> (Option<u64>, Option<u64>) {
    let numbers = text("/proc/sys/fs/file-nr").unwrap_or_default();
    let mut numbers = numbers.split_whitespace().map(|field| decimal(field.as_bytes()));
    (numbers.next().flatten(), numbers.nth(1).flatten())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_kernel_is_the_one_that_runs() {
        let machine = Machine::new(crate::MachineOptions::default());
        let answer = machine.query("kernel", b"", Viewer::default()).unwrap();
        let output: Output = serde_json::from_slice(&answer).unwrap();
        assert_eq!(output.release, std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap().trim());
        assert_eq!(output.command_line, std::fs::read_to_string("/proc/cmdline").unwrap().trim());
        assert!(output.open_files.unwrap() > 0);
    }

    #[test]
    fn taints_are_in_words() {
        assert_eq!(taints(0), Vec::<String>::new());
        assert_eq!(taints(1 | 1 << 12).len(), 2);
        assert_eq!(taints(1 << 40), ["bit 40 is set"]);
    }

    #[test]
    fn modules_are_read_with_their_users() {
        let modules = modules(b"ext4 1085440 1 - Live 0x0\njbd2 200704 1 ext4,ocfs2, Live 0x0\nbroken\n");
        assert_eq!(modules.len(), 2);
        assert_eq!(modules[1].used_by, ["ext4", "ocfs2"]);
        assert!(modules[0].used_by.is_empty());
    }

    #[test]
    fn the_choice_is_the_one_in_brackets() {
        assert_eq!(chosen("none [integrity] confidentiality"), Some("integrity"));
        assert_eq!(chosen("none"), None);
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_panic(content: Vec<u8>, text: String, mask: u64) {
            let _ = (modules(&content), chosen(&text), taints(mask), cgroups(&content));
        }
    }
}
