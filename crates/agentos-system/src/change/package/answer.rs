//! What apt prints of what it would do (apt-get(8), `--simulate` and `--print-uris`), read strictly: a line about a package
//! that cannot be read is an error, never passed over.

use std::collections::BTreeMap;

use agentos_api::package::{PackageName, is_version};

use crate::procfs::decimal;

/// What becomes of a package.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// It has this version afterwards.
    Version(String),
    /// It is removed, and its configuration stays.
    Removed,
    /// It is removed with its configuration.
    Purged,
}

/// What apt would do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Simulation {
    /// Each package that would change, by its name as apt prints it.
    pub(crate) fates: BTreeMap<String, Fate>,
    /// Those that would stay behind, for holds or for what they need.
    pub(crate) kept_back: Vec<String>,
    /// Those that nothing needs any more.
    pub(crate) unneeded: Vec<String>,
    /// Those that would get an older version.
    pub(crate) downgraded: Vec<String>,
}

impl Simulation {
    /// Reads it.
    ///
    /// # Errors
    /// The line that cannot be read.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let mut simulation = Self::default();
        let mut section = Section::Other;
        for line in text.lines() {
            let fate = fate(line).map_err(|()| line.to_owned())?;
            if let Some((name, fate)) = fate {
                simulation.fates.insert(name, fate);
            } else if line.starts_with("  ") {
                let list = match section {
                    Section::KeptBack => &mut simulation.kept_back,
                    Section::Unneeded => &mut simulation.unneeded,
                    Section::Downgraded => &mut simulation.downgraded,
                    Section::Other => continue,
                };
                list.extend(line.split_whitespace().map(|name| name.trim_end_matches('*').to_owned()));
            } else {
                section = Section::of(line);
            }
        }
        Ok(simulation)
    }
}

#[derive(Clone, Copy)]
enum Section {
    KeptBack,
    Unneeded,
    Downgraded,
    Other,
}

impl Section {
    fn of(line: &str) -> Self {
        if !line.starts_with("The following package") {
            Self::Other
        } else if line.ends_with("kept back:") {
            Self::KeptBack
        } else if line.ends_with("no longer required:") {
            Self::Unneeded
        } else if line.ends_with("DOWNGRADED:") {
            Self::Downgraded
        } else {
            Self::Other
        }
    }
}

/// `Inst NAME [OLD] (NEW ARCHIVE [ARCHITECTURE]) …`, `Remv NAME [OLD] …`, `Purg NAME [OLD] …`; none for other lines.
fn fate(line: &str) -> Result<Option<(String, Fate)>, ()> {
    let Some((verb @ ("Inst" | "Remv" | "Purg"), rest)) = line.split_once(' ') else { return Ok(None) };
    let (name, rest) = rest.split_once(' ').unwrap_or((rest, ""));
    name.parse::<PackageName>().map_err(|_| ())?;
    let fate = match verb {
        "Inst" => {
            let rest = match rest.strip_prefix('[') {
                Some(old) => old.split_once("] ").ok_or(())?.1,
                None => rest,
            };
            let (version, _) =
                rest.strip_prefix('(').and_then(|rest| rest.split_once([' ', ')'])).ok_or(())?;
            if !is_version(version) {
                return Err(());
            }
            Fate::Version(version.to_owned())
        }
        "Remv" => Fate::Removed,
        _ => Fate::Purged,
    };
    Ok(Some((name.to_owned(), fate)))
}

/// A file that apt would download: `'ADDRESS' FILE BYTES [ALGORITHM:HASH]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Download {
    /// `NAME_VERSION_ARCHITECTURE.deb`, with colons as `%3a`.
    pub(crate) file: String,
    pub(crate) bytes: u64,
    /// In hexadecimal.
    pub(crate) sha256: Option<String>,
}

/// The files that apt would download.
pub(crate) fn downloads(text: &str) -> Vec<Download> {
    text.lines()
        .filter_map(|line| {
            let (_, rest) = line.strip_prefix('\'')?.split_once("' ")?;
            let mut words = rest.split_whitespace();
            let file = words.next()?.to_owned();
            let bytes = decimal(words.next()?.as_bytes())?;
            let sha256 = words.find_map(|word| word.strip_prefix("SHA256:")).map(str::to_owned);
            Some(Download { file, bytes, sha256 })
        })
        .collect()
}

