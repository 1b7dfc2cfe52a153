//! What dpkg has installed, with what makes a package special (deb-control(5), dpkg-query(1)).

use std::collections::{HashMap, HashSet};

use agentos_objects::Hash;
use rustix::fs::CWD;

use crate::QueryError;
use crate::machine::Machine;
use crate::procfs::{decimal, names, read_at};
use crate::text::lossy;

const STATUS: &str = "/var/lib/dpkg/status";
/// Which packages were installed because others need them (apt-mark(8)).
const MARKS: &str = "/var/lib/apt/extended_states";
/// What dpkg keeps of each package.
const INFO: &str = "/var/lib/dpkg/info";
/// Where dpkg notes what it does until it is in its database.
const UPDATES: &str = "/var/lib/dpkg/updates";
/// A machine with three thousand packages has about four million bytes.
const LARGEST: usize = 64 << 20;

/// One package of dpkg's database.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Package {
    /// None where only its configuration is left.
    pub(crate) version: Option<String>,
    pub(crate) architecture: String,
    /// The machine does not work, or not start, without it.
    pub(crate) essential: bool,
    pub(crate) held: bool,
    pub(crate) size_bytes: u64,
    /// dpkg's word where it is installed in part: `half-configured`, `unpacked` …
    pub(crate) broken: Option<String>,
    /// Its configuration files that dpkg knows.
    pub(crate) conffiles: Vec<String>,
}

/// All packages, by their names as apt prints them: `bash`, and `libc6:i386` of another architecture.
#[derive(Clone, Debug)]
pub(crate) struct Installed {
    packages: HashMap<String, Package>,
    automatic: HashSet<String>,
    /// The architecture whose packages have names without one.
    native: String,
    /// Of dpkg's database as a whole.
    pub(crate) hash: Hash,
    /// dpkg has notes that are not in its database: it is at work, or was cut off.
    pub(crate) unfinished: bool,
}

impl Installed {
    /// Reads dpkg's and apt's files.
    ///
    /// # Errors
    /// `packages_unavailable` where dpkg does not manage this machine.
    pub(crate) fn read(machine: &Machine) -> Result<Self, QueryError> {
        let file = |path: &str| {
            let path = lossy(machine.own_path(path.as_bytes())?.as_bytes());
            read_at(CWD, &path, LARGEST).map_err(|error| QueryError::io(path, error))
        };
        let status = file(STATUS).map_err(|_| {
            QueryError::unavailable(
                "packages_unavailable",
                format!("{STATUS} cannot be read: dpkg does not manage this machine"),
                "Packages are changed with apt alone so far.",
            )
        })?;
        let marks = file(MARKS).unwrap_or_default();
        if status.len() >= LARGEST {
            return Err(QueryError::TooLarge { what: STATUS.to_owned(), limit_bytes: LARGEST as u64 });
        }
        let updates = lossy(machine.own_path(UPDATES.as_bytes())?.as_bytes());
        let unfinished =
            names(&updates, 1000).iter().any(|name| name.bytes().all(|byte| byte.is_ascii_digit()));
        Ok(Self { unfinished, ..Self::parse(&lossy(&status), &lossy(&marks), Hash::of(&status)) })
    }

