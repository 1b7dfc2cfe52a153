//! Which system calls a command may make that changes nothing.
//!
//! Three filters are put one over the other (seccomp(2)). The kernel takes the strictest answer; of two errors, that of the
//! filter that was added last. Calls that no list names fail with `ENOSYS`, as they would on an older kernel: programs and
//! libc have a way round that.

use std::collections::BTreeMap;

use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen as Length, SeccompCmpOp as Compare,
    SeccompCondition as Condition, SeccompFilter, SeccompRule as Rule, TargetArch, sock_filter,
};

/// A mark in place of `SECCOMP_RET_USER_NOTIF`, which seccompiler has no name for.
const MARK: u16 = 0x7ff1;
/// `SECCOMP_RET_TRACE` (linux/seccomp.h).
const RET_TRACE: u32 = 0x7ff0_0000;
/// `SECCOMP_RET_USER_NOTIF` (linux/seccomp.h).
const RET_USER_NOTIF: u32 = 0x7fc0_0000;
/// `CLONE_NEW*` flags of clone(2).
const NEW_NAMESPACES: u64 = 0x7e02_0080 & !0xff;
/// `SYSLOG_ACTION_READ_ALL` and `SYSLOG_ACTION_SIZE_BUFFER` (syslog(2)): what takes nothing from others.
const LOG_READS: [u64; 2] = [3, 10];
/// Requests of ioctl(2) that read: the terminal's state and size, what can be read, flags of descriptors and files.
const READING_REQUESTS: [u64; 9] =
    [0x5401, 0x5413, 0x541b, 0x5421, 0x5450, 0x5451, 0x8008_6601, 0x801c_581f, 0xc020_660b];
/// Netlink families in which the kernel answers questions: routes and links, sockets, generic (netlink(7)). To change
/// something each of them wants a capability that is gone.
const NETLINK: [u64; 3] = [0, 4, 16];

