//! systemd's units: whether they run, and what is done with them.
//!
//! Whether a unit starts with the machine is links in the file system, and changed as such ([`install`]).

mod act;
mod install;
mod overlay;
mod run;

pub(crate) use act::{Act, ManagerReload, Mark, UnitAct};
pub(crate) use install::{Install, LINK_FOLDERS};
pub(crate) use overlay::UnitOverlay;
pub(crate) use run::{Run, UnitRun};

/// The thing that a transition of this unit is about.
fn thing(unit: &str) -> String {
    format!("unit {unit}")
}
