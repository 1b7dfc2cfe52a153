//! Some packages, from their versions to others, in one run of apt.

use std::fmt::Write as _;

use agentos_api::change::Effect;
use agentos_objects::Hash;
use serde::{Deserialize, Serialize};

use super::apt::Apt;
use super::installed::Installed;
use super::keep::{Keep, Kept};
use super::work;
use crate::change::context::Context;
use crate::change::error::ChangeError;
use crate::change::file::{FileState, FileTransition, Place};
use crate::change::transition::{Irreversible, Position, Transit};

/// Names in a sentence.
const MOST_NAMED: usize = 10;
/// What a person does about a machine that dpkg left half way.
const MEND: &str =
    "as root, `dpkg --configure -a` goes on with it, and `apt-get --fix-broken install` mends what it needs";

/// What there is of a package.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum PackageState {
    Absent,
    /// Its configuration alone.
    Leftover,
    /// It is installed, in this version.
    Installed(String),
}

impl PackageState {
    pub(super) fn of(installed: &Installed, name: &str) -> Self {
        match installed.get(name) {
            None => Self::Absent,
            Some(package) => package.version.clone().map_or(Self::Leftover, Self::Installed),
        }
    }

    /// The version that is installed.
    pub(crate) fn version(&self) -> Option<&str> {
        match self {
            Self::Installed(version) => Some(version),
            Self::Absent | Self::Leftover => None,
        }
    }

    /// A package without configuration leaves nothing when it is removed.
    pub(super) fn is(&self, found: &Self) -> bool {
        self == found || (*self == Self::Leftover && *found == Self::Absent)
    }

    fn text(&self) -> &str {
        match self {
            Self::Absent => "absent",
            Self::Leftover => "absent but for its configuration",
            Self::Installed(version) => version,
        }
    }
}

/// Where a version of a package comes from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Origin {
    /// The configured archives, or nothing has to come.
    Archives,
    /// What is kept of it before anything is changed.
    Kept(Kept),
    /// Nobody has it any more.
    Lost,
}

/// One package, from a state to another.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct PackageChange {
    /// As apt prints it.
    pub(crate) name: String,
    pub(crate) from: PackageState,
    pub(crate) to: PackageState,
    /// Where each of both comes from.
    pub(crate) from_origin: Origin,
    pub(crate) to_origin: Origin,
    /// Whether it counts as one that is there because others need it (apt-mark(8)): before, and afterwards.
    pub(crate) was_automatic: bool,
    pub(crate) automatic: bool,
}

/// Packages change, in one run of apt.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Packages {
    /// By name.
    pub(crate) changes: Vec<PackageChange>,
    /// Configuration files that go with a package that is purged, after the folders that they are in; on the way back they
    /// come before it does.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) files: Vec<FileTransition>,
    /// Where dpkg puts its own copy of configuration that somebody edited (`.dpkg-dist`), and where nothing was before.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) copies: Vec<Place>,
    /// Services of packages that are removed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) units: Vec<String>,
    /// dpkg's database when this was planned. Where it is another one, apt is asked again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) database: Option<Hash>,
    /// It takes back what was made.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) back: bool,
}

impl Packages {
    pub(super) fn failed(&self, reason: impl std::fmt::Display) -> ChangeError {
        ChangeError::failed(self.on(), reason)
    }

    fn moved(&self, found: String) -> ChangeError {
        ChangeError::Moved {
            what: self.on(),
            planned: "as installed when this was planned".to_owned(),
            found,
        }
    }

    /// Where the packages are, by dpkg's database alone.
    pub(super) fn look(&self, installed: &Installed) -> Position {
        let (mut before, mut after) = (true, true);
        let (mut found, mut broken) = (Vec::new(), false);
        for change in &self.changes {
            let state = PackageState::of(installed, &change.name);
            let trouble = installed.get(&change.name).and_then(|package| package.broken.as_deref());
            before &= change.from.is(&state) && trouble.is_none();
            after &= change.to.is(&state) && trouble.is_none();
            broken |= trouble.is_some();
            let trouble = trouble.map(|trouble| format!(" ({trouble})")).unwrap_or_default();
            found.push(format!("{} {}{trouble}", change.name, state.text()));
        }
        if after {
            return Position::After;
        }
        if before {
            return Position::Before;
        }
        let mut text = named(&found);
        if broken {
            let _ = write!(text, "; {MEND}");
        }
        Position::Elsewhere(text)
    }