/// What reads, and what concerns the command alone.
#[rustfmt::skip]
const READING: &[i64] = &[
    // Descriptors, and what is read and written through them: none is open for writing but pipes of the command's own.
    libc::SYS_read, libc::SYS_pread64, libc::SYS_readv, libc::SYS_preadv, libc::SYS_preadv2, libc::SYS_write,
    libc::SYS_pwrite64, libc::SYS_writev, libc::SYS_pwritev, libc::SYS_pwritev2, libc::SYS_close,
    libc::SYS_close_range, libc::SYS_lseek, libc::SYS_sendfile, libc::SYS_splice, libc::SYS_tee, libc::SYS_vmsplice,
    libc::SYS_copy_file_range, libc::SYS_dup, libc::SYS_dup3, libc::SYS_pipe2, libc::SYS_flock, libc::SYS_fsync,
    libc::SYS_fdatasync, libc::SYS_fadvise64, libc::SYS_readahead,
    // What is known of files.
    libc::SYS_fstat, libc::SYS_newfstatat, libc::SYS_statx, libc::SYS_faccessat, libc::SYS_faccessat2,
    libc::SYS_readlinkat, libc::SYS_getdents64, libc::SYS_getcwd, libc::SYS_chdir, libc::SYS_fchdir, libc::SYS_statfs,
    libc::SYS_fstatfs, libc::SYS_getxattr, libc::SYS_lgetxattr, libc::SYS_fgetxattr, libc::SYS_listxattr,
    libc::SYS_llistxattr, libc::SYS_flistxattr, libc::SYS_umask, libc::SYS_inotify_init1, libc::SYS_inotify_add_watch,
    libc::SYS_inotify_rm_watch,
    // Memory.
    libc::SYS_mmap, libc::SYS_mprotect, libc::SYS_munmap, libc::SYS_brk, libc::SYS_mremap, libc::SYS_madvise,
    libc::SYS_msync, libc::SYS_mincore, libc::SYS_mlock, libc::SYS_munlock, libc::SYS_membarrier,
    libc::SYS_memfd_create,
    // Waiting.
    libc::SYS_pselect6, libc::SYS_ppoll, libc::SYS_epoll_create1, libc::SYS_epoll_ctl, libc::SYS_epoll_pwait,
    libc::SYS_epoll_pwait2, libc::SYS_eventfd2, libc::SYS_signalfd4, libc::SYS_timerfd_create,
    libc::SYS_timerfd_settime, libc::SYS_timerfd_gettime, libc::SYS_nanosleep, libc::SYS_clock_nanosleep,
    libc::SYS_futex, libc::SYS_futex_waitv, libc::SYS_set_robust_list, libc::SYS_get_robust_list, libc::SYS_rseq,
    libc::SYS_sched_yield,
    // Signals: none reaches beyond the process namespace.
    libc::SYS_rt_sigaction, libc::SYS_rt_sigprocmask, libc::SYS_rt_sigreturn, libc::SYS_rt_sigsuspend,
    libc::SYS_rt_sigpending, libc::SYS_rt_sigtimedwait, libc::SYS_sigaltstack, libc::SYS_tkill,
    libc::SYS_rt_sigqueueinfo, libc::SYS_restart_syscall,
    // Processes.
    libc::SYS_execve, libc::SYS_execveat, libc::SYS_exit, libc::SYS_exit_group, libc::SYS_wait4, libc::SYS_waitid,
    libc::SYS_gettid, libc::SYS_getppid, libc::SYS_getpgid, libc::SYS_setpgid, libc::SYS_getsid,
    libc::SYS_setsid, libc::SYS_getuid, libc::SYS_geteuid, libc::SYS_getgid, libc::SYS_getegid, libc::SYS_getresuid,
    libc::SYS_getresgid, libc::SYS_getgroups, libc::SYS_capget, libc::SYS_set_tid_address, libc::SYS_prctl,
    libc::SYS_seccomp, libc::SYS_prlimit64, libc::SYS_getrusage, libc::SYS_getpriority, libc::SYS_ioprio_get,
    libc::SYS_sched_getaffinity, libc::SYS_sched_getparam, libc::SYS_sched_getscheduler,
    libc::SYS_sched_get_priority_max, libc::SYS_sched_get_priority_min, libc::SYS_getcpu,
    // The machine.
    libc::SYS_uname, libc::SYS_sysinfo, libc::SYS_times, libc::SYS_clock_gettime, libc::SYS_clock_getres,
    libc::SYS_gettimeofday, libc::SYS_getitimer, libc::SYS_setitimer, libc::SYS_getrandom,
    // Sockets that are open already.
    libc::SYS_getsockname, libc::SYS_getpeername, libc::SYS_getsockopt, libc::SYS_setsockopt, libc::SYS_sendto,
    libc::SYS_sendmsg, libc::SYS_sendmmsg, libc::SYS_recvfrom, libc::SYS_recvmsg, libc::SYS_recvmmsg,
    libc::SYS_shutdown,
];

/// The same, by the names that only this kind of machine has.
#[cfg(target_arch = "x86_64")]
#[rustfmt::skip]
const READING_X86: &[i64] = &[
    libc::SYS_stat, libc::SYS_lstat, libc::SYS_access, libc::SYS_readlink, libc::SYS_getdents, libc::SYS_pipe,
    libc::SYS_dup2, libc::SYS_select, libc::SYS_poll, libc::SYS_epoll_create, libc::SYS_epoll_wait, libc::SYS_eventfd,
    libc::SYS_signalfd, libc::SYS_pause, libc::SYS_alarm, libc::SYS_fork, libc::SYS_vfork, libc::SYS_getpgrp,
    libc::SYS_arch_prctl, libc::SYS_getrlimit, libc::SYS_time, libc::SYS_inotify_init,
];

