//! What no change of the agent's reaches, whatever a policy says: agentd itself, and who may say yes.
//!
//! An agent that may write agentd's policy, its units or the list of operators approves itself. So these are kept from it
//! by what they are, and through every name they have.

use agentos_api::query::path::AbsolutePath;

use super::error::ChangeError;
use super::file::Place;
use crate::QueryError;
use crate::files::{Known, Located, Protected};
use crate::machine::{Machine, Viewer};

/// Folders of agentd's, with all below them.
const FOLDERS: [&str; 11] = [
    "/etc/agentos",
    "/run/agentos",
    "/run/agentos-packages",
    "/var/cache/agentos-packages",
    "/var/lib/agentos",
    "/var/lib/agentos-gateway",
    "/var/lib/agentos-runtime",
    "/var/cache/agentos-setup",
    "/usr/lib/agentos",
    "/usr/share/agentos",
    "/var/lib/openclaw/.openclaw",
];
/// Programs of agentd's.
const PROGRAMS: [&str; 4] =
    ["/usr/bin/agentd", "/usr/bin/agentctl", "/usr/bin/agentos-rehearsal", "/usr/sbin/agentos-setup"];
/// Where systemd looks for units and what drops into them (systemd.unit(5)).
const UNIT_FOLDERS: [&str; 8] = [
    "/etc/systemd/system",
    "/etc/systemd/system.control",
    "/run/systemd/system",
    "/run/systemd/system.control",
    "/run/systemd/transient",
    "/run/systemd/generator",
    "/usr/local/lib/systemd/system",
    "/usr/lib/systemd/system",
];
/// Units of agentd's, by how their names begin.
const UNITS: [&str; 3] = ["agentd", "agentos", "openclaw-gateway"];
/// Files and folders of units that are told of.
const MOST_OWN_UNITS: usize = 100;
/// Packages of agentd's, by how their names begin.
const PACKAGES: [&str; 3] = ["agentd", "agentos", "openclaw"];
/// Who there is and who may operate: changed by mutations that know what they mean, not as text.
const ACCOUNTS: [&str; 9] = [
    "/etc/passwd",
    "/etc/shadow",
    "/etc/group",
    "/etc/gshadow",
    "/etc/subuid",
    "/etc/subgid",
    "/etc/nsswitch.conf",
    "/etc/ld.so.preload",
    "/etc/sudoers",
];
/// Groups whose members are the machine's operators, or as good as root.
pub(crate) const OPERATORS: [&str; 1] = ["agentos-operators"];

/// Refuses a place that is kept from whoever asks.
///
/// # Errors
/// [`ChangeError::Reading`] with [`QueryError::Forbidden`].
pub(crate) fn check_place(machine: &Machine, viewer: &Viewer, place: &Place) -> Result<(), ChangeError> {
    if viewer.operator {
        return Ok(());
    }
    let path = place.as_bytes();
    let own = FOLDERS.iter().any(|folder| touches(path, folder.as_bytes()))
        || PROGRAMS.iter().any(|program| path == program.as_bytes())
        || is_own_unit(path);
    if own {
        return Err(forbidden(&format!("{} belongs to agentd itself", place.text())));
    }
    if ACCOUNTS.iter().any(|file| path == file.as_bytes()) {
        return Err(forbidden(&format!(
            "{} says who may do what here, and is not changed as text; user.*, group.* and ssh_key.* change it",
            place.text()
        )));
    }
    by_other_names(&machine.protected, place)
}

/// What a command does not see, whoever asks: agentd's own state, with its keys.
pub(crate) fn hidden(machine: &Machine) -> Vec<Vec<u8>> {
    machine.protected.found()
}

/// The unit is agentd's, and is left alone by the agent.
///
/// # Errors
/// [`ChangeError::Reading`] with [`QueryError::Forbidden`].
pub(crate) fn check_unit(viewer: &Viewer, unit: &str) -> Result<(), ChangeError> {
    if !viewer.operator && is_own_name(unit) {
        return Err(forbidden(&format!("{unit} belongs to agentd itself")));
    }
    Ok(())
}

/// The package is agentd's: with another version of it, or without it, nobody asks any more.
///
/// # Errors
/// [`ChangeError::Reading`] with [`QueryError::Forbidden`].
pub(crate) fn check_package(viewer: &Viewer, package: &str) -> Result<(), ChangeError> {
    let own = PACKAGES.iter().any(|own| {
        package.strip_prefix(own).is_some_and(|rest| matches!(rest.chars().next(), None | Some('-' | ':')))
    });
    if own && !viewer.operator {
        return Err(forbidden(&format!("the package {package} belongs to agentd itself")));
    }
    Ok(())
}

