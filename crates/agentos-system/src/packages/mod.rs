//! The query `packages`: what is installed, by the package database of this machine.

mod dpkg;
mod nix;

use std::cmp::Reverse;
use std::path::Path;

use agentos_api::query::Packages;
use agentos_api::query::packages::{Args, Manager, Output, Package, Sort};

use crate::QueryError;
use crate::dispatch::Read;
use crate::machine::{Machine, Viewer};

/// Packages kept of a database; Debian has about 70,000 in all.
const MAX_PACKAGES: usize = 200_000;

impl Read for Packages {
    fn read(_machine: &Machine, _viewer: Viewer, args: Args) -> Result<Output, QueryError> {
        let wanted =
            Wanted { text: args.name.as_ref().map(|text| text.to_lowercase()), exact: args.exact.as_deref() };
        let (manager, mut packages) = if Path::new(nix::SYSTEM).exists() {
            (Manager::Nix, nix::installed(&wanted, args.closure)?)
        } else if Path::new(dpkg::STATUS).exists() {
            (Manager::Dpkg, dpkg::installed(&wanted)?)
        } else {
            return Err(QueryError::unavailable(
                "packages_unavailable",
                format!("there is neither {} (dpkg) nor {} (NixOS)", dpkg::STATUS, nix::SYSTEM),
                "Look for the program itself with `find` below /usr/bin.",
            ));
        };
        packages.sort_by(|left, right| (&left.name, &left.version).cmp(&(&right.name, &right.version)));
        if args.sort == Sort::Size {
            packages.sort_by_key(|package| Reverse(package.size_bytes));
        }
        let (total, offset) = (packages.len(), args.offset.as_usize());
        let packages: Vec<Package> = packages.into_iter().skip(offset).take(args.limit.as_usize()).collect();
        let next = offset + packages.len();
        let next_offset = (next < total && !packages.is_empty()).then_some(next as u64);
        Ok(Output { manager, packages, total: total as u64, next_offset })
    }
}

/// Which names are asked for.
struct Wanted<'w> {
    /// In lower case.
    text: Option<String>,
    exact: Option<&'w str>,
}

impl Wanted<'_> {
    fn takes(&self, name: &str) -> bool {
        self.exact.is_none_or(|exact| name == exact)
            && self.text.as_ref().is_none_or(|text| name.to_lowercase().contains(text.as_str()))
    }
}
