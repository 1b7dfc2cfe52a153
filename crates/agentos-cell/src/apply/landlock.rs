//! A Landlock domain (landlock(7)) around the command, for what such a domain does by being there.
//!
//! A process in it gets at no process outside it as a debugger does, and `/proc/PID/root`, `cwd`, `fd`, `mem` and `ns` ask for
//! just that (ptrace(2), "Ptrace access mode checking"). Without it, becoming another user is enough to be let into that
//! user's processes, and through their `root` past everything that is covered. It mounts nothing either.

use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use rustix::fs::{Mode, OFlags, open};

/// `LANDLOCK_ACCESS_FS_REFER`: a name moves from one folder to another. A domain has to handle something, and of this one it
/// would be refused otherwise; it is allowed everywhere.
const REFER: u64 = 1 << 13;
/// `LANDLOCK_RULE_PATH_BENEATH`.
const PATH_BENEATH: libc::c_int = 1;

/// `struct landlock_ruleset_attr`, as far as it is needed.
#[repr(C)]
struct Ruleset {
    handled_access_fs: u64,
}

/// `struct landlock_path_beneath_attr`.
#[repr(C, packed)]
struct PathBeneath {
    allowed_access: u64,
    parent_fd: i32,
}

/// Puts this process, and all that it starts, into a domain of its own. It needs "no new privileges".
///
/// # Errors
/// A sentence: the kernel has no Landlock, or one older than Linux 5.19.
pub(super) fn enter() -> Result<(), String> {
    let failed = |what: &str| {
        format!(
            "a Landlock domain ({what}): {}; Linux 5.19 or later with Landlock is needed",
            std::io::Error::last_os_error()
        )
    };
    let ruleset = Ruleset { handled_access_fs: REFER };
    // SAFETY: the structure has the size that is given.
    let made = unsafe {
        libc::syscall(libc::SYS_landlock_create_ruleset, &raw const ruleset, size_of::<Ruleset>(), 0)
    };
    let number =
        i32::try_from(made).ok().filter(|&number| number >= 0).ok_or_else(|| failed("the ruleset"))?;
    // SAFETY: the kernel made this descriptor a moment ago, and nobody else knows of it.
    let rules = unsafe { OwnedFd::from_raw_fd(number) };
    let root = open(c"/", OFlags::PATH | OFlags::CLOEXEC, Mode::empty())
        .map_err(|error| format!("a Landlock domain (/): {error}"))?;
    let beneath = PathBeneath { allowed_access: REFER, parent_fd: root.as_raw_fd() };
    // SAFETY: the structure is the one of this kind of rule, and both descriptors are open.
    let added = unsafe {
        libc::syscall(libc::SYS_landlock_add_rule, rules.as_raw_fd(), PATH_BENEATH, &raw const beneath, 0)
    };
    if added != 0 {
        return Err(failed("the rule"));
    }
    // SAFETY: it takes a descriptor and a number.
    if unsafe { libc::syscall(libc::SYS_landlock_restrict_self, rules.as_raw_fd(), 0) } != 0 {
        return Err(failed("entering it"));
    }
    Ok(())
}