    fn parse(status: &str, marks: &str, hash: Hash) -> Self {
        let stanzas: Vec<Fields<'_>> = status.split("\n\n").map(fields).collect();
        // dpkg itself has the machine's own architecture.
        let native = stanzas
            .iter()
            .find(|stanza| stanza.get("Package") == Some(&"dpkg"))
            .and_then(|stanza| stanza.get("Architecture").copied())
            .unwrap_or(OWN_ARCHITECTURE);
        let full_name = |stanza: &Fields<'_>| {
            let name = stanza.get("Package").copied().filter(|name| !name.is_empty())?;
            let architecture = stanza.get("Architecture").copied().unwrap_or("all");
            Some(if architecture == "all" || architecture == native {
                name.to_owned()
            } else {
                format!("{name}:{architecture}")
            })
        };
        let packages =
            stanzas.iter().filter_map(|stanza| Some((full_name(stanza)?, package(stanza)?))).collect();
        let automatic = marks
            .split("\n\n")
            .map(fields)
            .filter(|stanza| stanza.get("Auto-Installed") == Some(&"1"))
            .filter_map(|stanza| full_name(&stanza))
            .collect();
        Self { packages, automatic, native: native.to_owned(), hash, unfinished: false }
    }

    /// The package of that name, where there is something of it.
    pub(crate) fn get(&self, name: &str) -> Option<&Package> {
        self.packages.get(name)
    }

    /// The name as apt prints it: without the machine's own architecture.
    pub(crate) fn printed<'n>(&self, name: &'n str) -> &'n str {
        match name.split_once(':') {
            Some((base, architecture)) if architecture == self.native || architecture == "all" => base,
            _ => name,
        }
    }

    /// It was installed because another one needs it.
    pub(crate) fn is_automatic(&self, name: &str) -> bool {
        self.automatic.contains(name)
    }

    /// dpkg keeps something of the package when it is removed: configuration, or the script that deletes what it made.
    pub(crate) fn leaves_something(&self, machine: &Machine, name: &str) -> bool {
        let Some(package) = self.packages.get(name) else { return false };
        let base = name.split(':').next().unwrap_or_default();
        // Of packages that can be installed for several architectures, the script has it in its name.
        let script = [format!("{base}:{}", package.architecture), base.to_owned()].into_iter().any(|name| {
            let path = machine.own_path(format!("{INFO}/{name}.postrm").as_bytes());
            path.is_ok_and(|path| std::path::Path::new(&lossy(path.as_bytes())).exists())
        });
        !package.conffiles.is_empty() || script
    }

    /// The names of what is installed.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.packages.iter().filter(|(_, package)| package.version.is_some()).map(|(name, _)| name.as_str())
    }

    /// What dpkg left half done, or is doing: packages by name, each with dpkg's word for it.
    pub(crate) fn broken(&self) -> Vec<String> {
        let mut broken: Vec<String> = self
            .packages
            .iter()
            .filter_map(|(name, package)| Some(format!("{name} ({})", package.broken.as_deref()?)))
            .collect();
        broken.sort();
        if self.unfinished {
            broken.push(format!("notes of dpkg's in {UPDATES}"));
        }
        broken
    }
}

/// This machine's, in Debian's words.
const OWN_ARCHITECTURE: &str = if cfg!(target_arch = "aarch64") {
    "arm64"
} else if cfg!(target_arch = "riscv64") {
    "riscv64"
} else {
    "amd64"
};

type Fields<'f> = HashMap<&'f str, &'f str>;

/// The fields of a stanza, each with its lines that follow.
fn fields(stanza: &str) -> Fields<'_> {
    let mut fields = HashMap::new();
    let mut rest = stanza.trim_start_matches('\n');
    while !rest.is_empty() {
        // A field goes on in lines that begin with a blank.
        let end = rest
            .match_indices('\n')
            .map(|(at, _)| at)
            .find(|at| !rest.get(at + 1..).is_some_and(|next| next.starts_with([' ', '\t'])))
            .unwrap_or(rest.len());
        let (field, after) = rest.split_at(end);
        if let Some((name, value)) = field.split_once(':') {
            fields.insert(name, value.trim());
        }
        rest = after.trim_start_matches('\n');
    }
    fields
}

fn package(stanza: &Fields<'_>) -> Option<Package> {
    let mut words = stanza.get("Status")?.split_whitespace();
    let (wanted, trouble, state) = (words.next()?, words.next()?, words.next()?);
    if state == "not-installed" {
        return None;
    }
    let installed = state != "config-files";
    let is = |field: &str| stanza.get(field) == Some(&"yes");
    let kibibytes = stanza.get("Installed-Size").and_then(|size| decimal(size.as_bytes()));
    let broken = match (state, trouble) {
        ("installed" | "config-files", "ok") => None,
        (state, "ok") => Some(state.to_owned()),
        (state, trouble) => Some(format!("{state}, {trouble}")),
    };
    Some(Package {
        version: stanza.get("Version").filter(|_| installed).map(|&version| version.to_owned()),
        architecture: stanza.get("Architecture").copied().unwrap_or("all").to_owned(),
        essential: installed && (is("Essential") || is("Protected") || is("Important")),
        held: wanted == "hold",
        size_bytes: if installed { kibibytes.unwrap_or_default().saturating_mul(1024) } else { 0 },
        broken,
        conffiles: stanza.get("Conffiles").map(|text| conffiles(text)).unwrap_or_default(),
    })
}

