//! Who may use a socket or a file, and how this user becomes one of them.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use nix::unistd::{Gid, Group, User, getuid};

/// What a user who was refused at `path` can do; `None` where its group has no name.
pub(crate) fn hint(path: &Path) -> Option<String> {
    let metadata = fs::metadata(path).ok()?;
    let group = Gid::from_raw(metadata.gid());
    if group.as_raw() == 0 || metadata.mode() & 0o070 == 0 {
        return Some("Only its owner may use it: run the same command with sudo.".to_owned());
    }
    let group = Group::from_gid(group).ok()??;
    let user = User::from_uid(getuid()).ok().flatten().map(|user| user.name);
    Some(advice(&group, user.as_deref()))
}

fn advice(group: &Group, user: Option<&str>) -> String {
    let name = &group.name;
    match user {
        // The groups of a login are those of the moment it began.
        Some(user) if group.mem.iter().any(|member| member == user) => {
            format!(
                "You are in its group {name}, but this login is older: log in again, or run `newgrp {name}`."
            )
        }
        user => {
            let user = user.unwrap_or("NAME");
            format!(
                "Its group {name} may use it: join with `sudo usermod -aG {name} {user}` and log in again."
            )
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn operators(members: &[&str]) -> Group {
        let mem = members.iter().map(|&member| member.to_owned()).collect();
        Group { name: "agentos-operators".to_owned(), passwd: c"x".into(), gid: Gid::from_raw(990), mem }
    }

    #[test]
    fn a_user_outside_the_group_reads_how_to_join_it() {
        let advice = advice(&operators(&["eve"]), Some("adam"));
        assert!(advice.contains("`sudo usermod -aG agentos-operators adam`"), "{advice}");
    }

    #[test]
    fn a_member_who_logged_in_before_joining_reads_to_log_in_again() {
        let advice = advice(&operators(&["eve", "adam"]), Some("adam"));
        assert!(advice.contains("newgrp agentos-operators") && !advice.contains("usermod"), "{advice}");
    }
}
