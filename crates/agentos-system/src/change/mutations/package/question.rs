//! What is asked of apt, and what a plan makes of the answer.

use std::collections::BTreeSet;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use agentos_api::change::{MAX_DIFF_BYTES, Risk};
use agentos_api::problem::near_matches;

use super::services;
use crate::QueryError;
use crate::change::error::ChangeError;
use crate::change::file::{FileState, FileTransition, Place};
use crate::change::package::{
    Apt, Fate, Installed, Keep, MOST_BYTES, Origin, PackageChange, PackageState, Packages, Release,
    Simulation, in_unit, named,
};
use crate::change::planner::Planner;
use crate::change::protect;
use crate::change::transition::{Transit, Transition};

/// Where NixOS has the running system.
const NIX: &str = "/run/current-system/sw";

/// What is asked of apt, and of what.
pub(super) struct Question {
    pub(super) apt: Apt,
    keep: Keep,
    pub(super) installed: Installed,
    /// The packages that were named, as apt prints them.
    pub(super) asked: BTreeSet<String>,
}

impl Question {
    pub(super) fn new(planner: &Planner<'_>) -> Result<Self, ChangeError> {
        let nix = planner.machine.own_path(NIX.as_bytes())?;
        if Path::new(std::ffi::OsStr::from_bytes(nix.as_bytes())).exists() {
            return Err(ChangeError::refused(
                "this is NixOS: its packages are those of the system's configuration, so they are added to and taken from \
                 that (environment.systemPackages), and the system is rebuilt; nothing is installed beside it",
            ));
        }
        if planner.planned().iter().any(|planned| matches!(planned, Transition::Packages(_))) {
            return Err(ChangeError::refused(
                "an earlier step of this change is about packages, and apt cannot say what comes after that; name all of \
                 them in one step, or make it a change of its own",
            ));
        }
        let installed = Installed::read(planner.machine)?;
        let broken = installed.broken();
        if !broken.is_empty() {
            return Err(ChangeError::refused(format!(
                "dpkg was cut off, or is at work: {}. Where it is not at work, a person goes on with that as root: `dpkg \
                 --configure -a`, then `apt-get --fix-broken install`",
                list(broken.iter())
            )));
        }
        let (apt, keep) = (Apt::of(planner.machine)?, Keep::of(planner.machine)?);
        Ok(Self { apt, keep, installed, asked: BTreeSet::new() })
    }

