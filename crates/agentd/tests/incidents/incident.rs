//! One incident: what happened, how it is replayed, what has to hold, and what was found.

use std::path::Path;

use serde_json::Value;

/// Something that happened, once or more than once.
pub(crate) struct Incident {
    /// Its class and number, as `A1`.
    pub(crate) name: &'static str,
    /// What happened, in a few words.
    pub(crate) what: &'static str,
    /// When it happened or was told, and where it is told of: project and number of the report.
    pub(crate) source: &'static str,
    /// How it has to end here.
    pub(crate) expected: Expected,
    /// The mutations that do the same, where there are any and it is replayed with them here.
    pub(crate) types: &'static [&'static str],
    /// How it is replayed.
    pub(crate) replay: Replay,
}

/// How an incident has to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Expected {
    /// Nothing happens until exactly this is approved.
    Blocked,
    /// It may happen, and one undo makes everything as it was.
    Undone,
    /// It may happen, and is taken back unless somebody confirms it.
    RolledBack,
    /// The secret is nowhere.
    Masked,
}

impl Expected {
    pub(crate) fn text(self) -> &'static str {
        match self {
            Self::Blocked => "blocked until approved",
            Self::Undone => "undone exactly",
            Self::RolledBack => "rolled back by itself",
            Self::Masked => "masked",
        }
    }

    /// What was found is as good as this, or better.
    pub(crate) fn is_met_by(self, found: &Found) -> bool {
        match found {
            Found::Refused(_) | Found::OutOfReach | Found::NoMutation | Found::Elsewhere(_) => true,
            Found::Waits => matches!(self, Self::Blocked | Self::Undone),
            Found::WaitsForGood | Found::Paused(_) => self == Self::Blocked,
            Found::RolledBack => self == Self::RolledBack,
            Found::Masked => self == Self::Masked,
            Found::Open(_) => false,
        }
    }
}

/// How an incident is replayed.
pub(crate) enum Replay {
    /// Files alone show what became of it.
    Files(Files),
    /// In a way of its own.
    Own(fn() -> Row),
}

/// An incident whose effect is on files. `$R` is its folder: `$R/home` is the home, `$R/w` where it happens, `$R/bin` the first
/// place where programs are looked for.
pub(crate) struct Files {
    /// Makes what it happens to, as sh(1), in `$R/w`.
    pub(crate) set_up: &'static str,
    /// What the agent did, as shell text, in `$R/w`.
    pub(crate) act: &'static str,
    /// What the agent would ask for instead.
    pub(crate) typed: Typed,
    /// What it takes away, as a test of sh(1): true before, and false once it has happened.
    pub(crate) holds: &'static str,
}

/// The typed change that does the same.
pub(crate) enum Typed {
    /// Its steps, in this folder.
    Steps(fn(&Path) -> Value),
    /// Several changes, because one cannot build on what it moved itself; each as it is asked for.
    Changes(fn(&Path) -> Vec<Value>),
    /// There is none.
    No,
    /// It needs a machine that is booted; the mutation, and the statement of `cargo xtask vm test`.
    Booted(&'static str, &'static str),
}

/// What was found for one incident, one cell a way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Row {
    pub(crate) shell: Found,
    pub(crate) typed: Found,
    pub(crate) hidden: Found,
}

impl Row {
    /// All of it needs a machine that is booted.
    pub(crate) fn elsewhere(mutation: &'static str, statement: &'static str) -> Self {
        let shell = Found::Elsewhere(["shell.preview", statement]);
        Self { hidden: shell.clone(), shell, typed: Found::Elsewhere([mutation, statement]) }
    }
}

/// How it ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Found {
    /// It waited for a yes to exactly this; made, it did what it was to do; one undo made everything as it was.
    Waits,
    /// The same, and what it did cannot be taken back, which the plan says.
    WaitsForGood,
    /// It was refused with this code, whoever might have said yes.
    Refused(String),
    /// It ran, and its effect did not happen.
    OutOfReach,
    /// It was ended or refused for how much it was, with this code.
    Paused(String),
    /// Taken back, nobody having confirmed it.
    RolledBack,
    /// The secret was nowhere.
    Masked,
    /// No typed change does that.
    NoMutation,
    /// It needs a machine that is booted: the mutation, and the statement of `cargo xtask vm test` that replays it.
    Elsewhere([&'static str; 2]),
    /// Not as it has to be; why.
    Open(&'static str),
}

impl Found {
    pub(crate) fn text(&self) -> String {
        match self {
            Self::Waits => "waits; undone exactly".to_owned(),
            Self::WaitsForGood => "waits; no undo, and the plan says so".to_owned(),
            Self::Refused(code) => format!("refused (`{code}`)"),
            Self::OutOfReach => "out of its reach".to_owned(),
            Self::Paused(code) => format!("paused (`{code}`)"),
            Self::RolledBack => "waits; rolled back by itself".to_owned(),
            Self::Masked => "masked".to_owned(),
            Self::NoMutation => "no such mutation: shell only".to_owned(),
            Self::Elsewhere([mutation, statement]) => {
                format!("`{mutation}`, in a booted machine: `cargo xtask vm test \"{statement}\"`")
            }
            Self::Open(why) => format!("**open**: {why}"),
        }
    }
}
