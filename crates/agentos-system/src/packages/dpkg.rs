//! dpkg's database: `/var/lib/dpkg/status` (deb822(5)), read stanza by stanza.

use std::fs::File;
use std::io::{BufRead, BufReader, Read as _};

use agentos_api::query::packages::Package;

use super::{MAX_PACKAGES, Wanted};
use crate::QueryError;
use crate::procfs::decimal;

pub(super) const STATUS: &str = "/var/lib/dpkg/status";

/// Longest line that is read whole; the rest of a longer one is passed over.
const MAX_LINE_BYTES: u64 = 64 << 10;

/// Bytes of the file; a machine with three thousand packages has about four million.
const MAX_FILE_BYTES: u64 = 256 << 20;

/// The packages that are installed, also in part.
///
/// # Errors
/// The kernel's.
pub(super) fn installed(wanted: &Wanted<'_>) -> Result<Vec<Package>, QueryError> {
    let file = File::open(STATUS).map_err(|error| QueryError::io(STATUS, error))?;
    stanzas(BufReader::with_capacity(64 << 10, file.take(MAX_FILE_BYTES)), wanted)
        .map_err(|error| QueryError::io(STATUS, error))
}

#[derive(Debug, Default)]
struct Stanza {
    name: String,
    version: String,
    status: String,
    architecture: Option<String>,
    size: Option<u64>,
    source: Option<String>,
    summary: Option<String>,
}

fn stanzas(mut reader: impl BufRead, wanted: &Wanted<'_>) -> std::io::Result<Vec<Package>> {
    let mut packages = Vec::new();
    let mut stanza = Stanza::default();
    let mut line = Vec::new();
    loop {
        line.clear();
        let length = reader.by_ref().take(MAX_LINE_BYTES).read_until(b'\n', &mut line)?;
        if length > 0 && line.last() != Some(&b'\n') {
            skip_line(&mut reader)?;
        }
        let text = line.trim_ascii_end();
        if text.is_empty() {
            packages.extend(std::mem::take(&mut stanza).package(wanted));
            if length == 0 || packages.len() >= MAX_PACKAGES {
                return Ok(packages);
            }
        } else if !text.starts_with(b" ") && !text.starts_with(b"\t") {
            // A line that begins with a blank goes on with the field before; none of the fields kept does.
            stanza.take(text);
        }
    }
}

/// Passes over the rest of a line.
fn skip_line(reader: &mut impl BufRead) -> std::io::Result<()> {
    loop {
        let buffer = reader.fill_buf()?;
        if buffer.is_empty() {
            return Ok(());
        }
        let end = buffer.iter().position(|&byte| byte == b'\n');
        let length = end.map_or(buffer.len(), |end| end + 1);
        reader.consume(length);
        if end.is_some() {
            return Ok(());
        }
    }
}

impl Stanza {
    fn take(&mut self, line: &[u8]) {
        let Some(colon) = line.iter().position(|&byte| byte == b':') else { return };
        let value = line[colon + 1..].trim_ascii();
        let text = || String::from_utf8_lossy(value).into_owned();
        // Names of fields are the same in any case (deb822(5)).
        match line[..colon].to_ascii_lowercase().as_slice() {
            b"package" => self.name = text(),
            b"version" => self.version = text(),
            b"status" => self.status = text(),
            b"architecture" => self.architecture = Some(text()),
            b"installed-size" => self.size = decimal(value).and_then(|kibibytes| kibibytes.checked_mul(1024)),
            // `name (version)` where the version differs.
            b"source" => self.source = text().split_whitespace().next().map(str::to_owned),
            b"description" => self.summary = Some(text()),
            _ => {}
        }
    }