/// The lines that say why apt cannot do it.
pub(crate) fn complaint(errors: &str, output: &str) -> String {
    let said: Vec<&str> = output
        .lines()
        .filter(|line| line.contains(" : ") || line.starts_with("                 "))
        .chain(errors.lines().filter_map(|line| line.strip_prefix("E: ")))
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .take(8)
        .collect();
    if said.is_empty() { "it does not say why".to_owned() } else { said.join("; ") }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const TEXT: &str = "Reading package lists...\n\
        The following packages were automatically installed and are no longer required:\n  lib-old lib-older\n\
        Use 'apt autoremove' to remove them.\n\
        The following packages have been kept back:\n  held\n\
        The following packages will be REMOVED:\n  old gone*\n\
        The following packages will be DOWNGRADED:\n  lib:i386\n\
        0 upgraded, 1 newly installed, 1 downgraded, 2 to remove and 0 not upgraded.\n\
        Remv old [1.0] [new:amd64 ]\nPurg gone\n\
        Inst new (2:1.0-1 Debian:12/stable, Other:1 [amd64])\n\
        Inst lib:i386 [1.2] (1.1~a local [i386]) [x:amd64 on y:amd64]\n\
        Conf new (2:1.0-1 Debian:12/stable [amd64])\n";

    #[test]
    fn a_simulation_is_read_line_by_line() {
        let simulation = Simulation::parse(TEXT).unwrap();
        let version = |text: &str| Fate::Version(text.to_owned());
        assert_eq!(
            simulation.fates.into_iter().collect::<Vec<_>>(),
            [
                ("gone".to_owned(), Fate::Purged),
                ("lib:i386".to_owned(), version("1.1~a")),
                ("new".to_owned(), version("2:1.0-1")),
                ("old".to_owned(), Fate::Removed),
            ]
        );
        assert_eq!(simulation.kept_back, ["held"]);
        assert_eq!(simulation.unneeded, ["lib-old", "lib-older"]);
        assert_eq!(simulation.downgraded, ["lib:i386"]);
    }

    #[test]
    fn a_line_about_a_package_that_cannot_be_read_is_an_error() {
        for line in
            ["Inst new", "Inst new [1]", "Inst --x (1 a [b])", "Inst new (* a [b])", "Remv ", "Purg A"]
        {
            assert_eq!(Simulation::parse(line), Err(line.to_owned()));
        }
    }

    #[test]
    fn files_to_download_have_their_size_and_hash() {
        let text =
            "Reading\n'file:/r/a_1_all.deb' a_1_all.deb 100 SHA256:00ff\n'http://x/b' b_1%3a2_all.deb 23 \n";
        let found = downloads(text);
        assert_eq!(found.len(), 2);
        assert_eq!((found[0].bytes, found[0].sha256.as_deref()), (100, Some("00ff")));
        assert_eq!((found[1].file.as_str(), found[1].sha256.as_deref()), ("b_1%3a2_all.deb", None));
    }

    proptest! {
        #[test]
        fn any_output_is_read_without_panic(text in "(Inst |Remv |Purg |aa |\\(|\\[|\\]|\\)|'|SHA256:|1 |\\n|  |The following packages have been kept back:|\\PC){0,60}") {
            let _ = (Simulation::parse(&text), downloads(&text), complaint(&text, &text));
        }

        #[test]
        fn what_apt_would_print_is_read_back(
            names in proptest::collection::btree_map("[a-z0-9][a-z0-9+.-]{0,8}[a-z0-9+.]", (proptest::option::of("[0-9][0-9a-z.~-]{0,6}"), 0u8..3), 0..12),
        ) {
            let mut text = "Reading package lists...\n".to_owned();
            let mut expected = BTreeMap::new();
            for (name, (old, kind)) in &names {
                let old = old.as_ref().map(|old| format!(" [{old}]")).unwrap_or_default();
                let (line, fate) = match kind {
                    0 => (format!("Inst {name}{old} (1:2-3 Debian:12/stable [all])"), Fate::Version("1:2-3".to_owned())),
                    1 => (format!("Remv {name}{old}"), Fate::Removed),
                    _ => (format!("Purg {name}{old} [x:amd64 ]"), Fate::Purged),
                };
                text.push_str(&line);
                text.push('\n');
                expected.insert(name.clone(), fate);
            }
            prop_assert_eq!(Simulation::parse(&text).unwrap().fates, expected);
        }
    }
}
