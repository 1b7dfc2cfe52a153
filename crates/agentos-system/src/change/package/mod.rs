//! Packages of dpkg's, changed by apt-get(8).
//!
//! What apt would do is asked of apt itself, shown version by version, and asked again right before it is done; then apt is
//! told each package by name and version, so that it can do nothing else. What is replaced is kept as the archives it was
//! installed from, so that the same versions come back.

mod answer;
mod apt;
mod back;
mod installed;
mod keep;
mod told;
mod transition;
mod work;

pub(crate) use answer::{Fate, Simulation};
pub(crate) use apt::Apt;
pub(crate) use installed::Installed;
pub(crate) use keep::{Keep, MOST_BYTES, Release};
pub(crate) use transition::{Origin, PackageChange, PackageState, Packages, named};
pub(crate) use work::in_unit;