/// What alters something.
#[rustfmt::skip]
const ALTERING: &[i64] = &[
    libc::SYS_mkdirat, libc::SYS_mknodat, libc::SYS_unlinkat, libc::SYS_symlinkat, libc::SYS_linkat,
    libc::SYS_renameat2, libc::SYS_truncate, libc::SYS_ftruncate, libc::SYS_fallocate, libc::SYS_fchmod,
    libc::SYS_fchmodat, libc::SYS_fchown, libc::SYS_fchownat, libc::SYS_utimensat, libc::SYS_setxattr,
    libc::SYS_lsetxattr, libc::SYS_fsetxattr, libc::SYS_removexattr, libc::SYS_lremovexattr, libc::SYS_fremovexattr,
    libc::SYS_mount, libc::SYS_umount2, libc::SYS_pivot_root, libc::SYS_chroot, libc::SYS_swapon, libc::SYS_swapoff,
    libc::SYS_reboot, libc::SYS_sethostname, libc::SYS_setdomainname, libc::SYS_init_module, libc::SYS_finit_module,
    libc::SYS_delete_module, libc::SYS_kexec_load, libc::SYS_settimeofday, libc::SYS_clock_settime,
    libc::SYS_clock_adjtime, libc::SYS_adjtimex, libc::SYS_setns, libc::SYS_unshare, libc::SYS_ptrace,
    libc::SYS_process_vm_readv, libc::SYS_process_vm_writev, libc::SYS_pidfd_open, libc::SYS_pidfd_getfd,
    libc::SYS_pidfd_send_signal, libc::SYS_keyctl, libc::SYS_add_key, libc::SYS_request_key, libc::SYS_bpf,
    libc::SYS_perf_event_open, libc::SYS_userfaultfd, libc::SYS_acct, libc::SYS_quotactl, libc::SYS_sync,
    libc::SYS_syncfs, libc::SYS_setuid, libc::SYS_setgid, libc::SYS_setreuid, libc::SYS_setregid, libc::SYS_setresuid,
    libc::SYS_setresgid, libc::SYS_setgroups, libc::SYS_capset, libc::SYS_listen, libc::SYS_accept, libc::SYS_accept4,
    libc::SYS_setpriority, libc::SYS_sched_setaffinity, libc::SYS_sched_setscheduler, libc::SYS_sched_setparam,
    libc::SYS_ioprio_set, libc::SYS_open_by_handle_at, libc::SYS_shmget, libc::SYS_semget, libc::SYS_msgget,
    libc::SYS_mq_open, libc::SYS_mq_unlink,
];

/// The same, by the names that only this kind of machine has.
#[cfg(target_arch = "x86_64")]
#[rustfmt::skip]
const ALTERING_X86: &[i64] = &[
    libc::SYS_creat, libc::SYS_mkdir, libc::SYS_rmdir, libc::SYS_mknod, libc::SYS_unlink, libc::SYS_symlink,
    libc::SYS_link, libc::SYS_rename, libc::SYS_renameat, libc::SYS_chmod, libc::SYS_chown, libc::SYS_lchown,
    libc::SYS_utime, libc::SYS_utimes, libc::SYS_futimesat, libc::SYS_iopl, libc::SYS_ioperm,
];

/// The filters, in the order in which they are added. The first is the one with a listener.
///
/// # Errors
/// A sentence, where a filter cannot be made for this kind of machine.
pub fn filters() -> Result<[BpfProgram; 3], String> {
    Ok([
        supervised_program(supervised())?,
        compile(reading(), SeccompAction::Errno(libc::ENOSYS.unsigned_abs()), SeccompAction::Allow)?,
        compile(altering(), SeccompAction::Allow, SeccompAction::Errno(libc::EPERM.unsigned_abs()))?,
    ])
}

/// A filter that hands those calls over to its listener.
pub(crate) fn supervised_program(rules: Rules) -> Result<BpfProgram, String> {
    let mut program = compile(rules, SeccompAction::Allow, SeccompAction::Trace(MARK.into()))?;
    for instruction in &mut program {
        replace_mark(instruction);
    }
    Ok(program)
}

fn replace_mark(instruction: &mut sock_filter) {
    if instruction.k == RET_TRACE | u32::from(MARK) {
        instruction.k = RET_USER_NOTIF;
    }
}

pub(crate) type Rules = BTreeMap<i64, Vec<Rule>>;

pub(crate) fn compile(
    rules: Rules,
    otherwise: SeccompAction,
    then: SeccompAction,
) -> Result<BpfProgram, String> {
    let machine: TargetArch = std::env::consts::ARCH.try_into().map_err(|error| format!("{error}"))?;
    let filter = SeccompFilter::new(rules, otherwise, then, machine).map_err(|error| error.to_string())?;
    BpfProgram::try_from(filter).map_err(|error| error.to_string())
}

