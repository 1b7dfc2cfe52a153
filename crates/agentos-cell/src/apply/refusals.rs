//! Which system calls a command may not make that acts on the machine.
//!
//! Here a list says what is refused, and the rest is let through: what administers a machine is not to be foreseen. So the list has
//! all that would lead out of the view, into other processes, or into the kernel; [`super`] takes the capabilities for most of it as well.

use std::collections::BTreeMap;

use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen as Length, SeccompCmpOp as Compare,
    SeccompCondition as Condition, SeccompRule as Rule, sock_filter,
};

use crate::filter::{Rules, always, compile, compile_supervised, one_of};

/// Fails with `EPERM`.
#[rustfmt::skip]
const REFUSED: &[i64] = &[
    // Mounts, roots and namespaces: the view stays the one it got.
    libc::SYS_mount, libc::SYS_umount2, libc::SYS_pivot_root, libc::SYS_setns, libc::SYS_unshare, libc::SYS_open_tree,
    libc::SYS_move_mount, libc::SYS_fsopen, libc::SYS_fsconfig, libc::SYS_fsmount, libc::SYS_fspick,
    libc::SYS_mount_setattr, libc::SYS_swapon, libc::SYS_swapoff, libc::SYS_quotactl, libc::SYS_quotactl_fd,
    // A file by a number instead of a path: below what is covered, too.
    libc::SYS_open_by_handle_at,
    // Into other processes.
    libc::SYS_ptrace, libc::SYS_process_vm_readv, libc::SYS_process_vm_writev, libc::SYS_pidfd_getfd, libc::SYS_kcmp,
    libc::SYS_process_madvise, libc::SYS_process_mrelease, libc::SYS_migrate_pages, libc::SYS_move_pages,
    // Into the kernel.
    libc::SYS_init_module, libc::SYS_finit_module, libc::SYS_delete_module, libc::SYS_kexec_load,
    libc::SYS_bpf, libc::SYS_perf_event_open, libc::SYS_keyctl, libc::SYS_add_key, libc::SYS_request_key,
    libc::SYS_userfaultfd, libc::SYS_fanotify_init, libc::SYS_lookup_dcookie, libc::SYS_acct,
    // The whole machine: there are changes for it, or it is nobody's to change while it runs.
    libc::SYS_reboot, libc::SYS_settimeofday, libc::SYS_clock_settime, libc::SYS_clock_adjtime, libc::SYS_adjtimex,
    libc::SYS_vhangup,
];

/// The same, by the names that only this kind of machine has.
#[cfg(target_arch = "x86_64")]
const REFUSED_X86: &[i64] = &[libc::SYS_kexec_file_load, libc::SYS_iopl, libc::SYS_ioperm, libc::SYS_uselib];

/// Fails with `ENOSYS`: there is an older call that does the same, and that can be looked at.
const OLDER: &[i64] = &[
    // Its flags are in memory, which may change after they were looked at.
    libc::SYS_clone3,
    // A descriptor may be exchanged after it was looked at.
    libc::SYS_pidfd_send_signal,
    // It makes system calls that no filter sees.
    libc::SYS_io_uring_setup,
    libc::SYS_io_uring_enter,
    libc::SYS_io_uring_register,
];

/// Namespaces that clone(2) makes: mounts, cgroups, name, IPC, users, processes, network.
const NEW_NAMESPACES: [u64; 7] =
    [0x2_0000, 0x200_0000, 0x400_0000, 0x800_0000, 0x1000_0000, 0x2000_0000, 0x4000_0000];
/// `F_SETOWN`, `F_SETSIG`, `F_SETOWN_EX`: a signal of one's choice to whatever process, when a descriptor is ready.
const SIGNAL_BY_DESCRIPTOR: [u64; 3] = [8, 10, 15];
/// `FIOSETOWN` and `SIOCSPGRP`, the same for sockets; `TIOCSTI` and `TIOCLINUX`, which type on a terminal.
const REFUSED_REQUESTS: [u64; 4] = [0x8901, 0x8902, 0x5412, 0x541c];
/// `__X32_SYSCALL_BIT`: every call once more, under another number.
const OTHER_NUMBERS: u32 = 0x4000_0000;

/// The filters for such a command.
pub struct Filters {
    /// Added first, with a listener.
    pub supervised: BpfProgram,
    /// Added after it.
    pub refusing: Vec<BpfProgram>,
}

