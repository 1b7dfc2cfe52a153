//! Whose accounts are whose: what the agent may not touch, and what is destructive whoever asks.
//!
//! Three circles.
//!
//! - **Who says yes.** Root, the members of `agentos-operators` and of agentd's own groups. The agent changes nothing about
//!   them, with or without approval: a key, a shell, a home or a membership there makes it one who approves itself. Only the
//!   operator's socket does it, and never so that the last operator is gone.
//! - **As good as root.** `sudo`, `wheel`, `docker` and their like. Making somebody a member is a person's decision, and a
//!   person can take it: it is destructive, so it waits, and the plan says what the group means. Refusing it altogether
//!   would only make people do it by hand, off the record.
//! - **Accounts of services.** The package that made them owns them. The agent does not delete or change them; the operator
//!   may.

use agentos_api::change::Risk;

use super::database::Database;
use crate::accounts::{Group, User};
use crate::change::error::ChangeError;
use crate::change::planner::Planner;
use crate::change::protect::{self, OPERATORS};

/// Groups of agentd's own beside the operators: who may speak as the agent.
const AGENTDS: [&str; 2] = ["agentos", "openclaw"];
/// Groups whose members become root without being asked anything else: by sudo or polkit, by a container's daemon, by the
/// raw disk, by the password hashes.
const AS_GOOD_AS_ROOT: [&str; 14] = [
    "root",
    "sudo",
    "wheel",
    "admin",
    "docker",
    "podman",
    "lxd",
    "incus",
    "incus-admin",
    "libvirt",
    "disk",
    "shadow",
    "kmem",
    "wireshark",
];
/// Groups whose members read what others do: logs, the screen, the keyboard.
const READS_MUCH: [&str; 6] = ["adm", "systemd-journal", "video", "input", "tty", "utmp"];

/// What being in a group means.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Rank {
    Ordinary,
    ReadsMuch,
    AsGoodAsRoot,
    SaysYes,
}

impl Rank {
    pub(super) fn of(group: &Group) -> Self {
        let is = |names: &[&str]| names.contains(&group.name.as_str());
        if is(&OPERATORS) || is(&AGENTDS) {
            Self::SaysYes
        } else if group.gid == 0 || is(&AS_GOOD_AS_ROOT) {
            Self::AsGoodAsRoot
        } else if is(&READS_MUCH) {
            Self::ReadsMuch
        } else {
            Self::Ordinary
        }
    }

    /// What the plan says of it.
    pub(super) const fn words(self) -> Option<&'static str> {
        match self {
            Self::Ordinary => None,
            Self::ReadsMuch => Some("its members read what others do here"),
            Self::AsGoodAsRoot => Some("its members are as good as root"),
            Self::SaysYes => Some("its members speak to agentd"),
        }
    }
}

/// The highest rank of a user's groups; root's own is the highest.
pub(super) fn rank(database: &Database, user: &User) -> Rank {
    if user.uid == 0 {
        return Rank::SaysYes;
    }
    database.groups_of(user).into_iter().map(Rank::of).max().unwrap_or(Rank::Ordinary)
}

/// Refuses that the agent has something run as one who says yes to its changes. Root is not meant: what runs as root is
/// destructive, and waits. Says whether the user is root or as good as root.
///
/// # Errors
/// [`crate::QueryError::Forbidden`].
pub(in crate::change::mutations) fn refuse_who_says_yes(
    planner: &Planner<'_>,
    database: &Database,
    user: &User,
) -> Result<bool, ChangeError> {
    let rank = rank(database, user);
    if !planner.viewer.operator && user.uid != 0 && rank == Rank::SaysYes {
        return Err(protect::forbidden(&format!(
            "{} is one of those who may say yes to changes, or of agentd itself",
            user.name
        )));
    }
    Ok(rank >= Rank::AsGoodAsRoot)
}

/// Refuses an account that whoever asks may not change; makes the step as risky as the account is important. Says whether
/// it is as good as root, so that shutting it out may shut the person out.
///
/// # Errors
/// [`crate::QueryError::Forbidden`].
pub(in crate::change::mutations) fn guard_user(
    planner: &mut Planner<'_>,
    database: &Database,
    user: &User,
) -> Result<bool, ChangeError> {
    let rank = rank(database, user);
    let name = &user.name;
    if !planner.viewer.operator {
        if user.uid == 0 {
            return Err(protect::forbidden(&format!("{name} is the machine's root")));
        }
        if rank == Rank::SaysYes {
            return Err(protect::forbidden(&format!(
                "{name} is one of those who may say yes to changes, or of agentd itself"
            )));
        }
        if !database.range("UID", false).contains(&user.uid) {
            return Err(protect::forbidden(&format!("{name} is an account of the system's")));
        }
    } else if !database.range("UID", false).contains(&user.uid) {
        planner.risk(Risk::Destructive);
    }
    let important = rank >= Rank::AsGoodAsRoot;
    if important {
        planner.risk(Risk::Destructive);
    }
    Ok(important)
}

/// Refuses a group that whoever asks may not change; makes the step as risky as the group is important. Gives what the plan
/// says of it.
///
/// # Errors
/// [`crate::QueryError::Forbidden`].
pub(super) fn guard_group(
    planner: &mut Planner<'_>,
    group: &Group,
) -> Result<Option<&'static str>, ChangeError> {
    let rank = Rank::of(group);
    if rank == Rank::SaysYes && !planner.viewer.operator {
        return Err(protect::forbidden(&format!(
            "who is in the group {} may say yes to changes, or speak as agentd's agent",
            group.name
        )));
    }
    if rank != Rank::Ordinary {
        planner.risk(Risk::Destructive);
    }
    Ok(rank.words())
}

/// Refuses that nobody is left who may say yes.
///
/// # Errors
/// [`ChangeError::Refused`].
pub(super) fn refuse_last_operator(database: &Database, user: &User) -> Result<(), ChangeError> {
    for name in OPERATORS {
        let Ok(group) = database.group_named(name) else { continue };
        let members = database.members_of(&group);
        if members.len() == 1 && members.iter().all(|member| member.name == user.name) {
            return Err(ChangeError::refused(format!(
                "{} is the last operator of this machine: without one nobody can say yes to a change; add another to {name} first",
                user.name
            )));
        }
    }
    Ok(())
}
