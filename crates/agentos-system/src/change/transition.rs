//! One thing of the machine, from one state to another.

use agentos_api::change::Effect;
use serde::{Deserialize, Serialize};

use super::command::ShellRun;
use super::context::Context;
use super::entry::{Entry, Member};
use super::error::ChangeError;
use super::file::{FileTransition, Rename};
use super::filter::Filter;
use super::host::{Hostname, JournalFiles, Power, Signal, Sysctl};
use super::link::{Address, Link, Route};
use super::link_names::LinkDns;
use super::mount::{Mount, Swap};
use super::package::Packages;
use super::unit::{ManagerReload, UnitAct, UnitRun};

/// Where a thing is, as seen from a transition of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Position {
    /// In the state that the transition begins with.
    Before,
    /// In the state that it ends with.
    After,
    /// In neither; with the state it is in, in words.
    Elsewhere(String),
    /// It cannot be told: nothing that stays shows whether it was done.
    Unknowable,
}

/// Why a transition has no way back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Irreversible(pub(crate) String);

/// What each kind of transition can do.
pub(crate) trait Transit: Sized {
    /// The thing: the same text for the same thing in every change, such as `file /etc/hosts`. Two transitions with the
    /// same text depend on one another in their order.
    fn on(&self) -> String;

    /// All the things it is about, each as [`Transit::on`] has it for one of them.
    fn things(&self) -> Vec<String> {
        vec![self.on()]
    }

