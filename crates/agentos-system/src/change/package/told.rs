//! What apt is told, and whether it would do what was planned.

use super::answer::{Fate, Simulation};
use super::apt::Apt;
use super::keep::Keep;
use super::transition::{Origin, PackageChange, PackageState, Packages, named};

impl Packages {
    /// How what apt would do differs from what was planned.
    pub(crate) fn differs(&self, simulation: &Simulation) -> Option<String> {
        let same = |change: &PackageChange, fate: &Fate| match (&change.to, fate) {
            (PackageState::Installed(planned), Fate::Version(version)) => planned == version,
            (PackageState::Leftover, Fate::Removed)
            | (PackageState::Absent, Fate::Removed | Fate::Purged) => true,
            _ => false,
        };
        let text = |name: &str, fate: Option<&Fate>| match fate {
            Some(Fate::Version(version)) => format!("{name} {version}"),
            Some(Fate::Removed | Fate::Purged) => format!("{name} removed"),
            None => format!("{name} as it is"),
        };
        let others = simulation
            .fates
            .iter()
            .filter(|(name, _)| !self.changes.iter().any(|change| change.name == **name))
            .map(|(name, fate)| text(name, Some(fate)));
        let otherwise = self
            .changes
            .iter()
            .map(|change| (change, simulation.fates.get(&change.name)))
            .filter(|(change, fate)| !fate.is_some_and(|fate| same(change, fate)))
            .map(|(change, fate)| text(&change.name, fate));
        let differs: Vec<String> = otherwise.chain(others).collect();
        (!differs.is_empty())
            .then(|| format!("such that apt would do something else by now: {}", named(&differs)))
    }

    /// All configuration of what is removed goes, so that apt can do it in one run.
    pub(super) fn purges(&self) -> bool {
        let mut removed = self.changes.iter().filter(|change| change.to.version().is_none()).peekable();
        removed.peek().is_some() && removed.all(|change| change.to == PackageState::Absent)
    }

    /// What apt-get is told: each package by name and version.
    pub(crate) fn command(&self, keep: &Keep) -> Vec<String> {
        let mut words =
            ["install", "--no-install-recommends", "--allow-downgrades"].map(str::to_owned).to_vec();
        if self.changes.iter().all(|change| change.to.version().is_some()) {
            words.push("--no-remove".to_owned());
        }
        if self.purges() {
            words.push("--purge".to_owned());
        }
        words.push("--".to_owned());
        words.extend(self.changes.iter().map(|change| match (&change.to, &change.to_origin) {
            (PackageState::Installed(version), Origin::Kept(kept)) => {
                keep.path(kept).unwrap_or_else(|| format!("{}={version}", change.name))
            }
            (PackageState::Installed(version), _) => format!("{}={version}", change.name),
            _ => format!("{}-", change.name),
        }));
        words
    }

    /// All that is run for it, in order.
    pub(super) fn commands(&self, apt: &Apt, keep: &Keep) -> Vec<Vec<String>> {
        let names = |takes: &dyn Fn(&PackageChange) -> bool| {
            self.changes
                .iter()
                .filter(|change| takes(change))
                .map(|change| change.name.clone())
                .collect::<Vec<_>>()
        };
        let run = |name: &str, options: Vec<String>, words: &[&str], rest: Vec<String>| {
            let words = words.iter().map(|&word| word.to_owned());
            [name.to_owned()].into_iter().chain(options).chain(words).chain(rest).collect::<Vec<String>>()
        };
        let mut commands = vec![run("apt-get", apt.options(), &["--yes"], self.command(keep))];
        let purged = names(&|change| change.to == PackageState::Absent);
        if !self.purges() && !purged.is_empty() {
            commands.push(run("dpkg", apt.dpkg_options(), &["--purge", "--"], purged));
        }
        // What is named to apt counts as asked for by a person.
        let automatic = names(&|change| change.to.version().is_some() && change.automatic);
        if !automatic.is_empty() {
            commands.push(run("apt-mark", apt.options(), &["auto", "--"], automatic));
        }
        commands
    }
}
