//! `sysctl.set`: a setting of the kernel's, now and at each start.

use agentos_api::change::Risk;
use agentos_api::mutation::sysctl as api;

use super::files;
use crate::change::Plan;
use crate::change::error::ChangeError;
use crate::change::host::{Sysctl, normal, read_setting};
use crate::change::planner::Planner;
use crate::change::transition::{Transit, Transition};

/// Settings that run programs, open the kernel or take the machine off the network, by how their names begin.
const DESTRUCTIVE: [&str; 22] = [
    "fs.file-max",
    "fs.nr_open",
    "fs.protected_",
    "fs.suid_dumpable",
    "kernel.core_pattern",
    "kernel.core_uses_pid",
    "kernel.dmesg_restrict",
    "kernel.hotplug",
    "kernel.kptr_restrict",
    "kernel.modprobe",
    "kernel.panic",
    "kernel.perf_event_paranoid",
    "kernel.pid_max",
    "kernel.randomize_va_space",
    "kernel.sysrq",
    "kernel.threads-max",
    "kernel.unprivileged_",
    "kernel.usermodehelper",
    "kernel.yama",
    "vm.min_free_kbytes",
    "vm.mmap_min_addr",
    "vm.panic_on_oom",
];
/// Settings that the kernel takes back only when the machine starts again.
const ONE_WAY: [&str; 4] = [
    "kernel.kexec_load_disabled",
    "kernel.modules_disabled",
    "kernel.unprivileged_bpf_disabled",
    "kernel.yama.ptrace_scope",
];
/// Not settings: writing them does something.
const ACTS: [&str; 5] =
    ["fs.binfmt_misc", "kernel.ns_last_pid", "vm.compact_memory", "vm.drop_caches", "vm.stat_refresh"];

fn check(args: &api::SetArgs) -> Result<(), ChangeError> {
    let part = |part: &str| {
        !part.is_empty()
            && part
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'/' | b'@' | b':'))
            && !part.starts_with(['-', '/'])
            && !part.ends_with('/')
            && !part.contains("//")
    };
    if args.name.len() > 200 || !args.name.contains('.') || !args.name.split('.').all(part) {
        return Err(ChangeError::invalid("name", "is no setting's name, such as vm.swappiness"));
    }
    let printable = args.value.bytes().all(|byte| byte == b'\t' || (b' '..=b'~').contains(&byte));
    if args.value.trim().is_empty() || args.value.len() > 1024 || !printable {
        return Err(ChangeError::invalid("value", "must be one line of 1 to 1024 printable characters"));
    }
    Ok(())
}

impl Plan for api::Set {
    fn check(args: &api::SetArgs) -> Result<(), ChangeError> {
        check(args)
    }

    fn plan(planner: &mut Planner<'_>, args: api::SetArgs) -> Result<(), ChangeError> {
        let name = args.name.as_str();
        if ACTS.iter().any(|act| name.starts_with(act)) {
            return Err(ChangeError::refused(format!(
                "{name} is no setting: writing it does something at once"
            )));
        }
        let (from, to) = (read_setting(name)?, normal(&args.value));
        let one_way = ONE_WAY
            .contains(&name)
            .then(|| format!("the kernel may take {name} back only when the machine starts again"));
        let dangerous = DESTRUCTIVE.iter().any(|start| name.starts_with(start)) || one_way.is_some();
        planner.risk(if dangerous { Risk::Destructive } else { Risk::Medium });
        if name.starts_with("net.") && (name.ends_with(".disable_ipv6") || name.ends_with(".rp_filter")) {
            planner.can_lock_out();
        }
        planner.summary(format!("Sets {name} to {to}"));
        if args.persist {
            // Read after the distribution's, so that it holds (sysctl.d(5)).
            let path = format!("/etc/sysctl.d/zz-agentos-{}.conf", name.replace('/', "%"));
            files::folder(planner, "/etc/sysctl.d")?;
            files::text(planner, &path, &format!("# Set by agentd (sysctl.set).\n{name} = {to}\n"))?;
        }
        let sysctl = Sysctl { name: name.to_owned(), from, to, one_way };
        if planner.is_planned(&sysctl.on()) {
            return Err(ChangeError::refused(format!("an earlier step of this change sets {name} already")));
        }
        if sysctl.from == sysctl.to { Ok(()) } else { planner.add(Transition::Sysctl(sysctl)) }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_is_taken_as_a_name_stays_below_proc_sys(name in "[a-z./_-]{0,30}") {
            let args = api::SetArgs { name: name.clone(), value: "1".to_owned(), persist: false };
            if check(&args).is_ok() {
                let path = crate::queries::sysctl::path_of(&name);
                prop_assert!(path.starts_with("/proc/sys/"));
                prop_assert!(path.split('/').all(|part| part != ".."), "{}", path);
            }
        }
    }
}