pub(crate) fn always(calls: &[i64]) -> Rules {
    calls.iter().map(|&call| (call, Vec::new())).collect()
}

/// Rules that hold where one argument has one of those values.
pub(crate) fn one_of(argument: u8, values: &[u64]) -> Vec<Rule> {
    values.iter().filter_map(|&value| rule(&[(argument, Compare::Eq, value)])).collect()
}

/// A rule that holds where all those arguments do, each by its lower 32 bits: the kernel looks at no more of them.
fn rule(conditions: &[(u8, Compare, u64)]) -> Option<Rule> {
    let conditions: Result<Vec<Condition>, _> = conditions
        .iter()
        .map(|(argument, compare, value)| Condition::new(*argument, Length::Dword, compare.clone(), *value))
        .collect();
    Rule::new(conditions.ok()?).ok()
}

/// What agentd does in the command's place.
fn supervised() -> Rules {
    let mut rules = always(&[
        libc::SYS_openat,
        libc::SYS_connect,
        libc::SYS_bind,
        // Programs look for themselves in /proc, where they have another number than in their namespace.
        libc::SYS_getpid,
        libc::SYS_kill,
        libc::SYS_tgkill,
    ]);
    #[cfg(target_arch = "x86_64")]
    rules.extend(always(&[libc::SYS_open]));
    rules
}

/// What reads, and what concerns the command alone.
fn reading() -> Rules {
    let mut rules = supervised();
    rules.extend(always(READING));
    #[cfg(target_arch = "x86_64")]
    rules.extend(always(READING_X86));
    let stream_or_packets = |kind: i32| {
        rule(&[
            (0, Compare::Eq, libc::AF_UNIX.unsigned_abs().into()),
            (1, Compare::MaskedEq(0xf), kind.unsigned_abs().into()),
        ])
    };
    let unix = [libc::SOCK_STREAM, libc::SOCK_SEQPACKET].into_iter().filter_map(stream_or_packets);
    let netlink = NETLINK.iter().filter_map(|&family| {
        rule(&[(0, Compare::Eq, libc::AF_NETLINK.unsigned_abs().into()), (2, Compare::Eq, family)])
    });
    rules.insert(libc::SYS_socket, unix.clone().chain(netlink).collect());
    rules.insert(libc::SYS_socketpair, unix.collect());
    let plain_clone = Condition::new(0, Length::Qword, Compare::MaskedEq(NEW_NAMESPACES), 0);
    rules.insert(libc::SYS_clone, plain_clone.and_then(|one| Rule::new(vec![one])).into_iter().collect());
    rules.insert(libc::SYS_syslog, one_of(0, &LOG_READS));
    rules.insert(libc::SYS_ioctl, one_of(1, &READING_REQUESTS));
    // Not leases and notifications, by which one waits for others and they for it (fcntl(2), "Leases").
    rules.insert(
        libc::SYS_fcntl,
        rule(&[(1, Compare::Lt, 1024)]).into_iter().chain(one_of(1, &[1030, 1032, 1034])).collect(),
    );
    rules
}

/// What alters something, said plainly: programs know what to say of `EPERM`.
fn altering() -> Rules {
    let mut rules = always(ALTERING);
    #[cfg(target_arch = "x86_64")]
    rules.extend(always(ALTERING_X86));
    let families =
        [libc::AF_INET, libc::AF_INET6, libc::AF_PACKET, libc::AF_VSOCK, libc::AF_ALG, libc::AF_BLUETOOTH];
    rules.insert(libc::SYS_socket, one_of(0, &families.map(|family| family.unsigned_abs().into())));
    rules
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_call_is_on_two_of_the_lists_that_decide_alone() {
        let (reading, altering) = (reading(), altering());
        for call in altering.keys().filter(|call| **call != libc::SYS_socket) {
            assert!(!reading.contains_key(call), "{call}");
        }
    }

    #[test]
    fn the_first_filter_asks_and_traces_nothing() {
        let [supervised, ..] = filters().unwrap();
        assert!(supervised.iter().any(|one| one.code == 0x06 && one.k == RET_USER_NOTIF));
        assert!(!supervised.iter().any(|one| one.code == 0x06 && one.k & 0xffff_0000 == RET_TRACE));
    }
}