    /// What keeps packages that are as planned from being changed as planned.
    fn obstacle(
        &self,
        apt: &Apt,
        keep: &Keep,
        installed: &Installed,
        context: &Context<'_>,
    ) -> Result<Option<String>, ChangeError> {
        if !self.back {
            for file in &self.files {
                if file.position(context)? != Position::Before {
                    return Ok(Some(format!("{} was changed since", file.on())));
                }
            }
        }
        if self.database == Some(installed.hash) {
            return Ok(None);
        }
        if let Some(broken) = installed.broken().first() {
            return Ok(Some(format!("left half way by dpkg, or at work: {broken}")));
        }
        // What was not there before goes with its configuration, but not with somebody's work on it.
        let new = self.changes.iter().filter(|change| self.back && change.to == PackageState::Absent);
        if new.clone().next().is_some() {
            let edited = apt.edited(new.map(|change| change.name.as_str()))?;
            if !edited.is_empty() {
                return Ok(Some(format!(
                    "installed with configuration that was edited since ({}), which would be lost; package.remove \
                     keeps it",
                    named(&edited)
                )));
            }
        }
        match apt.simulate(&self.command(keep)) {
            Ok(simulation) => Ok(self.differs(&simulation)),
            Err(ChangeError::Refused { reason }) => Ok(Some(reason)),
            Err(error) => Err(error),
        }
    }

    /// The configuration files, without the folders.
    pub(super) fn conffiles(&self) -> impl Iterator<Item = &FileTransition> {
        let is_folder = |state: &FileState| matches!(state, FileState::Folder { .. });
        self.files.iter().filter(move |file| !is_folder(&file.from) && !is_folder(&file.to))
    }
}

/// The first of some names, and how many more there are.
pub(crate) fn named(names: &[String]) -> String {
    let mut text = names.iter().take(MOST_NAMED).cloned().collect::<Vec<_>>().join(", ");
    if names.len() > MOST_NAMED {
        let _ = write!(text, " and {} more", names.len() - MOST_NAMED);
    }
    text
}

impl Transit for Packages {
    fn on(&self) -> String {
        let names: Vec<String> = self.changes.iter().map(|change| change.name.clone()).collect();
        let word = if names.len() == 1 { "package" } else { "packages" };
        format!("{word} {}", named(&names))
    }

    fn things(&self) -> Vec<String> {
        let packages = self.changes.iter().map(|change| format!("package {}", change.name));
        packages.chain(self.conffiles().map(Transit::on)).collect()
    }

    fn effect(&self, _: &Context<'_>) -> Effect {
        let count =
            |takes: &dyn Fn(&PackageChange) -> bool| self.changes.iter().filter(|it| takes(it)).count();
        let come = count(&|change| change.from.version().is_none() && change.to.version().is_some());
        let go = count(&|change| change.from.version().is_some() && change.to.version().is_none());
        let differ = count(&|change| change.from.version().is_some() && change.to.version().is_some());
        let mut diff = String::new();
        for change in &self.changes {
            let line = |state: &PackageState| match state {
                PackageState::Absent => None,
                PackageState::Leftover => Some(format!("{} (configuration alone)", change.name)),
                PackageState::Installed(version) => Some(format!("{} {version}", change.name)),
            };
            for (sign, line) in [('-', line(&change.from)), ('+', line(&change.to))] {
                if let Some(line) = line {
                    let _ = writeln!(diff, "{sign}{line}");
                }
            }
        }
        let sign = if self.back { '+' } else { '-' };
        for file in self.conffiles() {
            let _ = writeln!(diff, "{sign}{}", file.place.text());
        }
        Effect {
            on: self.on(),
            before: format!("{} installed", go + differ),
            after: format!("{come} new, {go} removed, {differ} with another version"),
            diff: Some(diff),
            diff_omitted: None,
        }
    }

