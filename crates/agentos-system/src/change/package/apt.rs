//! Questions to apt: what it would do, what it knows. None of them changes a package; apt may renew its own cache of the
//! archives' lists.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use super::answer::{Download, Simulation, complaint, downloads};
use crate::QueryError;
use crate::change::error::ChangeError;
use crate::machine::Machine;
use crate::procfs::decimal;
use crate::run::{Ended, Program};
use crate::text::lossy;

/// How long a question may take.
const TIME: Duration = Duration::from_mins(1);
const LONGEST_OUTPUT: usize = 32 << 20;
/// How long apt waits for somebody else who has dpkg's lock, in seconds.
pub(super) const LOCK_SECONDS: u32 = 20;

/// What apt's own programs need around them.
pub(super) const ENVIRONMENT: [(&str, &str); 6] = [
    ("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"),
    ("HOME", "/root"),
    ("DEBIAN_FRONTEND", "noninteractive"),
    ("APT_LISTCHANGES_FRONTEND", "none"),
    ("UCF_FORCE_CONFFOLD", "1"),
    // It says which services run with old libraries, and restarts none.
    ("NEEDRESTART_MODE", "l"),
];

/// apt and dpkg of one machine.
#[derive(Clone, Debug)]
pub(crate) struct Apt {
    /// The folder below which that machine's files are; none for this one.
    root: Option<String>,
}

impl Apt {
    /// Those of a machine.
    ///
    /// # Errors
    /// Where its root is no path.
    pub(crate) fn of(machine: &Machine) -> Result<Self, QueryError> {
        if machine.is_own_root() {
            return Ok(Self { root: None });
        }
        let root = lossy(machine.own_path(b"/")?.as_bytes());
        Ok(Self { root: Some(root.trim_end_matches('/').to_owned()) })
    }

    /// The program, which is given its environment.
    ///
    /// # Errors
    /// `packages_unavailable` where it is not installed.
    pub(super) fn program(name: &str) -> Result<Program, QueryError> {
        Program::find(name).map(|program| program.environment(&ENVIRONMENT)).ok_or_else(|| {
            QueryError::unavailable(
                "packages_unavailable",
                format!("{name} is not installed on this machine"),
                "Packages are changed with apt alone so far.",
            )
        })
    }

    /// Options for every run of an apt program: no question is asked, the administrator's configuration files stay, and the
    /// lock is not waited for forever.
    pub(super) fn options(&self) -> Vec<String> {
        let mut options = vec![
            "--quiet".to_owned(),
            format!("-oDPkg::Lock::Timeout={LOCK_SECONDS}"),
            "-oDpkg::Options::=--force-confdef".to_owned(),
            "-oDpkg::Options::=--force-confold".to_owned(),
            "-oDpkg::Use-Pty=false".to_owned(),
            "-oAPT::Color=false".to_owned(),
        ];
        if let Some(root) = &self.root {
            options.push(format!("-oDir={root}/"));
            options.push(format!("-oDir::State::status={root}/var/lib/dpkg/status"));
            options.push(format!("-oDpkg::Options::=--root={root}"));
        }
        options
    }

    /// Options for every run of dpkg.
    pub(super) fn dpkg_options(&self) -> Vec<String> {
        self.root.iter().map(|root| format!("--root={root}")).collect()
    }

    fn ask(
        &self,
        name: &str,
        words: impl IntoIterator<Item = String>,
    ) -> Result<(Ended, String), QueryError> {
        let program = self.options().into_iter().chain(words).fold(Self::program(name)?, Program::argument);
        let (ended, output) = program.output(TIME, LONGEST_OUTPUT)?;
        Ok((ended, lossy(&output)))
    }

    /// What apt-get would do.
    ///
    /// # Errors
    /// [`ChangeError::Refused`] with what apt says where it cannot be done.
    pub(crate) fn simulate(&self, command: &[String]) -> Result<Simulation, ChangeError> {
        let words = ["--yes", "--simulate"].into_iter().map(str::to_owned).chain(command.iter().cloned());
        let (ended, output) = self.ask("apt-get", words)?;
        if !ended.status.success() {
            let why = complaint(&ended.stderr, &output);
            return Err(ChangeError::refused(format!("apt cannot do this: {why}")));
        }
        Simulation::parse(&output)
            .map_err(|line| ChangeError::failed("asking apt", format!("its answer cannot be read: {line:?}")))
    }

