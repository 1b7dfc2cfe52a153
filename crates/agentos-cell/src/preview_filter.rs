//! Which system calls a command may make whose effects on files are looked at.
//!
//! What it does to files it does to a view of them, and its processes, its network and its System V IPC are its own, so the
//! calls that alter those are let through. What is refused would lead out of that: mounts and namespaces, other
//! processes' memory, handles of files, keys, clocks, modules.

use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen as Length, SeccompCmpOp as Compare,
    SeccompCondition as Condition, SeccompRule as Rule,
};

use crate::filter::{
    ALTERING, NETLINK, NEW_NAMESPACES, READING, READING_REQUESTS, Rules, always, compile, compile_supervised,
    limits_but_that_for_cores, one_of, rule,
};
#[cfg(target_arch = "x86_64")]
use crate::filter::{ALTERING_X86, READING_X86};

/// What alters files, and what is the command's own, beside what only reads.
#[rustfmt::skip]
const WRITING: &[i64] = &[
    // Files.
    libc::SYS_openat, libc::SYS_mkdirat, libc::SYS_mknodat, libc::SYS_unlinkat, libc::SYS_symlinkat, libc::SYS_linkat,
    libc::SYS_renameat2, libc::SYS_truncate, libc::SYS_ftruncate, libc::SYS_fallocate, libc::SYS_fchmod,
    libc::SYS_fchmodat, libc::SYS_fchown, libc::SYS_fchownat, libc::SYS_utimensat, libc::SYS_setxattr,
    libc::SYS_lsetxattr, libc::SYS_fsetxattr, libc::SYS_removexattr, libc::SYS_lremovexattr, libc::SYS_fremovexattr,
    libc::SYS_sync, libc::SYS_syncfs, libc::SYS_sync_file_range,
    // Who it is: it cannot become more than it is.
    libc::SYS_setuid, libc::SYS_setgid, libc::SYS_setreuid, libc::SYS_setregid, libc::SYS_setresuid,
    libc::SYS_setresgid, libc::SYS_setgroups, libc::SYS_setfsuid, libc::SYS_setfsgid, libc::SYS_capset,
    // Its own processes.
    libc::SYS_getpid, libc::SYS_kill, libc::SYS_tgkill, libc::SYS_rt_tgsigqueueinfo, libc::SYS_setpriority,
    libc::SYS_sched_setaffinity, libc::SYS_sched_setscheduler, libc::SYS_sched_setparam, libc::SYS_ioprio_set,
    libc::SYS_pidfd_open, libc::SYS_pidfd_send_signal, libc::SYS_personality, libc::SYS_timer_create,
    libc::SYS_timer_settime, libc::SYS_timer_gettime, libc::SYS_timer_getoverrun, libc::SYS_timer_delete,
    libc::SYS_mlock2, libc::SYS_mlockall, libc::SYS_munlockall,
    // Its own network, and sockets of its own processes.
    libc::SYS_connect, libc::SYS_bind, libc::SYS_listen, libc::SYS_accept, libc::SYS_accept4,
    // Its own System V IPC and queues.
    libc::SYS_shmget, libc::SYS_shmat, libc::SYS_shmdt, libc::SYS_shmctl, libc::SYS_semget, libc::SYS_semop,
    libc::SYS_semtimedop, libc::SYS_semctl, libc::SYS_msgget, libc::SYS_msgsnd, libc::SYS_msgrcv, libc::SYS_msgctl,
    libc::SYS_mq_open, libc::SYS_mq_unlink, libc::SYS_mq_timedsend, libc::SYS_mq_timedreceive, libc::SYS_mq_notify,
    libc::SYS_mq_getsetattr,
];

/// The same, by the names that only this kind of machine has.
#[cfg(target_arch = "x86_64")]
#[rustfmt::skip]
const WRITING_X86: &[i64] = &[
    libc::SYS_open, libc::SYS_creat, libc::SYS_mkdir, libc::SYS_rmdir, libc::SYS_mknod, libc::SYS_unlink,
    libc::SYS_symlink, libc::SYS_link, libc::SYS_rename, libc::SYS_renameat, libc::SYS_chmod, libc::SYS_chown,
    libc::SYS_lchown, libc::SYS_utime, libc::SYS_utimes, libc::SYS_futimesat,
];

/// The filters, in the order in which they are added. The first is the one with a listener.
///
/// # Errors
/// A sentence, where a filter cannot be made for this kind of machine.
pub(crate) fn filters() -> Result<[BpfProgram; 3], String> {
    Ok([
        compile_supervised(supervised())?,
        compile(allowed(), SeccompAction::Errno(libc::ENOSYS.unsigned_abs()), SeccompAction::Allow)?,
        compile(refused(), SeccompAction::Allow, SeccompAction::Errno(libc::EPERM.unsigned_abs()))?,
    ])
}