    fn position(&self, context: &Context<'_>) -> Result<Position, ChangeError> {
        if work::under_way(context.machine)? {
            return Ok(Position::Elsewhere(format!("being changed: apt is at work in {}", work::UNIT)));
        }
        let installed = Installed::read(context.machine)?;
        let position = self.look(&installed);
        if position != Position::Before {
            return Ok(position);
        }
        let (apt, keep) = (Apt::of(context.machine)?, Keep::of(context.machine)?);
        Ok(self.obstacle(&apt, &keep, &installed, context)?.map_or(Position::Before, Position::Elsewhere))
    }

    fn apply(&self, context: &Context<'_>) -> Result<(), ChangeError> {
        match self.position(context)? {
            Position::Before => {}
            // Taking back what is back.
            Position::After if self.back => return Ok(()),
            Position::After | Position::Unknowable => {
                return Err(self.moved("as it would be afterwards".to_owned()));
            }
            Position::Elsewhere(found) => return Err(self.moved(found)),
        }
        let machine = context.machine;
        let (apt, keep) = (Apt::of(machine)?, Keep::of(machine)?);
        self.keep_what_goes(&apt, &keep)?;
        // Without a database to compare with, apt was asked just now.
        if self.database.is_some()
            && let Some(differs) = self.differs(&apt.simulate(&self.command(&keep))?)
        {
            return Err(self.moved(differs));
        }
        self.put_files(context)?;
        let outcome = work::run(machine, &self.commands(&apt, &keep));
        self.take_copies_away(context);
        let position = self.look(&Installed::read(machine)?);
        let why = match (outcome, position) {
            (Ok(()), Position::After) => return Ok(()),
            (Ok(()), Position::Elsewhere(found)) => format!("apt ended well, and yet there is {found}"),
            (Ok(()), _) => "apt ended well and changed nothing".to_owned(),
            (Err(ChangeError::Failed { reason, .. }), _) => reason,
            (Err(error), _) => return Err(error),
        };
        if work::under_way(machine)? {
            return Err(self.failed(why));
        }
        let back = self.go_back(&apt, &keep, context);
        Err(self.failed(match back {
            Ok(true) => format!("{why}. What had been done was taken back"),
            Ok(false) => format!("{why}. Nothing had been done"),
            Err(error) => {
                format!("{why}. Taking back what had been done failed too: {}", crate::text::chain(&error))
            }
        }))
    }

    fn reversed(&self) -> Result<Self, Irreversible> {
        let lost: Vec<String> = self
            .changes
            .iter()
            .filter_map(|change| match (&change.from, &change.from_origin) {
                (PackageState::Installed(version), Origin::Lost) => {
                    Some(format!("{} {version}", change.name))
                }
                (PackageState::Leftover, _) if change.to == PackageState::Absent => {
                    Some(format!("{} as configuration alone", change.name))
                }
                _ => None,
            })
            .collect();
        if !lost.is_empty() {
            return Err(Irreversible(format!(
                "what is there now cannot be had again, or is too much to be kept: {}",
                named(&lost)
            )));
        }
        let changes = self.changes.iter().map(|change| PackageChange {
            name: change.name.clone(),
            from: change.to.clone(),
            to: change.from.clone(),
            from_origin: change.to_origin.clone(),
            to_origin: change.from_origin.clone(),
            was_automatic: change.automatic,
            automatic: change.was_automatic,
        });
        Ok(Self {
            changes: changes.collect(),
            files: self.files.iter().map(Transit::reversed).collect::<Result<_, _>>()?,
            copies: self.copies.clone(),
            units: self.units.clone(),
            database: None,
            back: !self.back,
        })
    }

    /// apt goes on when agentd ends.
    fn under_way(&self, context: &Context<'_>) -> Result<Option<String>, ChangeError> {
        Ok(work::under_way(context.machine)?.then(|| format!("apt is at work in {}", work::UNIT)))
    }

    /// What was put in place for it is taken away again where it did not begin.
    fn clean(&self, context: &Context<'_>) {
        work::settle(context.machine);
        let Ok(installed) = Installed::read(context.machine) else { return };
        if self.look(&installed) == Position::Before {
            self.take_files_away(context);
        }
    }

    fn paths(&self) -> Vec<Vec<u8>> {
        self.conffiles().flat_map(Transit::paths).collect()
    }

    fn units(&self) -> Vec<String> {
        self.units.clone()
    }

    fn leaves_behind(&self) -> Option<String> {
        Some("what scripts of packages did stays: users, data and links that they made or deleted".to_owned())
    }
}