    pub(super) fn unknown<'n>(name: &str, known: impl Iterator<Item = &'n str>) -> ChangeError {
        let near = near_matches(name, known);
        ChangeError::Reading(QueryError::NotFound { what: format!("the package {name}"), near })
    }

    pub(super) fn is_installed(&self, name: &str) -> bool {
        self.installed.get(name).is_some_and(|package| package.version.is_some())
    }

    /// Plans what apt would do for a command.
    pub(super) fn plan(&self, planner: &mut Planner<'_>, command: &[String]) -> Result<(), ChangeError> {
        // What apt would refuse for being essential or held is named here, each with what can be done.
        let verb = command.iter().take(1).cloned();
        let open = ["--allow-remove-essential", "--allow-change-held-packages"].map(str::to_owned);
        let question: Vec<String> = verb.chain(open).chain(command.iter().skip(1).cloned()).collect();
        let simulation = self.apt.simulate(&question)?;
        self.tell(planner, &simulation);
        if simulation.fates.is_empty() {
            return Ok(());
        }
        self.refuse(planner, &simulation)?;
        let mut packages = Packages {
            changes: self.changes(planner, &simulation)?,
            files: self.conffiles(planner, &simulation)?,
            copies: self.copies(planner, &simulation),
            units: Vec::new(),
            database: Some(self.installed.hash),
            back: false,
        };
        let diff = packages.effect(&planner.context()).diff.map_or(0, |diff| diff.len());
        if diff > MAX_DIFF_BYTES {
            return Err(ChangeError::refused(format!(
                "apt would change {} packages, which are more than a plan shows; do it in parts",
                packages.changes.len()
            )));
        }
        // What is told to apt in the end names every package, so that it does this and nothing else.
        let exact = packages.command(&self.keep);
        if let Some(differs) = packages.differs(&self.apt.simulate(&exact)?) {
            return Err(ChangeError::refused(format!(
                "told each package by its version, the machine would be {differs}"
            )));
        }
        self.companions(planner, &packages);
        self.sizes(planner, &packages, &exact)?;
        services::plan(planner, &mut packages);
        planner.not_covered("scripts of these packages run as root, and may change whatever they like");
        if !in_unit(planner.machine) {
            planner.not_covered(
                "systemd does not run here, so apt is a child of agentd: it may be cut off half way where agentd ends",
            );
        }
        planner.add(Transition::Packages(packages))
    }

    /// What apt says besides.
    fn tell(&self, planner: &mut Planner<'_>, simulation: &Simulation) {
        if !simulation.kept_back.is_empty() {
            let text = |name: &String| {
                let held =
                    self.installed.get(self.installed.printed(name)).is_some_and(|package| package.held);
                if held { format!("{name} (held)") } else { name.clone() }
            };
            let names: Vec<String> = simulation.kept_back.iter().map(text).collect();
            planner.not_covered(format!("these stay as they are: {}", list(names.iter())));
        }
        if !simulation.unneeded.is_empty() {
            planner.not_covered(format!(
                "nothing that is installed needs these any more; they stay: {}",
                list(simulation.unneeded.iter())
            ));
        }
        if !simulation.downgraded.is_empty() {
            planner.risk(Risk::Destructive);
            planner.not_covered(format!(
                "these get an older version, which may not read what the newer one wrote: {}",
                list(simulation.downgraded.iter())
            ));
        }
    }

    /// What is not done, whatever apt says.
    fn refuse(&self, planner: &mut Planner<'_>, simulation: &Simulation) -> Result<(), ChangeError> {
        let (mut essential, mut held) = (Vec::new(), Vec::new());
        for (name, fate) in &simulation.fates {
            protect::check_package(planner.viewer, name)?;
            let Some(package) = self.installed.get(name) else { continue };
            let goes = !matches!(fate, Fate::Version(_));
            if goes && package.essential {
                essential.push(name);
            }
            if package.held {
                held.push(name);
            }
            if goes || (package.version.is_some() && !self.asked.contains(name)) {
                planner.risk(Risk::Destructive);
            }
        }
        if !essential.is_empty() {
            return Err(ChangeError::refused(format!(
                "the machine does not work, or not start, without {}, which would be removed",
                list(essential.into_iter())
            )));
        }
        if !held.is_empty() {
            return Err(ChangeError::refused(format!(
                "somebody holds {} at the version that is installed (apt-mark hold), and this would change it; a person \
                 takes the hold off with apt-mark unhold",
                list(held.into_iter())
            )));
        }
        Ok(())
    }

    fn changes(
        &self,
        planner: &Planner<'_>,
        simulation: &Simulation,
    ) -> Result<Vec<PackageChange>, ChangeError> {
        let versions: Vec<Release<'_>> = simulation
            .fates
            .keys()
            .filter_map(|name| {
                let package = self.installed.get(name)?;
                let version = package.version.as_deref()?;
                Some(Release { name, version, architecture: &package.architecture })
            })
            .collect();
        let mut kept = self.keep.find(&self.apt, &versions)?;
        if kept.iter().flatten().map(|kept| kept.bytes).sum::<u64>() > MOST_BYTES {
            kept.fill(None);
        }
        let mut origins =
            versions.iter().zip(kept).map(|(version, kept)| (version.name, kept)).collect::<Vec<_>>();
        let change = |(name, fate): (&String, &Fate)| {
            let from = match self.installed.get(name) {
                None => PackageState::Absent,
                Some(package) => {
                    package.version.clone().map_or(PackageState::Leftover, PackageState::Installed)
                }
            };
            let kept = origins.iter_mut().find(|(of, _)| of == name).map(|(_, kept)| kept.take());
            let from_origin = match kept {
                Some(Some(kept)) => Origin::Kept(kept),
                Some(None) => Origin::Lost,
                None => Origin::Archives,
            };
            let was_automatic = self.installed.is_automatic(name);
            let automatic = if from.version().is_some() { was_automatic } else { !self.asked.contains(name) };
            let to = match fate {
                Fate::Version(version) => PackageState::Installed(version.clone()),
                // One without configuration and without a script for its end is gone altogether.
                Fate::Removed if self.installed.leaves_something(planner.machine, name) => {
                    PackageState::Leftover
                }
                Fate::Removed | Fate::Purged => PackageState::Absent,
            };
            PackageChange {
                name: name.clone(),
                from,
                to,
                from_origin,
                to_origin: Origin::Archives,
                was_automatic,
                automatic,
            }
        };
        Ok(simulation.fates.iter().map(change).collect())
    }

    /// The configuration files that are deleted, with the folders that they are in.
    fn conffiles(
        &self,
        planner: &mut Planner<'_>,
        simulation: &Simulation,
    ) -> Result<Vec<FileTransition>, ChangeError> {
        let purged = simulation.fates.iter().filter(|(_, fate)| **fate == Fate::Purged);
        let paths: Vec<&String> = purged
            .filter_map(|(name, _)| self.installed.get(name))
            .flat_map(|package| &package.conffiles)
            .collect();
        let (mut folders, mut files): (BTreeSet<Place>, Vec<FileTransition>) = (BTreeSet::new(), Vec::new());
        for path in paths {
            let path = planner.machine.own_path(path.as_bytes())?;
            planner.asked_for(path.as_bytes());
            let Ok(place) = Place::of(&path, |_| false) else { continue };
            protect::check_place(planner.machine, planner.viewer, &place)?;
            let from = planner.state(&place)?;
            if from == FileState::Absent {
                continue;
            }
            let mut above = place.parent();
            while let Some(folder) = above {
                above = folder.parent();
                // Those at the top are there whatever is installed.
                if above.is_some() {
                    folders.insert(folder);
                }
            }
            files.push(FileTransition { place, from, to: FileState::Absent, other_names: 0 });
        }
        let mut all = Vec::with_capacity(folders.len() + files.len());
        for place in folders {
            let from = planner.state(&place)?;
            all.push(FileTransition { place, from, to: FileState::Absent, other_names: 0 });
        }
        all.append(&mut files);
        Ok(all)
    }

    /// Where dpkg would put its own copies of configuration.
    fn copies(&self, planner: &Planner<'_>, simulation: &Simulation) -> Vec<Place> {
        let conffiles = simulation
            .fates
            .keys()
            .filter_map(|name| self.installed.get(name))
            .flat_map(|package| &package.conffiles);
        let copies = conffiles.filter_map(|path| {
            let path = planner.machine.own_path(format!("{path}.dpkg-dist").as_bytes()).ok()?;
            let place = Place::of(&path, |_| false).ok()?;
            matches!(FileState::look(&place), Ok(FileState::Absent)).then_some(place)
        });
        copies.collect()
    }

    /// Packages that nobody named, in the sentence that says what is done: the first of them. The difference has all.
    fn companions(&self, planner: &mut Planner<'_>, packages: &Packages) {
        // All packages that there are go together with one another.
        if self.asked.is_empty() {
            return;
        }
        let others = packages.changes.iter().filter(|change| !self.asked.contains(&change.name));
        let (stay, go): (Vec<&PackageChange>, Vec<_>) =
            others.partition(|change| change.to.version().is_some());
        for (what, changes) in [("with what is needed", stay), ("with what cannot be without it", go)] {
            let names: Vec<String> = changes.iter().map(|change| change.name.clone()).collect();
            if !names.is_empty() {
                planner.more_summary(&format!("; {what}: {}", named(&names)));
            }
        }
    }

    /// What it takes on the network and on the disk.
    fn sizes(
        &self,
        planner: &mut Planner<'_>,
        packages: &Packages,
        exact: &[String],
    ) -> Result<(), ChangeError> {
        let download: u64 = self.apt.to_download(exact)?.iter().map(|download| download.bytes).sum();
        let new = packages
            .changes
            .iter()
            .filter_map(|change| Some(format!("{}={}", change.name, change.to.version()?)));
        let after = self.apt.installed_sizes(new.collect())?;
        let old = packages.changes.iter().filter_map(|change| self.installed.get(&change.name));
        let before: u64 = old.map(|package| package.size_bytes).sum();
        let reversible = packages.reversed().is_ok();
        let kept: u64 = packages
            .changes
            .iter()
            .filter_map(|change| match &change.from_origin {
                Origin::Kept(kept) if reversible => Some(kept.bytes),
                _ => None,
            })
            .sum();
        let disk = if after >= before {
            format!("{} more on the disk", bytes(after - before))
        } else {
            format!("{} less on the disk", bytes(before - after))
        };
        let kept = if kept > 0 { format!(", {} kept for undo", bytes(kept)) } else { String::new() };
        planner.more_summary(&format!(" ({} to download, {disk}{kept})", bytes(download)));
        Ok(())
    }
}

/// A number of bytes as people read it, as apt prints it: powers of 1000.
#[expect(clippy::cast_precision_loss, reason = "one decimal is shown")]
fn bytes(bytes: u64) -> String {
    match bytes {
        0..1000 => format!("{bytes} B"),
        1000..1_000_000 => format!("{:.1} kB", bytes as f64 / 1e3),
        1_000_000..1_000_000_000 => format!("{:.1} MB", bytes as f64 / 1e6),
        _ => format!("{:.1} GB", bytes as f64 / 1e9),
    }
}

/// Names in a sentence, all of them: what a removal drags along is not cut short.
pub(super) fn list(names: impl Iterator<Item = impl AsRef<str>>) -> String {
    names.fold(String::new(), |mut text, name| {
        if !text.is_empty() {
            text.push_str(", ");
        }
        text.push_str(name.as_ref());
        text
    })
}