    /// The difference, as people read it.
    fn effect(&self, context: &Context<'_>) -> Effect;

    /// Where the thing is. Reads only.
    ///
    /// # Errors
    /// [`ChangeError::Reading`] when that cannot be found out.
    fn position(&self, context: &Context<'_>) -> Result<Position, ChangeError>;

    /// Goes from the first state to the second, durably. Either all of it is done when this returns, or nothing.
    ///
    /// # Errors
    /// [`ChangeError::Moved`] where the thing is not in the first state; [`ChangeError::Failed`] where the machine refuses.
    fn apply(&self, context: &Context<'_>) -> Result<(), ChangeError>;

    /// The way back.
    ///
    /// # Errors
    /// [`Irreversible`] where there is none.
    fn reversed(&self) -> Result<Self, Irreversible>;

    /// What goes on making it although whoever began it is gone. It is not waited for.
    ///
    /// # Errors
    /// [`ChangeError::Reading`] when that cannot be found out.
    fn under_way(&self, _context: &Context<'_>) -> Result<Option<String>, ChangeError> {
        Ok(None)
    }

    /// Removes what a cut left half made beside the thing.
    fn clean(&self, _context: &Context<'_>) {}

    /// The paths it writes to, for the policy's rules.
    fn paths(&self) -> Vec<Vec<u8>> {
        Vec::new()
    }

    /// The systemd units it acts on, for the policy's rules.
    fn units(&self) -> Vec<String> {
        Vec::new()
    }

    /// What stays different after it was taken back.
    fn leaves_behind(&self) -> Option<String> {
        None
    }

    /// It is something that is done rather than a state that is reached, such as a restart: it is made whether or not
    /// somebody did the same meanwhile, and its way back is doing it again once everything else is back.
    fn is_act(&self) -> bool {
        false
    }

    /// The same, beginning with what is there now: for an act that is done again.
    ///
    /// # Errors
    /// [`ChangeError::Reading`] when that cannot be found out.
    fn renewed(self, _context: &Context<'_>) -> Result<Self, ChangeError> {
        Ok(self)
    }
}

/// Declares the kinds: an enumeration whose every operation is its variant's.
macro_rules! transitions {
    ($($(#[$doc:meta])* $variant:ident($kind:ty),)*) => {
        /// One thing of the machine, from one state to another. Kept as JSON with the change that made it.
        #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
        #[serde(tag = "kind", rename_all = "snake_case")]
        #[expect(private_interfaces, reason = "what a transition is made of is nobody's business")]
        pub enum Transition {
            $($(#[$doc])* $variant($kind),)*
        }

        impl Transit for Transition {
            fn on(&self) -> String {
                match self { $(Self::$variant(it) => it.on(),)* }
            }

            fn things(&self) -> Vec<String> {
                match self { $(Self::$variant(it) => it.things(),)* }
            }

            fn effect(&self, context: &Context<'_>) -> Effect {
                match self { $(Self::$variant(it) => it.effect(context),)* }
            }

            fn position(&self, context: &Context<'_>) -> Result<Position, ChangeError> {
                match self { $(Self::$variant(it) => it.position(context),)* }
            }

            fn apply(&self, context: &Context<'_>) -> Result<(), ChangeError> {
                match self { $(Self::$variant(it) => it.apply(context),)* }
            }

            fn reversed(&self) -> Result<Self, Irreversible> {
                match self { $(Self::$variant(it) => it.reversed().map(Self::$variant),)* }
            }

            fn under_way(&self, context: &Context<'_>) -> Result<Option<String>, ChangeError> {
                match self { $(Self::$variant(it) => it.under_way(context),)* }
            }

            fn clean(&self, context: &Context<'_>) {
                match self { $(Self::$variant(it) => it.clean(context),)* }
            }

            fn paths(&self) -> Vec<Vec<u8>> {
                match self { $(Self::$variant(it) => it.paths(),)* }
            }

            fn units(&self) -> Vec<String> {
                match self { $(Self::$variant(it) => it.units(),)* }
            }

            fn leaves_behind(&self) -> Option<String> {
                match self { $(Self::$variant(it) => it.leaves_behind(),)* }
            }

            fn is_act(&self) -> bool {
                match self { $(Self::$variant(it) => it.is_act(),)* }
            }

            fn renewed(self, context: &Context<'_>) -> Result<Self, ChangeError> {
                match self { $(Self::$variant(it) => it.renewed(context).map(Self::$variant),)* }
            }
        }
    };
}

transitions! {
    /// An address of an interface.
    Address(Address),
    /// An entry of a file that is a list of entries: an account, an authorized key, a line of fstab(5).
    Entry(Entry),
    /// A path of the file system: what has it, and with which content and attributes.
    File(FileTransition),
    /// A rule of the packet filter.
    Filter(Filter),
    /// The name of the running machine.
    Hostname(Hostname),
    /// Archived files of the journal.
    JournalFiles(JournalFiles),
    /// An interface, up or down.
    Link(Link),
    /// The name servers of an interface.
    LinkDns(LinkDns),
    /// systemd reads its units anew.
    ManagerReload(ManagerReload),
    /// A user in a list of a group's.
    Member(Member),
    /// What is mounted at a folder.
    Mount(Mount),
    /// Packages of dpkg's.
    Packages(Packages),
    /// A restart or a power-off that is scheduled.
    Power(Power),
    /// Something gets another path.
    Rename(Rename),
    /// A route.
    Route(Route),
    /// A command that is run.
    Shell(ShellRun),
    /// A signal to a process.
    Signal(Signal),
    /// What is swapped to.
    Swap(Swap),
    /// A setting of the kernel's.
    Sysctl(Sysctl),
    /// A unit is restarted, reloaded, or run once.
    UnitAct(UnitAct),
    /// A unit runs or does not.
    UnitRun(UnitRun),
}

impl Transition {
    /// Of a file that it deletes: its size, and whether another name of it is left.
    pub(crate) fn as_deleted_file(&self) -> Option<(u64, bool)> {
        let Self::File(file) = self else { return None };
        file.deletes_file()
    }

    /// The thing, as in [`Effect::on`].
    pub fn thing(&self) -> String {
        self.on()
    }

    /// Where the thing is. Reads only.
    ///
    /// # Errors
    /// [`ChangeError::Reading`] when that cannot be found out.
    pub fn where_is(&self, context: &Context<'_>) -> Result<Position, ChangeError> {
        self.position(context)
    }
}