    /// The files that apt-get would download for a command.
    ///
    /// # Errors
    /// Where apt-get cannot be run.
    pub(crate) fn to_download(&self, command: &[String]) -> Result<Vec<Download>, QueryError> {
        let words = ["--yes", "--print-uris"].into_iter().map(str::to_owned).chain(command.iter().cloned());
        Ok(downloads(&self.ask("apt-get", words)?.1))
    }

    /// The names of all packages that apt knows, without those that others only provide.
    ///
    /// # Errors
    /// Where apt-cache cannot be run.
    pub(crate) fn names(&self) -> Result<BTreeSet<String>, QueryError> {
        let (_, output) = self.ask("apt-cache", ["pkgnames".to_owned()])?;
        Ok(output.lines().map(str::to_owned).collect())
    }

    /// The versions that the archives have of these packages.
    ///
    /// # Errors
    /// Where apt-cache cannot be run.
    pub(crate) fn archive_versions<'n>(
        &self,
        names: impl IntoIterator<Item = &'n str>,
    ) -> Result<HashMap<String, Vec<String>>, QueryError> {
        let mut versions: HashMap<String, Vec<String>> = HashMap::new();
        let words = ["madison", "--"].into_iter().chain(names).map(str::to_owned).collect::<Vec<_>>();
        if words.len() == 2 {
            return Ok(versions);
        }
        let (_, output) = self.ask("apt-cache", words)?;
        for line in output.lines() {
            let mut columns = line.split('|').map(str::trim);
            if let (Some(name), Some(version), Some(from)) = (columns.next(), columns.next(), columns.next())
                && !from.ends_with("Sources")
            {
                versions.entry(name.to_owned()).or_default().push(version.to_owned());
            }
        }
        Ok(versions)
    }

    /// How much these `NAME=VERSION` take once they are installed, in bytes, by what their own descriptions say.
    ///
    /// # Errors
    /// Where apt-cache cannot be run.
    pub(crate) fn installed_sizes(&self, packages: Vec<String>) -> Result<u64, QueryError> {
        if packages.is_empty() {
            return Ok(0);
        }
        let words = ["show", "--"].into_iter().map(str::to_owned).chain(packages);
        let (_, output) = self.ask("apt-cache", words)?;
        Ok(output
            .lines()
            .filter_map(|line| decimal(line.strip_prefix("Installed-Size:")?.trim().as_bytes()))
            .fold(0u64, |sum, kibibytes| sum.saturating_add(kibibytes.saturating_mul(1024))))
    }

    /// Configuration files of these packages that were edited since they were installed (dpkg(1), `--verify`).
    ///
    /// # Errors
    /// Where dpkg cannot be run.
    pub(crate) fn edited<'n>(&self, names: impl Iterator<Item = &'n str>) -> Result<Vec<String>, QueryError> {
        let words = self.dpkg_options().into_iter().chain(["--verify".to_owned(), "--".to_owned()]);
        let program = words.chain(names.map(str::to_owned)).fold(Self::program("dpkg")?, Program::argument);
        let (_, output) = program.output(TIME, LONGEST_OUTPUT)?;
        Ok(edited(&lossy(&output)))
    }
}

/// The lines `??5?????? c PATH`: of a file that is missing all but its mark may differ.
fn edited(text: &str) -> Vec<String> {
    text.lines()
        .filter_map(|line| {
            let (marks, rest) = line.split_once(' ')?;
            let path = rest.trim_start().strip_prefix("c ")?.trim();
            (marks.contains('5') && path.starts_with('/')).then(|| path.to_owned())
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn configuration_files_that_were_edited_are_known() {
        let text = "??5?????? c /etc/a b\n??5??????   /usr/x\nmissing   c /etc/gone\n????????? c /etc/same\n";
        assert_eq!(edited(text), ["/etc/a b"]);
    }
}
