//! Whether a unit starts with the machine, and whether it can start at all: links in the folder of units.
//!
//! The manager's own methods (`EnableUnitFiles` and its kin) make the same links, but say which only afterwards. Made here
//! they are in the plan one by one, are looked for after a cut, and go back to exactly what was there.

use std::collections::BTreeSet;
use std::path::Path;

use agentos_api::change::Risk;
use agentos_api::mutation::service as api;
use agentos_api::mutation::service::UnitArgs;
use rustix::fs::{CWD, readlink};

use super::{UNITS, critical, files, read_anew, unit};
use crate::change::Plan;
use crate::change::error::ChangeError;
use crate::change::planner::Planner;
use crate::change::unit::{Install, LINK_FOLDERS};
use crate::procfs;
use crate::systemd::control::Look;

/// Where a mask lives until the machine starts again.
const UNITS_UNTIL_BOOT: &str = "/run/systemd/system";
const MASKED: &str = "/dev/null";
/// Largest file of a unit.
const LARGEST: usize = 256 << 10;
/// Names looked at in one folder.
const MOST_NAMES: usize = 10_000;
/// Units that are enabled with one.
const MOST_UNITS: usize = 20;

/// The unit's own file, or that of its template.
fn file_of(look: &Look) -> Result<&str, ChangeError> {
    let path = look.fragment.as_deref().filter(|path| !path.starts_with("/run/systemd/"));
    path.ok_or_else(|| {
        ChangeError::refused(format!(
            "{} has no file of its own: it is made anew at each start of the machine",
            look.id
        ))
    })
}

fn install(planner: &mut Planner<'_>, look: &Look) -> Result<Install, ChangeError> {
    let mut texts = Vec::new();
    for path in look.fragment.iter().chain(&look.drop_ins) {
        // Of a file that this change writes, what it will hold.
        let new = if files::is_planned(planner, path) { files::read(planner, path)? } else { None };
        texts.push(match new {
            Some(text) => text,
            None => crate::text::lossy(&procfs::read_at(CWD, path, LARGEST).unwrap_or_default()),
        });
    }
    Install::read(&look.id, &texts)
}

/// The unit with those that are enabled and disabled with it, each with what its file says.
fn with_others(planner: &mut Planner<'_>, look: &Look) -> Result<Vec<(Look, Install)>, ChangeError> {
    let own = install(planner, look)?;
    let mut found = vec![(look.clone(), own)];
    let mut seen: BTreeSet<String> = [look.id.clone()].into();
    let mut next = 0;
    while let Some(also) = found.get(next).map(|(_, install)| install.also.clone()) {
        next += 1;
        for name in also {
            if found.len() >= MOST_UNITS || !seen.insert(name.clone()) {
                continue;
            }
            let other = unit(planner, &name)?;
            if seen.insert(other.id.clone()) || other.id == name {
                let install = install(planner, &other)?;
                found.push((other, install));
            }
        }
    }
    Ok(found)
}

/// Plans that a unit starts with the machine.
pub(in crate::change::mutations) fn enable(
    planner: &mut Planner<'_>,
    look: &Look,
) -> Result<(), ChangeError> {
    if look.load_state == "masked" {
        return Err(ChangeError::refused(format!("{} is masked; service.unmask first", look.id)));
    }
    file_of(look)?;
    let units = with_others(planner, look)?;
    if units.iter().all(|(_, install)| install.links.is_empty()) {
        return Err(ChangeError::refused(format!(
            "{} has no [Install] section: it is not enabled, but started by what needs it",
            look.id
        )));
    }
    let mut changed = false;
    for (unit, install) in &units {
        let file = file_of(unit)?.to_owned();
        for link in &install.links {
            if let Some((folder, _)) = link.split_once('/') {
                files::folder(planner, &format!("{UNITS}/{folder}"))?;
            }
            let path = format!("{UNITS}/{link}");
            // A link to the same unit by another path does the same.
            if files::target(planner, &path)?.is_some_and(|target| leads_to(&target, &unit.id, &file)) {
                continue;
            }
            files::link(planner, &path, &file, |_| false)?;
            changed = true;
        }
    }
    if changed { read_anew(planner) } else { Ok(()) }
}

/// A link's target is the unit's file: by its path, or by the name of it or its template.
fn leads_to(target: &str, unit: &str, file: &str) -> bool {
    let name = |path: &str| path.rsplit('/').next().unwrap_or_default().to_owned();
    target == file || name(target) == unit || name(target) == name(file)
}

