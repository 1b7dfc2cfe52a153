//! The Nix store as the running NixOS system refers to it: the references of its profile, or its whole closure.

use std::collections::BTreeMap;
use std::time::Duration;

use agentos_api::query::packages::Package;

use super::{MAX_PACKAGES, Wanted};
use crate::QueryError;
use crate::run::Program;

/// The profile of the running system: what is on every user's path.
pub(super) const SYSTEM: &str = "/run/current-system/sw";

/// The running system itself, with its kernel, units and configuration.
const WHOLE_SYSTEM: &str = "/run/current-system";

const TIME: Duration = Duration::from_secs(10);

/// A hundred thousand paths.
const MAX_OUTPUT_BYTES: usize = 16 << 20;

/// Characters of the hash at the start of a store path's name.
const HASH_LENGTH: usize = 32;

/// Names of outputs that are parts of a package rather than versions of it.
const OUTPUTS: [&str; 9] = ["-bin", "-dev", "-doc", "-info", "-lib", "-man", "-out", "-static", "-terminfo"];

/// The packages of the profile; with `closure` all that the system needs.
///
/// # Errors
/// `packages_unavailable` where nix-store is missing or fails.
pub(super) fn installed(wanted: &Wanted<'_>, closure: bool) -> Result<Vec<Package>, QueryError> {
    let unavailable = |reason: String| {
        QueryError::unavailable(
            "packages_unavailable",
            reason,
            "Look at `nix-store --verify` and the nix-daemon service.",
        )
    };
    let (question, path) = if closure { ("--requisites", WHOLE_SYSTEM) } else { ("--references", SYSTEM) };
    let program = Program::find("nix-store")
        .ok_or_else(|| unavailable("nix-store is not installed".to_owned()))?
        .argument("--query")
        .argument(question)
        .argument(path);
    let (ended, output) = program.output(TIME, MAX_OUTPUT_BYTES)?;
    if !ended.status.success() {
        let said = ended.stderr.lines().last().unwrap_or("no reason given");
        return Err(unavailable(format!("nix-store failed: {said}")));
    }
    Ok(packages(&String::from_utf8_lossy(&output), wanted))
}

/// A package per name and version; its outputs are one package, with the path of the first.
fn packages(paths: &str, wanted: &Wanted<'_>) -> Vec<Package> {
    let mut packages = BTreeMap::new();
    for path in paths.lines() {
        let Some((name, version)) = name_and_version(path) else { continue };
        if packages.len() < MAX_PACKAGES && wanted.takes(&name) {
            packages.entry((name, version)).or_insert_with(|| path.to_owned());
        }
    }
    let package = |((name, version), path)| Package {
        name,
        version,
        architecture: None,
        state: None,
        held: false,
        size_bytes: None,
        source: None,
        summary: None,
        store_path: Some(path),
    };
    packages.into_iter().map(package).collect()
}

/// `/nix/store/HASH-hello-2.12.1` is hello of version 2.12.1: the version begins after the first hyphen that is not
/// followed by a letter (`builtins.parseDrvName` of Nix).
fn name_and_version(path: &str) -> Option<(String, String)> {
    let file = path.strip_prefix("/nix/store/")?;
    let (hash, rest) = file.split_at_checked(HASH_LENGTH)?;
    let name = rest.strip_prefix('-').filter(|name| !name.is_empty() && !name.contains('/'))?;
    if !hash.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit()) {
        return None;
    }
    let name = OUTPUTS
        .iter()
        .find_map(|output| name.strip_suffix(output))
        .filter(|name| !name.is_empty())
        .unwrap_or(name);
    let bytes = name.as_bytes();
    let version = bytes.windows(2).position(|pair| pair[0] == b'-' && !pair[1].is_ascii_alphabetic());
    Some(match version {
        Some(hyphen) if hyphen > 0 => (name[..hyphen].to_owned(), name[hyphen + 1..].to_owned()),
        _ => (name.to_owned(), String::new()),
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const HASH: &str = "0c7kkl2yx6fxb8mfrpvqp6n0w0zzsl5a";

    fn split(name: &str) -> (String, String) {
        name_and_version(&format!("/nix/store/{HASH}-{name}")).unwrap()
    }

    #[test]
    fn a_path_is_split_as_nix_does() {
        for (file, name, version) in [
            ("hello-2.12.1", "hello", "2.12.1"),
            ("gcc-wrapper-13.2.0-man", "gcc-wrapper", "13.2.0"),
            ("python3.11-requests-2.31.0", "python3.11-requests", "2.31.0"),
            ("nixos-help", "nixos-help", ""),
            ("perl5.38.2-Test-0-x", "perl5.38.2-Test", "0-x"),
            ("util-linux-2.39.4-bin", "util-linux", "2.39.4"),
        ] {
            assert_eq!(split(file), (name.to_owned(), version.to_owned()), "{file}");
        }
    }

    #[test]
    fn outputs_of_one_package_are_one_row() {
        let paths =
            format!("/nix/store/{HASH}-curl-8.5.0-bin\n/nix/store/{HASH}-curl-8.5.0-man\n/etc/passwd\n");
        let packages = packages(&paths, &Wanted { text: Some("cur".to_owned()), exact: None });
        assert_eq!(packages.len(), 1);
        assert_eq!((packages[0].name.as_str(), packages[0].version.as_str()), ("curl", "8.5.0"));
    }

    proptest! {
        #[test]
        fn any_path_is_read_without_panic(path in "\\PC{0,80}", name in "\\PC{0,40}") {
            let _ = (name_and_version(&path), name_and_version(&format!("/nix/store/{HASH}-{name}")));
            let _ = packages(&path, &Wanted { text: None, exact: None });
        }
    }
}
