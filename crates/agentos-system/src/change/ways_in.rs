//! Files that say who gets into this machine: a change of them as files may lock the person out, as one of keys or users may.
//!
//! The mutations that know what such a file means (`ssh_key.*`, `user.*`) say so themselves. `file.*` and `shell.preview` do not
//! know, so it is told by the path.

use super::file::FileState;
use super::planner::Planner;
use super::transition::{Transit as _, Transition};

/// Read at each login, or by sshd when it is started or reloaded; with all below them.
const FILES: [&[u8]; 6] = [
    b"/etc/ssh/sshd_config",
    b"/etc/ssh/sshd_config.d",
    b"/etc/pam.d",
    b"/etc/pam.conf",
    b"/etc/security",
    b"/etc/nologin",
];
/// What sshd reads once it is started or reloaded.
const OF_SSHD: &[u8] = b"/etc/ssh/sshd_config";
/// Below a home, with all below it.
const KEYS: &[u8] = b".ssh/authorized_keys";

/// Has a step that changes such a file as a file taken back by itself unless it is confirmed.
pub(super) fn watch(planner: &mut Planner<'_>, mutation: &str) {
    if !mutation.starts_with("file.") && !mutation.starts_with("shell.") {
        return;
    }
    let found: Vec<Vec<u8>> = planner
        .planned_in_step()
        .iter()
        .filter(|transition| !makes_keys(transition))
        .flat_map(Transition::paths)
        .filter(|path| is_way_in(path))
        .collect();
    if found.is_empty() {
        return;
    }
    planner.can_lock_out();
    if found.iter().any(|path| path.starts_with(OF_SSHD)) {
        planner.not_covered(
            "sshd reads this when it is reloaded: have that as a step of the same change (service.reload ssh), so that both are taken back together where nobody gets in any more",
        );
    }
}

/// Keys where there were none shut nobody out.
fn makes_keys(transition: &Transition) -> bool {
    matches!(transition, Transition::File(file) if file.from == FileState::Absent
        && !FILES.iter().any(|known| transition.paths().iter().any(|path| is_below(path, known))))
}

/// The path is such a file, below such a folder, or a folder that holds one and goes elsewhere with it.
fn is_way_in(path: &[u8]) -> bool {
    let files = FILES.iter().any(|known| is_below(path, known) || is_below(known, path));
    files || is_of_a_home(path)
}

fn is_of_a_home(path: &[u8]) -> bool {
    if [b"/root".as_slice(), b"/home"].iter().any(|home| is_below(home, path)) {
        return true;
    }
    let below = path.strip_prefix(b"/root/").or_else(|| {
        let rest = path.strip_prefix(b"/home/")?;
        let end = rest.iter().position(|&byte| byte == b'/')?;
        rest.get(end + 1..)
    });
    // One name below /home is a home, with all that is in it.
    below.map_or(path.starts_with(b"/home/"), |below| below == b".ssh" || below.starts_with(KEYS))
}

/// `path` is `folder` or below it.
fn is_below(path: &[u8], folder: &[u8]) -> bool {
    path.strip_prefix(folder).is_some_and(|rest| matches!(rest.first(), None | Some(b'/')))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_that_say_who_gets_in_are_known_and_their_neighbours_are_not() {
        for path in [
            "/etc/ssh/sshd_config",
            "/etc/ssh/sshd_config.d/10-hard.conf",
            "/etc/ssh",
            "/etc",
            "/etc/pam.d/sshd",
            "/etc/security/access.conf",
            "/root/.ssh/authorized_keys",
            "/root/.ssh",
            "/root",
            "/home",
            "/home/anna",
            "/home/anna/.ssh",
            "/home/anna/.ssh/authorized_keys2",
        ] {
            assert!(is_way_in(path.as_bytes()), "{path}");
        }
        for path in [
            "/etc/ssh/ssh_config",
            "/etc/ssh/sshd_config2",
            "/etc/motd",
            "/root/.bashrc",
            "/root/.ssh/config",
            "/home/anna/notes",
            "/home/anna/notes/.ssh/authorized_keys",
            "/srv/etc/pam.d",
            "/rooted",
        ] {
            assert!(!is_way_in(path.as_bytes()), "{path}");
        }
    }
}
