//! `package-lock.json`, version 3: which packages there are, where each goes, and the hash that its archive must have.
//!
//! What is not understood is refused. A package without a hash, one that names where it comes from, or one that would be
//! put outside of `node_modules` is an error, not a warning.

mod name;
mod platform;

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;

pub use self::platform::Platform;
use crate::integrity::Integrity;

/// Longest lock file that is read, in bytes.
pub const LONGEST: u64 = 16 << 20;

/// Most packages in one.
const MOST: usize = 20_000;

/// A lock file that was read and found to be in order.
#[derive(Debug)]
pub struct Lock {
    packages: Vec<Package>,
    /// What the project itself asks for: names, and whether it can do without.
    wanted: BTreeMap<String, bool>,
}

/// One package at one place.
#[derive(Debug)]
pub struct Package {
    /// Where it goes: `node_modules/a/node_modules/b`.
    pub path: String,
    /// Its name in the registry.
    pub name: String,
    /// Its version.
    pub version: String,
    /// The hash of its archive; none for one that comes inside the archive of the package around it.
    pub integrity: Option<Integrity>,
    /// Its programs: names, and files below its folder.
    pub programs: BTreeMap<String, String>,
    optional: bool,
    os: Words,
    cpu: Words,
    libc: Words,
}

/// What a platform needs of a lock file.
#[derive(Debug)]
pub struct Selection<'a> {
    /// Packages with an archive of their own, each behind the one it is inside of.
    pub fetched: Vec<&'a Package>,
    /// Packages that come inside of others' archives.
    pub bundled: Vec<&'a Package>,
    /// The programs of the packages that the project asks for: names, and files below the folder of `node_modules`.
    pub programs: BTreeMap<String, String>,
}

impl Lock {
    /// Reads `text`.
    ///
    /// # Errors
    /// When it is not a lock file that can be followed: the message names the entry.
    pub fn parse(text: &str) -> Result<Self, String> {
        let file: File = serde_json::from_str(text).map_err(|error| error.to_string())?;
        if file.lockfile_version != 3 {
            return Err(format!("its lockfileVersion is {}; version 3 is understood", file.lockfile_version));
        }
        if file.packages.len() > MOST {
            return Err(format!("it has more than {MOST} packages"));
        }
        let mut wanted = BTreeMap::new();
        let mut packages = Vec::with_capacity(file.packages.len());
        for (path, entry) in file.packages {
            if path.is_empty() {
                wanted.extend(entry.dependencies.into_keys().map(|name| (name, false)));
                wanted.extend(entry.optional_dependencies.into_keys().map(|name| (name, true)));
                continue;
            }
            // What only a development of the project needs is not for a machine that runs it.
            if entry.dev {
                continue;
            }
            let package = Package::of(&path, entry).map_err(|message| format!("{path:?}: {message}"))?;
            packages.push(package);
        }
        Ok(Self { packages, wanted })
    }

    /// What `platform` needs.
    ///
    /// # Errors
    /// When something that cannot be done without is not made for it, or is missing.
    pub fn select(&self, platform: &Platform) -> Result<Selection<'_>, String> {
        let mut left_out = BTreeSet::new();
        let mut chosen = BTreeSet::new();
        let mut selection = Selection { fetched: Vec::new(), bundled: Vec::new(), programs: BTreeMap::new() };
        // Sorted by path: a package comes behind the one that it is inside of.
        for package in &self.packages {
            let inside_of_left_out = package.around().any(|around| left_out.contains(around));
            if inside_of_left_out || !platform.fits(&package.os, &package.cpu, &package.libc) {
                if !package.optional && !inside_of_left_out {
                    return Err(format!("{} is not made for {platform}, and is needed", package.path));
                }
                left_out.insert(package.path.as_str());
                continue;
            }
            chosen.insert(package.path.as_str());
            if package.integrity.is_some() {
                selection.fetched.push(package);
                continue;
            }
            if !package.around().any(|around| chosen.contains(around)) {
                return Err(format!("{} comes inside of a package that is not there", package.path));
            }
            selection.bundled.push(package);
        }
        for (name, optional) in &self.wanted {
            let path = format!("node_modules/{name}");
            match selection.fetched.iter().find(|package| package.path == path) {
                Some(package) => selection.programs.extend(
                    package
                        .programs
                        .iter()
                        .map(|(program, file)| (program.clone(), format!("{path}/{file}"))),
                ),
                None if *optional => {}
                None => return Err(format!("{name} is asked for, and has no entry")),
            }
        }
        Ok(selection)
    }
}

