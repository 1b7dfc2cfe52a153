//! Services that belong to packages: what is removed ends them, what is upgraded usually starts them anew.

use rustix::fs::CWD;

use super::super::service::is_critical;
use super::question::list;
use crate::change::package::{Installed, PackageState, Packages, in_unit};
use crate::change::planner::Planner;
use crate::procfs::read_at;
use crate::systemd::control::{self, Running};
use crate::text::lossy;

/// Where dpkg lists the files of a package.
const INFO: &str = "/var/lib/dpkg/info";
const LARGEST: usize = 8 << 20;
/// Most units that are looked at.
const MOST: usize = 200;

/// Says which services end or start anew, and notes those that end.
pub(super) fn plan(planner: &mut Planner<'_>, packages: &mut Packages) {
    if !in_unit(planner.machine) {
        return;
    }
    let Ok(installed) = Installed::read(planner.machine) else { return };
    let (mut ends, mut restarts) = (Vec::new(), Vec::new());
    for change in packages.changes.iter().filter(|change| matches!(change.from, PackageState::Installed(_))) {
        let architecture = installed.get(&change.name).map(|package| package.architecture.clone());
        let units = units(&change.name, architecture.as_deref().unwrap_or_default());
        let list = if change.to.version().is_some() { &mut restarts } else { &mut ends };
        list.extend(units);
    }
    ends.truncate(MOST);
    restarts.truncate(MOST);
    let runs = |unit: &String| {
        control::look(planner.machine, unit)
            .is_ok_and(|look| look.running() == Running::Yes && look.id == *unit)
    };
    ends.retain(runs);
    restarts.retain(runs);
    if !restarts.is_empty() {
        planner.not_covered(format!(
            "services of these packages may be started anew: {}",
            list(restarts.iter())
        ));
    }
    if !ends.is_empty() {
        planner.not_covered(format!("services of these packages end: {}", list(ends.iter())));
        planner.undo_is_partial("services are started again, but what they held in memory is gone");
    }
    if ends.iter().any(|unit| is_critical(unit)) {
        planner.can_lock_out();
    }
    packages.units = ends;
}

/// The units that a package brings.
fn units(name: &str, architecture: &str) -> Vec<String> {
    let base = name.split(':').next().unwrap_or_default();
    // Packages that can be installed for several architectures have it in the name of the file.
    let lists = [format!("{INFO}/{base}:{architecture}.list"), format!("{INFO}/{base}.list")];
    let text = lists.iter().find_map(|path| read_at(CWD, path, LARGEST).ok()).unwrap_or_default();
    lossy(&text).lines().filter_map(unit).collect()
}

/// The unit that has its file at that path; none for templates, links and drop-ins.
fn unit(path: &str) -> Option<String> {
    let name = path.strip_prefix("/usr").unwrap_or(path).strip_prefix("/lib/systemd/system/")?;
    let kind = name.rsplit_once('.')?.1;
    (!name.contains(['/', '@']) && matches!(kind, "service" | "socket" | "timer")).then(|| name.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_are_known_by_where_their_files_are() {
        assert_eq!(unit("/lib/systemd/system/ssh.service").as_deref(), Some("ssh.service"));
        assert_eq!(unit("/usr/lib/systemd/system/a.socket").as_deref(), Some("a.socket"));
        for path in
            ["/lib/systemd/system/a@.service", "/lib/systemd/system/a.service.d/x.conf", "/etc/a.service"]
        {
            assert_eq!(unit(path), None, "{path}");
        }
    }
}
