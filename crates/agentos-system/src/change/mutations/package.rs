//! `package.*`: planning what apt does with packages.

mod question;
mod services;

use std::collections::BTreeSet;

use agentos_api::change::Risk;
use agentos_api::mutation::package as api;
use agentos_api::mutation::package::MAX_NAMES;

use question::{Question, list};

use crate::change::Plan;
use crate::change::error::ChangeError;
use crate::change::planner::Planner;
use crate::change::protect;

fn words(words: &[&str], names: impl Iterator<Item = String>) -> Vec<String> {
    words.iter().map(|&word| word.to_owned()).chain(["--".to_owned()]).chain(names).collect()
}

fn check_count(count: usize) -> Result<(), ChangeError> {
    if (1..=MAX_NAMES).contains(&count) {
        return Ok(());
    }
    Err(ChangeError::invalid("names", format!("must name 1 to {MAX_NAMES} packages")))
}

impl Plan for api::Install {
    fn check(args: &api::InstallArgs) -> Result<(), ChangeError> {
        check_count(args.names.len())?;
        let names: BTreeSet<&str> = args.names.iter().map(|spec| spec.name.as_str()).collect();
        if names.len() < args.names.len() {
            return Err(ChangeError::invalid("names", "must name each package once"));
        }
        Ok(())
    }

    fn plan(planner: &mut Planner<'_>, args: api::InstallArgs) -> Result<(), ChangeError> {
        let mut question = Question::new(planner)?;
        planner.risk(Risk::Medium);
        planner.summary(format!("Installs {}", list(args.names.iter().map(ToString::to_string))));
        // apt takes a name that is none for a pattern.
        let known = question.apt.names()?;
        for spec in &args.names {
            if !known.contains(spec.name.base()) {
                return Err(Question::unknown(spec.name.base(), known.iter().map(String::as_str)));
            }
            protect::check_package(planner.viewer, spec.name.as_str())?;
            question.asked.insert(question.installed.printed(spec.name.as_str()).to_owned());
        }
        let recommends = if args.recommends { "--install-recommends" } else { "--no-install-recommends" };
        let mut command = vec!["install", recommends];
        if args.names.iter().any(|spec| spec.version.is_some()) {
            command.push("--allow-downgrades");
        }
        question.plan(planner, &words(&command, args.names.iter().map(ToString::to_string)))
    }
}

impl Plan for api::Remove {
    fn check(args: &api::RemoveArgs) -> Result<(), ChangeError> {
        check_count(args.names.len())
    }

    fn plan(planner: &mut Planner<'_>, args: api::RemoveArgs) -> Result<(), ChangeError> {
        let mut question = Question::new(planner)?;
        planner.risk(Risk::Destructive);
        for name in &args.names {
            protect::check_package(planner.viewer, name.as_str())?;
            let printed = question.installed.printed(name.as_str());
            if question.is_installed(printed) || (args.purge && question.installed.get(printed).is_some()) {
                question.asked.insert(printed.to_owned());
            } else if !question.apt.names()?.contains(name.base()) {
                return Err(Question::unknown(name.as_str(), question.installed.names()));
            }
        }
        let verb = if args.purge { "Removes with its configuration" } else { "Removes" };
        planner.summary(format!("{verb}: {}", list(args.names.iter().map(ToString::to_string))));
        if question.asked.is_empty() {
            return Ok(());
        }
        let verb = if args.purge { "purge" } else { "remove" };
        question.plan(planner, &words(&[verb], question.asked.iter().cloned()))
    }
}

impl Plan for api::Upgrade {
    fn check(args: &api::UpgradeArgs) -> Result<(), ChangeError> {
        match (args.all, args.names.is_empty()) {
            (true, true) => Ok(()),
            (true, false) => Err(ChangeError::invalid("all", "cannot stand together with names")),
            (false, _) => check_count(args.names.len()),
        }
    }

    fn plan(planner: &mut Planner<'_>, args: api::UpgradeArgs) -> Result<(), ChangeError> {
        let mut question = Question::new(planner)?;
        planner.risk(Risk::Destructive);
        planner.not_covered("what runs goes on with the old version until it is started anew");
        planner.not_covered(
            "the versions are those of the lists that apt last fetched; nothing here fetches them anew",
        );
        if args.all {
            planner.summary("Upgrades all packages");
            return question.plan(planner, &words(&["upgrade", "--with-new-pkgs"], std::iter::empty()));
        }
        planner.summary(format!("Upgrades {}", list(args.names.iter().map(ToString::to_string))));
        for name in &args.names {
            let printed = question.installed.printed(name.as_str());
            if !question.is_installed(printed) {
                return Err(Question::unknown(name.as_str(), question.installed.names()));
            }
            question.asked.insert(printed.to_owned());
        }
        let command = ["install", "--only-upgrade", "--no-install-recommends"];
        question.plan(planner, &words(&command, question.asked.iter().cloned()))
    }
}

#[cfg(test)]
mod tests;