/// The lines `PATH HASH [obsolete] [remove-on-upgrade]`.
fn conffiles(text: &str) -> Vec<String> {
    text.lines()
        .filter_map(|line| {
            // A path may hold blanks; what follows it does not.
            let line = line.trim();
            let line = line.strip_suffix(" remove-on-upgrade").unwrap_or(line);
            let line = line.strip_suffix(" obsolete").unwrap_or(line);
            let (path, _) = line.rsplit_once(' ')?;
            path.starts_with('/').then(|| path.to_owned())
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const TEXT: &str = "Package: dpkg\nStatus: install ok installed\nArchitecture: amd64\nEssential: yes\nVersion: 1.21\n\n\
                        Package: libc6\nStatus: hold ok installed\nArchitecture: i386\nVersion: 2.36\nInstalled-Size: 2\n\n\
                        Package: gone\nStatus: deinstall ok config-files\nArchitecture: all\nVersion: 3\nConffiles:\n /etc/a b 0123\n /etc/c 4567 obsolete\n\n\
                        Package: bad\nStatus: install reinstreq half-installed\nArchitecture: all\nVersion: 4\nDescription: x\n Essential: yes\n";

    fn parse(status: &str, marks: &str) -> Installed {
        Installed::parse(status, marks, Hash::of(b""))
    }

    #[test]
    fn each_package_has_the_name_that_apt_gives_it() {
        let installed = parse(TEXT, "Package: libc6\nArchitecture: i386\nAuto-Installed: 1\n");
        assert!(installed.get("dpkg").unwrap().essential);
        let foreign = installed.get("libc6:i386").unwrap();
        assert_eq!(
            (foreign.version.as_deref(), foreign.size_bytes, foreign.held),
            (Some("2.36"), 2048, true)
        );
        assert!(installed.is_automatic("libc6:i386") && !installed.is_automatic("dpkg"));
        assert_eq!(
            ["libc6:i386", "dpkg:amd64", "dpkg"].map(|name| installed.printed(name)),
            ["libc6:i386", "dpkg", "dpkg"]
        );
    }

    #[test]
    fn what_is_left_of_a_package_is_known() {
        let installed = parse(TEXT, "");
        let gone = installed.get("gone").unwrap();
        assert_eq!((&gone.version, gone.broken.is_some()), (&None, false));
        assert_eq!(gone.conffiles, ["/etc/a b", "/etc/c"]);
        assert!(!installed.get("bad").unwrap().essential);
        assert_eq!(installed.broken(), ["bad (half-installed, reinstreq)"]);
    }

    #[test]
    fn this_machines_own_database_is_read() {
        let machine = Machine::new(crate::MachineOptions::default());
        let Ok(installed) = Installed::read(&machine) else { return };
        assert!(installed.get("dpkg").is_some_and(|package| package.essential));
        assert!(installed.names().count() > 20);
    }

    proptest! {
        #[test]
        fn any_text_is_read_without_panic(text in "(Package: a|Status: install ok installed|Version: 1|Conffiles:| /etc/x 1|\\n| |\\PC){0,40}") {
            let _ = parse(&text, &text).broken();
        }

        #[test]
        fn what_was_written_is_read_back(names in proptest::collection::hash_set("[a-z0-9][a-z0-9+.-]{1,20}", 0..20)) {
            let text = names.iter().map(|name| format!("Package: {name}\nStatus: install ok installed\nDescription: a\n .\n b\nVersion: 1:2~3\n")).collect::<Vec<_>>().join("\n");
            let installed = parse(&text, "");
            prop_assert_eq!(installed.names().map(str::to_owned).collect::<HashSet<_>>(), names);
            prop_assert!(installed.packages.values().all(|package| package.version.as_deref() == Some("1:2~3")));
        }
    }
}