/// Plans that a unit does not start with the machine.
pub(in crate::change::mutations) fn disable(
    planner: &mut Planner<'_>,
    look: &Look,
) -> Result<(), ChangeError> {
    let units = if look.fragment.is_some() {
        with_others(planner, look)?
    } else {
        vec![(look.clone(), Install::default())]
    };
    let mut changed = false;
    for (unit, _) in &units {
        critical::warn(planner, &unit.id, "not started with the machine");
        for path in links_to(unit) {
            files::absent(planner, &path)?;
            changed = true;
        }
    }
    if changed {
        return read_anew(planner);
    }
    if look.file_state.as_deref() == Some("static") {
        planner.not_covered(format!("{} is not enabled: what needs it starts it", look.id));
    }
    Ok(())
}

/// The links that make it start, below the administrator's folder of units.
pub(in crate::change::mutations) fn links_to(look: &Look) -> Vec<String> {
    let mut links = Vec::new();
    for entry in procfs::names(UNITS, MOST_NAMES) {
        let path = format!("{UNITS}/{entry}");
        if LINK_FOLDERS.iter().any(|suffix| entry.ends_with(suffix)) {
            let link = format!("{path}/{}", look.id);
            if Path::new(&link).is_symlink() {
                links.push(link);
            }
        } else if entry != look.id && entry.contains('.') {
            // An alias.
            let target = readlink(&path, Vec::new()).ok().map(|target| crate::text::lossy(target.as_bytes()));
            if target.is_some_and(|target| target.rsplit('/').next() == Some(look.id.as_str())) {
                links.push(path);
            }
        }
    }
    links
}

fn check(args: &UnitArgs) -> Result<(), ChangeError> {
    super::check(args)
}

impl Plan for api::Enable {
    fn check(args: &UnitArgs) -> Result<(), ChangeError> {
        check(args)
    }

    fn plan(planner: &mut Planner<'_>, args: UnitArgs) -> Result<(), ChangeError> {
        let look = unit(planner, &args.unit)?;
        planner.risk(Risk::Medium);
        planner.summary(format!("Has {} started with the machine", look.id));
        enable(planner, &look)
    }
}

impl Plan for api::Disable {
    fn check(args: &UnitArgs) -> Result<(), ChangeError> {
        check(args)
    }

    fn plan(planner: &mut Planner<'_>, args: UnitArgs) -> Result<(), ChangeError> {
        let look = unit(planner, &args.unit)?;
        planner.risk(Risk::Medium);
        planner.summary(format!("Has {} no longer started with the machine", look.id));
        disable(planner, &look)
    }
}

impl Plan for api::Mask {
    fn check(args: &UnitArgs) -> Result<(), ChangeError> {
        check(args)
    }

    fn plan(planner: &mut Planner<'_>, args: UnitArgs) -> Result<(), ChangeError> {
        let look = unit(planner, &args.unit)?;
        planner.risk(Risk::Medium);
        planner.summary(format!("Masks {}: nothing can start it any more", look.id));
        if look.load_state == "masked" {
            return Ok(());
        }
        critical::warn(planner, &look.id, "masked");
        let path = format!("{UNITS}/{}", look.id);
        if look.fragment.as_deref() == Some(path.as_str()) {
            return Err(ChangeError::refused(format!(
                "{} is a unit of the administrator's at {path}, where the mask would be; service.disable and \
                 service.stop keep it from running, or move the file away",
                look.id
            )));
        }
        files::link(planner, &path, MASKED, |_| false)?;
        planner.not_covered(format!("{} goes on running if it does now", look.id));
        read_anew(planner)
    }
}

impl Plan for api::Unmask {
    fn check(args: &UnitArgs) -> Result<(), ChangeError> {
        check(args)
    }

    fn plan(planner: &mut Planner<'_>, args: UnitArgs) -> Result<(), ChangeError> {
        let look = unit(planner, &args.unit)?;
        planner.risk(Risk::Medium);
        planner.summary(format!("Takes the mask off {}", look.id));
        let mut changed = false;
        for folder in [UNITS, UNITS_UNTIL_BOOT] {
            let path = format!("{folder}/{}", look.id);
            if files::target(planner, &path)?.as_deref() == Some(MASKED) {
                files::absent(planner, &path)?;
                changed = true;
            }
        }
        if changed { read_anew(planner) } else { Ok(()) }
    }
}