/// Calls that open a file whose content was there before, and can be read through the descriptor. Folders, descriptors that only
/// point, and what only writes or is emptied give nothing away; the flags are in a register, and cannot be exchanged.
fn supervised() -> Rules {
    let flag = |flags: i32| u64::from(flags.unsigned_abs());
    let opens = |argument: u8| {
        let neither = flag(libc::O_ACCMODE | libc::O_DIRECTORY | libc::O_PATH);
        [
            rule(&[(argument, Compare::MaskedEq(neither), flag(libc::O_RDONLY))]),
            rule(&[(argument, Compare::MaskedEq(neither | flag(libc::O_TRUNC)), flag(libc::O_RDWR))]),
        ]
        .into_iter()
        .flatten()
        .collect::<Vec<Rule>>()
    };
    let mut rules = Rules::new();
    rules.insert(libc::SYS_openat, opens(2));
    #[cfg(target_arch = "x86_64")]
    rules.insert(libc::SYS_open, opens(1));
    rules
}

fn allowed() -> Rules {
    let mut rules = always(READING);
    rules.extend(always(WRITING));
    #[cfg(target_arch = "x86_64")]
    {
        rules.extend(always(READING_X86));
        rules.extend(always(WRITING_X86));
    }
    let family = |family: i32| rule(&[(0, Compare::Eq, family.unsigned_abs().into())]);
    let own = [libc::AF_UNIX, libc::AF_INET, libc::AF_INET6].into_iter().filter_map(family);
    let netlink = NETLINK.iter().filter_map(|&family| {
        rule(&[(0, Compare::Eq, libc::AF_NETLINK.unsigned_abs().into()), (2, Compare::Eq, family)])
    });
    rules.insert(libc::SYS_socket, own.chain(netlink).collect());
    rules.insert(libc::SYS_socketpair, family(libc::AF_UNIX).into_iter().collect());
    let plain_clone = Condition::new(0, Length::Qword, Compare::MaskedEq(NEW_NAMESPACES), 0);
    rules.insert(libc::SYS_clone, plain_clone.and_then(|one| Rule::new(vec![one])).into_iter().collect());
    rules.insert(libc::SYS_prlimit64, limits_but_that_for_cores());
    rules.insert(libc::SYS_ioctl, one_of(1, &READING_REQUESTS));
    rules.insert(
        libc::SYS_fcntl,
        rule(&[(1, Compare::Lt, 1024)])
            .into_iter()
            .chain(one_of(1, &[1030, 1031, 1032, 1033, 1034]))
            .collect(),
    );
    rules
}

/// What alters something else than files, said plainly.
fn refused() -> Rules {
    let allowed = allowed();
    let mut rules = always(ALTERING);
    #[cfg(target_arch = "x86_64")]
    rules.extend(always(ALTERING_X86));
    rules.retain(|call, _| !allowed.contains_key(call));
    let families = [libc::AF_PACKET, libc::AF_VSOCK, libc::AF_ALG, libc::AF_BLUETOOTH];
    rules.insert(libc::SYS_socket, one_of(0, &families.map(|family| family.unsigned_abs().into())));
    rules
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_leads_out_of_the_view_is_not_let_through() {
        let (allowed, refused) = (allowed(), refused());
        for call in [
            libc::SYS_mount,
            libc::SYS_umount2,
            libc::SYS_pivot_root,
            libc::SYS_chroot,
            libc::SYS_setns,
            libc::SYS_unshare,
            libc::SYS_ptrace,
            libc::SYS_process_vm_writev,
            libc::SYS_pidfd_getfd,
            libc::SYS_open_by_handle_at,
            libc::SYS_keyctl,
            libc::SYS_bpf,
            libc::SYS_init_module,
            libc::SYS_kexec_load,
            libc::SYS_clock_settime,
            libc::SYS_reboot,
            libc::SYS_swapon,
        ] {
            assert!(!allowed.contains_key(&call) && refused.contains_key(&call), "{call}");
        }
        for call in [
            libc::SYS_openat2,
            libc::SYS_clone3,
            libc::SYS_io_uring_setup,
            libc::SYS_fsopen,
            libc::SYS_open_tree,
        ] {
            assert!(!allowed.contains_key(&call), "{call}");
        }
    }

    #[test]
    fn every_filter_can_be_made() {
        assert!(filters().unwrap().iter().all(|filter| !filter.is_empty() && filter.len() < 4096));
    }
}
