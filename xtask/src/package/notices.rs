//! The notices of the libraries that are linked into the programs: their licences ask that they go with every copy.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::PROGRAMS;
use crate::command::{self, cargo};

/// Names that a licence's file begins with, in capitals.
const NAMES: [&str; 4] = ["LICENSE", "LICENCE", "COPYING", "NOTICE"];

/// The text of all notices, each once, below the names of those that it belongs to.
///
/// # Errors
/// When cargo cannot say what is linked, or a library has neither a licence's file nor its name.
pub(super) fn text() -> Result<String> {
    let linked = linked()?;
    let mut metadata = cargo();
    metadata.args(["metadata", "--format-version", "1", "--locked"]);
    let metadata: Value = serde_json::from_str(&command::output(&mut metadata)?)?;
    let mut by_text: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for package in metadata["packages"].as_array().into_iter().flatten() {
        let (Some(name), Some(version)) = (package["name"].as_str(), package["version"].as_str()) else {
            continue;
        };
        // Without a source it is one of our own.
        if package["source"].is_null() || !linked.contains(&format!("{name} v{version}")) {
            continue;
        }
        let who = format!("{name} {version} ({})", package["license"].as_str().unwrap_or("see below"));
        let folder = package["manifest_path"].as_str().and_then(|path| Path::new(path).parent());
        let texts = folder.map(notices).transpose()?.unwrap_or_default();
        ensure!(!texts.is_empty() || package["license"].is_string(), "{name} {version} has no licence");
        if texts.is_empty() {
            by_text.entry("Its package has no text of it.".to_owned()).or_default().insert(who.clone());
        }
        for text in texts {
            by_text.entry(text).or_default().insert(who.clone());
        }
    }
    let mut whole =
        String::from("Libraries that are linked into the programs of this package, and their licences.\n");
    for (text, who) in by_text {
        let who = who.into_iter().collect::<Vec<_>>().join("\n  ");
        write!(whole, "\n{}\n  {who}\n\n{}\n", "-".repeat(80), text.trim_end())?;
    }
    Ok(whole)
}

/// What is linked into the programs, as `name vVERSION`.
fn linked() -> Result<BTreeSet<String>> {
    let mut tree = cargo();
    tree.args(["tree", "--locked", "--edges", "normal", "--prefix", "none", "--format", "{p}"]);
    for (package, _) in PROGRAMS {
        tree.args(["--package", package]);
    }
    let listed = command::output(&mut tree)?;
    Ok(listed.lines().map(|line| line.split_whitespace().take(2).collect::<Vec<_>>().join(" ")).collect())
}

/// The texts of the licences that lie in a library's folder.
fn notices(folder: &Path) -> Result<Vec<String>> {
    let mut texts = Vec::new();
    for entry in fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))? {
        let path = entry?.path();
        let name = path.file_name().map(|name| name.to_string_lossy().to_uppercase()).unwrap_or_default();
        if path.is_file() && NAMES.iter().any(|known| name.starts_with(known)) {
            texts.push(String::from_utf8_lossy(&fs::read(&path)?).replace("\r\n", "\n"));
        }
    }
    Ok(texts)
}
