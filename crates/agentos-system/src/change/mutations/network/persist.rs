//! What stays after the next start: a file of AgentOS' beside the one by which systemd-networkd manages an interface
//! (systemd.network(5), "drop-in").

use crate::change::error::ChangeError;
use crate::change::file::{Attributes, Content, FileState, Place};
use crate::change::planner::Planner;
use crate::network::changes::Interface;
use crate::procfs;

/// Plans the file of a setting: there with `content`, or not.
///
/// # Errors
/// [`ChangeError::Reading`] for `persist`, where nobody manages the interface who could keep it.
pub(super) fn file(
    planner: &mut Planner<'_>,
    interface: &Interface,
    persist: bool,
    there: bool,
    name: &str,
    content: &str,
) -> Result<(), ChangeError> {
    if !persist {
        planner.not_covered(super::RUNTIME);
        return Ok(());
    }
    let of = network_file(interface.index).ok_or_else(|| {
        ChangeError::invalid(
            "persist",
            format!(
                "systemd-networkd has no file for {}; leave it out, and change the configuration of the manager in charge with file.write",
                interface.name
            ),
        )
    })?;
    let folder = planner.machine.own_path(format!("/etc/systemd/network/{of}.d").as_bytes())?;
    let folder = Place::of(&folder, |path| planner.files.is_folder(path))?;
    let place = folder.child(format!("agentos-{}.conf", name.replace(':', "_")).as_bytes());
    planner.asked_for(place.as_bytes());
    let from = planner.state(&place)?;
    if !there {
        return planner.change(place, from, FileState::Absent);
    }
    if planner.state(&folder)? == FileState::Absent {
        let attributes = Attributes::new(0o755);
        planner.change(folder, FileState::Absent, FileState::Folder { attributes })?;
    }
    let sha256 = planner.batch.put(content.as_bytes())?;
    let content = Content { sha256, size: content.len() as u64, not_kept: false, modified: None };
    planner.not_covered("systemd-networkd reads the file at its next reload");
    planner.change(place, from, FileState::File { attributes: Attributes::new(0o644), content })
}

/// The name of the file by which systemd-networkd manages an interface.
fn network_file(index: u32) -> Option<String> {
    of_state(&procfs::text(&format!("/run/systemd/netif/links/{index}"))?)
}

fn of_state(state: &str) -> Option<String> {
    let path = state.lines().find_map(|line| line.strip_prefix("NETWORK_FILE="))?;
    let name = path.rsplit('/').next()?;
    let plain = name.ends_with(".network")
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_' | b'@'));
    plain.then(|| name.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_of_an_interface_is_found() {
        let state = "# This is private data.\nADMIN_STATE=configured\nNETWORK_FILE=/etc/systemd/network/80-host0.network\n";
        assert_eq!(of_state(state).as_deref(), Some("80-host0.network"));
        assert_eq!(of_state("NETWORK_FILE=/etc/x/..\n"), None);
        assert_eq!(of_state("ADMIN_STATE=unmanaged\n"), None);
    }
}
