//! What making a change needs: the machine, and where contents are kept.

use agentos_objects::Objects;

use crate::machine::Machine;

/// The machine that is changed, with the store of what changes replace.
#[derive(Clone, Copy, Debug)]
pub struct Context<'c> {
    /// The machine.
    pub machine: &'c Machine,
    /// The store.
    pub objects: &'c Objects,
}