impl Package {
    fn of(path: &str, entry: Entry) -> Result<Self, String> {
        let installed = name::of_path(path).ok_or("it does not stand below node_modules")?;
        if entry.link {
            return Err("it is a link, which is not followed".to_owned());
        }
        if entry.resolved.is_some() {
            return Err(
                "it names where it comes from; make the lock file with omit-lockfile-registry-resolved"
                    .to_owned(),
            );
        }
        let name = entry.name.unwrap_or_else(|| installed.to_owned());
        if !name::is_package(&name) {
            return Err(format!("{name:?} is not a package's name"));
        }
        let version = entry.version.ok_or("it has no version")?;
        if !name::is_version(&version) {
            return Err(format!("{version:?} is not a version"));
        }
        let integrity = match (entry.integrity, entry.in_bundle) {
            (_, true) => None,
            (Some(text), false) => Some(Integrity::parse(&text)?),
            (None, false) => return Err("it has no hash".to_owned()),
        };
        let programs = entry.bin.named(&name);
        for (program, file) in &programs {
            if !name::is_program(program) || !name::is_file_below(file) {
                return Err(format!("its program {program:?} is {file:?}"));
            }
        }
        let (optional, os, cpu, libc) = (entry.optional, entry.os, entry.cpu, entry.libc);
        Ok(Self { path: path.to_owned(), name, version, integrity, programs, optional, os, cpu, libc })
    }

    /// Where the registry has its archive, as npm's registries lay it out.
    pub fn archive(&self) -> String {
        let last = self.name.rsplit('/').next().unwrap_or(&self.name);
        format!("{}/-/{last}-{}.tgz", self.name, self.version)
    }

    /// How many packages it is inside of.
    pub(crate) fn depth(&self) -> usize {
        self.around().count()
    }

    /// The paths of the packages it is inside of, innermost first.
    fn around(&self) -> impl Iterator<Item = &str> {
        self.path.rmatch_indices("/node_modules/").map(|(at, _)| &self.path[..at])
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct File {
    lockfile_version: u32,
    packages: BTreeMap<String, Entry>,
}

/// An entry as it is written. What is not named here (licences, funding, engines) says nothing about the installation.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[expect(clippy::struct_excessive_bools, reason = "npm's words")]
struct Entry {
    name: Option<String>,
    version: Option<String>,
    integrity: Option<String>,
    resolved: Option<serde_json::Value>,
    optional: bool,
    dev: bool,
    in_bundle: bool,
    link: bool,
    os: Words,
    cpu: Words,
    libc: Words,
    bin: Programs,
    dependencies: BTreeMap<String, serde_json::Value>,
    optional_dependencies: BTreeMap<String, serde_json::Value>,
}

/// One word or several.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(untagged)]
pub(crate) enum Words {
    #[default]
    None,
    One(String),
    Several(Vec<String>),
}

impl Words {
    pub(crate) fn iter(&self) -> impl Iterator<Item = &str> {
        let words = match self {
            Self::None => &[],
            Self::One(word) => std::slice::from_ref(word),
            Self::Several(words) => words.as_slice(),
        };
        words.iter().map(String::as_str)
    }
}

#[derive(Default, Deserialize)]
#[serde(untagged)]
enum Programs {
    #[default]
    None,
    One(String),
    Several(BTreeMap<String, String>),
}

impl Programs {
    fn named(self, package: &str) -> BTreeMap<String, String> {
        let plain = |file: String| file.trim_start_matches("./").to_owned();
        match self {
            Self::None => BTreeMap::new(),
            Self::One(file) => {
                let name = package.rsplit('/').next().unwrap_or(package);
                BTreeMap::from([(name.to_owned(), plain(file))])
            }
            Self::Several(programs) => programs.into_iter().map(|(name, file)| (name, plain(file))).collect(),
        }
    }
}

#[cfg(test)]
mod tests;