/// The filters.
///
/// # Errors
/// A sentence, where a filter cannot be made for this kind of machine.
pub fn filters() -> Result<Filters, String> {
    let fails = |errno: libc::c_int| SeccompAction::Errno(errno.unsigned_abs());
    Ok(Filters {
        supervised: compile_supervised(supervised())?,
        refusing: vec![
            compile(refused(), SeccompAction::Allow, fails(libc::EPERM))?,
            compile(always(OLDER), SeccompAction::Allow, fails(libc::ENOSYS))?,
            no_other_numbers(),
        ],
    })
}

/// What agentd looks at: all that names a process. Each has what it says in registers, so agentd can let it through as it is.
///
/// Not what makes a process: a call that waits for agentd is broken off by a signal, and few programs know a fork(2) that is.
fn supervised() -> Rules {
    let mut rules = always(SUPERVISED);
    for call in MAY_MEAN_ITSELF {
        let another = Condition::new(0, Length::Dword, Compare::Ne, 0);
        rules.insert(*call, another.and_then(|one| Rule::new(vec![one])).into_iter().collect());
    }
    rules
}

/// What names a process or group.
pub const SUPERVISED: &[i64] = &[
    libc::SYS_kill,
    libc::SYS_tkill,
    libc::SYS_tgkill,
    libc::SYS_rt_sigqueueinfo,
    libc::SYS_rt_tgsigqueueinfo,
    libc::SYS_pidfd_open,
    libc::SYS_prlimit64,
    libc::SYS_setpriority,
    libc::SYS_ioprio_set,
    libc::SYS_sched_setscheduler,
    libc::SYS_sched_setparam,
    libc::SYS_sched_setattr,
    libc::SYS_sched_setaffinity,
];

/// Of those, the ones that mean the caller itself by a 0.
const MAY_MEAN_ITSELF: &[i64] = &[
    libc::SYS_prlimit64,
    libc::SYS_sched_setscheduler,
    libc::SYS_sched_setparam,
    libc::SYS_sched_setattr,
    libc::SYS_sched_setaffinity,
];

fn refused() -> Rules {
    let mut rules: BTreeMap<i64, Vec<Rule>> = always(REFUSED);
    #[cfg(target_arch = "x86_64")]
    rules.extend(always(REFUSED_X86));
    let one_is_new = NEW_NAMESPACES.iter().filter_map(|&flag| {
        Rule::new(vec![Condition::new(0, Length::Qword, Compare::MaskedEq(flag), flag).ok()?]).ok()
    });
    rules.insert(libc::SYS_clone, one_is_new.collect());
    rules.insert(libc::SYS_fcntl, one_of(1, &SIGNAL_BY_DESCRIPTOR));
    rules.insert(libc::SYS_ioctl, one_of(1, &REFUSED_REQUESTS));
    rules
}

/// Every call by a number from [`OTHER_NUMBERS`] on fails with `ENOSYS`, as where the kernel does not have them.
fn no_other_numbers() -> BpfProgram {
    const LOAD: u16 = 0x20; // BPF_LD | BPF_W | BPF_ABS
    const JUMP_GE: u16 = 0x35; // BPF_JMP | BPF_JGE | BPF_K
    const RETURN: u16 = 0x06; // BPF_RET | BPF_K
    const RET_ERRNO: u32 = 0x0005_0000;
    const RET_ALLOW: u32 = 0x7fff_0000;
    let one = |code, jt, k| sock_filter { code, jt, jf: 0, k };
    vec![
        one(LOAD, 0, 0), // The call's number is the first field (seccomp_data).
        one(JUMP_GE, 1, OTHER_NUMBERS),
        one(RETURN, 0, RET_ALLOW),
        one(RETURN, 0, RET_ERRNO | libc::ENOSYS.unsigned_abs()),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_call_is_refused_and_supervised() {
        let (supervised, refused) = (supervised(), refused());
        for call in supervised.keys() {
            assert!(!refused.contains_key(call) && !OLDER.contains(call), "{call}");
        }
        assert!(filters().is_ok());
    }

    #[test]
    fn the_lists_name_each_call_once() {
        let mut all: Vec<i64> = REFUSED.iter().chain(OLDER).chain(SUPERVISED).copied().collect();
        let count = all.len();
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), count);
    }
}