/// A name that a link gives to a unit of agentd's (systemd.unit(5), aliases).
pub(crate) fn is_another_name_of_own(unit: &str) -> bool {
    UNIT_FOLDERS.iter().any(|folder| {
        let file = std::fs::canonicalize(std::path::Path::new(folder).join(unit));
        file.is_ok_and(|file| file.file_name().and_then(std::ffi::OsStr::to_str).is_some_and(is_own_name))
    })
}

/// Folders of agentd's, whether they are there or not.
pub(crate) fn own_folders() -> impl Iterator<Item = &'static str> {
    FOLDERS.into_iter()
}

/// Files that are executed as agentd's: its programs, and what is there of its units.
pub(crate) fn own_programs_and_units() -> Vec<String> {
    let units = UNIT_FOLDERS.iter().flat_map(std::fs::read_dir).flatten().flatten().filter_map(|entry| {
        let name = entry.file_name();
        name.to_str().filter(|name| is_own_name(name))?;
        entry.path().to_str().map(str::to_owned)
    });
    PROGRAMS.iter().map(|&program| program.to_owned()).chain(units.take(MOST_OWN_UNITS)).collect()
}

/// `path` is `root`, below it, or a folder that holds it: moving that away would move it.
fn touches(path: &[u8], root: &[u8]) -> bool {
    let below = |path: &[u8], root: &[u8]| {
        path.strip_prefix(root).is_some_and(|rest| matches!(rest.first(), None | Some(b'/')))
    };
    below(path, root) || below(root, path)
}

fn is_own_unit(path: &[u8]) -> bool {
    UNIT_FOLDERS.iter().any(|folder| {
        // /lib is a link to /usr/lib where it is not the folder itself.
        [folder, folder.strip_prefix("/usr").unwrap_or(folder)].iter().any(|folder| {
            path.strip_prefix(folder.as_bytes())
                .and_then(|rest| rest.strip_prefix(b"/"))
                .is_some_and(|rest| rest.split(|&byte| byte == b'/').any(is_own_name_bytes))
        })
    })
}

fn is_own_name_bytes(name: &[u8]) -> bool {
    std::str::from_utf8(name).is_ok_and(is_own_name)
}

/// `agentd.service`, `agentd.service.d`, `agentos-egress.socket`; and what drops into every unit of a type.
pub(crate) fn is_own_name(name: &str) -> bool {
    let own = UNITS.iter().any(|unit| {
        name.strip_prefix(unit).is_some_and(|rest| matches!(rest.chars().next(), Some('.' | '-' | '@')))
    });
    own || matches!(name, "service.d" | "socket.d" | "target.d")
}

/// The folder it is in may be agentd's under another name: another mount, a name below one that is protected.
fn by_other_names(protected: &Protected, place: &Place) -> Result<(), ChangeError> {
    for place in [Some(place.clone()), place.parent()].into_iter().flatten() {
        let Ok(path) = AbsolutePath::new(place.as_bytes()) else { continue };
        match Located::find(&path) {
            Ok(found) => protected.check(&found, &mut Known::default())?,
            Err(QueryError::NotFound { .. }) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

pub(crate) fn forbidden(what: &str) -> ChangeError {
    ChangeError::Reading(QueryError::Forbidden { reason: format!("{what}; only the operator may change it") })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agentds_own_units_are_known_in_every_folder() {
        for path in [
            "/etc/systemd/system/agentd.service",
            "/etc/systemd/system/agentd.service.d/override.conf",
            "/run/systemd/system/openclaw-gateway.service.d",
            "/lib/systemd/system/agentos-rehearsal.service",
            "/usr/lib/systemd/system/agentd-operator.socket",
            "/etc/systemd/system/service.d/10-all.conf",
            "/etc/systemd/system/multi-user.target.wants/agentd.service",
        ] {
            assert!(is_own_unit(path.as_bytes()), "{path}");
        }
        for path in [
            "/etc/systemd/system/nginx.service",
            "/etc/systemd/system/agentdx.service",
            "/srv/agentd.service",
        ] {
            assert!(!is_own_unit(path.as_bytes()), "{path}");
        }
    }

    #[test]
    fn agentds_own_packages_are_the_operators() {
        let (agent, operator) = (Viewer::default(), Viewer { operator: true, ..Viewer::default() });
        for package in ["agentos", "agentos-doc", "agentos:amd64", "openclaw"] {
            assert!(check_package(&agent, package).is_err() && check_package(&operator, package).is_ok());
        }
        assert!(check_package(&agent, "agentosaurus").is_ok());
    }

    #[test]
    fn a_folder_that_holds_agentds_is_agentds() {
        assert!(touches(b"/var/lib", b"/var/lib/agentos"));
        assert!(touches(b"/var/lib/agentos/ledger.db", b"/var/lib/agentos"));
        assert!(!touches(b"/var/lib/agentos2", b"/var/lib/agentos"));
        assert!(!touches(b"/var/log", b"/var/lib/agentos"));
    }
}