    /// The package, if it is asked for and there: one of which only the configuration is left is not.
    fn package(self, wanted: &Wanted<'_>) -> Option<Package> {
        let mut status = self.status.split_whitespace();
        let (selection, state) = (status.next().unwrap_or_default(), status.nth(1).unwrap_or_default());
        if self.name.is_empty()
            || matches!(state, "not-installed" | "config-files" | "")
            || !wanted.takes(&self.name)
        {
            return None;
        }
        Some(Package {
            version: self.version,
            architecture: self.architecture,
            state: (state != "installed").then(|| state.to_owned()),
            held: selection == "hold",
            size_bytes: self.size,
            source: self.source.filter(|source| *source != self.name),
            summary: self.summary.filter(|summary| !summary.is_empty()),
            store_path: None,
            name: self.name,
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ALL: Wanted<'static> = Wanted { text: None, exact: None };

    fn read(text: &[u8], wanted: &Wanted<'_>) -> Vec<Package> {
        stanzas(text, wanted).unwrap()
    }

    const TEXT: &[u8] = b"Package: libc6\nStatus: hold ok installed\nInstalled-Size: 12\nArchitecture: amd64\nSource: glibc (2.36-9)\nVersion: 2.36-9\nDescription: GNU C Library\n Package: not this one\n .\n more\n\nPackage: gone\nStatus: deinstall ok config-files\nVersion: 1\n\nPackage: broken\nStatus: install ok half-configured\nVersion: 2\n";

    #[test]
    fn a_stanza_is_a_package() {
        let packages = read(TEXT, &ALL);
        assert_eq!(packages.len(), 2);
        let libc = &packages[0];
        assert_eq!((libc.name.as_str(), libc.version.as_str()), ("libc6", "2.36-9"));
        assert_eq!((libc.size_bytes, libc.held, libc.source.as_deref()), (Some(12_288), true, Some("glibc")));
        assert_eq!((libc.summary.as_deref(), libc.state.as_deref()), (Some("GNU C Library"), None));
        assert_eq!(
            (packages[1].name.as_str(), packages[1].state.as_deref()),
            ("broken", Some("half-configured"))
        );
    }

    #[test]
    fn only_the_names_asked_for_are_given() {
        assert_eq!(read(TEXT, &Wanted { text: Some("bro".to_owned()), exact: None }).len(), 1);
        assert!(read(TEXT, &Wanted { text: None, exact: Some("libc") }).is_empty());
    }

    #[test]
    fn a_line_without_end_does_not_fill_the_memory() {
        let mut text = b"Package: a\nStatus: install ok installed\nVersion: 1\nX: ".to_vec();
        text.resize(text.len() + (1 << 20), b'x');
        text.extend_from_slice(b"\n\nPackage: b\nStatus: install ok installed\nVersion: 2\n");
        assert_eq!(read(&text, &ALL).len(), 2);
    }

    #[test]
    fn this_machine_answers_as_dpkg_query_does() {
        let Ok(output) = std::process::Command::new("dpkg-query")
            .args(["-W", "-f", "${db:Status-Abbrev}|${Package}|${Version}|${Architecture}\n"])
            .output()
        else {
            // Not a Debian; the other tests stand for themselves.
            return;
        };
        let mut expected: Vec<String> = String::from_utf8(output.stdout)
            .unwrap()
            .lines()
            .filter(|line| !matches!(line.as_bytes().get(1), Some(b'n' | b'c')))
            .filter_map(|line| line.split_once('|').map(|(_, rest)| rest.to_owned()))
            .collect();
        let installed = installed(&ALL).unwrap();
        let mut read: Vec<String> = installed
            .iter()
            .map(|package| {
                format!(
                    "{}|{}|{}",
                    package.name,
                    package.version,
                    package.architecture.as_deref().unwrap_or_default()
                )
            })
            .collect();
        expected.sort();
        read.sort();
        assert_eq!(read, expected);
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_panic(bytes: Vec<u8>, text in "(Package: |Status: install ok installed|Version: |\\n|\\PC){0,40}") {
            let _ = (read(&bytes, &ALL), read(text.as_bytes(), &ALL));
        }

        #[test]
        fn what_was_written_is_read_back(names in proptest::collection::vec("[a-z0-9.+-]{1,20}", 0..20)) {
            let text = names.iter().map(|name| format!("Package: {name}\nStatus: install ok installed\nVersion: 1:2~3\n\n")).collect::<Vec<_>>().concat();
            let read: Vec<_> = read(text.as_bytes(), &ALL).into_iter().map(|package| package.name).collect();
            prop_assert_eq!(read, names);
        }
    }
}
